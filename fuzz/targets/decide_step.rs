//! What may happen to the master, in any order.
//!
//! An input is a list of events, a line each, in the words of [`Shell::happen`]; a line that says
//! nothing that can happen now is passed over. A shell of nothing but sets stands in for the
//! kernel: it gives out pids (the lowest free one, so that they come again at once), starts and
//! ends processes, opens and closes connections, and stands in for the next image too.
//!
//! After every event it asserts that `State::check` finds nothing, that no signal goes to a process
//! that is gone, that workers are started only for what is missing, that answers go to who asked,
//! each request once, that one candidate is asked at a time and takes over only if it is fit, that
//! one command looks at a canary and is ended only while it runs, that an upgrade takes no worker
//! away that serves while fewer would be left than the target and than there were, and that the
//! loop would not spin.

#[path = "../parts/candidates.rs"]
mod candidates;
#[path = "../parts/configuration.rs"]
mod configuration;
#[path = "../parts/senders.rs"]
mod senders;
#[path = "../parts/signals.rs"]
mod signals;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use candidates::{CANDIDATE, Candidate};
use einhorn::decide::{Action, Authority, Event, SPAWNS_PER_TURN, Sender, next_deadline, step};
use einhorn::protocol::{LINE_MAX, Line, ReplyEvent, Request};
use einhorn::state::{
    Config, ConnectionId, ExitStatus, Generation, Monotonic, Now, Pid, Realtime, Signal, Slot,
    Stage, State,
};
use signals::{Signals, exited};

/// The lowest pid of those that look at canaries; no worker has one below 100.
const CHECK: Pid = Pid(70);

/// More lines than this say nothing new.
const EVENTS_MAX: usize = 500;

/// Runs one input.
pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let config = configuration::read(lines.next().unwrap_or_default());
    let mut shell = Shell::new(config);
    for line in lines.take(EVENTS_MAX) {
        if shell.left {
            return;
        }
        shell.happen(line);
    }
}

/// The master's surroundings.
struct Shell {
    state: State,
    now: Monotonic,
    /// The workers that run, and those that ended and were not reaped yet.
    processes: BTreeSet<Pid>,
    signals: Signals,
    /// What the shell answers before anything else happens.
    answers: VecDeque<Event>,
    /// Workers that were ordered, neither started nor failed.
    orders: BTreeMap<Slot, Generation>,
    /// Open connections, with the living worker that `-g` gave one to.
    open: BTreeMap<ConnectionId, Option<Pid>>,
    next_connection: u64,
    /// Who is asked whether it can take over.
    candidate: Option<Candidate>,
    /// One was found fit, and is to take over.
    handover_due: bool,
    handback_due: bool,
    /// The command of `--on-canary` was ordered, and neither runs nor has failed to.
    check_due: bool,
    /// Those that run.
    checks: BTreeSet<Pid>,
    /// How many served when the last roll-out began, less what the target and deaths took since.
    promise: Option<u32>,
    /// The master was told to stop.
    stopping: bool,
    /// The master has left.
    left: bool,
}

impl Shell {
    fn new(config: Config) -> Shell {
        let state = State::new(config, Vec::new(), Pid(50), 2);
        state.check().expect("a sound start");
        Shell {
            state,
            now: Monotonic(1_000_000_000),
            processes: BTreeSet::new(),
            signals: Signals::default(),
            answers: VecDeque::new(),
            orders: BTreeMap::new(),
            open: BTreeMap::new(),
            next_connection: 1,
            candidate: None,
            handover_due: false,
            handback_due: false,
            check_due: false,
            checks: BTreeSet::new(),
            promise: None,
            stopping: false,
            left: false,
        }
    }

    /// Lets happen what a line says, if it can.
    ///
    /// - `t MS`: time passes, a turn ends
    /// - `s [N]`, `g [N]`: the Nth ordered worker runs, with `g` given a connection
    /// - `f [N]`: it could not be started
    /// - `x N CODE`, `k N NUMBER`, `y N SIGNAL`: the Nth process ends, by itself or by a signal
    /// - `l N COUNT`: it ends, and leaves so many in its group; `e N`: the Nth group ends
    /// - `w N SIGNAL`, `r N`: it is suspended, runs again
    /// - `a N HOW`: what it does with signals, as [`Signals::tell`] says
    /// - `u PID`: a process that is none of ours is reaped
    /// - `! NAME`: a signal arrives
    /// - `o`, `c N`: a client connects; the Nth connection is gone
    /// - `> N LINE`: it sends a line; `$` in it is the pid of the first process, `@` that of
    ///   one in its group, or of another that is no worker
    /// - `m N LINE`: the same, from a process of another user
    /// - `p`: the candidate runs
    /// - `q HOW`: it ends, `fit` or as [`Candidate::end`] says
    /// - `n`: the command that looks at the canary could not be started; with any other line it
    ///   runs
    /// - `z N CODE`: the Nth of those that run ends
    /// - `h HOW`: the state is handed over, if that is due: `adopted`, `back`, or the exec fails
    fn happen(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let event = words.next().unwrap_or_default();
        let first = words.next().unwrap_or_default();
        let second = words.next().unwrap_or_default();
        let nth: usize = first.parse().unwrap_or(0);
        if self.check_due && event != "n" {
            // The shell tells at once what has become of a start.
            self.begin_check(true);
        }
        match event {
            "t" => self.turn(first.parse().unwrap_or(0)),
            "s" | "g" | "f" => self.finish_order(nth, event),
            "x" => self.exit(nth, ExitStatus::Code(second.parse().unwrap_or(0)), 0),
            "l" => self.exit(nth, ExitStatus::Code(0), second.parse().unwrap_or(1)),
            "k" | "y" => {
                let (number, signal) = (second.parse().unwrap_or(9), Signal::parse(second));
                self.exit(nth, ExitStatus::Killed { number, signal, core_dumped: false }, 0);
            }
            "e" | "w" | "r" | "a" => self.change(event, nth, second),
            "u" => {
                let pid = Pid(first.parse().unwrap_or(0));
                if !self.processes.contains(&pid) {
                    self.tell(exited(pid, ExitStatus::Code(0), None));
                }
            }
            "!" => {
                let sender = Some(Sender { pid: 1, uid: 0 });
                if let Some(signal) = Signal::parse(first) {
                    use Signal::{Int, Quit, Term, Usr2};
                    self.stopping |= matches!(signal, Int | Quit | Term | Usr2);
                    self.tell(Event::Signaled { signal, sender });
                }
            }
            "o" => {
                let connection = self.connect(None);
                self.tell(Event::Opened { connection });
            }
            "c" => {
                if let Some(connection) = pick(self.open.keys(), nth) {
                    self.close(connection);
                }
            }
            ">" | "m" => self.request(nth, second, event),
            "p" => {
                if let Some(candidate) = self.candidate.as_mut().filter(|c| !c.runs) {
                    candidate.runs = true;
                    self.tell(Event::PreflightStarted { pid: CANDIDATE, deployment: None });
                }
            }
            "q" => self.end_candidate(first),
            "n" => self.begin_check(false),
            "z" => {
                if let Some(pid) = pick(self.checks.iter(), nth) {
                    self.checks.remove(&pid);
                    let status = ExitStatus::Code(second.parse().unwrap_or(0));
                    self.tell(exited(pid, status, None));
                }
            }
            "h" => self.hand_over(first),
            _ => {}
        }
    }

    /// A process does something else with signals, or a group ends.
    fn change(&mut self, event: &str, nth: usize, how: &str) {
        if event == "e" {
            let group = pick(self.signals.groups.keys(), nth);
            return group.into_iter().for_each(|group| self.signals.end(group));
        }
        let Some(pid) = pick(self.processes.iter(), nth) else { return };
        match (event, Signal::parse(how)) {
            ("a", _) => self.signals.tell(pid, how),
            ("w", Some(signal)) => self.tell(Event::Suspended { pid, signal }),
            ("r", _) => self.tell(Event::Continued { pid }),
            _ => {}
        }
    }

    fn turn(&mut self, ms: u32) {
        self.now = self.now + Duration::from_millis(u64::from(ms));
        self.tell(Event::Turn);
        if next_deadline(&self.state).is_some_and(|due| due <= self.now) {
            // For what was answered.
            self.tell(Event::Turn);
        }
        // What is ordered is answered at once; with nothing on the way, only time brings work.
        let due = next_deadline(&self.state).filter(|due| *due <= self.now);
        assert!(
            self.left || !self.orders.is_empty() || due.is_none(),
            "the loop spins: {due:?} is due at {:?}",
            self.now
        );
    }

    fn finish_order(&mut self, nth: usize, how: &str) {
        let Some(slot) = pick(self.orders.keys(), nth) else { return };
        self.orders.remove(&slot);
        if how == "f" {
            let why = "no such file".to_owned();
            return self.tell(Event::SpawnFailed { slot, why });
        }
        // A number is not used again as long as a group has it, for all that is known.
        let taken =
            |pid: &i32| self.is_there(Pid(*pid)) || self.signals.groups.contains_key(&Pid(*pid));
        let pid = Pid((100..).find(|pid| !taken(pid)).expect("a free pid"));
        self.processes.insert(pid);
        let connection = (how == "g").then(|| self.connect(Some(pid)));
        self.tell(Event::Spawned { slot, pid, connection, directory: None });
    }

    fn exit(&mut self, nth: usize, status: ExitStatus, left: u32) {
        if let Some(pid) = pick(self.processes.iter(), nth) {
            self.processes.remove(&pid);
            for owner in self.open.values_mut() {
                owner.take_if(|owner| *owner == pid);
            }
            let left = self.signals.leave(pid, left);
            self.tell(exited(pid, status, left));
        }
    }

    fn begin_check(&mut self, runs: bool) {
        if !std::mem::take(&mut self.check_due) {
            return;
        }
        if !runs {
            return self.tell(Event::CheckNotStarted { why: "no such file".to_owned() });
        }
        let taken = |pid: &i32| self.checks.contains(&Pid(*pid));
        let pid = Pid((CHECK.0..).find(|pid| !taken(pid)).expect("a free pid"));
        self.checks.insert(pid);
        self.tell(Event::CheckStarted { pid });
    }

    fn end_candidate(&mut self, how: &str) {
        let Some(candidate) = self.candidate.take() else { return };
        let outcome = candidate.end(how);
        let was_due = self.handover_due;
        self.tell(Event::PreflightEnded { outcome });
        let is_fit = !candidate.is_killed && how == "fit";
        assert!(!self.handover_due || was_due || is_fit, "{how} takes over");
    }

    /// At the end of a turn, when everything that was ordered is done.
    fn hand_over(&mut self, how: &str) {
        let is_busy = self.check_due || !self.orders.is_empty();
        if !(self.handover_due || self.handback_due) || is_busy {
            return;
        }
        self.handover_due = false;
        let is_hand_back = std::mem::take(&mut self.handback_due);
        if self.state.reexec.is_none_or(|reexec| reexec.stage != Stage::HandingOver) {
            return;
        }
        assert!(!self.stopping && self.state.stopping.is_none(), "handed over on the way out");
        let why = "not now".to_owned();
        let newest = self.state.newest_generation;
        // No event tells of a Ruby Einhorn that goes on.
        let how = if is_hand_back { "no" } else { how };
        self.tell(match how {
            "adopted" => Event::Adopted { from_release: "0.0.1".to_owned() },
            "back" => Event::RolledBack { why },
            _ => Event::HandOverFailed { why },
        });
        let grown = self.state.newest_generation.0 - newest.0;
        assert!(grown <= u32::from(how == "adopted"), "{grown} generations at once");
        assert_eq!(self.state.reexec, None, "the master's own step is over");
        if grown == 1 {
            self.promise = Some(self.state.capacity());
        }
    }

    fn connect(&mut self, owner: Option<Pid>) -> ConnectionId {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.open.insert(connection, owner);
        connection
    }

    fn close(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
        self.tell(Event::Closed { connection });
    }

    fn request(&mut self, nth: usize, line: &str, from: &str) {
        let Some(connection) = pick(self.open.keys(), nth) else { return };
        let first = self.processes.first().map_or("0".to_owned(), Pid::to_string);
        let line = line.replace('$', &first);
        let (authority, membership) = senders::told(&line, from, nth, self.processes.first());
        let line = line.replace('@', &senders::CHILD.to_string());
        let line = match line.len() > LINE_MAX {
            true => Line::TooLong,
            false => Line::Complete(line.into_bytes()),
        };
        let request = Request::parse(&line);
        self.tell(Event::Requested { connection, request, authority, membership });
    }

    /// Tells an event, carries out what is to be done, and asserts what must hold.
    fn tell(&mut self, event: Event) {
        let now = Now { monotonic: self.now, realtime: Realtime(0) };
        let waiting = self.waiting();
        let before = self.state.clone();
        let actions = step(&mut self.state, now, event.clone());
        if let Event::Requested { connection, authority: Authority::OwnWorker(_), .. } = &event {
            senders::assert_harmless(before, &self.state, *connection);
        }
        if let Err(broken) = self.state.check() {
            panic!("{broken}, after {event:?}: {:#?}", self.state);
        }
        self.replies(&event, &waiting, &actions);
        self.keep_promise(&event);
        for action in actions {
            self.carry_out(&event, action);
        }
        self.agree();
        // As the shell does: in the order of the actions that they answer.
        while let Some(answer) = self.answers.pop_front() {
            self.tell(answer);
        }
    }

    /// Those who serve are never fewer, by anything that the master does, than when the roll-out
    /// began and than the target; nor until the old code serves again after one that failed.
    fn keep_promise(&mut self, event: &Event) {
        let (serving, target) = (self.state.capacity(), self.state.config.target);
        let is_stopping = self.state.stopping.is_some();
        let Some(promise) = self.promise.as_mut().filter(|_| !is_stopping) else { return };
        if let Event::Exited { .. } | Event::Suspended { .. } = event {
            *promise = (*promise).min(serving);
        }
        let promised = (*promise).min(target);
        assert!(serving >= promised, "{serving} serve, and {promised} were to");
        if *event == Event::Turn {
            *promise = promised;
        }
        if self.state.rollout.is_none() && self.state.old_workers().next().is_none() {
            self.promise = None;
        }
    }

    /// Who is owed the last line of an upgrade.
    fn waiting(&self) -> Vec<ConnectionId> {
        self.state.waiters.iter().map(|waiter| waiter.connection).collect()
    }

    /// Each request has one last line, and whoever waits for that may be told more until then.
    fn replies(&self, event: &Event, waiting: &[ConnectionId], actions: &[Action]) {
        let (asker, is_answered) = match event {
            Event::Requested { connection, request, .. } => {
                let command = request.as_ref().ok().and_then(|r| r.command.as_deref());
                (Some(*connection), !matches!(command, Some("worker:ack" | "worker:ping")))
            }
            _ => (None, false),
        };
        let mut last_count = 0;
        for action in actions {
            let (connection, reply, is_told) = match action {
                Action::Reply { connection, reply } => {
                    (connection, reply, !reply.message.is_empty())
                }
                // The shell fills it.
                Action::Report { connection, reply, .. } => (connection, reply, true),
                _ => continue,
            };
            assert!(is_told, "an empty answer");
            let news =
                reply.event.as_ref().map(|event| ReplyEvent::parse(event).expect("an event"));
            let is_end = news.map(|news| matches!(news, ReplyEvent::End(_)));
            assert!(is_end.is_none_or(|is_end| is_end != reply.wait), "more after the end");
            let is_awaited = asker == Some(*connection) || waiting.contains(connection);
            assert!(is_awaited, "told, though another asked");
            last_count += usize::from(!reply.wait);
        }
        let gone = match event {
            Event::Closed { connection } => waiting.iter().filter(|w| *w == connection).count(),
            _ => 0,
        };
        let open = waiting.len() + usize::from(is_answered) - gone;
        assert_eq!(last_count + self.state.waiters.len(), open, "each has one last line");
    }

    fn carry_out(&mut self, event: &Event, action: Action) {
        match action {
            Action::Spawn { slot, generation } => {
                assert_eq!(*event, Event::Turn, "a worker ordered by it");
                let stopping = self.stopping || self.state.stopping.is_some();
                assert!(!stopping, "a worker ordered on the way out");
                assert!(self.orders.insert(slot, generation).is_none(), "{slot:?} twice");
            }
            Action::Signal { pid, .. } | Action::Inspect { pid, .. } => {
                assert!(self.is_there(pid), "{action:?}, which is gone");
                self.answers.extend(self.signals.answers(&action, &self.state));
            }
            Action::LookAtGroups => {
                self.answers.extend(self.signals.answers(&action, &self.state));
            }
            Action::Close { connection } => {
                let owner = self.open.get(&connection).expect("closed, though not open");
                assert_eq!(*owner, None, "closed, though a worker may use it again");
                self.close(connection);
            }
            Action::StartPreflight => {
                // One that is not wanted any more is forgotten with the next.
                let is_free = self.candidate.as_ref().is_none_or(|candidate| candidate.is_killed);
                assert!(is_free, "two candidates at once");
                assert!(self.state.stopping.is_none(), "a candidate on the way out");
                self.candidate = Some(Candidate::default());
            }
            Action::KillPreflight => {
                self.candidate.as_mut().expect("a candidate to end").is_killed = true;
            }
            Action::HandOver => self.handover_due = true,
            Action::HandBack => {
                let is_asked = self.state.reexec.is_some_and(|reexec| reexec.is_hand_back);
                assert!(is_asked, "nobody wants a Ruby Einhorn");
                self.handback_due = true;
            }
            Action::RunCanaryCheck { worker, .. } => {
                assert!(self.processes.contains(&worker), "a look at {worker}, which is gone");
                assert!(!std::mem::replace(&mut self.check_due, true), "two looks at once");
            }
            Action::KillCheck { process } => {
                assert!(self.checks.contains(&process), "{process} does not look at a canary");
            }
            Action::Reply { .. } | Action::Report { .. } => {}
            Action::Log { message, .. } => assert!(!message.is_empty(), "an empty line"),
            Action::Exit { code } => {
                let alone = self.processes.is_empty() && self.orders.is_empty();
                assert!(alone || code != 0, "left its workers behind");
                self.left = true;
            }
        }
    }

    fn is_there(&self, pid: Pid) -> bool {
        self.processes.contains(&pid) || self.state.leftovers.contains_key(&pid)
    }

    /// The state and the world know of the same things, and of no more than there may be.
    fn agree(&self) {
        assert!(self.state.workers.keys().eq(&self.processes), "workers are processes");
        assert!(self.state.connections.keys().eq(self.open.keys()), "connections are open");
        assert_eq!(self.state.ordered, self.orders, "orders are on the way");
        assert!(self.orders.len() <= SPAWNS_PER_TURN, "{} orders", self.orders.len());
    }
}

/// The Nth of some things, counted round.
fn pick<'t, T: Copy + 't>(
    mut things: impl ExactSizeIterator<Item = &'t T>,
    nth: usize,
) -> Option<T> {
    things.nth(nth.checked_rem(things.len())?).copied()
}
