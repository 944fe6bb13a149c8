//! Upgrades: a preflight, the hand-over, and the roll-out of new workers (behaviour.md sections 5
//! and 6, docs/handover.md).

use std::time::Duration;

use crate::decide::action::Action;
use crate::decide::event::Preflight;
use crate::decide::{Turn, list};
use crate::protocol::Reply;
use crate::ruby;
use crate::scalar::Scalar;
use crate::state::{
    CandidateReport, ConnectionId, ExitStatus, Monotonic, Pid, Reexec, Rollout, RolloutKind,
    SCHEMA_VERSIONS, Signal, Stage, State, UpgradeKind, Waiter, WaitsFor, Worker, release,
};

/// How long a candidate may take. Wrapper scripts set up language environments; none needs longer
/// when it is well. Builds for tests only wait less.
pub const PREFLIGHT_MAX: Duration =
    Duration::from_secs(if cfg!(feature = "next") { 5 } else { 30 });

/// After a re-exec, an upgrade that SIGHUP asks for waits this long: a storm of signals, which
/// nobody waits for, makes a handful of re-execs and ends with the newest code all the same.
pub const HUP_PAUSE: Duration = Duration::from_secs(1);

/// How many upgrades one client may wait for; each is told of every step. Nobody waits for more
/// than a few.
const WAITERS_MAX: usize = 256;

/// How many schema versions back a release writes, which is what makes a downgrade possible.
const SCHEMA_VERSIONS_WRITTEN: usize = 3;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) kind: UpgradeKind,
    /// Whether a Ruby Einhorn is to go on.
    pub(super) is_hand_back: bool,
}

impl Asked {
    fn ordinary(kind: UpgradeKind) -> Asked {
        Asked { kind, is_hand_back: false }
    }
}

/// SIGHUP: a smooth upgrade, soon.
pub(super) fn asked_by_signal(turn: &mut Turn) {
    let now = turn.now.monotonic;
    let pause_ends = turn.state.reexecuted_at.map(|at| at + HUP_PAUSE).filter(|end| *end > now);
    match pause_ends {
        Some(end) if turn.state.reexec.is_none() && turn.state.stopping.is_none() => {
            turn.state.upgrade_due_at.get_or_insert(end);
        }
        _ => begin(turn, Asked::ordinary(UpgradeKind::Smooth)),
    }
}

/// A command: the client is told how it goes on, and once how it ended.
pub(super) fn asked_by_client(
    turn: &mut Turn,
    asked: Asked,
    connection: ConnectionId,
    request_id: Option<Scalar>,
) {
    let waits_for = match asked.kind {
        UpgradeKind::Reload => WaitsFor::Reexec,
        UpgradeKind::Smooth | UpgradeKind::Fleet => WaitsFor::Upgrade,
    };
    let waiter = Waiter { connection, request_id, waits_for, wants_events: false };
    if turn.state.stopping.is_some() {
        return tell(turn, &waiter, "Not upgrading: the master is going down", false);
    }
    let waiting = turn.state.waiters.iter().filter(|known| known.connection == connection);
    if waiting.count() >= WAITERS_MAX {
        let why = format!("Not upgrading: this client waits for {WAITERS_MAX} upgrades already");
        return tell(turn, &waiter, &why, false);
    }
    if let Some(why) = asked.is_hand_back.then(|| no_hand_back(turn.state)).flatten() {
        turn.error(&why);
        return tell(turn, &waiter, &why, false);
    }
    let word = if asked.kind == UpgradeKind::Reload { "Reloading" } else { "Upgrading" };
    tell(turn, &waiter, &format!("{word}, as commanded"), true);
    turn.state.waiters.push(waiter);
    begin(turn, asked);
}

/// Why this state cannot be handed back to a Ruby Einhorn now, if it cannot.
fn no_hand_back(state: &State) -> Option<String> {
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

/// Begins the master's own step, or joins the one that has begun.
fn begin(turn: &mut Turn, asked: Asked) {
    if turn.state.stopping.is_some() {
        return turn.info("Not upgrading: the master is going down");
    }
    // A SIGHUP that waits for its turn asks for a roll-out, which a reload must not take away.
    let kind = match (turn.state.upgrade_due_at.take(), asked.kind) {
        (Some(_), UpgradeKind::Reload) => UpgradeKind::Smooth,
        (_, kind) => kind,
    };
    if let Some(reexec) = &mut turn.state.reexec {
        // What is asked for last holds, except that a reload takes no roll-out away.
        if kind != UpgradeKind::Reload {
            reexec.kind = kind;
        }
        return turn.info("An upgrade of the master is under way already; joining it");
    }
    if asked.is_hand_back {
        for change in ruby::changes(turn.state) {
            progress(turn, &format!("What changes with a Ruby Einhorn: {change}"));
        }
    }
    let schema = *writable().last().unwrap_or(&1);
    start_preflight(turn, Asked { kind, ..asked }, schema);
}

/// The schema versions that this release writes, oldest first.
fn writable() -> &'static [u16] {
    &SCHEMA_VERSIONS[SCHEMA_VERSIONS.len().saturating_sub(SCHEMA_VERSIONS_WRITTEN)..]
}

fn start_preflight(turn: &mut Turn, asked: Asked, schema: u16) {
    let Asked { kind, is_hand_back } = asked;
    let deadline = turn.now.monotonic + PREFLIGHT_MAX;
    let stage = Stage::Preflight { candidate: None, schema, deadline, is_overdue: false };
    let asked_at = turn.now.monotonic;
    turn.state.reexec = Some(Reexec { kind, asked_at, stage, is_hand_back });
    turn.actions.push(Action::StartPreflight { schema });
}

/// The candidate runs.
pub(super) fn preflight_started(turn: &mut Turn, pid: Pid) {
    if let Some(Reexec { stage: Stage::Preflight { candidate, .. }, .. }) = &mut turn.state.reexec {
        *candidate = Some(pid);
        progress(turn, &format!("Asking the new release whether it can take over (pid {pid})"));
    } else {
        turn.actions.push(Action::KillPreflight);
    }
}

/// What follows from a preflight.
enum Verdict {
    Accept { release: String, schema: u16 },
    HandBack,
    AskAgain { schema: u16 },
    Refuse { why: String },
}

/// The preflight is over.
pub(super) fn preflight_ended(turn: &mut Turn, outcome: &Preflight) {
    let Some(Reexec { kind, asked_at, stage, is_hand_back }) = turn.state.reexec else {
        return turn.info("The preflight has ended; nobody waits for it any more");
    };
    let Stage::Preflight { schema, is_overdue, .. } = stage else { return };
    let asked = Asked { kind, is_hand_back };
    let handing_over = Some(Reexec { kind, asked_at, stage: Stage::HandingOver, is_hand_back });
    match verdict(outcome, asked, schema, is_overdue, &turn.state.features_in_use()) {
        Verdict::Accept { release, schema } => {
            progress(turn, &format!("einhorn {release} can take over; handing over to it"));
            turn.state.reexec = handing_over;
            turn.actions.push(Action::HandOver { schema });
        }
        Verdict::HandBack => {
            progress(turn, "A Ruby Einhorn can take over; handing back to it");
            turn.state.reexec = handing_over;
            turn.actions.push(Action::HandBack);
        }
        Verdict::AskAgain { schema } => start_preflight(turn, asked, schema),
        Verdict::Refuse { why } => fail(turn, &format!("Not upgrading: {why}")),
    }
}

fn verdict(
    outcome: &Preflight,
    asked: Asked,
    schema: u16,
    is_overdue: bool,
    in_use: &[&str],
) -> Verdict {
    let refuse = |why: String| Verdict::Refuse { why };
    let (pid, status, report, words, is_cut) = match outcome {
        Preflight::NotStarted { why } => return refuse(why.clone()),
        Preflight::Ended { pid, status, report, last_words, is_cut } => {
            (*pid, *status, report.as_ref(), last_words.trim(), *is_cut)
        }
    };
    let said = |what: String| match words {
        "" => format!("{what}; it said nothing"),
        words => format!("{what}; its last words: {words}"),
    };
    if is_overdue {
        let seconds = PREFLIGHT_MAX.as_secs();
        return refuse(said(format!(
            "the new release took longer than {seconds}s to check itself"
        )));
    }
    let Some(report) = report else {
        let unfit = asked.is_hand_back.then(|| ruby::unfit(words, pid, is_cut));
        return match unreported(status, unfit) {
            None => Verdict::HandBack,
            Some(why) => refuse(said(why)),
        };
    };
    if asked.is_hand_back {
        return refuse(format!(
            "the re-exec command runs einhorn {}, which is no Ruby Einhorn: leave out --to-ruby",
            report.release
        ));
    }
    if report.pid != pid.0 {
        return refuse(format!(
            "the re-exec command runs einhorn as a child (pid {} instead of {pid}): its last \
             command must be run with `exec`",
            report.pid
        ));
    }
    if let Some(unknown) = in_use.iter().find(|name| !report.features.iter().any(|f| f == *name)) {
        return refuse(format!(
            "einhorn {} does not know {unknown:?}, which is in use",
            report.release
        ));
    }
    match best_schema(report) {
        None => refuse(format!(
            "einhorn {} reads schema versions {:?}, and this release writes {:?}",
            report.release,
            report.reads,
            writable()
        )),
        // Never upwards, so that there is an end to it.
        Some(best) if best < schema => Verdict::AskAgain { schema: best },
        Some(_) if report.has_adopted && status == ExitStatus::Code(0) => {
            Verdict::Accept { release: report.release.clone(), schema }
        }
        Some(_) => refuse(said(format!("einhorn {} cannot take over ({status})", report.release))),
    }
}

/// Why a candidate that reports nothing is refused; `None` for a Ruby Einhorn that was asked for,
/// of which `unfit` says what is wrong.
fn unreported(status: ExitStatus, unfit: Option<Option<String>>) -> Option<String> {
    match (status, unfit) {
        (ExitStatus::Code(0), Some(unfit)) => unfit,
        (ExitStatus::Code(0), None) => Some(
            "the check passed without a report, as a Ruby Einhorn's does; to hand back to one: \
             einhornsh -e 'upgrade --to-ruby'. If it is none, the command runs no einhorn, or a \
             wrapper closes descriptors"
                .to_owned(),
        ),
        (status, _) => Some(format!("the check of the new release failed ({status})")),
    }
}

/// The newest version that both know.
fn best_schema(report: &CandidateReport) -> Option<u16> {
    writable().iter().copied().filter(|version| report.reads.contains(version)).max()
}

/// The exec returned: nothing has changed.
pub(super) fn hand_over_failed(turn: &mut Turn, why: &str) {
    fail(turn, &format!("Could not upgrade, and went on as before: {why}"));
}

/// The next image gave the state back.
pub(super) fn rolled_back(turn: &mut Turn, why: &str) {
    turn.state.reexecuted_at = Some(turn.now.monotonic);
    fail(
        turn,
        &format!("Rolled back, this release goes on: the new one could not take over: {why}"),
    );
}

/// Ends the master's own step without success. Whoever asked for it gets that as the last line;
/// those who wait for a roll-out that is under way go on waiting for that.
fn fail(turn: &mut Turn, why: &str) {
    turn.error(why);
    turn.state.reexec = None;
    finish(turn, &[WaitsFor::Reexec, WaitsFor::Upgrade], why);
    for waiter in turn.state.waiters.clone() {
        tell(turn, &waiter, why, true);
    }
}

/// This image has adopted the state: the master's own step is done, and the roll-out begins.
pub(super) fn adopted(turn: &mut Turn, from_release: &str) {
    turn.state.reexec_count = turn.state.reexec_count.saturating_add(1);
    turn.state.reexecuted_at = Some(turn.now.monotonic);
    let now = turn.now.monotonic;
    let reexec = turn.state.reexec.take();
    let kind = reexec.map_or(UpgradeKind::Reload, |reexec| reexec.kind);
    let from = turn.state.rollout.as_ref().map_or(turn.state.generation, |rollout| rollout.from);
    let release = release();
    progress(turn, &format!("Re-executed: from einhorn {from_release} to {release}"));
    finish(turn, &[WaitsFor::Reexec], &format!("Reload done: einhorn {release}"));
    for waiter in &mut turn.state.waiters {
        waiter.waits_for = WaitsFor::Rollout;
    }
    let Some(rollout) = kind.rollout() else { return };
    let version = turn.state.generation.0;
    if turn.state.rollout.is_some() {
        progress(turn, "Bumping the version and starting over with the newest code");
    }
    let name = if rollout == RolloutKind::Smooth { "smooth" } else { "fleet" };
    progress(turn, &format!("Starting {name} upgrade from version {version}..."));
    turn.state.newest_generation.0 = turn.state.newest_generation.0.saturating_add(1);
    turn.state.generation = turn.state.newest_generation;
    turn.state.rollout = Some(Rollout::resumed(rollout, from, now));
    turn.state.last_upgraded_on = Some(turn.now.realtime);
    if let Some(retries) = turn.state.config.retries.filter(|_| turn.state.has_given_up()) {
        // New code earns an attempt, and no more than that.
        turn.state.early_death_count = retries.saturating_sub(1);
    }
    turn.state.cold_start_count = match rollout {
        RolloutKind::Fleet => turn.state.config.target,
        RolloutKind::Smooth => 0,
    };
}

/// No more attempts are allowed: whoever waits for the roll-out would wait for ever.
pub(super) fn stalled(turn: &mut Turn, death_count: u32) {
    if turn.state.rollout.is_some() {
        let why = format!(
            "Upgrade failed: {death_count} consecutive deaths before an ACK (--retries); the old \
             workers serve on"
        );
        finish(turn, &[WaitsFor::Rollout], &why);
    }
}

/// A turn's share: deadlines, the end of a roll-out, old workers that are not needed any more.
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
    if turn.state.upgrade_due_at.is_some_and(|due| due <= now) {
        begin(turn, Asked::ordinary(UpgradeKind::Smooth));
    }
    if turn.state.rollout.is_some() && turn.state.current_capacity() >= turn.state.config.target {
        turn.state.rollout = None;
        let version = turn.state.generation.0;
        progress(turn, &format!("Upgraded successfully to version {version}"));
        finish(turn, &[WaitsFor::Rollout], "Upgrade done");
    }
    cull_old(turn);
}

/// When something of an upgrade falls due.
pub(super) fn deadline(state: &State) -> Option<Monotonic> {
    let preflight = match state.reexec {
        Some(Reexec { stage: Stage::Preflight { deadline, is_overdue: false, .. }, .. }) => {
            Some(deadline)
        }
        _ => None,
    };
    [preflight, state.upgrade_due_at].into_iter().flatten().min()
}

/// How many more workers a roll-out may start now, by `--max-upgrade-additional`.
pub(super) fn room_for_additional(state: &State) -> u32 {
    match (&state.rollout, state.config.max_upgrade_additional) {
        (Some(_), Some(additional)) => {
            state.config.target.saturating_add(additional).saturating_sub(state.staying_count())
        }
        _ => u32::MAX,
    }
}

/// Tells old workers to go that are not needed any more. Those that serve stay until as many new
/// ones are up, so that the capacity never falls below the target.
fn cull_old(turn: &mut Turn) {
    let state = &*turn.state;
    let mut old: Vec<(Pid, &Worker)> = state.old_workers().collect();
    let excess = match state.rollout.as_ref().map(|rollout| rollout.kind) {
        None => old.len(),
        // A fleet that does not fit beside the old workers would wait for ever; it comes in waves.
        Some(RolloutKind::Fleet) if state.missing_count() <= room_for_additional(state) => 0,
        Some(RolloutKind::Fleet | RolloutKind::Smooth) => surplus(state, old.len()),
    };
    if excess == 0 {
        return;
    }
    old.sort_by_key(|(_, worker)| (worker.is_acked(), worker.slot));
    let going: Vec<Pid> = old.iter().take(excess).map(|(pid, _)| *pid).collect();
    progress(turn, &format!("Sending USR2 to {excess} old workers: {}", list(&going)));
    turn.tell_to_go(&going, Signal::Usr2);
}

/// How many old workers a roll-out can do without: as many as there are above the target together
/// with the new ones that serve. Old ones that do not serve go first, so those that do are never
/// missed.
fn surplus(state: &State, old_count: usize) -> usize {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    (old_count + count(state.current_capacity())).saturating_sub(count(state.config.target))
}

/// The master is going down: upgrades end, and whoever waits is told.
pub(super) fn abandon(turn: &mut Turn) {
    if let Some(Reexec { stage: Stage::Preflight { .. }, .. }) = turn.state.reexec {
        turn.actions.push(Action::KillPreflight);
    }
    turn.state.reexec = None;
    turn.state.rollout = None;
    turn.state.upgrade_due_at = None;
    for waiter in std::mem::take(&mut turn.state.waiters) {
        tell(turn, &waiter, "The upgrade was given up: the master is going down", false);
    }
}

/// Logs how an upgrade goes on, and tells everyone who waits for it.
pub(super) fn progress(turn: &mut Turn, message: &str) {
    turn.info(message);
    for waiter in turn.state.waiters.clone() {
        tell(turn, &waiter, message, true);
    }
}

/// Gives everyone who waits for one of these their last line.
fn finish(turn: &mut Turn, waits_for: &[WaitsFor], message: &str) {
    let (done, staying): (Vec<Waiter>, Vec<Waiter>) = std::mem::take(&mut turn.state.waiters)
        .into_iter()
        .partition(|waiter| waits_for.contains(&waiter.waits_for));
    for waiter in &done {
        tell(turn, waiter, message, false);
    }
    turn.state.waiters = staying;
}

fn tell(turn: &mut Turn, waiter: &Waiter, message: &str, wait: bool) {
    let request_id = waiter.request_id.clone();
    let reply = Reply { message: message.to_owned(), request_id, wait, event: None };
    turn.actions.push(Action::Reply { connection: waiter.connection, reply });
}
