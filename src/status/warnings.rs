//! Warnings: what does not lessen the capacity, and what an operator should know all the same.

use std::time::Duration;

use crate::state::{
    Config, Disposition, Leftover, Monotonic, Now, Pid, Signal, State, Suspended, Worker,
};
use crate::status::document::Warning;
use crate::status::kinds::WarningKind;
use crate::status::progress::milliseconds;
use crate::status::words::{printable, span};

/// How long old workers may drain without a warning. Requests take seconds; connections that are
/// kept for longer, such as websockets, are worth knowing of, since they keep old code running.
const DRAIN_MAX: Duration = Duration::from_secs(600);

/// How long a worker may run without a further signal to come, after it was asked to stop.
const UNENDING_DRAIN_MAX: Duration = Duration::from_secs(30);

/// How long a program may take to load: some set up their handlers last.
const LOADING_MAX: Duration = Duration::from_secs(60);

/// How many pids a warning lists.
const NAMED_MAX: usize = 8;

/// All warnings; those that concern the next upgrade come first.
pub fn warnings(state: &State, now: Now) -> Vec<Warning> {
    let all = [
        (WarningKind::NoHandler, unhandled(state, now)),
        (WarningKind::NotSignalled, not_signalled(state)),
        (WarningKind::LongDrain, long_drains(state, now)),
        (WarningKind::Killed, killed_later(state)),
    ];
    let one_each = all.into_iter().filter_map(|(kind, message)| Some((kind, message?)));
    let leftovers = state.leftovers.iter().take(NAMED_MAX).map(|(group, leftover)| {
        let alone = match state.config.stop {
            Some(_) => "",
            None => "; without --stop they are left alone",
        };
        let what = self::leftover(leftover);
        let message = format!("worker {group} has left {what} running in its group{alone}");
        (WarningKind::LeftOver, message)
    });
    let all = one_each.chain(leftovers);
    all.map(|(kind, message)| Warning { kind, message }).collect()
}

/// What to do about a program that has no handler.
pub fn cure(config: &Config) -> String {
    match &config.stop {
        Some(stop) => format!("--stop {stop} should begin with a signal that the program handles"),
        None => {
            "name the signals on which the program stops with --stop, such as --stop TERM/30/KILL"
                .to_owned()
        }
    }
}

/// ` (python3)` for a program whose name is known, otherwise empty.
pub fn program(name: Option<&str>) -> String {
    name.map(|name| format!(" ({})", printable(name))).unwrap_or_default()
}

/// `2 processes (sleep)`.
pub fn leftover(leftover: &Leftover) -> String {
    let s = if leftover.count == 1 { "" } else { "es" };
    format!("{} process{s}{}", leftover.count, program(leftover.program.as_deref()))
}

/// One sentence for each worker that a signal suspends.
pub fn suspended(state: &State) -> impl Iterator<Item = String> {
    state.workers.iter().filter_map(|(pid, worker)| {
        let Suspended { signal, .. } = worker.suspension.current?;
        let slot = worker.slot.0;
        Some(format!("worker {pid} (slot {slot}) is suspended by SIG{signal}; SIGCONT lets it run"))
    })
}

fn unhandled(state: &State, now: Now) -> Option<String> {
    let is_unhandled =
        |it: &Worker| !it.is_stopping() && it.disposition.is_some_and(|found| !found.is_handled());
    let unhandled = || state.workers.values().filter(|worker| is_unhandled(worker));
    let first = unhandled().next()?;
    let is_new = |it: &Worker| now.monotonic.since(it.spawned_at) < LOADING_MAX;
    let so_far = if unhandled().all(is_new) { " so far" } else { "" };
    let signal = state.config.stop_schedule().first();
    let what = match first.disposition? {
        Disposition::Ignored => format!("{signal} is ignored{so_far}"),
        _ => format!("no handler for {signal}{so_far}, which kills instead of draining"),
    };
    let program = program(first.program.as_deref());
    Some(format!("{}{program}: {what}; {}", whom(state, is_unhandled), cure(&state.config)))
}

fn not_signalled(state: &State) -> Option<String> {
    let failure = |worker: &Worker| worker.stop_signal.as_ref()?.refusal();
    let first = state.stoppables().find_map(|(_, worker)| failure(worker))?;
    let meant = state.stoppables().filter(|(_, worker)| failure(worker).is_some());
    Some(format!("{} {first}", listed(meant.map(|(pid, _)| pid).collect())))
}

fn long_drains(state: &State, now: Now) -> Option<String> {
    let schedule = state.config.stop_schedule();
    let since = |at: Option<Monotonic>| at.map(|at| now.monotonic.since(at));
    let drains = |it: &Worker| since(it.stop_requested_at);
    let is_unending = |it: &Worker| {
        let is_last = it.stop_progress.is_some_and(|at| !schedule.has_next(at.step));
        is_last && !it.signaled.contains(&Signal::Kill)
    };
    let is_long = |it: &Worker| match is_unending(it) {
        true => since(it.stop_progress.map(|at| at.since)) > Some(UNENDING_DRAIN_MAX),
        false => drains(it) > Some(DRAIN_MAX),
    };
    let long = || state.workers.values().filter(|worker| is_long(worker));
    let longest = span(milliseconds(long().filter_map(drains).max()?));
    let whom = whom(state, is_long);
    let program = program(long().find_map(|worker| worker.program.as_deref()));
    let unending = match (long().any(is_unending), &state.config.stop) {
        (false, _) => String::new(),
        (true, Some(stop)) => format!(", and --stop {stop} sends nothing more"),
        (true, None) => format!(", and nothing more is sent; {}", cure(&state.config)),
    };
    Some(format!("{whom}{program}: draining for up to {longest}{unending}"))
}

fn killed_later(state: &State) -> Option<String> {
    let ended = state.last_upgrade.as_ref().filter(|ended| ended.killed_later_count > 0)?;
    let count = ended.killed_later_count;
    let workers = if count == 1 { "worker was" } else { "workers were" };
    let when = "after the last upgrade's end (see the log)";
    Some(format!("{count} old {workers} killed instead of draining {when}"))
}

fn whom(state: &State, is_meant: impl Fn(&Worker) -> bool) -> String {
    let meant = state.workers.iter().filter(|(_, worker)| is_meant(worker));
    listed(meant.map(|(pid, _)| *pid).collect())
}

/// `2 workers (11, 12)`.
fn listed(pids: Vec<Pid>) -> String {
    let s = if pids.len() == 1 { "" } else { "s" };
    let mut named: Vec<String> = pids.iter().take(NAMED_MAX).map(Pid::to_string).collect();
    if pids.len() > NAMED_MAX {
        named.push("...".to_owned());
    }
    format!("{} worker{s} ({})", pids.len(), named.join(", "))
}
