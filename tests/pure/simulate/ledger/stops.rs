//! What each worker, or what one has left, was asked to stop with: kept by what was sent and told,
//! so that who is sent which signal now can be worked out in another way than the master does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use einhorn::decide::{Action, Event};
use einhorn::outcome::Outcome;
use einhorn::protocol::Args;
use einhorn::state::{
    Disposition, ExitStatus, Monotonic, Pid, Signal, State, StopStep, Stopping, Waiter, WaitsFor,
    Worker,
};

use super::Ledger;
use crate::simulate::rules::{Broken, ensure, same};
use crate::simulate::step::Step;

/// How long a worker whose ACK took too long may outlive its signal.
const GRACE_MAX: Duration = Duration::from_secs(10);

/// How long after the last step a master on its way out waits for what it cannot end.
const PATIENCE: Duration = Duration::from_secs(10);

/// When what failed is tried again, whoever is suspended again is let run again, and an upgrade
/// ends at the latest.
const SECOND: Duration = Duration::from_secs(1);

/// Who was asked what so far.
#[derive(Default)]
pub(super) struct Stop {
    /// Which step of the schedule it is on, and since when.
    on: Option<(usize, Monotonic)>,
    asked_at: Option<Monotonic>,
    /// With which signal last, and how that fared.
    last: Option<(Signal, Sent)>,
    sent: BTreeSet<Signal>,
    continued_at: Option<Monotonic>,
}

#[derive(Clone, Copy, PartialEq)]
enum Sent {
    Ordered,
    Done,
    Failed { since: Monotonic, tried_at: Monotonic },
}

/// What somebody wants of the workers.
enum Wish {
    /// That they stop by the schedule, or by these signals instead.
    Schedule,
    Instead(Vec<Signal>),
    NextStep,
    /// Nothing but these signals.
    Signals(Vec<Signal>),
    Nothing,
}

fn wish(step: &Step) -> Wish {
    let config = &step.after.config;
    match step.event {
        Event::Signaled { signal: Signal::Term, .. } if config.stop.is_none() => {
            Wish::Instead(vec![Signal::Term])
        }
        Event::Signaled { signal: Signal::Int | Signal::Usr2 | Signal::Term, .. } => Wish::Schedule,
        Event::Signaled { signal: Signal::Quit, .. } => {
            let steps = config.stop_schedule();
            let mut ends = steps.steps().iter().map(|step| step.signal);
            let ends = ends.find(|signal| signal.ends_a_program());
            let ends = ends.filter(|_| config.kill_children_on_exit);
            Wish::Instead([Signal::Quit].into_iter().chain(ends).collect())
        }
        Event::Requested { request: Ok(request), .. } => {
            let Args::List(words) = &request.args else { return Wish::Nothing };
            let words: Vec<&str> =
                words.iter().map(String::as_str).filter(|word| *word != "--wait").collect();
            let signals: Option<Vec<Signal>> =
                words.iter().map(|word| Signal::parse(word)).collect();
            match (step.command(), &words[..], signals) {
                (Some("signal"), _, Some(signals)) => Wish::Signals(signals),
                (Some("die"), [], _) => Wish::Schedule,
                (Some("die"), ["--next"], _) => Wish::NextStep,
                (Some("die"), [_], Some(signals)) => Wish::Instead(signals),
                _ => Wish::Nothing,
            }
        }
        _ => Wish::Nothing,
    }
}

impl Stop {
    /// Begins a step, and orders its signal.
    fn begin(&mut self, number: usize, steps: &[StopStep], now: Monotonic) -> Signal {
        self.on = Some((number, now));
        self.order(steps[number].signal, now)
    }

    fn order(&mut self, signal: Signal, now: Monotonic) -> Signal {
        self.asked_at.get_or_insert(now);
        if !self.fails_with(signal) {
            self.last = Some((signal, Sent::Ordered));
        }
        signal
    }

    /// Whether this is what could not be sent since its first attempt.
    fn fails_with(&self, signal: Signal) -> bool {
        matches!(self.last, Some((last, Sent::Failed { .. })) if last == signal)
    }

    /// What a turn orders of one that was asked before: KILL at last, the next step, or again what
    /// could not be sent.
    fn go_on(&mut self, steps: &[StopStep], is_late: bool, now: Monotonic) -> Option<Signal> {
        let is_past = |at: Option<Monotonic>, span| at.is_some_and(|at| at + span <= now);
        let is_killed = self.sent.contains(&Signal::Kill);
        let is_being_killed = self.last.is_some_and(|(signal, _)| signal == Signal::Kill);
        let next = self.on.and_then(|(number, since)| {
            let lasts = steps.get(number)?.lasts?;
            is_past(Some(since), lasts).then_some(number + 1)
        });
        match (&mut self.last, next) {
            _ if is_late && !is_killed && !is_being_killed && is_past(self.asked_at, GRACE_MAX) => {
                Some(self.order(Signal::Kill, now))
            }
            (_, Some(next)) if !is_killed => Some(self.begin(next, steps, now)),
            (Some((signal, Sent::Failed { tried_at, .. })), _) if *tried_at + SECOND <= now => {
                *tried_at = now;
                Some(*signal)
            }
            _ => None,
        }
    }

    /// Whether it is stopped by what suspends it.
    fn suspends(&self, steps: &[StopStep]) -> bool {
        let ordered = self.last.filter(|(_, sent)| *sent == Sent::Ordered).map(|it| it.0);
        match self.on {
            Some((number, _)) => number_of(steps, number).stops_a_program(),
            None => self.sent.iter().copied().chain(ordered).all(Signal::stops_a_program),
        }
    }

    /// Whether its last step has taken long enough.
    fn is_over(&self, steps: &[StopStep], now: Monotonic) -> bool {
        let is_killed = self.sent.contains(&Signal::Kill);
        self.on.is_none_or(|(number, since)| {
            (is_killed || number + 1 >= steps.len()) && since + PATIENCE <= now
        })
    }

    fn is_given_up(&self, steps: &[StopStep], now: Monotonic) -> bool {
        let Some((_, Sent::Failed { since, .. })) = self.last else { return false };
        since + PATIENCE <= now && self.is_over(steps, now)
    }
}

/// The signal of a step; the schedule may have become shorter since.
fn number_of(steps: &[StopStep], number: usize) -> Signal {
    steps[number.min(steps.len() - 1)].signal
}

impl Ledger {
    pub(in crate::simulate) fn signals(&mut self, step: &Step) -> Broken {
        let mut due = self.ordered(step);
        let mut found: Vec<(Pid, Signal)> = step.signals().collect();
        found.sort_unstable();
        due.sort_unstable();
        same("who is sent what", &found, &due)
    }

    /// Who is sent what in a step.
    fn ordered(&mut self, step: &Step) -> Vec<(Pid, Signal)> {
        let (now, state) = (step.now, step.after);
        let steps = state.config.stop_schedule().steps().to_vec();
        let has_stop = state.config.stop.is_some();
        self.stops.retain(|pid, _| state.stoppable(*pid).is_some());
        if let Event::Spawned { pid, .. } = step.event {
            self.stops.insert(*pid, Stop::default());
        }
        let mut due = self.wished(step, &steps);
        let stops = &mut self.stops;
        match step.event {
            Event::Turn => self.turn(step, &steps, &mut due),
            Event::Exited { pid, left: Some(_), .. } if has_stop && step.ended().is_some() => {
                let stop = stops.entry(*pid).or_default();
                let (number, _) = *stop.on.get_or_insert((0, now));
                due.push((*pid, stop.order(number_of(&steps, number), now)));
            }
            Event::Exited { pid, left: Some(_), .. } if step.ended().is_some() => {
                stops.insert(*pid, Stop::default());
            }
            Event::Spawned { pid, .. } if state.stopping.is_some() => {
                due.push((*pid, stops.entry(*pid).or_default().begin(0, &steps, now)));
            }
            Event::Requested { .. } if step.before.config.stop != state.config.stop => {
                self.reschedule(step, &steps, &mut due);
            }
            Event::SignalSent { pid, signal, .. } | Event::SignalFailed { pid, signal, .. } => {
                let is_sent = matches!(step.event, Event::SignalSent { .. });
                let stop = stops.entry(*pid).or_default();
                if let Some((last, sent)) = &mut stop.last
                    && *last == *signal
                    && *sent != Sent::Done
                {
                    let since = if let Sent::Failed { since, .. } = sent { *since } else { now };
                    *sent = match is_sent {
                        true => Sent::Done,
                        false => Sent::Failed { since, tried_at: now },
                    };
                    match is_sent {
                        true => stop.sent.insert(*signal),
                        false => stop.sent.remove(signal),
                    };
                }
            }
            _ => {}
        }
        due
    }

    /// Who is sent what because somebody wants it.
    fn wished(&mut self, step: &Step, steps: &[StopStep]) -> Vec<(Pid, Signal)> {
        let (now, state) = (step.now, step.after);
        let has_stop = state.config.stop.is_some();
        let is_worker = |pid: &Pid| state.workers.contains_key(pid);
        let workers = || state.workers.keys().copied();
        let stops = &mut self.stops;
        let mut due = Vec::new();
        match wish(step) {
            Wish::Nothing => {}
            Wish::Signals(signals) => {
                due.extend(signals.iter().flat_map(|it| workers().map(|pid| (pid, *it))));
            }
            Wish::Instead(signals) => {
                for (pid, signal) in
                    signals.iter().flat_map(|it| workers().map(move |pid| (pid, *it)))
                {
                    let stop = stops.entry(pid).or_default();
                    stop.on = stop.on.or((!has_stop).then_some((0, now)));
                    due.push((pid, stop.order(signal, now)));
                }
            }
            Wish::Schedule => {
                for (pid, stop) in stops.iter_mut().filter(|(pid, _)| is_worker(pid)) {
                    if stop.on.is_none() || !has_stop {
                        stop.on.get_or_insert((0, now));
                        due.push((*pid, stop.order(steps[0].signal, now)));
                    }
                }
            }
            Wish::NextStep => {
                let is_meant = |pid: &Pid, stop: &Stop| is_worker(pid) || stop.on.is_some();
                for (pid, stop) in stops.iter_mut().filter(|(pid, stop)| is_meant(pid, stop)) {
                    let next = stop.on.map_or(0, |(number, _)| number + 1);
                    if next < steps.len() {
                        due.push((*pid, stop.begin(next, steps, now)));
                    }
                }
            }
        }
        due
    }

    /// Another schedule: who stops goes on with what it has that was not sent.
    fn reschedule(&mut self, step: &Step, steps: &[StopStep], due: &mut Vec<(Pid, Signal)>) {
        let (now, state) = (step.now, step.after);
        let has_stop = state.config.stop.is_some();
        let had_stop = step.before.config.stop.is_some();
        for (pid, stop) in &mut self.stops {
            let unsent = steps.iter().position(|it| !stop.sent.contains(&it.signal));
            match (state.workers.contains_key(pid), had_stop, has_stop) {
                (false, _, false) => *stop = Stop::default(),
                (false, false, true) => due.push((*pid, stop.begin(0, steps, now))),
                _ if stop.on.is_none() => {}
                _ if unsent == Some(0) => due.push((*pid, stop.begin(0, steps, now))),
                // It is on the last step of those that it was sent.
                _ => {
                    let number = unsent.unwrap_or(steps.len()) - 1;
                    stop.on = stop.on.map(|(_, since)| (number, since));
                    if !stop.fails_with(steps[number].signal) {
                        stop.last = stop.last.filter(|it| !matches!(it.1, Sent::Failed { .. }));
                    }
                }
            }
        }
    }

    /// A turn sends what is due, tells who is not needed, and lets those run that are to stop.
    fn turn(&mut self, step: &Step, steps: &[StopStep], due: &mut Vec<(Pid, Signal)>) {
        let (now, state) = (step.now, step.after);
        for (pid, stop) in &mut self.stops {
            let is_late = |state: &State| {
                state.workers.get(pid).is_some_and(|worker| worker.missed_ack_deadline)
            };
            due.extend(stop.go_on(steps, is_late(step.before), now).map(|signal| (*pid, signal)));
        }
        for (pid, _) in step.newly(Worker::is_stopping) {
            due.push((pid, self.stops.entry(pid).or_default().begin(0, steps, now)));
        }
        let is_suspended = |pid: &Pid| {
            state.workers.get(pid).is_some_and(|worker| worker.suspension.current.is_some())
        };
        for (pid, stop) in self.stops.iter_mut().filter(|(pid, _)| is_suspended(pid)) {
            let is_due = stop.continued_at.is_none_or(|at| at + SECOND <= now);
            if stop.asked_at.is_some() && is_due && !stop.suspends(steps) {
                stop.continued_at = Some(now);
                due.push((*pid, Signal::Cont));
            }
        }
    }

    pub(in crate::simulate) fn what_was_sent(&mut self, step: &Step) -> Broken {
        if matches!(step.event, Event::Signaled { signal: Signal::Quit, .. }) {
            // It leaves at once, maybe after two signals.
            return Ok(());
        }
        for (pid, worker) in step.after.stoppables() {
            let (mut sent, mut fails) = (BTreeSet::new(), false);
            if let Some(stop) = self.stops.get(&pid) {
                sent.clone_from(&stop.sent);
                sent.extend(stop.last.filter(|(_, sent)| *sent == Sent::Ordered).map(|it| it.0));
                fails = matches!(stop.last, Some((_, Sent::Failed { .. })));
            }
            same("what it was sent", &worker.signaled, &sent)?;
            let told = worker.stop_signal.as_ref().and_then(|sent| sent.failure()).is_some();
            same("whether that fails", &told, &fails)?;
        }
        Ok(())
    }

    pub(in crate::simulate) fn leaves(&mut self, step: &Step) -> Broken {
        let (now, state) = (step.now, step.after);
        let steps = state.config.stop_schedule().steps().to_vec();
        let of = |pid: &Pid| self.stops.get(pid);
        let are_given_up =
            state.workers.keys().all(|pid| of(pid).is_some_and(|it| it.is_given_up(&steps, now)));
        let mut stopped = state.leftovers.keys().filter_map(of).filter(|stop| stop.on.is_some());
        let are_over = stopped.clone().all(|stop| stop.is_over(&steps, now));
        let is_over = are_given_up && are_over && state.ordered.is_empty();
        let leaves_some = !state.workers.is_empty() || stopped.next().is_some();
        let due = match (step.event, state.stopping) {
            (Event::Signaled { signal: Signal::Quit, .. }, _) => Some(Action::Exit { code: 1 }),
            (Event::Turn, Some(Stopping { exit_code: code })) if is_over => {
                Some(Action::Exit { code: code.max(i32::from(leaves_some)) })
            }
            _ => None,
        };
        let exits = step.actions.iter().filter(|action| matches!(action, Action::Exit { .. }));
        same("how it leaves", &exits.collect::<Vec<_>>(), &due.iter().collect())
    }

    pub(in crate::simulate) fn the_killed(&mut self, step: &Step) -> Broken {
        let killed = self.killed(step);
        let is_old = killed.is_some_and(|it| it.generation != step.before.generation);
        self.killed_count += u32::from(is_old);
        let seen = |state: &State| state.waiters.iter().map(|it| it.killed_count).sum::<u32>();
        let is_asked = |it: &&Waiter| match it.waits_for {
            WaitsFor::Exit => true,
            WaitsFor::Settled => !is_old,
            WaitsFor::Drained { before } => killed.is_some_and(|it| it.generation < before),
            _ => is_old,
        };
        let meant = step.before.waiters.iter().filter(is_asked).filter(|_| killed.is_some());
        if step.ended().is_some() {
            let more = u32::try_from(meant.count()).expect("few");
            same("how many saw it", &(seen(step.after) - seen(step.before)), &more)?;
        }
        let is_told = step.tells_the_end();
        let last = step.after.last_upgrade.as_ref().filter(|_| is_told).map(|last| last.outcome);
        let is_right = match last {
            Some(Outcome::Killed) => self.killed_count > 0,
            Some(Outcome::Done) => self.killed_count == 0,
            _ => true,
        };
        ensure(is_right, || format!("{last:?}, and {} were killed", self.killed_count))?;
        if step.begins_rollout() {
            self.killed_count = 0;
        }
        Ok(())
    }

    /// The worker that was up and has just been killed, or whose leftovers have.
    fn killed<'s>(&self, step: &Step<'s>) -> Option<&'s Worker> {
        let Event::GroupSeen { group, left: None } = step.event else {
            return step.ended().filter(|_| self.is_killed(step));
        };
        let worker = &step.before.leftovers.get(group)?.worker;
        let stop = self.stops.get(group).filter(|stop| stop.sent.contains(&Signal::Kill))?;
        let is_first = step.after.config.stop_schedule().first() == Signal::Kill;
        (stop.on.is_some() && worker.is_acked() && !is_first).then_some(worker)
    }

    /// Whether a worker that was up has just been ended by what it was stopped with, without a
    /// handler for it or at the end of the schedule.
    fn is_killed(&self, step: &Step) -> bool {
        let Event::Exited { pid, status: ExitStatus::Killed { signal: Some(signal), .. }, .. } =
            step.event
        else {
            return false;
        };
        let Some(stop) = self.stops.get(pid) else { return false };
        let Some((number, _)) = stop.on else { return false };
        let steps = step.after.config.stop_schedule().steps().to_vec();
        let by = |number| number_of(&steps, number);
        let disposition = step.world.ended.and_then(|process| process.disposition);
        let is_unhandled = match signal {
            Signal::Kill => by(number) == Signal::Kill && by(0) != Signal::Kill,
            // What `die` names is what somebody asked for.
            _ => {
                (0..=number).any(|it| by(it) == *signal) && disposition != Some(Disposition::Caught)
            }
        };
        let is_up = step.ended().is_some_and(Worker::is_acked);
        is_up && stop.sent.contains(signal) && is_unhandled
    }

    pub(in crate::simulate) fn the_end(&mut self, step: &Step) -> Broken {
        let state = step.after;
        if step.rollout_ended() == Some(Outcome::Done) {
            self.done_at = step.now;
        }
        let dies = |pid: &Pid| match self.stops.get(pid).and_then(|stop| stop.last) {
            Some((_, Sent::Ordered)) => true,
            Some((signal, Sent::Done)) => {
                let process = step.world.processes.get(pid);
                let disposition = process.and_then(|process| process.disposition);
                let is_default = disposition == Some(Disposition::Default);
                signal == Signal::Kill || is_default && signal.ends_a_program()
            }
            _ => false,
        };
        let mut old = state.workers.iter().filter(|(_, worker)| {
            worker.generation != state.generation && worker.is_stopping() && worker.is_acked()
        });
        let waits = old.any(|(pid, _)| dies(pid)) && step.now < self.done_at + SECOND;
        let is_put_off = state.ending_upgrade.is_some();
        ensure(!step.is_turn() || waits || !is_put_off, || "it is told late".to_owned())?;
        let is_due = matches!(
            step.event,
            Event::Turn | Event::SignalSent { .. } | Event::SignalFailed { .. }
        );
        let is_done = step.tells_the_end() && is_due;
        let last = state.last_upgrade.as_ref().map(|last| last.outcome);
        let is_early = is_done && waits && matches!(last, Some(Outcome::Done | Outcome::Killed));
        ensure(!is_early, || "it is told early".to_owned())
    }
}

/// What is kept of each.
pub(super) type Stops = BTreeMap<Pid, Stop>;
