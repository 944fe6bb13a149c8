//! The canary, which is the first new worker of a roll-out, and its `--on-canary` check
//! (docs/decisions/0010-upgrades-that-end.md).

use crate::decide::action::Action;
use crate::decide::turn::Turn;
use crate::decide::waiters::announce;
use crate::state::{CanaryCheck, Monotonic, Pid, Rollout, RolloutStage, State, Worker};

/// The `--on-canary` command has been started.
pub(super) fn check_started(turn: &mut Turn, pid: Pid) {
    match &mut turn.state.rollout {
        Some(Rollout { stage: RolloutStage::Canary { check: Some(check) }, .. })
            if check.process.is_none() =>
        {
            check.process = Some(pid);
            let is_overdue = check.is_overdue;
            turn.actions.extend(is_overdue.then_some(Action::KillCheck { process: pid }));
        }
        _ => turn.actions.push(Action::KillCheck { process: pid }),
    }
}

/// Runs the `--on-canary` check, or passes the canary, once it has been up for `--canary-seconds`;
/// kills a check that exceeds its time limit.
pub(super) fn judge_canary(turn: &mut Turn) {
    let Some(Rollout { stage: RolloutStage::Canary { check }, .. }) = turn.state.rollout else {
        return;
    };
    let now = turn.now.monotonic;
    match (check, canary(turn.state)) {
        (Some(CanaryCheck { process, deadline, is_overdue: false, worker }), _)
            if deadline <= now =>
        {
            set_check(turn, Some(CanaryCheck { process, deadline, is_overdue: true, worker }));
            turn.actions.extend(process.map(|process| Action::KillCheck { process }));
        }
        (None, Some((pid, up_at))) if up_at + turn.state.config.rollout.canary <= now => {
            if turn.state.config.rollout.on_canary.is_empty() {
                return pass_canary(turn, pid);
            }
            let deadline = now + turn.state.config.rollout.on_canary_timeout;
            let check = CanaryCheck { worker: pid, process: None, deadline, is_overdue: false };
            set_check(turn, Some(check));
            announce(turn, &format!("Running --on-canary for worker {pid}"));
            let generation = turn.state.generation;
            turn.actions.push(Action::RunCanaryCheck { worker: pid, generation });
        }
        _ => {}
    }
}

/// The first new worker that is up, and the instant of its ACK.
pub(super) fn canary(state: &State) -> Option<(Pid, Monotonic)> {
    let mut staying = state.current_workers().filter(|(_, worker)| worker.is_serving());
    staying.find_map(|(pid, worker)| Some((pid, worker.acked_at?)))
}

/// The `--on-canary` command has found a canary well, which must serve for that.
pub(super) fn pass_check(turn: &mut Turn, pid: Pid) {
    match turn.state.workers.get(&pid).is_some_and(Worker::is_serving) {
        true => pass_canary(turn, pid),
        false => {
            set_check(turn, None);
            announce(
                turn,
                &format!("Canary {pid} is suspended: --on-canary runs again after that"),
            );
        }
    }
}

fn pass_canary(turn: &mut Turn, pid: Pid) {
    if let Some(rollout) = &mut turn.state.rollout {
        rollout.stage = RolloutStage::Replacing;
        announce(turn, &format!("Canary {pid} passed: replacing the others"));
    }
}

pub(super) fn set_check(turn: &mut Turn, new: Option<CanaryCheck>) {
    if let Some(Rollout { stage: RolloutStage::Canary { check }, .. }) = &mut turn.state.rollout {
        *check = new;
    }
}

/// Kills the `--on-canary` command if it is running; its exit status is ignored from now on.
pub(super) fn cancel_check(turn: &mut Turn) {
    if let Some(Rollout { stage: RolloutStage::Canary { check: Some(check) }, .. }) =
        turn.state.rollout
    {
        set_check(turn, None);
        let process = check.process.filter(|_| !check.is_overdue);
        turn.actions.extend(process.map(|process| Action::KillCheck { process }));
    }
}
