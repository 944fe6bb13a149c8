//! Upgrades of the master itself: a preflight and the hand-over (behaviour.md sections 5 and 6,
//! docs/handover.md). The roll-out of new workers follows in `rollout`.

use std::time::Duration;

use crate::decide::action::Action;
use crate::decide::event::PreflightOutcome;
use crate::decide::preflight_verdict::{PREFLIGHT_MAX, UpgradeRequest, Verdict, verdict};
use crate::decide::turn::Turn;
use crate::decide::waiters::{self, Answer, Requester, announce};
use crate::decide::{disposition, ending, rollout};
use crate::outcome::Outcome;
use crate::ruby;
use crate::state::{
    Deployment, EndedUpgrade, Killed, Monotonic, Pid, Reexec, Stage, State, UpgradeKind, Waiter,
    WaitsFor, release,
};
use crate::status;

/// How long after a re-exec the next SIGHUP takes effect. This reduces a burst of signals to a
/// handful of re-execs, the last of which still runs the newest code; no client waits for a signal.
pub const HUP_PAUSE: Duration = Duration::from_secs(1);

/// SIGHUP: begins a smooth upgrade, at once or after [`HUP_PAUSE`].
pub(super) fn requested_by_signal(turn: &mut Turn) {
    let now = turn.now.monotonic;
    let has_resolved = turn.state.reexec.is_some_and(|reexec| reexec.kind != UpgradeKind::Reload);
    if has_resolved && resolves_deployment(turn.state) {
        // A preflight restarted by every signal of a burst would never finish.
        turn.state.upgrade_due_at.get_or_insert(now + HUP_PAUSE);
        return turn.info("An upgrade is under way; another one follows it");
    }
    let pause_ends = turn.state.reexecuted_at.map(|at| at + HUP_PAUSE).filter(|end| *end > now);
    match pause_ends {
        Some(end) if turn.state.reexec.is_none() && turn.state.stopping.is_none() => {
            turn.state.upgrade_due_at.get_or_insert(end);
        }
        _ => begin(turn, UpgradeRequest::ordinary(UpgradeKind::Smooth)),
    }
}

/// An upgrade command: the client gets progress reports and one final reply.
pub(super) fn requested_by_client(turn: &mut Turn, request: UpgradeRequest, requester: Requester) {
    let waits_for = match request.kind {
        UpgradeKind::Reload => WaitsFor::Reexec,
        UpgradeKind::Smooth | UpgradeKind::Fleet => WaitsFor::Upgrade,
    };
    if turn.state.stopping.is_some() {
        let why = "Not upgrading: the master is going down";
        return waiters::answer(turn, &requester, Answer::refused(why));
    }
    if let Some(why) = request.is_hand_back.then(|| refuse_hand_back(turn.state)).flatten() {
        turn.error(&why);
        return waiters::answer(turn, &requester, Answer::refused(why));
    }
    let word = if request.kind == UpgradeKind::Reload { "Reloading" } else { "Upgrading" };
    if waiters::join(turn, requester, waits_for, &format!("{word}, as commanded")) {
        begin(turn, request);
    }
}

/// Why this state cannot be handed back to a Ruby Einhorn now; `None` if it can.
fn refuse_hand_back(state: &State) -> Option<String> {
    if state.reexec.is_some_and(|reexec| !reexec.is_hand_back) {
        let why = "an upgrade of the master that is no hand-back is under way; ask again after it";
        return Some(format!("Not handing back: {why}"));
    }
    let unknown = ruby::unknown_to_ruby(state);
    (!unknown.is_empty()).then(|| {
        let unknown = unknown.join(", ");
        format!("Not handing back: a Ruby Einhorn cannot hold {unknown}; start the master without")
    })
}

/// Begins the master's re-exec, or joins the one in progress.
fn begin(turn: &mut Turn, request: UpgradeRequest) {
    if turn.state.stopping.is_some() {
        return turn.info("Not upgrading: the master is going down");
    }
    // A pending SIGHUP asks for a roll-out, which a reload must not cancel.
    let kind = match (turn.state.upgrade_due_at.take(), request.kind) {
        (Some(_), UpgradeKind::Reload) => UpgradeKind::Smooth,
        (_, kind) => kind,
    };
    if let Some(reexec) = turn.state.reexec {
        return join(turn, reexec, kind);
    }
    if request.is_hand_back {
        for change in ruby::changes(turn.state) {
            announce(turn, &format!("What changes with a Ruby Einhorn: {change}"));
        }
    }
    start_preflight(turn, UpgradeRequest { kind, ..request }, turn.now.monotonic);
}

/// Joins the re-exec in progress. The latest request determines its kind, except that a reload does
/// not cancel a roll-out.
fn join(turn: &mut Turn, reexec: Reexec, kind: UpgradeKind) {
    turn.info("An upgrade of the master is under way already; joining it");
    if kind == UpgradeKind::Reload {
        return;
    }
    let Reexec { kind: before, asked_at, is_hand_back, .. } = reexec;
    turn.state.reexec = Some(Reexec { kind, ..reexec });
    let is_stale = before == UpgradeKind::Reload || resolves_deployment(turn.state);
    if is_stale && !is_hand_back {
        // The code was resolved before this request, or not at all.
        announce(turn, "Checking again: newer code was asked for");
        kill_candidate(turn);
        start_preflight(turn, UpgradeRequest { kind, is_hand_back }, asked_at);
    }
}

/// Whether an upgrade resolves its directory or environment once, during the preflight.
fn resolves_deployment(state: &State) -> bool {
    state.config.chdir.is_some() || state.config.env_file.is_some()
}

fn start_preflight(turn: &mut Turn, request: UpgradeRequest, asked_at: Monotonic) {
    let UpgradeRequest { kind, is_hand_back } = request;
    let deadline = turn.now.monotonic + PREFLIGHT_MAX;
    let stage = Stage::Preflight { candidate: None, deadline, is_overdue: false };
    turn.state.reexec = Some(Reexec { kind, asked_at, stage, is_hand_back });
    turn.actions.push(Action::StartPreflight);
}

/// The candidate has been started, with the deployment that the upgrade would roll out.
pub(super) fn preflight_started(turn: &mut Turn, pid: Pid, deployment: Option<Deployment>) {
    if let Some(Reexec { stage: Stage::Preflight { candidate, .. }, .. }) = &mut turn.state.reexec {
        *candidate = Some(pid);
        let release = deployment.as_ref().and_then(|deployment| deployment.directory.as_ref());
        let release = release.map(|directory| format!(" of {}", directory.display()));
        turn.state.next_deployment = deployment;
        let release = release.unwrap_or_default();
        announce(
            turn,
            &format!("Checking whether the new release{release} can take over (pid {pid})"),
        );
    } else {
        turn.actions.push(Action::KillPreflight);
    }
}

/// The preflight has ended.
pub(super) fn preflight_ended(turn: &mut Turn, outcome: &PreflightOutcome) {
    let Some(Reexec { kind, asked_at, stage, is_hand_back }) = turn.state.reexec else {
        return turn.info("The preflight has ended; no upgrade is waiting for it");
    };
    let Stage::Preflight { candidate, is_overdue, .. } = stage else { return };
    if let PreflightOutcome::Ended { pid, .. } = outcome
        && candidate != Some(*pid)
    {
        return turn.info(format!("Candidate {pid} has ended; another one is asked by now"));
    }
    let request = UpgradeRequest { kind, is_hand_back };
    let handing_over = Some(Reexec { kind, asked_at, stage: Stage::HandingOver, is_hand_back });
    match verdict(outcome, request, is_overdue) {
        Verdict::Accept { release } => {
            announce(turn, &format!("einhorn {release} can take over; handing over to it"));
            ending::finish(turn);
            turn.state.reexec = handing_over;
            turn.actions.push(Action::HandOver);
        }
        Verdict::HandBack => {
            announce(turn, "A Ruby Einhorn can take over; handing back to it");
            ending::finish(turn);
            turn.state.reexec = handing_over;
            turn.actions.push(Action::HandBack);
        }
        Verdict::Refuse { why } => fail(turn, Outcome::Refused, &format!("Not upgrading: {why}")),
    }
}

/// The exec failed: this image continues unchanged.
pub(super) fn hand_over_failed(turn: &mut Turn, why: &str) {
    let why = format!("Could not upgrade, and went on as before: {why}");
    fail(turn, Outcome::Refused, &why);
}

/// The next image handed the state back.
pub(super) fn rolled_back(turn: &mut Turn, why: &str) {
    turn.state.reexecuted_at = Some(turn.now.monotonic);
    let why = format!("Rolled back, this release goes on: the new one could not take over: {why}");
    fail(turn, Outcome::RolledBack, &why);
}

/// Ends the re-exec without success. The clients that asked for it get this as their final reply;
/// those that wait for a roll-out in progress keep waiting for that.
fn fail(turn: &mut Turn, outcome: Outcome, why: &str) {
    turn.error(why);
    let waits_for = [WaitsFor::Reexec, WaitsFor::Upgrade];
    end_reexec(turn, Answer { outcome, message: why.to_owned() }, &waits_for);
    for waiter in turn.state.waiters.clone() {
        waiters::tell(turn, &waiter, why);
    }
}

/// Ends the re-exec with nothing to follow it.
fn end_reexec(turn: &mut Turn, answer: Answer, waits_for: &[WaitsFor]) {
    let now = turn.now;
    let numbers = status::numbers(turn.state, now);
    let deployment = turn.state.next_deployment.take();
    let Some(reexec) = turn.state.reexec.take() else { return };
    let killed_later_count =
        turn.state.last_upgrade.as_ref().map_or(0, |before| before.killed_later_count);
    let ended = EndedUpgrade {
        kind: reexec.kind,
        generation: turn.state.generation,
        directory: deployment.and_then(|deployment| deployment.directory),
        outcome: answer.outcome,
        message: answer.message,
        took: now.monotonic.since(reexec.asked_at),
        ended_on: now.realtime,
        failures: Vec::new(),
        killed: Killed::default(),
        // It replaced no worker.
        killed_later_count,
    };
    let is_done = |waiter: &Waiter| waits_for.contains(&waiter.waits_for);
    waiters::finish_upgrade(turn, ended, numbers, is_done);
}

/// This image has adopted the state: the re-exec is complete, and the roll-out begins.
pub(super) fn adopted(turn: &mut Turn, from_release: &str) {
    turn.state.reexec_count = turn.state.reexec_count.saturating_add(1);
    turn.state.reexecuted_at = Some(turn.now.monotonic);
    let release = release();
    announce(turn, &format!("Re-executed: from einhorn {from_release} to {release}"));
    disposition::inspect_unknown(turn);
    let reexec = turn.state.reexec.unwrap_or(Reexec {
        kind: UpgradeKind::Reload,
        asked_at: turn.now.monotonic,
        stage: Stage::HandingOver,
        is_hand_back: false,
    });
    let reloaded = Answer::done(format!("Reload done: einhorn {release}"));
    match reexec.kind.rollout() {
        None => {
            rollout::reload_deployment(turn);
            end_reexec(turn, reloaded, &[WaitsFor::Reexec]);
        }
        Some(kind) => {
            waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Reexec, &reloaded);
            rollout::begin(turn, kind, reexec.asked_at);
        }
    }
}

/// `abort`: ends the upgrade in progress. Returns the answer, which says what was aborted.
pub(super) fn abort(turn: &mut Turn) -> Answer {
    let is_due = turn.state.upgrade_due_at.take().is_some();
    let is_reexecuting = turn.state.reexec.is_some();
    let why = "Upgrade aborted: the master stays what it is";
    if is_reexecuting {
        kill_candidate(turn);
        fail(turn, Outcome::Aborted, why);
    } else if is_due {
        let answer = Answer { outcome: Outcome::Aborted, message: why.to_owned() };
        waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Upgrade, &answer);
    }
    let is_rolling_out = turn.state.rollout.is_some();
    if is_rolling_out {
        rollout::end(turn, Outcome::Aborted, "as commanded");
    }
    match (is_reexecuting, is_rolling_out, is_due) {
        (false, false, false) => Answer::refused("There is no upgrade to abort"),
        (_, true, _) => Answer::done("Aborted the roll-out"),
        _ => Answer::done("Aborted the upgrade before it changed anything"),
    }
}

/// Acts on due deadlines of the re-exec.
pub(super) fn reconcile(turn: &mut Turn) {
    let now = turn.now.monotonic;
    if let Some(Reexec { stage: Stage::Preflight { deadline, is_overdue, .. }, .. }) =
        &mut turn.state.reexec
        && *deadline <= now
        && !*is_overdue
    {
        *is_overdue = true;
        turn.actions.push(Action::KillPreflight);
    }
    if upgrade_due_at(turn.state).is_some_and(|due| due <= now) {
        begin(turn, UpgradeRequest::ordinary(UpgradeKind::Smooth));
    }
}

/// The next deadline of the re-exec.
pub(super) fn deadline(state: &State) -> Option<Monotonic> {
    let preflight = match state.reexec {
        Some(Reexec { stage: Stage::Preflight { deadline, is_overdue: false, .. }, .. }) => {
            Some(deadline)
        }
        _ => None,
    };
    [preflight, upgrade_due_at(state)].into_iter().flatten().min()
}

/// When a postponed upgrade begins; `None` while another one is in progress.
fn upgrade_due_at(state: &State) -> Option<Monotonic> {
    state.upgrade_due_at.filter(|_| state.reexec.is_none())
}

/// Ends all upgrades because the master is stopping, and tells the clients that wait for them.
pub(super) fn abandon(turn: &mut Turn) {
    kill_candidate(turn);
    turn.state.upgrade_due_at = None;
    let why = "The upgrade was given up: the master is going down";
    let answer = Answer { outcome: Outcome::Aborted, message: why.to_owned() };
    end_reexec(turn, answer.clone(), &[WaitsFor::Reexec, WaitsFor::Upgrade]);
    rollout::abandon(turn, &answer);
    let unsettled = "Not settled: the master is going down".to_owned();
    let unsettled = Answer { message: unsettled, ..answer.clone() };
    waiters::finish(turn, |waiter| waiter.waits_for == WaitsFor::Settled, &unsettled);
    let waits = |waiter: &Waiter| matches!(waiter.waits_for, WaitsFor::Drained { .. });
    waiters::finish(turn, waits, &waiters::undrained());
    waiters::finish(turn, |waiter| waiter.waits_for != WaitsFor::Exit, &answer);
}

fn kill_candidate(turn: &mut Turn) {
    if let Some(Reexec { stage: Stage::Preflight { .. }, .. }) = turn.state.reexec {
        turn.actions.push(Action::KillPreflight);
    }
}
