//! What the master knows, and when it leaves.

use std::collections::BTreeMap;

use einhorn::decide::{Action, Event};
use einhorn::state::{AckMode, Pid, Signal, Slot, State, Stopping, Worker};

use super::super::step::{Step, has_given_up};
use super::{Broken, ensure, same};

/// No step does more than this, and four things a worker: a repeated signal is logged too, and QUIT
/// with `-k` is two signals. As much again goes to each client that waits.
const ACTIONS_MAX: usize = 48;

pub(super) fn the_state_is_sound(step: &Step) -> Broken {
    step.after.check()
}

pub(super) fn workers_are_known(step: &Step) -> Broken {
    let alive = step.world.processes.iter().filter(|(_, process)| process.is_worker());
    ensure(step.after.workers.keys().eq(alive.map(|(pid, _)| pid)), || {
        "it knows of others".to_owned()
    })?;
    let born =
        |worker: &Worker| (worker.slot, worker.generation, worker.spawned_at, worker.connection);
    for (_, before, now) in step.survivors().filter(|(_, before, now)| before != now) {
        same("how it began", &born(now), &born(before))?;
        let told_at = before.stop_requested_at.or(now.stop_requested_at);
        same("when it was told to go", &now.stop_requested_at, &told_at)?;
        ensure(now.signaled.is_superset(&before.signaled), || "a signal unsent".to_owned())?;
    }
    let Event::Spawned { slot, pid, connection, .. } = step.event else { return Ok(()) };
    let new = &step.after.workers[pid];
    let found = (new.slot, Some(new.generation), new.spawned_at, new.connection);
    let due = (*slot, step.before.ordered.get(slot).copied(), step.now, *connection);
    same("how it begins", &found, &due)
}

pub(super) fn orders_are_known(step: &Step) -> Broken {
    let mut due = step.before.ordered.clone();
    if let Event::Spawned { slot, .. } | Event::SpawnFailed { slot, .. } = step.event {
        due.remove(slot);
    }
    due.extend(step.starts());
    same("orders", &step.after.ordered, &due)
}

pub(super) fn connections_are_given(step: &Step) -> Broken {
    if !matches!(step.event, Event::Spawned { .. } | Event::Exited { .. }) {
        return Ok(());
    }
    let owned =
        step.after.workers.iter().filter_map(|(pid, worker)| Some((worker.connection?, *pid)));
    let owners: BTreeMap<_, Pid> = owned.collect();
    for (id, connection) in &step.after.connections {
        same("whose it is", &connection.given_to, &owners.get(id).copied())?;
    }
    Ok(())
}

pub(super) fn acks_are_known(step: &Step) -> Broken {
    let mode = step.after.config.ack_mode;
    let is_told = mode == AckMode::Manual && step.command() == Some("worker:ack");
    for (_, before, now) in step.survivors() {
        let is_due = step.is_turn() && before.ack_due_at(mode).is_some_and(|at| at <= step.now);
        let due = match before.acked_at {
            None if is_due => Some(step.now),
            None if is_told => now.acked_at,
            known => known,
        };
        same("since when", &now.acked_at, &due)?;
    }
    Ok(())
}

pub(super) fn deaths_are_counted(step: &Step) -> Broken {
    let count = |state: &State, slot: Slot| state.slot_deaths.get(&slot).copied().unwrap_or(0);
    let Some(worker) = step.ended() else { return Ok(()) };
    let due = count(step.before, worker.slot) + u32::from(step.died().is_some());
    same("deaths", &count(step.after, worker.slot), &due)
}

pub(super) fn steps_end(step: &Step) -> Broken {
    let waiting = step.before.waiters.len().max(step.after.waiters.len());
    let most = (ACTIONS_MAX + 4 * step.before.workers.len()) * (1 + waiting);
    ensure(step.actions.len() <= most, || format!("{} actions", step.actions.len()))
}

fn is_empty(state: &State) -> bool {
    state.workers.is_empty() && state.ordered.is_empty()
}

pub(super) fn it_leaves(step: &Step) -> Broken {
    let due = match (step.event, step.after.stopping) {
        (Event::Signaled { signal: Signal::Quit, .. }, _) => Some(Action::Exit { code: 1 }),
        (Event::Turn, Some(Stopping { exit_code: code })) if is_empty(step.after) => {
            Some(Action::Exit { code })
        }
        _ => None,
    };
    let exits = step.actions.iter().filter(|action| matches!(action, Action::Exit { .. }));
    same("how it leaves", &exits.collect::<Vec<_>>(), &due.iter().collect())
}

pub(super) fn stops_stay(step: &Step) -> Broken {
    let is_quit = matches!(step.event, Event::Signaled { signal: Signal::Quit, .. });
    let is_told = matches!(step.event, Event::Signaled { .. }) || step.command() == Some("die");
    // The failure of a roll-out ends the streak that was its code's.
    let gives_up = step.is_turn() && is_empty(step.after) && has_given_up(step.after);
    let exit_code = |exit_code| Some(Stopping { exit_code });
    let due = match (step.before.stopping, step.after.stopping) {
        (_, Some(_)) if is_quit => exit_code(1),
        (None, _) if gives_up => exit_code(1),
        (None, Some(_)) if is_told => exit_code(0),
        (before, _) => before,
    };
    same("the exit status", &step.after.stopping, &due)
}
