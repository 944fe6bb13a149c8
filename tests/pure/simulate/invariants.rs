//! What holds after every event, whatever happens: each broken rule is one sentence.

use std::collections::BTreeSet;

use einhorn::decide::{Action, next_deadline};
use einhorn::state::{Pid, Signal, State, Worker};

use super::ledger::{Due, Entry, Ledger};

/// How far two ways to compute a back-off may differ, in nanoseconds: their roundings.
const TOLERANCE: u64 = 4;

/// No step does more than this, and four things a worker: a repeated signal is logged too, and QUIT
/// with `-k` is two signals.
const ACTIONS_MAX: usize = 48;

/// A signal goes to processes that were not reaped, and a step ends.
pub(super) fn any_event(ledger: &Ledger, actions: &[Action]) -> Result<(), String> {
    for action in actions {
        if let Action::Signal { pid, signal } = action
            && !ledger.workers.contains_key(pid)
        {
            return Err(format!("SIG{signal} to {pid}, which is gone"));
        }
    }
    ensure(actions.len() <= ACTIONS_MAX + 4 * ledger.workers.len(), || {
        format!("{} actions in one step", actions.len())
    })
}

/// An event that is no turn is answered by what is due and nothing else.
pub(super) fn event(due: &Due, actions: &[Action]) -> Result<(), String> {
    let mut done = Due::default();
    for action in actions {
        match action {
            Action::Spawn { .. } => done.start_count += 1,
            Action::Signal { pid, signal } => done.signals.push((*pid, *signal)),
            Action::Reply { connection, reply } => {
                ensure(!reply.wait, || "a reply that promises more".to_owned())?;
                ensure(!reply.message.is_empty(), || "an empty reply".to_owned())?;
                done.replies.push((*connection, reply.request_id.clone()));
            }
            Action::Close { connection } => done.closes.push(*connection),
            Action::Exit { code } => done.exits.push(*code),
            Action::Log { .. } => {}
        }
    }
    same("a step that is no turn starts nobody", &done.start_count, &due.start_count)?;
    same("each request gets one reply, with its id", &done.replies, &due.replies)?;
    same("worker:* closes what -g did not give", &done.closes, &due.closes)?;
    same("signals go to whom they must", &done.signals, &due.signals)?;
    same("only QUIT leaves at once", &done.exits, &due.exits)
}

/// A turn does everything that is due and nothing that is not; the ledger follows it.
pub(super) fn turn(ledger: &mut Ledger, now: u64, actions: &[Action]) -> Result<(), String> {
    ledger.acknowledge_due(now);
    kills(ledger, now, actions)?;
    culls(ledger, now, actions)?;
    starts(ledger, now, actions)?;
    for action in actions {
        let unasked = match action {
            Action::Reply { .. } => "a reply",
            Action::Close { .. } => "a close",
            Action::Signal { signal, .. } if !matches!(signal, Signal::Usr2 | Signal::Kill) => {
                "a signal"
            }
            _ => continue,
        };
        return Err(format!("{unasked} that nobody asked for: {action:?}"));
    }
    let is_exit = |action: &Action| match action {
        Action::Exit { code } => Some(*code),
        _ => None,
    };
    let exits: Vec<i32> = actions.iter().filter_map(is_exit).collect();
    let due: Vec<i32> = ledger.leaves_with().into_iter().collect();
    same("the master leaves once all workers are gone, and only then", &exits, &due)
}

fn kills(ledger: &mut Ledger, now: u64, actions: &[Action]) -> Result<(), String> {
    let killed = signaled(actions, Signal::Kill)?;
    same("KILL comes when a worker outlives its signal, once", &killed, &ledger.overdue(now))?;
    for pid in killed {
        ledger.told(now, pid, Signal::Kill);
        ledger.saw("a KILL after the signal timeout");
    }
    Ok(())
}

fn culls(ledger: &mut Ledger, now: u64, actions: &[Action]) -> Result<(), String> {
    let culled = signaled(actions, Signal::Usr2)?;
    let due = match ledger.stop_code {
        Some(_) => BTreeSet::new(),
        None => ledger.surplus(),
    };
    same("the surplus is told to go: first who is not up, then from the top", &culled, &due)?;
    for pid in culled {
        ledger.told(now, pid, Signal::Usr2);
        ledger.saw("a worker too many");
    }
    Ok(())
}

/// To whom a turn sends a signal; to each once.
fn signaled(actions: &[Action], wanted: Signal) -> Result<BTreeSet<Pid>, String> {
    let mut pids = BTreeSet::new();
    for action in actions {
        if let Action::Signal { pid, signal } = action
            && *signal == wanted
            && !pids.insert(*pid)
        {
            return Err(format!("SIG{signal} to {pid} twice in one turn"));
        }
    }
    Ok(pids)
}

fn starts(ledger: &mut Ledger, now: u64, actions: &[Action]) -> Result<(), String> {
    for action in actions {
        let Action::Spawn { slot, generation } = action else { continue };
        match ledger.start_due() {
            Err(why) => return Err(format!("a start although {why}")),
            Ok((due, rule)) => ensure(due <= now + TOLERANCE, || {
                format!("a start {}ns sooner than the {rule} allows", due - now)
            })?,
        }
        ensure(!ledger.is_batch_full(), || "a batch too big".to_owned())?;
        same("a new index is the lowest free", &slot.0, &ledger.lowest_free())?;
        same("new workers are of the newest code", &generation.0, &ledger.generation)?;
        ledger.ordered(now, slot.0)?;
        ensure(ledger.present() <= ledger.settings.target, || {
            format!("{} workers at a target of {}", ledger.present(), ledger.settings.target)
        })?;
    }
    if ledger.is_batch_full() {
        if ledger.has_started {
            ledger.saw("a full batch of starts");
        }
    } else if let Ok((due, rule)) = ledger.start_due() {
        ensure(due + TOLERANCE > now, || {
            format!("nobody was started, {}ns after the {rule} allows it", now - due)
        })?;
    }
    Ok(())
}

/// The master knows what happened, and asks to be woken when something falls due.
pub(super) fn facts(ledger: &Ledger, state: &State, now: u64) -> Result<(), String> {
    state.check()?;
    for (pid, entry) in &ledger.workers {
        let known = state.workers.get(pid);
        ensure(known.is_some_and(|worker| agrees(entry, worker)), || {
            format!("worker {pid}: found {known:?}, due {entry:?}")
        })?;
    }
    same("how many workers there are", &state.workers.len(), &ledger.workers.len())?;
    let ordered: Vec<(u32, u32)> = state.ordered.iter().map(|(s, g)| (s.0, g.0)).collect();
    let due: Vec<(u32, u32)> = ledger.ordered.iter().map(|(s, g)| (*s, *g)).collect();
    same("who was ordered", &ordered, &due)?;
    let connections = state.connections.iter().map(|(id, known)| (*id, known.given_to));
    let connections: Vec<_> = connections.collect();
    let due: Vec<_> = ledger.connections.iter().map(|(id, given)| (*id, *given)).collect();
    same("which connections are open, and given to whom", &connections, &due)?;
    let settings = &ledger.settings;
    same("the target", &state.config.target, &settings.target)?;
    same("the limit of unacked ones", &state.max_unacked(), &settings.max_unacked)?;
    same("the verbosity", &state.config.verbosity.0, &settings.verbosity)?;
    same("the streak of early deaths", &state.early_death_count, &ledger.streak)?;
    same("that it stops", &state.stopping.map(|stop| stop.exit_code), &ledger.stop_code)?;
    wakes(ledger, state, now)
}

fn agrees(entry: &Entry, worker: &Worker) -> bool {
    entry.slot == worker.slot.0
        && entry.generation == worker.generation.0
        && entry.started_at == worker.spawned_at.0
        && entry.acked == worker.is_acked()
        && entry.told_at == worker.told_to_go_at.map(|at| at.0)
        && entry.signals == worker.signaled
        && entry.pinged.as_ref() == worker.ping.as_ref().map(|ping| &ping.request_id)
        && entry.connection == worker.connection
}

fn wakes(ledger: &Ledger, state: &State, now: u64) -> Result<(), String> {
    let wakes = next_deadline(state).map(|at| at.0.max(now));
    let due = ledger.deadline().map(|at| at.max(now));
    let agrees = match (wakes, due) {
        (Some(wakes), Some(due)) => wakes.abs_diff(due) <= TOLERANCE,
        (None, None) => true,
        _ => false,
    };
    ensure(agrees, || format!("it wakes at {wakes:?}, but something falls due at {due:?}"))
}

/// Nothing is left undone after a turn unless its batch of starts is full: the loop never spins.
pub(super) fn rests(ledger: &Ledger, state: &State, now: u64) -> Result<(), String> {
    let spins = next_deadline(state).is_some_and(|at| at.0 <= now) && !ledger.is_batch_full();
    ensure(!spins, || "after a turn it asks for another at once".to_owned())
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn same<T: PartialEq + std::fmt::Debug>(rule: &str, found: &T, due: &T) -> Result<(), String> {
    ensure(found == due, || format!("{rule}: found {found:?}, due {due:?}"))
}
