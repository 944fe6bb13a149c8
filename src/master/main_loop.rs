//! The loop: what has happened is told to `decide`, and what that says is done.

use std::collections::VecDeque;
use std::time::Duration;

use crate::decide::{Action, Event, Level, Sender, next_deadline, step};
use crate::master::Master;
use crate::master::now::now;
use crate::master::source::Source;
use crate::master::upgrade::candidate::NextImage;
use crate::state::Signal;
use crate::sys::poll::Ready;
use crate::sys::signal;

impl Master {
    /// Runs until there is nothing left to run for. Answers the exit status.
    pub fn run(mut self) -> i32 {
        self.renice_master();
        // A signal that asks us to stop comes before anything is started.
        self.deliver_pending_signals();
        // The signal of an exit during the hand-over may be lost: the kernel drops it where SIGCHLD
        // is default and open, and when it is made default.
        self.reap_children();
        loop {
            self.finish_turn();
            if let Some(next_image) = self.upgrade.handover_due.take() {
                self.hand_over(next_image);
                continue;
            }
            if let Some(code) = self.exit_code {
                return self.shut_down(code);
            }
            match self.wakeups.poll.wait(self.poll_timeout(), &self.wakeups.open_mask) {
                Ok(ready) => self.turn(&ready),
                Err(error) => {
                    self.log(Level::Error, &format!("Cannot wait for events any more: {error}"));
                    return self.shut_down(1);
                }
            }
        }
    }

    /// Takes in what has happened: exits first, then signals, then clients.
    fn turn(&mut self, ready: &[Ready]) {
        let is_ready = |source| ready.iter().any(|one| Source::of(one.token) == Some(source));
        let has_signals = is_ready(Source::Signals);
        // Asking costs time for every worker; when clients alone are ready, none has exited.
        if has_signals || ready.is_empty() {
            self.reap_children();
        }
        if has_signals {
            self.drain_signals();
        }
        self.tell_events();
        self.clients.connections.begin_turn();
        for ready in ready {
            match Source::of(ready.token) {
                None | Some(Source::Signals | Source::CommandSocket) => {}
                Some(Source::Log) => self.log.flush(),
                Some(Source::Workers) => self.drain_worker_stderr(),
                Some(Source::Candidate) => self.hear_candidates(),
                Some(Source::Connection(id)) => self.clients.connections.serve(id, *ready),
            }
        }
        self.answer_clients();
        // Last, so that whoever has just spoken is not taken for silent.
        if is_ready(Source::CommandSocket) {
            self.accept();
        }
    }

    /// Ends a turn: what should run is compared with what runs, and what is waited for is set.
    fn finish_turn(&mut self) {
        self.events.push_back(Event::Turn);
        self.tell_events();
        let waiting = self.state.waiters.iter().map(|waiter| waiter.connection).collect();
        for connection in self.clients.connections.finish_turn(&self.wakeups.poll, &waiting) {
            self.events.push_back(Event::Closed { connection });
        }
        self.tell_events();
        if self.state.reexec.is_none() {
            // One that was refused is not kept open.
            self.upgrade.candidate = None;
        }
        debug_assert_eq!(self.state.check(), Ok(()));
        self.log.watch(&self.wakeups.poll);
        self.watch_worker_stderr();
        self.resume_accepting();
        self.keep_metrics();
        self.set_autogroup_levels();
    }

    /// How long the next wait may last; `None` until something happens.
    fn poll_timeout(&self) -> Option<Duration> {
        if self.clients.connections.is_asked() {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            next_deadline(&self.state),
            self.clients.accept_again_at,
            self.metrics_due_at(),
            self.autogroup_levels.try_at(),
        ];
        deadlines.into_iter().flatten().min().map(|deadline| deadline.since(now().monotonic))
    }

    /// Tells `decide` what has happened and does what it says, until both are done. The outcome of
    /// an action is told before the next action is begun, so that its time is right.
    pub(super) fn tell_events(&mut self) {
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
                if reply.wait && !self.clients.connections.has_write_room(connection) => {}
            Action::Reply { connection, reply } => {
                self.clients.connections.send(connection, &reply.to_line());
            }
            Action::Report { connection, kind, reply } => {
                let reply = reply.with_message(self.report(kind));
                self.clients.connections.send(connection, &reply.to_line());
            }
            Action::Close { connection } => self.clients.connections.close(connection),
            Action::Log { level, message } => self.log(level, &message),
            Action::StartPreflight => self.start_preflight(),
            Action::KillPreflight => self.kill_preflight(),
            Action::HandOver => self.upgrade.handover_due = Some(NextImage::Einhorn),
            Action::HandBack => self.upgrade.handover_due = Some(NextImage::Ruby),
            Action::RunCanaryCheck { worker, generation } => self.run_check(worker, generation),
            Action::KillCheck { process } => self.kill_check(process),
            Action::Exit { code } => self.exit_code = Some(code),
        }
    }

    /// Takes the signals that wait in the kernel, now and not with the next wait.
    pub(super) fn deliver_pending_signals(&mut self) {
        if let Err(error) = self.wakeups.open_mask.let_in() {
            self.log(Level::Error, &format!("Cannot let signals in: {error}"));
        }
        self.drain_signals();
    }

    pub(super) fn drain_signals(&mut self) {
        for received in self.wakeups.signals.received() {
            let Some(signal) = signal::name(received.number).and_then(Signal::parse) else {
                continue;
            };
            let sender = received.sender.map(|(pid, uid)| Sender { pid, uid });
            self.events.push_back(Event::Signaled { signal, sender });
        }
    }

    /// Removes what is its own and says good-bye.
    fn shut_down(mut self, code: i32) -> i32 {
        for file in std::mem::take(&mut self.held.files) {
            if let Err(error) = file.remove() {
                let path = file.path().display().to_string();
                self.log(Level::Error, &format!("Cannot remove {path}: {error}"));
            }
        }
        self.drain_stderr_on_exit();
        self.log(Level::Info, &format!("Leaving with exit status {code}"));
        // The last line too waits for room behind all that.
        self.drain_stderr_on_exit();
        code
    }
}
