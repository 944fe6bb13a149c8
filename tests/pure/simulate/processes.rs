//! Processes: how they start, fare and end. Nothing is planned: whether a process does something
//! now is up to chance and its fate; what it was told the state knows.

use std::time::Duration;

use einhorn::decide::{Event, Inspection, Left, PreflightOutcome};
use einhorn::state::{
    AckMode, CandidateReport, Disposition, ExitStatus, Generation, Monotonic, Pid, Signal, Slot,
    State, Worker,
};

use super::people::People;
use super::world::World;
use crate::example::fit;

const OK: ExitStatus = ExitStatus::Code(0);
const FAILED: ExitStatus = ExitStatus::Code(70);
const UNKNOWN: ExitStatus = ExitStatus::Unknown;
const KILLED: ExitStatus = ended_by(Signal::Kill);

/// What suspends a worker, apart from what the master sends it.
const SUSPENDS: &[Signal] = &[Signal::Stop, Signal::Tstp, Signal::Ttin, Signal::Ttou];

/// Numbers differ from machine to machine; the state has names.
const fn ended_by(signal: Signal) -> ExitStatus {
    ExitStatus::Killed { number: 9, signal: Some(signal), core_dumped: false }
}

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
    /// What it does with signals; `None` if that cannot be seen.
    pub(super) disposition: Option<Disposition>,
    /// Which signal suspends it.
    suspended: Option<Signal>,
    /// Which signal ends it as soon as it runs.
    dying: Option<Signal>,
    permission: Permission,
}

/// Whether signals may be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Permission {
    Given,
    GivenLater,
    NeverGiven,
}

/// What is left in the group of a worker that was reaped.
#[derive(Clone, Copy)]
pub(super) struct Group {
    count: u32,
    ends: Ends,
    permission: Permission,
}

#[derive(Clone, Copy)]
enum Ends {
    Soon,
    AtAnySignal,
    AtKill,
    Never,
}

impl Process {
    /// What a signal does to it.
    fn take(&mut self, signal: Signal) {
        let is_default = self.disposition == Some(Disposition::Default);
        match signal {
            Signal::Kill => self.is_killed = true,
            Signal::Cont => self.suspended = None,
            _ if signal == Signal::Stop || is_default && signal.stops_a_program() => {
                self.suspended = Some(signal);
            }
            _ if is_default && signal.ends_a_program() => self.dying = Some(signal),
            _ => {}
        }
    }

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
        let disposition = self.disposition(role);
        let permission = self.permission();
        let (is_killed, suspended, dying) = (false, None, None);
        self.processes.insert(
            pid,
            Process { role, fate, until, is_killed, disposition, suspended, dying, permission },
        );
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

    fn disposition(&mut self, role: Role) -> Option<Disposition> {
        use Disposition::{Blocked, Caught, Default, Ignored};
        match role {
            Role::Worker(_, generation) if self.random.chance(85) => {
                let of_its_code = if generation.0 % 4 == 3 { Default } else { Caught };
                Some(of_its_code)
            }
            _ => self.random.one_of(&[None, Some(Blocked), Some(Ignored), Some(Default)]),
        }
    }

    fn permission(&mut self) -> Permission {
        match self.random.below(100) {
            _ if self.is_calm => Permission::Given,
            0..=2 => Permission::GivenLater,
            3 => Permission::NeverGiven,
            _ => Permission::Given,
        }
    }

    /// Whether a signal may be sent; in calm until the master is on its way out.
    fn is_permitted(&mut self, state: &State, permission: &mut Permission) -> bool {
        let is_mended = self.is_calm && state.stopping.is_none();
        let given = *permission == Permission::Given || is_mended;
        if *permission == Permission::GivenLater && self.random.chance(30) {
            *permission = Permission::Given;
        }
        given
    }

    /// What can be seen of what a worker does with signals.
    pub(super) fn inspect(&self, pid: Pid) -> Inspection {
        let disposition = self.processes.get(&pid).and_then(|process| process.disposition);
        Inspection { disposition, program: None }
    }

    /// Sends a signal to a worker, or to what one has left. Answers what the shell tells of it.
    pub(super) fn signal(&mut self, state: &State, pid: Pid, signal: Signal) -> Event {
        let inspection = self.inspect(pid);
        let is_sent = if let Some(mut process) = self.processes.get(&pid).copied() {
            let is_sent = self.is_permitted(state, &mut process.permission);
            if is_sent {
                process.take(signal);
            }
            self.processes.insert(pid, process);
            is_sent
        } else if let Some(mut group) = self.groups.remove(&pid) {
            let is_sent = self.is_permitted(state, &mut group.permission);
            let ends = match group.ends {
                Ends::AtAnySignal => signal.ends_a_program(),
                Ends::AtKill | Ends::Soon => signal == Signal::Kill,
                Ends::Never => false,
            };
            if !is_sent || !ends {
                self.groups.insert(pid, group);
            }
            is_sent
        } else {
            assert!(state.leftovers.contains_key(&pid), "{pid} was reaped");
            true
        };
        match is_sent {
            true if signal == Signal::Kill => {
                Event::SignalSent { pid, signal, inspection: Inspection::default() }
            }
            true => Event::SignalSent { pid, signal, inspection },
            false => Event::SignalFailed { pid, signal, why: "not permitted".to_owned() },
        }
    }

    /// What is seen of what a worker has left.
    pub(super) fn look_at(&self, group: Pid) -> Event {
        let left = self.groups.get(&group).map(|left| Left {
            count: left.count,
            program: None,
            is_suspended: false,
        });
        Event::GroupSeen { group, left }
    }

    /// Processes end that workers have left, mostly without a word.
    pub(super) fn live_on(&mut self, state: &State) -> Option<Event> {
        let is_mended = self.is_calm && state.stopping.is_none();
        let count = self.groups.len();
        let random = &mut self.random;
        self.groups.retain(|_, group| {
            let ends = matches!(group.ends, Ends::Soon) && random.chance(10);
            !(ends || is_mended)
        });
        let is_told = self.groups.len() < count && self.random.chance(30);
        is_told.then(|| self.reap(state, Pid(1_000_000))).flatten()
    }

    /// What a process does now, if anything: it ends, or says that it is up, each so often in a
    /// hundred. In calm it does what it should. One that is suspended does nothing.
    pub(super) fn live(&mut self, state: &State, pid: Pid) -> Option<Event> {
        let process = *self.processes.get(&pid)?;
        let worker = state.workers.get(&pid);
        if let Some(worker) = worker.filter(|_| !process.is_killed) {
            let suspended = self.suspend(pid);
            return match (suspended, worker.suspension.current) {
                (Some(signal), None) => Some(Event::Suspended { pid, signal }),
                (None, Some(_)) => Some(Event::Continued { pid }),
                (Some(_), Some(_)) => None,
                (None, None) => self.run(state, pid, process),
            };
        }
        self.run(state, pid, process)
    }

    /// Somebody suspends a worker that runs.
    pub(super) fn stop(&mut self, state: &State, pid: Pid) -> Option<Event> {
        let runs = state.workers.get(&pid)?.suspension.current.is_none();
        let process = self.processes.get_mut(&pid).filter(|process| runs && !process.is_killed)?;
        process.suspended = Some(Signal::Stop);
        Some(Event::Suspended { pid, signal: Signal::Stop })
    }

    /// Whether a worker is suspended now; whoever suspends it lets it run again in calm.
    fn suspend(&mut self, pid: Pid) -> Option<Signal> {
        let process = self.processes.get_mut(&pid)?;
        process.suspended = match process.suspended {
            Some(_) if self.is_calm || self.random.chance(5) => None,
            None if !self.is_calm && self.random.chance(1) => Some(self.random.one_of(SUSPENDS)),
            as_it_was => as_it_was,
        };
        process.suspended
    }

    fn run(&mut self, state: &State, pid: Pid, process: Process) -> Option<Event> {
        let worker = state.workers.get(&pid);
        let is_up = worker.is_none_or(Worker::is_acked);
        let should_end = worker.is_none_or(Worker::is_stopping);
        let (ends, acks) = match process.fate {
            _ if process.is_killed => (100, 0),
            // It has no reason to.
            _ if process.permission == Permission::NeverGiven && state.stopping.is_some() => (0, 0),
            _ if process.dying.is_some() => (if self.is_calm { 100 } else { 70 }, 0),
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
        let asked = state.workers.get(&pid).and_then(|worker| worker.stop_signal.as_ref());
        let status = match (process.fate, process.dying, asked) {
            // It may have ended by itself at the same moment.
            _ if process.is_killed && self.random.chance(90) => KILLED,
            (_, Some(signal), _) if self.random.chance(90) => ended_by(signal),
            // Some drain, and then let the signal end them.
            (.., Some(asked)) if self.random.chance(10) => ended_by(asked.signal),
            _ if process.is_worker() => self.random.one_of(&[OK, OK, FAILED, UNKNOWN, KILLED]),
            _ if self.is_calm => OK,
            (Fate::Usual, ..) => OK,
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
        let left = self.leave(process);
        self.ended = Some(process);
        match left {
            None => self.last_reaped = Some(pid),
            Some(group) => drop(self.groups.insert(pid, group)),
        }
        let left =
            left.map(|group| Left { count: group.count, program: None, is_suspended: false });
        Some(Event::Exited { pid, status, last_words, left })
    }

    /// What a process leaves in its group; KILL goes to all of it.
    fn leave(&mut self, process: Process) -> Option<Group> {
        use Ends::{AtAnySignal, AtKill, Never, Soon};
        if !process.is_worker() || process.is_killed || self.is_calm || !self.random.chance(10) {
            return None;
        }
        let ends = self.random.one_of(&[Soon, AtAnySignal, AtKill, Never]);
        let count = 1 + u32::from(self.random.chance(50));
        Some(Group { count, ends, permission: self.permission() })
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
