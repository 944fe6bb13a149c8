//! Who is told what.

use einhorn::decide::{Action, Event};
use einhorn::outcome::Outcome;
use einhorn::protocol::{End, Reply, ReplyEvent};
use einhorn::state::{ConnectionId, Signal, Waiter, WaitsFor};

use super::super::ledger::{to_whom, who_waits};
use super::super::step::{Step, any_left, has_given_up, has_settled};
use super::{Broken, ensure, same};

/// What clients are told.
fn replies<'s>(step: &Step<'s>) -> impl Iterator<Item = (ConnectionId, &'s Reply)> {
    step.actions.iter().filter_map(|action| match action {
        Action::Reply { connection, reply } => Some((*connection, reply)),
        _ => None,
    })
}

pub(super) fn they_hear_of_it(step: &Step) -> Broken {
    let is_request = matches!(step.event, Event::Requested { .. });
    let is_news = match step.event {
        Event::Spawned { .. } | Event::SpawnFailed { .. } | Event::Adopted { .. } => true,
        Event::HandOverFailed { .. } | Event::RolledBack { .. } => true,
        Event::PreflightStarted { .. } => step.after.reexec.is_some(),
        Event::Requested { .. } => step.after.waiters.len() > step.before.waiters.len(),
        _ => step.ended().is_some(),
    };
    // Of a request only its client must hear, which is the last to wait.
    let skipped = if is_request { step.after.waiters.len().saturating_sub(1) } else { 0 };
    let mut deaf =
        step.after.waiters.iter().skip(skipped).filter(|waiter| {
            !replies(step).any(|(to, reply)| to_whom(to, reply) == who_waits(waiter))
        });
    ensure(!is_news || deaf.next().is_none(), || "somebody is not told".to_owned())
}

pub(super) fn events_say_the_same(step: &Step) -> Broken {
    for (_, reply) in replies(step) {
        ensure(!reply.message.is_empty(), || "an empty reply".to_owned())?;
        let Some(event) = &reply.event else { continue };
        let (message, goes_on) = match ReplyEvent::parse(event)? {
            ReplyEvent::Progress(progress) => (progress.message, true),
            ReplyEvent::End(End { message, outcome, exit_status, .. }) => {
                same("the exit status", &exit_status, &outcome.exit_status())?;
                (message, false)
            }
        };
        same("the line", &(message, goes_on), &(reply.message.clone(), reply.wait))?;
    }
    Ok(())
}

pub(super) fn last_lines_are_true(step: &Step) -> Broken {
    let (before, state) = (step.before, step.after);
    let is_aborted = state.stopping.is_some() || step.command() == Some("abort");
    let last = state.last_upgrade.as_ref().map(|last| last.outcome);
    for (to, reply) in replies(step).filter(|(_, reply)| !reply.wait) {
        let event = reply.event.as_deref().map(ReplyEvent::parse);
        let Some(Ok(ReplyEvent::End(End { outcome, .. }))) = event else { continue };
        // Whoever waited for somebody to go is told of those who were killed.
        let sees_killed = |waiter: &Waiter| {
            (outcome == Outcome::Killed) == (waiter.killed_count > 0 || are_leftovers_killed(step))
        };
        let is_done = matches!(outcome, Outcome::Done | Outcome::Killed);
        let exits = step.actions.iter().any(|action| matches!(action, Action::Exit { .. }));
        let leaves_some = !state.workers.is_empty() || !state.leftovers.is_empty();
        let are_gone = |before| !any_left(state, |worker| worker.generation < before);
        let is_true = |waiter: &Waiter| match (waiter.waits_for, outcome) {
            (WaitsFor::Settled, Outcome::Superseded) => state.config.target != before.config.target,
            (WaitsFor::Settled, Outcome::Failed) => has_given_up(state),
            (_, Outcome::Aborted) => is_aborted,
            (WaitsFor::Settled, _) => is_done && has_settled(state) && sees_killed(waiter),
            (WaitsFor::Reexec, Outcome::Done) => matches!(step.event, Event::Adopted { .. }),
            (WaitsFor::Drained { before }, _) => is_done && are_gone(before) && sees_killed(waiter),
            (WaitsFor::Exit, Outcome::Failed) => exits && leaves_some,
            (WaitsFor::Exit, _) => is_done && exits && sees_killed(waiter),
            _ if waiter.until_drained && is_done && !are_gone(state.generation) => false,
            _ => last == Some(outcome),
        };
        let whom = to_whom(to, reply);
        let mut asked = before.waiters.iter().filter(|waiter| who_waits(waiter) == whom);
        let is_answer =
            matches!(step.event, Event::Requested { connection, .. } if *connection == to);
        let is_true = is_answer || asked.any(is_true);
        ensure(is_true, || format!("{whom:?} is told {outcome:?}"))?;
    }
    Ok(())
}

/// Whether what a worker has left is gone with this step, by the end of its schedule.
fn are_leftovers_killed(step: &Step) -> bool {
    let Event::GroupSeen { group, left: None } = step.event else { return false };
    let left = step.before.leftovers.get(group);
    let is_first = step.before.config.stop_schedule().first() == Signal::Kill;
    left.is_some_and(|left| left.worker.is_acked() && left.worker.signaled.contains(&Signal::Kill))
        && !is_first
}

pub(super) fn the_settled_is_told(step: &Step) -> Broken {
    let mut waiters = step.after.waiters.iter();
    let waits = waiters.any(|waiter| waiter.waits_for == WaitsFor::Settled);
    let is_over = has_settled(step.after) || has_given_up(step.after);
    ensure(!(step.is_turn() && waits && is_over), || "somebody waits on".to_owned())
}

pub(super) fn the_drained_is_told(step: &Step) -> Broken {
    let mut waiters = step.after.waiters.iter();
    let waits = waiters.any(|waiter| match waiter.waits_for {
        WaitsFor::Drained { before } => !any_left(step.after, |worker| worker.generation < before),
        _ => false,
    });
    ensure(!(step.is_turn() && waits), || "somebody waits on".to_owned())
}
