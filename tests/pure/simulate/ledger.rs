//! What the master must know by now and may do next, kept independently of it: the arithmetic of
//! behaviour.md sections 3 to 5 and of the documentation of `decide::pool`, written a second time.

use std::collections::{BTreeMap, BTreeSet};

use einhorn::decide::Event;
use einhorn::outcome::Outcome;
use einhorn::scalar::Scalar;
use einhorn::state::{ConnectionId, ExitStatus, Pid, Signal, WaitsFor};

use super::due::{Due, LastLine, Whom};
use super::meaning::Meaning;
use super::pace::Pace;
use super::rollout::OVERRUN_PATIENCE;
use super::settings::Settings;
use super::upgrade::Upgrade;
use super::waiting::only;

/// A worker that was not reaped yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) started_at: u64,
    pub(super) acked_at: Option<u64>,
    /// Whether its ACK took too long in a roll-out.
    pub(super) has_overrun: bool,
    pub(super) told_at: Option<u64>,
    pub(super) signals: BTreeSet<Signal>,
    pub(super) pinged: Option<Option<Scalar>>,
    pub(super) connection: Option<ConnectionId>,
}

/// Everything that can be expected of the master.
pub(super) struct Ledger {
    pub(super) settings: Settings,
    pub(super) workers: BTreeMap<Pid, Entry>,
    /// The generation ordered for an index.
    pub(super) ordered: BTreeMap<u32, u32>,
    /// To which living worker `-g` gave each.
    pub(super) connections: BTreeMap<ConnectionId, Option<Pid>>,
    /// The code that is meant to serve.
    pub(super) generation: u32,
    /// The newest that ever was.
    pub(super) newest: u32,
    /// How many of the first N are still to start, all at once.
    pub(super) first_count: u32,
    /// Deaths and failed starts since the last ACK.
    pub(super) streak: u32,
    pub(super) last_start_at: Option<u64>,
    /// Whether one could ever be started.
    pub(super) has_started: bool,
    /// How often workers of an index ended of their own accord.
    pub(super) slot_deaths: BTreeMap<u32, u32>,
    pub(super) pace: Pace,
    pub(super) upgrade: Upgrade,
    /// How many served when the last roll-out began, less what the target and deaths took since.
    pub(super) promise: Option<u32>,
    /// The exit status of a master on its way out.
    pub(super) stop_code: Option<i32>,
    /// How often the things were seen that a run should see.
    pub(super) seen: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Takes in an event other than a turn.
    pub(super) fn happened(&mut self, now: u64, event: &Event, meaning: &Meaning) -> Due {
        let mut due = self.nothing_due();
        match event {
            Event::Turn => {}
            Event::Spawned { slot, pid, connection, directory: _ } => {
                self.spawned(now, slot.0, *pid, *connection, &mut due);
            }
            Event::SpawnFailed { slot, .. } => self.start_failed(now, slot.0),
            Event::Exited { pid, status, .. } => self.exited(now, *pid, *status, &mut due),
            Event::Signaled { signal, .. } => self.signaled(now, *signal, &mut due),
            Event::Opened { connection } => {
                self.connections.insert(*connection, None);
            }
            Event::Requested { connection, request } => {
                let request = request.as_ref().ok();
                let whom = Whom {
                    connection: *connection,
                    id: request.and_then(|request| request.id.clone()),
                    wants_events: request.is_some_and(|request| request.wants_events),
                };
                self.requested(now, whom, meaning, &mut due);
            }
            Event::PreflightStarted { .. } => self.candidate_runs(&mut due),
            Event::PreflightEnded { .. } => {
                let Meaning::Candidate(verdict) = meaning else { panic!("{meaning:?}") };
                self.candidate_ended(now, *verdict, &mut due);
            }
            Event::HandOverFailed { .. } => self.not_upgraded(now, Outcome::Refused, &mut due),
            Event::Adopted { .. } => self.adopted(now, &mut due),
            Event::RolledBack { .. } => self.rolled_back(now, &mut due),
            Event::CheckStarted { pid } => self.check_started(*pid, &mut due),
            Event::CheckNotStarted { .. } => self.check_not_started(now, &mut due),
            Event::Closed { connection } => {
                self.connections.remove(connection);
                self.hung_up_on(*connection);
            }
        }
        due
    }

    /// What is due before anything is known to have happened.
    pub(super) fn nothing_due(&self) -> Due {
        let (open, stages) = (self.upgrade.open(), self.upgrade.stages());
        Due { open, stages, ..Due::default() }
    }

    fn spawned(
        &mut self,
        now: u64,
        slot: u32,
        pid: Pid,
        connection: Option<ConnectionId>,
        due: &mut Due,
    ) {
        let generation = self.ordered.remove(&slot).unwrap_or(self.generation);
        let started_at = now;
        let entry = Entry { slot, generation, started_at, connection, ..Entry::default() };
        self.workers.insert(pid, entry);
        self.connections.extend(connection.map(|id| (id, Some(pid))));
        self.last_start_at = Some(now);
        self.has_started = true;
        due.is_told = true;
        if self.stop_code.is_some() {
            self.saw("a start that completed after the stop");
            self.tell_to_go(now, &[pid], Signal::Usr2, due);
        }
    }

    fn start_failed(&mut self, now: u64, slot: u32) {
        let generation = self.ordered.remove(&slot).unwrap_or(self.generation);
        self.first_count = 0;
        self.last_start_at = Some(now);
        if self.is_started(generation) {
            self.died_early(generation);
        }
        self.rollout_start_failed(generation, slot);
        self.saw("a start that failed");
    }

    fn exited(&mut self, now: u64, pid: Pid, status: ExitStatus, due: &mut Due) {
        let Some(worker) = self.workers.remove(&pid) else {
            return self.check_ended(now, pid, status, due);
        };
        due.is_told = true;
        if let Some(given) = worker.connection.and_then(|id| self.connections.get_mut(&id)) {
            *given = None;
        }
        let timer = self.settings.ack_after.map(|after| worker.started_at + after);
        let up = worker.acked_at.is_some() || timer.is_some_and(|due| due <= now);
        let told = worker.told_at.is_some() || self.stop_code.is_some();
        if !told {
            *self.slot_deaths.entry(worker.slot).or_default() += 1;
            if !up && self.is_started(worker.generation) {
                self.died_early(worker.generation);
                self.saw("a death before its ACK");
            }
            self.rollout_death(now, pid, &worker, up, status);
        }
        self.canary_died(pid, due);
    }

    /// One more early death in a row; old workers beside a canary never have the last.
    fn died_early(&mut self, generation: u32) {
        let last = self.settings.retries == Some(self.streak + 1);
        match last && generation != self.generation {
            true => self.saw("an old worker that would have had the last attempt"),
            false => self.streak += 1,
        }
    }

    fn signaled(&mut self, now: u64, signal: Signal, due: &mut Due) {
        match signal {
            Signal::Int | Signal::Usr2 => self.stop(now, Signal::Usr2, due),
            Signal::Term => self.stop(now, Signal::Term, due),
            Signal::Quit => {
                self.stop(now, Signal::Quit, due);
                if self.settings.kill_children_on_exit {
                    self.stop(now, Signal::Usr2, due);
                }
                self.stop_code = Some(1);
                due.exits.push(1);
                self.answer_exit(due);
            }
            Signal::Hup => self.hung_up(now, due),
            _ => {}
        }
    }

    fn requested(&mut self, now: u64, whom: Whom, meaning: &Meaning, due: &mut Due) {
        const MISTAKE: &[Outcome] = &[Outcome::NotUnderstood, Outcome::Refused];
        let is_given = self.connections.get(&whom.connection).is_some_and(Option::is_some);
        match meaning {
            Meaning::Ack(_) | Meaning::Ping(..) if is_given => {}
            Meaning::Ack(_) | Meaning::Ping(..) => due.closes.push(whom.connection),
            Meaning::Upgrade(kind) => return self.asked(now, *kind, whom, due),
            Meaning::HandBack(kind) => return self.asked_back(now, *kind, whom, due),
            Meaning::Abort => return self.aborted(now, whom, due),
            Meaning::Wait => return self.attached(whom, due),
            Meaning::Die(signal, waits) => {
                // Others have their last lines first.
                self.stop(now, *signal, due);
                return match waits {
                    true => self.waits(whom, WaitsFor::Exit, due),
                    false => due.replies.push(LastLine::plain(whom, only(Outcome::Done))),
                };
            }
            Meaning::Target(target, waits) => {
                let is_set = self.retarget(now, i64::from(*target), due);
                return self.settles(whom, is_set, *waits, due);
            }
            Meaning::TargetBy(by, waits) => {
                let target = i64::from(self.settings.target) + by;
                let is_set = self.retarget(now, target, due);
                return self.settles(whom, is_set, *waits, due);
            }
            Meaning::Config(changes) => {
                self.change(now, changes, due);
                due.replies.push(LastLine::plain(whom, &[Outcome::Done, Outcome::NotUnderstood]));
            }
            Meaning::Mistake => due.replies.push(LastLine::plain(whom, MISTAKE)),
            _ => due.replies.push(LastLine::plain(whom, only(Outcome::Done))),
        }
        match meaning {
            Meaning::Ack(pid) if self.settings.ack_after.is_none() => self.acked(now, *pid, due),
            Meaning::Ping(pid, id) => {
                if let Some(worker) = pid.and_then(|pid| self.workers.get_mut(&pid)) {
                    worker.pinged = Some(id.clone());
                }
            }
            Meaning::Louder => {
                self.settings.verbosity = self.settings.verbosity.saturating_sub(1);
            }
            Meaning::Quieter => self.settings.verbosity = (self.settings.verbosity + 1).min(2),
            Meaning::Signal(signals) => {
                for signal in signals {
                    due.signals.extend(self.workers.keys().map(|pid| (*pid, *signal)));
                }
            }
            Meaning::Candidate(_) => panic!("a client is no candidate"),
            _ => {}
        }
    }

    /// The number of workers was set, or not; whoever waits for it does so.
    fn settles(&mut self, whom: Whom, is_set: bool, waits: bool, due: &mut Due) {
        match (is_set, waits) {
            (true, true) => self.waits(whom, WaitsFor::Settled, due),
            (true, false) => due.replies.push(LastLine::plain(whom, only(Outcome::Done))),
            (false, _) => due.replies.push(LastLine::plain(whom, only(Outcome::Refused))),
        }
    }

    fn acked(&mut self, now: u64, pid: Option<Pid>, due: &mut Due) {
        let Some(worker) = pid.and_then(|pid| self.workers.get_mut(&pid)) else { return };
        if worker.acked_at.is_none() {
            worker.acked_at = Some(now);
            self.streak = 0;
            due.is_told = true;
        }
    }

    /// Answers whether the target is that now.
    pub(super) fn retarget(&mut self, now: u64, target: i64, due: &mut Due) -> bool {
        let target = u32::try_from(target).ok().filter(|target| *target >= 1);
        let Some(target) = target.filter(|_| self.stop_code.is_none()) else { return false };
        if self.upgrade.rollout.is_some() {
            self.saw(match target.cmp(&self.settings.target) {
                std::cmp::Ordering::Less => "a target lowered in a roll-out",
                std::cmp::Ordering::Greater => "a target raised in a roll-out",
                std::cmp::Ordering::Equal => "a target set anew in a roll-out",
            });
        }
        if target != self.settings.target {
            self.answer_unsettled(Outcome::Superseded, due);
        }
        self.pace.retarget(now, self.settings.target, target);
        self.settings.target = target;
        self.first_count = self.first_count.min(self.missing());
        true
    }

    fn stop(&mut self, now: u64, signal: Signal, due: &mut Due) {
        self.stop_code.get_or_insert(0);
        if self.has_given_up() && !self.workers.is_empty() {
            self.saw("a stop after giving up");
        }
        self.abandon(now, due);
        let pids: Vec<Pid> = self.workers.keys().copied().collect();
        self.tell_to_go(now, &pids, signal, due);
    }

    fn tell_to_go(&mut self, now: u64, pids: &[Pid], signal: Signal, due: &mut Due) {
        for pid in pids {
            self.told(now, *pid, signal);
            due.signals.push((*pid, signal));
        }
    }

    /// A worker was told to go.
    pub(super) fn told(&mut self, now: u64, pid: Pid, signal: Signal) {
        let Some(worker) = self.workers.get_mut(&pid) else { return };
        worker.told_at.get_or_insert(now);
        worker.signals.insert(signal);
    }

    /// Timers ACK those that have lived long enough.
    pub(super) fn acknowledge_due(&mut self, now: u64, due: &mut Due) {
        let Some(after) = self.settings.ack_after else { return };
        for worker in self.workers.values_mut() {
            if worker.acked_at.is_none() && worker.started_at + after <= now {
                worker.acked_at = Some(now);
                self.streak = 0;
                due.is_told = true;
            }
        }
    }

    /// Who has outlived its signal by now, and was not killed for it yet.
    pub(super) fn overdue(&self, now: u64) -> BTreeSet<Pid> {
        let due = |worker: &Entry| self.kill_due_at(worker).is_some_and(|at| at <= now);
        self.workers.iter().filter(|(_, worker)| due(worker)).map(|(pid, _)| *pid).collect()
    }

    /// Who is too many: of those that were not told to go, first who is not up, then the highest
    /// indexes.
    pub(super) fn surplus(&self) -> BTreeSet<Pid> {
        let mut staying: Vec<(bool, u32, Pid)> = self
            .current()
            .filter(|(_, worker)| worker.told_at.is_none())
            .map(|(pid, worker)| (worker.acked_at.is_none(), worker.slot, pid))
            .collect();
        staying.sort_unstable();
        let stay = usize::try_from(self.settings.target).expect("a count fits");
        staying.iter().skip(stay).map(|(_, _, pid)| *pid).collect()
    }

    /// The next instant at which there is something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        let after = self.settings.ack_after;
        let unacked = self.workers.values().filter(|worker| worker.acked_at.is_none());
        let acks = unacked.filter_map(|worker| Some(worker.started_at + after?));
        let kills = self.workers.values().filter_map(|worker| self.kill_due_at(worker));
        let starts = self.start_due().ok().map(|(at, _)| at);
        let upgrade = self.upgrade.deadlines().chain(self.rollout_deadlines());
        acks.chain(kills).chain(starts).chain(upgrade).min()
    }

    /// The exit status to leave with once nobody is left.
    pub(super) fn leaves_with(&self) -> Option<i32> {
        if !self.workers.is_empty() || !self.ordered.is_empty() {
            return None;
        }
        self.stop_code.or(self.has_given_up().then_some(1))
    }

    /// Live workers of the code that is meant to serve.
    pub(super) fn current(&self) -> impl Iterator<Item = (Pid, &Entry)> {
        let is_current = |worker: &Entry| worker.generation == self.generation;
        self.workers.iter().filter(move |(_, w)| is_current(w)).map(|(pid, w)| (*pid, w))
    }

    /// Notes that a run has seen something.
    pub(super) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn kill_due_at(&self, worker: &Entry) -> Option<u64> {
        let timeout = self.settings.signal_timeout;
        let patience = match worker.has_overrun {
            true => Some(timeout.unwrap_or(OVERRUN_PATIENCE).min(OVERRUN_PATIENCE)),
            false => timeout,
        };
        let killed = worker.signals.contains(&Signal::Kill);
        (!killed).then(|| Some(worker.told_at? + patience?)).flatten()
    }
}

impl Entry {
    /// Whether it is up and was not told to go.
    pub(super) fn serves(&self) -> bool {
        self.acked_at.is_some() && self.told_at.is_none()
    }
}
