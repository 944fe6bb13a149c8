//! The decisions: one function from an event to a list of actions. It reads no clock, touches no
//! descriptor or process, and cannot fail.

mod action;
mod backoff;
mod canary;
mod command;
mod delivery;
mod disposition;
mod drain;
mod ending;
mod event;
mod failures;
mod killed;
mod leftovers;
mod pool;
mod preflight_verdict;
mod reconcile;
mod rollout;
mod settings;
mod shutdown;
mod signal;
mod stop;
mod suspended;
mod turn;
mod upgrade;
mod waiters;
mod worker_message;
mod workers;

pub use action::{Action, Level, ReportKind};
pub use backoff::back_off;
pub use event::{Authority, Event, Inspection, Left, Membership, PreflightOutcome, Sender};
pub use pool::SPAWNS_PER_TURN;
pub use preflight_verdict::PREFLIGHT_MAX;
pub use reconcile::next_deadline;
pub use upgrade::HUP_PAUSE;

use crate::state::{Connection, Now, State};
use turn::Turn;

/// Applies one event to the state and returns the actions to take.
///
/// The shell passes every event of a turn in order, and then [`Event::Turn`], which compares the
/// workers that should run with those that do, and returns the actions that close the gap.
pub fn step(state: &mut State, now: Now, event: Event) -> Vec<Action> {
    let mut turn = Turn { state, now, actions: Vec::new() };
    match event {
        Event::Turn => reconcile::reconcile(&mut turn),
        Event::Spawned { slot, pid, connection, directory } => {
            workers::spawned(&mut turn, slot, pid, connection, directory);
        }
        Event::SpawnFailed { slot, why } => workers::spawn_failed(&mut turn, slot, &why),
        Event::Exited { pid, status, last_words, left } => {
            workers::exited(&mut turn, pid, status, &last_words, left);
        }
        Event::GroupSeen { group, left } => leftovers::seen(&mut turn, group, left),
        Event::Inspected { pid, signal, inspection } => {
            disposition::remember(&mut turn, pid, signal, inspection);
        }
        Event::SignalSent { pid, signal, inspection } => {
            delivery::sent(&mut turn, pid, signal, inspection);
        }
        Event::SignalFailed { pid, signal, why } => {
            delivery::failed(&mut turn, pid, signal, &why);
        }
        Event::Suspended { pid, signal } => suspended::begun(&mut turn, pid, signal),
        Event::Continued { pid } => suspended::ended(&mut turn, pid),
        Event::Signaled { signal, sender } => signal::received(&mut turn, signal, sender),
        Event::Opened { connection } => {
            turn.state.connections.insert(connection, Connection::default());
        }
        Event::Requested { connection, request, authority, membership } => {
            command::requested(&mut turn, connection, request, authority, membership);
        }
        Event::PreflightStarted { pid, deployment } => {
            upgrade::preflight_started(&mut turn, pid, deployment);
        }
        Event::PreflightEnded { outcome } => upgrade::preflight_ended(&mut turn, &outcome),
        Event::HandOverFailed { why } => upgrade::hand_over_failed(&mut turn, &why),
        Event::Adopted { from_release } => upgrade::adopted(&mut turn, &from_release),
        Event::RolledBack { why } => upgrade::rolled_back(&mut turn, &why),
        Event::CheckStarted { pid } => canary::check_started(&mut turn, pid),
        Event::CheckNotStarted { why } => rollout::check_not_started(&mut turn, &why),
        Event::Closed { connection } => {
            turn.state.connections.remove(&connection);
            turn.state.waiters.retain(|waiter| waiter.connection != connection);
        }
    }
    turn.actions
}
