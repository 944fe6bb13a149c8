//! The event loop: passes events to `decide`, and performs the actions that it returns.

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
    /// Runs until the master exits. Returns the exit status.
    pub fn run(mut self) -> i32 {
        self.renice_master();
        self.set_subreaper(true);
        // SIGCHLD during a hand-over may be lost: the kernel drops it while its disposition is
        // default and it is unblocked, and when it is reset to default. Nobody who has ended is
        // asked to stop.
        self.reap_children();
        // A pending signal to stop must be handled before any worker is started.
        self.deliver_pending_signals();
        loop {
            self.finish_turn();
            if let Some(next_image) = self.upgrade.handover_due.take() {
                self.hand_over(next_image);
                continue;
            }
            if let Some(code) = self.exit_code {
                return self.shut_down(code);
            }
            match self.wakeups.poll.wait(self.poll_timeout(), &self.wakeups.wait_mask) {
                Ok(ready) => self.turn(&ready),
                Err(error) => {
                    self.log(Level::Error, &format!("Cannot wait for events any more: {error}"));
                    return self.shut_down(1);
                }
            }
        }
    }

    /// Handles what is ready: exits first, then signals, then clients.
    fn turn(&mut self, ready: &[Ready]) {
        let is_ready = |source| ready.iter().any(|one| Source::of(one.token) == Some(source));
        let has_signals = is_ready(Source::Signals);
        // waitid(2) takes time for every worker; when only clients are ready, none has exited.
        if has_signals || ready.is_empty() {
            self.reap_children();
        }
        if has_signals {
            self.drain_signals();
        }
        self.dispatch_events();
        self.clients.connections.begin_turn();
        for ready in ready {
            match Source::of(ready.token) {
                None | Some(Source::Signals | Source::CommandSocket) => {}
                Some(Source::Log) => self.log.flush(),
                Some(Source::Workers) => self.drain_worker_stderr(),
                Some(Source::Candidate) => self.drain_candidates(),
                Some(Source::Connection(id)) => self.clients.connections.serve(id, *ready),
            }
        }
        self.handle_requests();
        // Last, so that a client that has just sent something does not count as idle.
        if is_ready(Source::CommandSocket) {
            self.accept();
        }
    }

    /// Ends a turn: reconciles the workers, and updates what the poll waits for.
    fn finish_turn(&mut self) {
        self.events.push_back(Event::Turn);
        self.dispatch_events();
        let waiting = self.state.waiters.iter().map(|waiter| waiter.connection).collect();
        for connection in self.clients.connections.finish_turn(&self.wakeups.poll, &waiting) {
            self.events.push_back(Event::Closed { connection });
        }
        self.dispatch_events();
        if self.state.reexec.is_none() {
            // A refused candidate's file is not kept open.
            self.upgrade.candidate = None;
        }
        debug_assert_eq!(self.state.check(), Ok(()));
        self.log.watch(&self.wakeups.poll);
        self.watch_worker_stderr();
        self.resume_accepting();
        self.update_metrics_file();
        self.set_autogroup_levels();
    }

    /// The timeout of the next wait; `None` waits until something is ready.
    fn poll_timeout(&self) -> Option<Duration> {
        if self.clients.connections.has_requests() {
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

    /// Passes events to `decide` and performs the actions it returns, until there are no more.
    /// Events caused by an action are dispatched before the next action, so that they carry the
    /// right time.
    pub(super) fn dispatch_events(&mut self) {
        let mut actions = VecDeque::new();
        loop {
            if let Some(event) = self.events.pop_front() {
                let is_news = event != Event::Turn;
                let ordered = step(&mut self.state, now(), event);
                if is_news || !ordered.is_empty() {
                    self.metrics_file.mark_stale();
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
            Action::Inspect { pid, signal } => self.inspect(pid, signal),
            Action::LookAtGroups => self.look_at_groups(),
            // Progress is not sent to clients that do not read; the final reply is.
            Action::Reply { connection, reply }
                if reply.wait && !self.clients.connections.has_write_room(connection) => {}
            Action::Reply { connection, reply } => {
                self.clients.connections.send(connection, &reply.to_line());
            }
            Action::Report { connection, kind, reply } => {
                self.inspect_unhandled();
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

    /// Handles the signals pending in the kernel now instead of in the next wait.
    pub(super) fn deliver_pending_signals(&mut self) {
        if let Err(error) = self.wakeups.wait_mask.deliver_pending() {
            self.log(Level::Error, &format!("Cannot unblock signals: {error}"));
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

    /// Removes the master's files, flushes the log, and returns the exit status.
    fn shut_down(mut self, code: i32) -> i32 {
        self.name_those_left();
        for file in std::mem::take(&mut self.resources.files) {
            if let Err(error) = file.remove() {
                let path = file.path().display().to_string();
                self.log(Level::Error, &format!("Cannot remove {path}: {error}"));
            }
        }
        self.drain_stderr_on_exit();
        self.log(Level::Info, &format!("Leaving with exit status {code}"));
        // The last line may be behind a backlog too.
        self.drain_stderr_on_exit();
        code
    }
}
