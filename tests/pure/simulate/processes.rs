//! Processes: how they start, fare and end. Nothing is planned: whether a process does something
//! now is up to chance and its fate; what it was told the state knows.

use std::time::Duration;

use einhorn::decide::{Event, PreflightOutcome};
use einhorn::state::{
    AckMode, CandidateReport, ExitStatus, Generation, Monotonic, Pid, Signal, Slot, State, Worker,
};

use super::people::People;
use super::world::World;
use crate::example::fit;

const OK: ExitStatus = ExitStatus::Code(0);
const FAILED: ExitStatus = ExitStatus::Code(70);
const UNKNOWN: ExitStatus = ExitStatus::Unknown;
const KILLED: ExitStatus =
    ExitStatus::Killed { number: 9, signal: Some(Signal::Kill), core_dumped: false };

/// What a process is to the master.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Worker(Slot, Generation),
    /// It says whether it can take over. In how many ways it cannot is for the tests by example.
    Candidate,
    /// The command of `--on-canary`.
    Check,
}

/// How a process fares. Whoever is not a worker ends well, badly, not at all, or does not start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    Usual,
    /// Before its ACK, or right after it.
    DiesEarly,
    DiesLate,
    /// It cannot be executed, mostly.
    NotStarted,
    /// It neither ACKs nor ends.
    Hangs,
}

/// A process that was not reaped yet.
#[derive(Clone, Copy)]
pub(super) struct Process {
    pub(super) role: Role,
    fate: Fate,
    /// When it has had long enough, if that is so.
    pub(super) until: Option<Monotonic>,
    /// Whether it was sent SIGKILL.
    pub(super) is_killed: bool,
}

impl Process {
    pub(super) fn is_worker(&self) -> bool {
        matches!(self.role, Role::Worker(..))
    }
}

impl World {
    /// The master orders a start, which is reported later. What was of no use is forgotten then.
    pub(super) fn order(&mut self, role: Role, most: Option<Duration>) {
        self.orders.retain(|(other, _)| *other != role);
        self.processes.retain(|_, process| process.role != role || !process.is_killed);
        assert!(self.processes.values().all(|other| other.role != role), "a second {role:?}");
        self.orders.push((role, most.map(|most| self.now + most)));
    }

    /// What becomes of a start that was ordered.
    pub(super) fn start(&mut self, state: &State) -> Option<Event> {
        let (role, until) = self.orders.pop()?;
        let fate = self.fate(role);
        if !self.is_calm && self.random.chance(if fate == Fate::NotStarted { 90 } else { 2 }) {
            let why = "no such file".to_owned();
            return Some(match role {
                Role::Worker(slot, _) => Event::SpawnFailed { slot, why },
                Role::Candidate => {
                    Event::PreflightEnded { outcome: PreflightOutcome::NotStarted { why } }
                }
                Role::Check => Event::CheckNotStarted { why },
            });
        }
        // Rarely under the pid of one that was reaped.
        let reused = self.random.chance(12).then(|| self.last_reaped.take()).flatten();
        self.last_pid.0 += i32::from(reused.is_none());
        let pid = reused.unwrap_or(self.last_pid);
        self.processes.insert(pid, Process { role, fate, until, is_killed: false });
        let is_given = state.config.command_socket_as_fd && self.random.chance(85);
        Some(match role {
            Role::Worker(slot, _) => {
                let connection = is_given.then(|| self.connect());
                Event::Spawned { slot, pid, connection, directory: None }
            }
            Role::Candidate => Event::PreflightStarted { pid, deployment: None },
            Role::Check => Event::CheckStarted { pid },
        })
    }

    /// Code may be good for nothing, whatever the times; candidates and checks fare as they like.
    fn fate(&mut self, role: Role) -> Fate {
        let usual = if self.people == People::Deploy { 75 } else { 55 };
        let any = if self.random.chance(usual) { Fate::Usual } else { self.bad_fate() };
        match role {
            Role::Worker(_, generation) => {
                let of_its_code = *self.fates.entry(generation).or_insert(any);
                self.trouble.unwrap_or(of_its_code)
            }
            Role::Candidate | Role::Check => any,
        }
    }

    pub(super) fn bad_fate(&mut self) -> Fate {
        use Fate::{DiesEarly, DiesLate, Hangs, NotStarted};
        self.random.one_of(&[DiesEarly, DiesLate, Hangs, NotStarted])
    }

    /// What a process does now, if anything: it ends, or says that it is up, each so often in a
    /// hundred. In calm it does what it should.
    pub(super) fn live(&mut self, state: &State, pid: Pid) -> Option<Event> {
        let process = *self.processes.get(&pid)?;
        let worker = state.workers.get(&pid);
        let is_up = worker.is_none_or(Worker::is_acked);
        let should_end = worker.is_none_or(Worker::is_stopping);
        let (ends, acks) = match process.fate {
            _ if process.is_killed => (100, 0),
            _ if self.is_calm => (if should_end { 100 } else { 0 }, 100),
            Fate::Hangs => (0, 0),
            Fate::DiesEarly | Fate::NotStarted => (70, 0),
            Fate::DiesLate if is_up => (70, 0),
            Fate::Usual | Fate::DiesLate => (if should_end { 30 } else { 1 }, 60),
        };
        let is_waited_for = !is_up && state.config.ack_mode == AckMode::Manual;
        if self.random.chance(ends) {
            self.reap(state, pid)
        } else if is_waited_for && self.random.chance(acks) {
            self.ack(state, pid)
        } else {
            None
        }
    }

    /// A process ends, if any lives, and is reaped.
    pub(super) fn random_death(&mut self, state: &State) -> Option<Event> {
        let pids: Vec<Pid> = self.processes.keys().copied().chain([Pid(1_000_001)]).collect();
        let pid = self.random.one_of(&pids);
        self.reap(state, pid)
    }

    /// A child is reaped; it may be a stranger.
    pub(super) fn reap(&mut self, state: &State, pid: Pid) -> Option<Event> {
        let last_words = self.random.one_of(&[&b""[..], b"no\x1b[0m \xff\n"]).to_vec();
        let Some(process) = self.processes.remove(&pid) else {
            return Some(Event::Exited { pid, status: OK, last_words, left: None });
        };
        self.last_reaped = Some(pid);
        let status = match process.fate {
            // It may have ended by itself at the same moment.
            _ if process.is_killed && self.random.chance(90) => KILLED,
            _ if process.is_worker() => self.random.one_of(&[OK, OK, FAILED, UNKNOWN, KILLED]),
            _ if self.is_calm => OK,
            Fate::Usual => OK,
            _ => FAILED,
        };
        if process.role == Role::Candidate {
            // One of ours, or a Ruby Einhorn.
            let is_wanted = state.reexec.is_some_and(|reexec| reexec.is_hand_back);
            let is_ruby = !self.is_calm && self.random.chance(if is_wanted { 60 } else { 5 });
            let report = (!is_ruby).then(|| CandidateReport { pid: pid.0, ..fit() });
            let last_words = format!("[MASTER {pid}] INFO: Running under Ruby 3.1.2\n");
            let (pin, is_truncated) = (None, false);
            let outcome =
                PreflightOutcome::Ended { pid, status, report, pin, last_words, is_truncated };
            return Some(Event::PreflightEnded { outcome });
        }
        // A descendant may hold the connection on.
        let connection = state.workers.get(&pid).and_then(|worker| worker.connection);
        if let Some(connection) = connection.filter(|_| self.random.chance(70)) {
            self.close(state, connection);
        }
        Some(Event::Exited { pid, status, last_words, left: None })
    }

    /// Dies with the next that it does.
    pub(super) fn kill(&mut self, pid: Pid) {
        let process = self.processes.get_mut(&pid).expect("the master kills the living only");
        assert!(!process.is_killed || process.role != Role::Check, "{pid} is killed twice");
        process.is_killed = true;
    }

    /// Kills the candidate; one that is said to run only after that is killed then.
    pub(super) fn kill_candidate(&mut self) {
        let mut all = self.processes.iter();
        match all.find(|(_, process)| process.role == Role::Candidate) {
            Some((pid, _)) => self.kill(*pid),
            None => assert!(self.orders.iter().any(|(role, _)| *role == Role::Candidate)),
        }
    }
}
