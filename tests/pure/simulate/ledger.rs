//! What the master must know by now and may do next, kept independently of it: the arithmetic of
//! behaviour.md sections 3 to 5 and of the documentation of `decide::pool`, written a second time.

use std::collections::{BTreeMap, BTreeSet};

use einhorn::decide::{Event, SPAWNS_PER_TURN};
use einhorn::scalar::Scalar;
use einhorn::state::{ConnectionId, Pid, Signal};

use super::due::{Due, LastLine};
use super::meaning::{Change, Meaning};
use super::pace::Pace;
use super::upgrade::Upgrade;

/// The longest back-off.
const BACKOFF_MAX: u64 = 30_000_000_000;

/// The settings that bear on the decisions; times in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) target: u32,
    pub(super) interval: u64,
    /// After how long a timer ACKs; `None` in manual mode.
    pub(super) ack_after: Option<u64>,
    pub(super) signal_timeout: Option<u64>,
    pub(super) max_unacked: u32,
    pub(super) max_additional: Option<u32>,
    pub(super) retries: Option<u32>,
    pub(super) verbosity: u8,
    pub(super) kill_children_on_exit: bool,
}

/// A worker that was not reaped yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) slot: u32,
    pub(super) generation: u32,
    pub(super) started_at: u64,
    pub(super) acked: bool,
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
    pub(super) generation: u32,
    /// How many of the first N are still to start, all at once.
    pub(super) first_count: u32,
    /// Deaths and failed starts since the last ACK.
    pub(super) streak: u32,
    pub(super) last_start_at: u64,
    /// Whether one could ever be started.
    pub(super) has_started: bool,
    pub(super) pace: Pace,
    pub(super) upgrade: Upgrade,
    /// The exit status of a master on its way out.
    pub(super) stop_code: Option<i32>,
    /// How often the things were seen that a run should see.
    pub(super) seen: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Takes in an event other than a turn.
    pub(super) fn happened(&mut self, now: u64, event: &Event, meaning: &Meaning) -> Due {
        let mut due = Due { open: self.upgrade.open(), ..Due::default() };
        match event {
            Event::Turn | Event::CheckStarted { .. } | Event::CheckNotStarted { .. } => {}
            Event::Spawned { slot, pid, connection, directory: _ } => {
                self.spawned(now, slot.0, *pid, *connection, &mut due);
            }
            Event::SpawnFailed { slot, .. } => {
                self.ordered.remove(&slot.0);
                self.first_count = 0;
                self.last_start_at = now;
                self.streak += 1;
                self.stalled_at(&mut due);
                self.saw("a start that failed");
            }
            Event::Exited { pid, .. } => self.exited(now, *pid, &mut due),
            Event::Signaled { signal, .. } => self.signaled(now, *signal, &mut due),
            Event::Opened { connection } => {
                self.connections.insert(*connection, None);
            }
            Event::Requested { connection, request } => {
                let id = request.as_ref().ok().and_then(|request| request.id.clone());
                self.requested(now, *connection, id, meaning, &mut due);
            }
            Event::PreflightStarted { .. } => self.candidate_runs(&mut due),
            Event::PreflightEnded { .. } => {
                let Meaning::Candidate(verdict) = meaning else { panic!("{meaning:?}") };
                self.candidate_ended(now, *verdict, &mut due);
            }
            Event::HandOverFailed { .. } => self.not_upgraded(&mut due),
            Event::Adopted { .. } => self.adopted(now, &mut due),
            Event::RolledBack { .. } => self.rolled_back(now, &mut due),
            Event::Closed { connection } => {
                self.connections.remove(connection);
                self.hung_up_on(*connection);
            }
        }
        due
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
        self.last_start_at = now;
        self.has_started = true;
        due.is_told = true;
        if self.stop_code.is_some() {
            self.saw("a start that completed after the stop");
            self.tell_to_go(now, &[pid], Signal::Usr2, due);
        }
    }

    fn exited(&mut self, now: u64, pid: Pid, due: &mut Due) {
        let Some(worker) = self.workers.remove(&pid) else { return };
        due.is_told = true;
        if let Some(given) = worker.connection.and_then(|id| self.connections.get_mut(&id)) {
            *given = None;
        }
        let timer = self.settings.ack_after.map(|after| worker.started_at + after);
        let up = worker.acked || timer.is_some_and(|due| due <= now);
        let told = worker.told_at.is_some() || self.stop_code.is_some();
        if !up && !told && worker.generation == self.generation {
            self.streak += 1;
            self.stalled_at(due);
            self.saw("a death before its ACK");
        }
        if self.upgrade.rollout.is_some() && !told {
            self.saw(match (worker.generation == self.generation, up) {
                (true, false) => "an early death in a roll-out",
                (true, true) => "a late death in a roll-out",
                (false, _) => "an old worker that dies in a roll-out",
            });
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
            }
            Signal::Hup => self.hung_up(now, due),
            _ => {}
        }
    }

    fn requested(
        &mut self,
        now: u64,
        connection: ConnectionId,
        id: Option<Scalar>,
        meaning: &Meaning,
        due: &mut Due,
    ) {
        let is_given = self.connections.get(&connection).is_some_and(Option::is_some);
        match meaning {
            Meaning::Ack(_) | Meaning::Ping(..) if is_given => {}
            Meaning::Ack(_) | Meaning::Ping(..) => due.closes.push(connection),
            Meaning::Upgrade(kind) => return self.asked(now, *kind, connection, id, due),
            Meaning::HandBack(kind) => return self.asked_back(now, *kind, connection, id, due),
            Meaning::Die(signal) => {
                // Others have their last lines first.
                self.stop(now, *signal, due);
                due.replies.push(LastLine::plain(connection, id));
            }
            Meaning::Config(changes) => {
                self.change(now, changes, due);
                due.replies.push(LastLine::plain(connection, id));
            }
            _ => due.replies.push(LastLine::plain(connection, id)),
        }
        match meaning {
            Meaning::Nothing | Meaning::Die(_) | Meaning::Config(_) => {}
            Meaning::Upgrade(_) | Meaning::HandBack(_) => {}
            Meaning::Candidate(_) => panic!("a client is no candidate"),
            Meaning::Ack(pid) if self.settings.ack_after.is_none() => self.acked(*pid, due),
            Meaning::Ack(_) => {}
            Meaning::Ping(pid, id) => {
                if let Some(worker) = pid.and_then(|pid| self.workers.get_mut(&pid)) {
                    worker.pinged = Some(id.clone());
                }
            }
            Meaning::Target(target) => self.retarget(now, i64::from(*target)),
            Meaning::TargetBy(by) => self.retarget(now, i64::from(self.settings.target) + by),
            Meaning::Louder => {
                self.settings.verbosity = self.settings.verbosity.saturating_sub(1);
            }
            Meaning::Quieter => self.settings.verbosity = (self.settings.verbosity + 1).min(2),
            Meaning::Signal(signals) => {
                for signal in signals {
                    due.signals.extend(self.workers.keys().map(|pid| (*pid, *signal)));
                }
            }
        }
    }

    fn acked(&mut self, pid: Option<Pid>, due: &mut Due) {
        let Some(worker) = pid.and_then(|pid| self.workers.get_mut(&pid)) else { return };
        if !worker.acked {
            worker.acked = true;
            self.streak = 0;
            due.is_told = true;
        }
    }

    fn retarget(&mut self, now: u64, target: i64) {
        let Some(target) = u32::try_from(target).ok().filter(|target| *target >= 1) else { return };
        if self.stop_code.is_some() {
            return;
        }
        if self.upgrade.rollout.is_some() {
            self.saw(match target.cmp(&self.settings.target) {
                std::cmp::Ordering::Less => "a target lowered in a roll-out",
                std::cmp::Ordering::Greater => "a target raised in a roll-out",
                std::cmp::Ordering::Equal => "a target set anew in a roll-out",
            });
        }
        self.pace.retarget(now, self.settings.target, target);
        self.settings.target = target;
        self.first_count = self.first_count.min(self.missing());
    }

    fn change(&mut self, now: u64, changes: &[Change], due: &mut Due) {
        let had_given_up = self.has_given_up();
        let numbered = changes.iter().any(|change| matches!(change, Change::Target(_)));
        if numbered && self.stop_code.is_some() {
            return;
        }
        for change in changes {
            match *change {
                Change::Target(target) => self.retarget(now, i64::from(target)),
                Change::Interval(span) => self.settings.interval = span,
                Change::AckAfter(after) => self.settings.ack_after = after,
                Change::SignalTimeout(timeout) => self.settings.signal_timeout = timeout,
                Change::Verbosity(level) => self.settings.verbosity = level,
                Change::MaxUnacked(max) => self.settings.max_unacked = max,
                Change::MaxAdditional(max) => self.settings.max_additional = max,
                Change::Retries(retries) => self.settings.retries = retries,
            }
        }
        if !had_given_up {
            self.stalled(due);
        }
        self.saw("a change of settings");
    }

    fn stop(&mut self, now: u64, signal: Signal, due: &mut Due) {
        self.stop_code.get_or_insert(0);
        if self.has_given_up() && !self.workers.is_empty() {
            self.saw("a stop after giving up");
        }
        self.abandon(due);
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

    /// A start was ordered, within its rights.
    pub(super) fn ordered(&mut self, now: u64, slot: u32) -> Result<(), String> {
        self.ordered.insert(slot, self.generation);
        if self.first_count > 0 {
            self.first_count -= 1;
        } else if self.streak > 0 {
            self.last_start_at = now;
            self.saw("a start after a back-off");
        } else {
            self.pace.start(now, self.settings.target)?;
            self.saw("an immediate start");
        }
        Ok(())
    }

    /// Timers ACK those that have lived long enough.
    pub(super) fn acknowledge_due(&mut self, now: u64, due: &mut Due) {
        let Some(after) = self.settings.ack_after else { return };
        for worker in self.workers.values_mut() {
            if !worker.acked && worker.started_at + after <= now {
                worker.acked = true;
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
            .map(|(pid, worker)| (!worker.acked, worker.slot, pid))
            .collect();
        staying.sort_unstable();
        let stay = usize::try_from(self.settings.target).expect("a count fits");
        staying.iter().skip(stay).map(|(_, _, pid)| *pid).collect()
    }

    /// From when on one more may start and must, and by which rule; or why none may.
    pub(super) fn start_due(&self) -> Result<(u64, &'static str), &'static str> {
        if self.stop_code.is_some() {
            return Err("the master is stopping");
        }
        if self.missing() == 0 {
            return Err("nobody is missing");
        }
        if self.has_given_up() {
            return Err("the master has given up");
        }
        if self.room() == 0 {
            return Err("as many are beside the old ones as may be");
        }
        if self.first_count > 0 {
            return Ok((0, "first start"));
        }
        if self.waiting() >= self.settings.max_unacked {
            return Err("as many as may be wait for their ACK");
        }
        Ok(match self.streak {
            0 => (self.pace.due_at(self.settings.target), "pace"),
            _ => (self.last_start_at + self.back_off(), "back-off"),
        })
    }

    /// Whether as many are ordered as one turn starts: a single one until one could be started.
    pub(super) fn is_batch_full(&self) -> bool {
        self.ordered.len() >= if self.has_started { SPAWNS_PER_TURN } else { 1 }
    }

    /// The next instant at which there is something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        let after = self.settings.ack_after;
        let unacked = self.workers.values().filter(|worker| !worker.acked);
        let acks = unacked.filter_map(|worker| Some(worker.started_at + after?));
        let kills = self.workers.values().filter_map(|worker| self.kill_due_at(worker));
        let starts = self.start_due().ok().map(|(at, _)| at);
        acks.chain(kills).chain(starts).chain(self.upgrade.deadlines()).min()
    }

    /// The exit status to leave with once nobody is left.
    pub(super) fn leaves_with(&self) -> Option<i32> {
        if !self.workers.is_empty() || !self.ordered.is_empty() {
            return None;
        }
        self.stop_code.or(self.has_given_up().then_some(1))
    }

    /// The lowest index that nobody has.
    pub(super) fn lowest_free(&self) -> u32 {
        let is_used = |slot: u32| {
            self.ordered.contains_key(&slot) || self.workers.values().any(|w| w.slot == slot)
        };
        (0..).find(|slot| !is_used(*slot)).expect("an index is free")
    }

    /// Live workers of the newest code.
    pub(super) fn current(&self) -> impl Iterator<Item = (Pid, &Entry)> {
        let newest = |worker: &Entry| worker.generation == self.generation;
        self.workers.iter().filter(move |(_, w)| newest(w)).map(|(pid, w)| (*pid, w))
    }

    /// How many of the newest code live or are ordered.
    pub(super) fn present(&self) -> u32 {
        count(self.current()) + self.ordered_count()
    }

    /// How many of the newest code there should be in addition.
    pub(super) fn missing(&self) -> u32 {
        self.settings.target.saturating_sub(self.present())
    }

    /// How many new ones wait for their ACK; those on their way out are none of them.
    pub(super) fn waiting(&self) -> u32 {
        let waits = |worker: &Entry| !worker.acked && worker.told_at.is_none();
        count(self.current().filter(|(_, worker)| waits(worker))) + self.ordered_count()
    }

    /// Whether as many attempts as `-r` allows have failed in a row.
    pub(super) fn has_given_up(&self) -> bool {
        self.settings.retries.is_some_and(|retries| self.streak >= retries)
    }

    /// Notes that a run has seen something.
    pub(super) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// `seconds × 1.5^streak`, at most half a minute.
    pub(super) fn back_off(&self) -> u64 {
        let mut wait = self.settings.interval as f64;
        for _ in 0..self.streak {
            wait = (wait * 1.5).min(BACKOFF_MAX as f64);
        }
        wait as u64
    }

    fn kill_due_at(&self, worker: &Entry) -> Option<u64> {
        let killed = worker.signals.contains(&Signal::Kill);
        (!killed).then(|| Some(worker.told_at? + self.settings.signal_timeout?)).flatten()
    }

    fn ordered_count(&self) -> u32 {
        count(self.ordered.values().filter(|generation| **generation == self.generation))
    }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).expect("a count fits")
}
