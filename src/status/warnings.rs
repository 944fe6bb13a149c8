//! Warnings: what does not lessen the capacity, and what an operator should know all the same.

use std::time::Duration;

use crate::state::{Config, Disposition, Leftover, Now, State, Suspended, Worker};
use crate::status::document::Warning;
use crate::status::kinds::WarningKind;
use crate::status::progress::milliseconds;
use crate::status::words::{printable, span};

/// How long old workers may drain without a warning. Requests take seconds; connections that are
/// kept for longer, such as websockets, are worth knowing of, since they keep old code running.
const DRAIN_MAX: Duration = Duration::from_secs(600);

/// How many pids a warning lists.
const NAMED_MAX: usize = 8;

/// All warnings; those that concern the next upgrade come first.
pub fn warnings(state: &State, now: Now) -> Vec<Warning> {
    let all = [
        (WarningKind::NoHandler, unhandled(state)),
        (WarningKind::NotSignalled, not_signalled(state)),
        (WarningKind::LongDrain, long_drains(state, now)),
        (WarningKind::Killed, killed_later(state)),
    ];
    let one_each = all.into_iter().filter_map(|(kind, message)| Some((kind, message?)));
    let leftovers = state.leftovers.iter().map(|(group, leftover)| {
        let message = format!("worker {group} has left {} running", self::leftover(leftover));
        (WarningKind::LeftOver, message)
    });
    let all = one_each.chain(leftovers);
    all.map(|(kind, message)| Warning { kind, message }).collect()
}

/// The names of shells, which wait for their commands and pass no signal on.
const SHELLS: &[&str] = &["sh", "ash", "bash", "dash", "ksh", "zsh"];

/// What to do about a worker that has no handler.
pub fn cure(config: &Config, worker: &Worker) -> String {
    let is_shell = worker.program.as_deref().is_some_and(|name| SHELLS.contains(&name));
    match &config.stop {
        _ if is_shell => "if it waits for another program, put exec before that".to_owned(),
        Some(stop) => format!("--stop {stop} should begin with a signal that it handles"),
        None => "name the signals that it handles with --stop, such as --stop TERM/30/KILL".into(),
    }
}

/// `has no handler for USR2, which kills it when it is to drain; ...`, with the cure.
fn no_handler(config: &Config, worker: &Worker) -> Option<String> {
    let signal = config.stop_schedule().first();
    let what = match worker.disposition? {
        Disposition::Ignored => format!("ignores {signal}, which asks it to stop"),
        _ if !signal.ends_a_program() => format!("has no handler for {signal}"),
        _ => format!("has no handler for {signal}, which kills it when it is to drain"),
    };
    Some(format!("{what}; {}", cure(config, worker)))
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

fn unhandled(state: &State) -> Option<String> {
    let is_unhandled =
        |it: &Worker| !it.is_stopping() && it.disposition.is_some_and(|found| !found.is_handled());
    let first = state.workers.values().find(|worker| is_unhandled(worker))?;
    let why = no_handler(&state.config, first)?;
    let program = program(first.program.as_deref());
    Some(format!("{}{program}: it {why}", whom(state, is_unhandled)))
}

fn not_signalled(state: &State) -> Option<String> {
    let failure = |worker: &Worker| {
        let sent = worker.stop_signal.as_ref()?;
        Some(format!("cannot be sent {}: {}", sent.signal, sent.failure()?))
    };
    let first = state.workers.values().find_map(failure)?;
    Some(format!("{} {first}", whom(state, |worker| failure(worker).is_some())))
}

fn long_drains(state: &State, now: Now) -> Option<String> {
    let drains = |worker: &Worker| Some(now.monotonic.since(worker.stop_requested_at?));
    let is_long = |worker: &Worker| drains(worker).is_some_and(|it| it > DRAIN_MAX);
    let longest = state.workers.values().filter_map(drains).max().filter(|it| *it > DRAIN_MAX)?;
    let longest = span(milliseconds(longest));
    Some(format!("{}: draining for up to {longest}", whom(state, is_long)))
}

fn killed_later(state: &State) -> Option<String> {
    let ended = state.last_upgrade.as_ref().filter(|ended| ended.killed_later_count > 0)?;
    let count = ended.killed_later_count;
    let workers = if count == 1 { "worker was" } else { "workers were" };
    Some(format!("{count} old {workers} killed instead of draining after the last upgrade's end"))
}

/// `2 workers (11, 12)`.
fn whom(state: &State, is_meant: impl Fn(&Worker) -> bool) -> String {
    let meant = state.workers.iter().filter(|(_, worker)| is_meant(worker));
    let mut pids: Vec<String> = meant.map(|(pid, _)| pid.to_string()).collect();
    let count = pids.len();
    let s = if count == 1 { "" } else { "s" };
    if count > NAMED_MAX {
        pids.truncate(NAMED_MAX);
        pids.push("...".to_owned());
    }
    format!("{count} worker{s} ({})", pids.join(", "))
}
