//! What the master knows, and when it leaves.

use std::collections::BTreeMap;

use einhorn::decide::Event;
use einhorn::state::{AckMode, Pid, Signal, Slot, State, Stopping, Suspended, Suspension, Worker};

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
    let is_told =
        step.after.config.ack_mode == AckMode::Manual && step.command() == Some("worker:ack");
    for (_, before, now) in step.survivors() {
        let is_due = step.is_turn() && step.has_timer_ended(before);
        let due = match before.acked_at {
            None if is_due => Some(step.now),
            None if is_told => now.acked_at,
            known => known,
        };
        same("since when", &now.acked_at, &due)?;
    }
    Ok(())
}

pub(super) fn suspensions_are_known(step: &Step) -> Broken {
    for (pid, before, now) in step.survivors() {
        let Suspension { current: was, total, .. } = before.suspension;
        let since = was.map_or(step.now, |was| was.since);
        let due = match step.event {
            Event::Suspended { pid: who, signal } if *who == pid => {
                (Some(Suspended { signal: *signal, since }), total)
            }
            Event::Continued { pid: who } if *who == pid => (None, total + step.now.since(since)),
            _ => (was, total),
        };
        same("how long", &(now.suspension.current, now.suspension.total), &due)?;
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

pub(super) fn stops_stay(step: &Step) -> Broken {
    let is_quit = matches!(step.event, Event::Signaled { signal: Signal::Quit, .. });
    let is_told = matches!(step.event, Event::Signaled { .. }) || step.command() == Some("die");
    // The failure of a roll-out ends the streak that was its code's.
    let is_empty = step.after.workers.is_empty() && step.after.ordered.is_empty();
    let gives_up = step.is_turn() && is_empty && has_given_up(step.after);
    let exit_code = |exit_code| Some(Stopping { exit_code });
    let due = match (step.before.stopping, step.after.stopping) {
        (_, Some(_)) if is_quit => exit_code(1),
        (None, _) if gives_up => exit_code(1),
        (None, Some(_)) if is_told => exit_code(0),
        (before, _) => before,
    };
    same("the exit status", &step.after.stopping, &due)
}
