//! Floor 3: the shell. Owns every descriptor, turns bytes, signals and exits into events, and
//! carries actions out. It decides nothing.

mod clients;
mod descriptors;
mod environment;
mod files;
mod launch;
mod listeners;
mod log;
mod metrics_file;
mod now;
mod program;
mod ruby;
mod start;
mod status;
mod tokens;
mod upgrade;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::decide::{Action, Event, Level, Sender, next_deadline, step};
use crate::protocol::Request;
use crate::state::{ExitStatus, Monotonic, Pid, Signal, State};
use crate::sys::file::Owned;
use crate::sys::poll::{Interest, Poll, Ready};
use crate::sys::process::{self, WaitStatus};
use crate::sys::signal::{self, Mask, Signals};
use crate::sys::{socket, user};

use clients::connections::Connections;
use environment::Inheritance;
pub use launch::Launch;
use log::Log;
use metrics_file::MetricsFile;
use now::now;
pub use start::Start;
use tokens::{
    CANDIDATE_OUTPUT_TOKEN, CANDIDATE_REPORT_TOKEN, CAPTURED_TOKEN, COMMAND_SOCKET_TOKEN,
    LOG_TOKEN, SIGNALS_TOKEN,
};
use upgrade::candidate::Candidate;
pub use upgrade::check::check;
use upgrade::exec::Successor;
use upgrade::preflight::Preflight;
pub use upgrade::rollback::Adoption;
use workers::stderr::Captured;

/// How many connections are accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;

/// How long clients are answered before the loop looks at everything else again.
const ANSWERING_MAX: Duration = Duration::from_millis(10);

/// How long nothing is accepted after the kernel refused a descriptor and no client could be
/// dropped for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The running master.
#[derive(Debug)]
pub struct Master {
    state: State,
    log: Log,
    inheritance: Inheritance,
    command_socket: OwnedFd,
    /// While set, the command socket is not watched.
    accept_again_at: Option<Monotonic>,
    connections: Connections,
    /// The workers' standard error, with `--capture-stderr`.
    captured: Option<Captured>,
    poll: Poll,
    signals: Signals,
    open_mask: Mask,
    /// What has happened and was not told to `decide` yet.
    events: VecDeque<Event>,
    /// Helper processes that are no workers, and what each is for.
    helpers: BTreeMap<i32, String>,
    exit_code: Option<i32>,
    /// A candidate that is being asked.
    preflight: Option<Preflight>,
    /// The candidate that was asked last.
    candidate: Option<Candidate>,
    /// Whom to hand over to at the end of this turn.
    handover_due: Option<Successor>,
    /// The image that this process runs, by its inode: what the next one goes back to.
    image: Option<OwnedFd>,
    /// Only held open: the listeners.
    _sockets: Vec<OwnedFd>,
    /// Held open for its lock, which keeps other masters away; `None` while somebody else has it.
    lock: Option<File>,
    /// The same.
    pidfile: Option<File>,
    /// What the master was started with and keeps open for whoever counts on it.
    strays: Vec<OwnedFd>,
    /// Removed when it leaves.
    files: Vec<Owned>,
    metrics_file: MetricsFile,
}

impl Master {
    /// Runs until there is nothing left to run for. Answers the exit status.
    pub fn run(mut self) -> i32 {
        self.renice_master();
        // A signal that asks us to stop comes before anything is started.
        self.let_signals_in();
        // The signal of an exit during the hand-over may be lost: the kernel drops it where SIGCHLD
        // is default and open, and when it is made default.
        self.take_exits();
        loop {
            self.settle();
            if let Some(successor) = self.handover_due.take() {
                self.hand_over(successor);
                continue;
            }
            if let Some(code) = self.exit_code {
                return self.leave(code);
            }
            match self.poll.wait(self.patience(), &self.open_mask) {
                Ok(ready) => self.turn(&ready),
                Err(error) => {
                    self.log(Level::Error, &format!("Cannot wait for events any more: {error}"));
                    return self.leave(1);
                }
            }
        }
    }

    /// Takes in what has happened: exits first, then signals, then clients.
    fn turn(&mut self, ready: &[Ready]) {
        let has_signals = ready.iter().any(|ready| ready.token == SIGNALS_TOKEN);
        // Asking costs time for every worker; when clients alone are ready, none has exited.
        if has_signals || ready.is_empty() {
            self.take_exits();
        }
        if has_signals {
            self.take_signals();
        }
        self.tell_events();
        self.connections.begin_turn();
        for ready in ready {
            match ready.token {
                SIGNALS_TOKEN | COMMAND_SOCKET_TOKEN => {}
                LOG_TOKEN => self.log.flush(),
                CAPTURED_TOKEN => self.hear_workers(),
                CANDIDATE_REPORT_TOKEN | CANDIDATE_OUTPUT_TOKEN => self.hear_candidate(),
                _ => self.connections.serve(*ready),
            }
        }
        self.answer_clients();
        // Last, so that whoever has just spoken is not taken for silent.
        if ready.iter().any(|ready| ready.token == COMMAND_SOCKET_TOKEN) {
            self.accept();
        }
    }

    /// Ends a turn: what should run is compared with what runs, and what is waited for is set.
    fn settle(&mut self) {
        self.events.push_back(Event::Turn);
        self.tell_events();
        let waiting = self.state.waiters.iter().map(|waiter| waiter.connection).collect();
        for connection in self.connections.settle(&self.poll, &waiting) {
            self.events.push_back(Event::Closed { connection });
        }
        self.tell_events();
        if self.state.reexec.is_none() {
            // One that was refused is not kept open.
            self.candidate = None;
        }
        debug_assert_eq!(self.state.check(), Ok(()));
        self.log.watch(&self.poll, LOG_TOKEN);
        self.watch_workers();
        self.resume_accepting();
        self.keep_metrics();
    }

    /// How long the next wait may last; `None` until something happens.
    fn patience(&self) -> Option<Duration> {
        if self.connections.is_asked() {
            return Some(Duration::ZERO);
        }
        let deadlines = [next_deadline(&self.state), self.accept_again_at, self.metrics_due_at()];
        deadlines.into_iter().flatten().min().map(|deadline| deadline.since(now().monotonic))
    }

    /// Tells `decide` what has happened and does what it says, until both are done. The outcome of
    /// an action is told before the next action is begun, so that its time is right.
    fn tell_events(&mut self) {
        let mut actions = VecDeque::new();
        loop {
            if let Some(event) = self.events.pop_front() {
                let is_news = event != Event::Turn;
                let ordered = step(&mut self.state, now(), event);
                if is_news || !ordered.is_empty() {
                    self.metrics_file.outdate();
                }
                actions.extend(ordered);
            } else if let Some(action) = actions.pop_front() {
                self.perform(action);
            } else {
                return;
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn { slot, generation } => self.spawn(slot, generation),
            Action::Signal { pid, signal } => self.send_signal(pid, signal),
            // How it goes on is not told to those who do not read; how it ends is.
            Action::Reply { connection, reply }
                if reply.wait && !self.connections.is_patient(connection) => {}
            Action::Reply { connection, reply } => {
                self.connections.send(connection, &reply.to_line());
            }
            Action::Report { connection, kind, reply } => {
                let reply = reply.with_message(self.report(kind));
                self.connections.send(connection, &reply.to_line());
            }
            Action::Close { connection } => self.connections.close(connection),
            Action::Log { level, message } => self.log(level, &message),
            Action::StartPreflight { schema } => self.start_preflight(schema),
            Action::KillPreflight => self.kill_preflight(),
            Action::HandOver { schema } => {
                self.handover_due = Some(Successor::Einhorn { schema });
            }
            Action::HandBack => self.handover_due = Some(Successor::Ruby),
            Action::RunCanaryCheck { worker, generation } => self.run_check(worker, generation),
            Action::KillCheck { process } => self.kill_check(process),
            Action::Exit { code } => self.exit_code = Some(code),
        }
    }

    fn log(&mut self, level: Level, message: &str) {
        self.log.write(self.state.config.verbosity, level, message);
    }

    fn send_signal(&mut self, pid: Pid, signal: Signal) {
        let sent = match signal::number(signal.name()) {
            Some(number) => process::kill(pid.0, number),
            None => Err(std::io::ErrorKind::Unsupported.into()),
        };
        if let Err(error) = sent {
            self.log(Level::Error, &format!("Cannot send {signal} to worker {pid}: {error}"));
        }
    }

    fn reaped(&mut self, pid: i32, status: ExitStatus) {
        if self.candidate_ended(pid, status) {
            return;
        }
        self.end_check(pid);
        match self.helpers.remove(&pid) {
            None => self.child_ended(Pid(pid), status),
            Some(_) if status == ExitStatus::Code(0) => {}
            Some(what) => self.log(Level::Error, &format!("Failed {what}: {status}")),
        }
    }

    fn take_exits(&mut self) {
        while let Some((pid, ended)) = process::reap() {
            self.reaped(pid, status(ended));
        }
    }

    /// Takes the signals that wait in the kernel, now and not with the next wait.
    fn let_signals_in(&mut self) {
        if let Err(error) = self.open_mask.let_in() {
            self.log(Level::Error, &format!("Cannot let signals in: {error}"));
        }
        self.take_signals();
    }

    fn take_signals(&mut self) {
        for received in self.signals.received() {
            let Some(signal) = signal::name(received.number).and_then(Signal::parse) else {
                continue;
            };
            let sender = received.sender.map(|(pid, uid)| Sender { pid, uid });
            self.events.push_back(Event::Signaled { signal, sender });
        }
    }

    /// Answers the clients, for as long as signals and workers may wait.
    fn answer_clients(&mut self) {
        let begun = now().monotonic;
        while let Some((connection, request)) = self.connections.next_request() {
            // Nobody is there to hear; what it told us to do is done all the same.
            let is_in_vain = request.as_ref().is_ok_and(Request::only_asks)
                && self.connections.is_gone(connection);
            if is_in_vain {
                continue;
            }
            self.events.push_back(Event::Requested { connection, request });
            self.tell_events();
            if now().monotonic.since(begun) >= ANSWERING_MAX {
                return;
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.connections.is_full() && !self.make_room("there are too many") {
                return;
            }
            match socket::accept(&self.command_socket) {
                Ok(None) => return,
                Ok(Some(stream)) => self.admit(stream),
                Err(error) if !self.connections.has_clients() => {
                    return self.pause_accepting(&error);
                }
                Err(error) => {
                    if !self.make_room(&format!("no more can be accepted: {error}")) {
                        return;
                    }
                }
            }
        }
    }

    /// Takes in a client, if it may talk to us.
    fn admit(&mut self, stream: UnixStream) {
        let own = user::effective_id();
        match socket::peer(&stream) {
            Ok((_, uid)) if uid == own || uid == 0 => {}
            Ok((pid, uid)) => {
                let who = format!("pid {pid} of user {uid}, who is neither {own} nor root");
                return self.log(Level::Error, &format!("Refused a connection of {who}"));
            }
            Err(error) => {
                return self.log(Level::Error, &format!("Refused a nameless connection: {error}"));
            }
        }
        match self.connections.add(&self.poll, stream, false) {
            Ok(connection) => self.events.push_back(Event::Opened { connection }),
            Err(error) => self.log(Level::Error, &format!("Cannot watch a connection: {error}")),
        }
        self.tell_events();
    }

    /// Drops the client that has been silent longest, if somebody waits for its place. Answers
    /// whether there is room now; if not, another turn will tell who is silent.
    fn make_room(&mut self, why: &str) -> bool {
        // Without a free descriptor, accept(2) fails even when nobody waits.
        if !socket::is_awaited(&self.command_socket) {
            return false;
        }
        let Some(connection) = self.connections.most_silent() else { return false };
        self.connections.remove(&self.poll, connection);
        self.events.push_back(Event::Closed { connection });
        self.log(Level::Error, &format!("Dropped the most silent client: {why}"));
        self.tell_events();
        true
    }

    fn pause_accepting(&mut self, error: &std::io::Error) {
        self.log(Level::Error, &format!("Cannot accept clients for a moment: {error}"));
        self.accept_again_at = Some(now().monotonic + ACCEPT_PAUSE);
        self.watch_command_socket(false);
    }

    fn resume_accepting(&mut self) {
        if self.accept_again_at.is_some_and(|at| at <= now().monotonic) {
            self.accept_again_at = None;
            self.watch_command_socket(true);
        }
    }

    fn watch_command_socket(&mut self, read: bool) {
        let interest = Interest { read, write: false };
        if let Err(error) = self.poll.change(&self.command_socket, COMMAND_SOCKET_TOKEN, interest) {
            self.log(Level::Error, &format!("Cannot watch the command socket: {error}"));
        }
    }

    /// Removes what is its own and says good-bye.
    fn leave(mut self, code: i32) -> i32 {
        for file in std::mem::take(&mut self.files) {
            if let Err(error) = file.remove() {
                let path = file.path().display().to_string();
                self.log(Level::Error, &format!("Cannot remove {path}: {error}"));
            }
        }
        self.hear_the_rest();
        self.log(Level::Info, &format!("Leaving with exit status {code}"));
        code
    }
}

/// How a child ended, in the words of the state.
fn status(ended: WaitStatus) -> ExitStatus {
    match ended {
        WaitStatus::Exited(code) => ExitStatus::Code(code),
        WaitStatus::Signaled { number, core_dumped } => {
            let signal = signal::name(number).and_then(Signal::parse);
            ExitStatus::Killed { number, signal, core_dumped }
        }
    }
}
