//! The document as OpenMetrics text 1.0 (github.com/prometheus/OpenMetrics).
//!
//! Gauges and counters only: older Prometheus parsers, which collectors use for files, refuse other
//! types, and ignore the rest of what is new as comments.

use std::fmt::{self, Display, Write};

use crate::outcome::Outcome;
use crate::protocol::ProgressStage;
use crate::status::document::{ListenerStatus, Status, WorkerStatus};
use crate::status::kinds::{Health, Unit, WarningKind, WorkerState};

/// The prefix of every name.
const PREFIX: &str = "einhorn_";

/// Formats the document as OpenMetrics text.
pub fn metrics(status: &Status) -> String {
    let mut text = Text::default();
    master(&mut text, status);
    in_progress(&mut text, status);
    last_upgrade(&mut text, status);
    workers(&mut text, &status.workers);
    listeners(&mut text, &status.listeners);
    text.line(format_args!("# EOF"));
    text.out
}

fn master(text: &mut Text, status: &Status) {
    let master = &status.master;
    text.gauge("info", "", "About the master.");
    let pid = master.pid.to_string();
    let name = master.name.as_deref().unwrap_or_default();
    text.sample(&[("release", &master.release), ("name", name), ("pid", &pid)], 1);
    text.gauge("healthy", "", "Whether enough workers are serving.");
    text.sample(&[], u8::from(status.health == Health::Ok));
    text.gauge("warnings", "", "How many warnings there are, by what they are about.");
    for kind in WarningKind::ALL {
        let count = status.warnings.iter().filter(|warning| warning.kind == *kind).count();
        text.sample(&[("kind", kind.word())], count);
    }
    text.gauge("start_time", "seconds", "When the master's process began, since 1970.");
    let began = |uptime: u64| status.written_on_ms.saturating_sub_unsigned(uptime);
    text.optional(&[], master.uptime_ms.map(|uptime| seconds(began(uptime))));
    text.gauge("resident_memory", "bytes", "Resident memory of the master.");
    text.optional(&[], master.memory_bytes);
    text.counter("reexecs", "How often the master has re-executed itself.");
    text.sample(&[], master.reexecs);
    text.gauge("generation", "", "The current generation of workers.");
    text.sample(&[], master.generation);
    text.gauge("early_deaths", "", "Consecutive deaths before an ACK.");
    text.sample(&[], master.early_deaths);
    text.gauge("workers_target", "", "Target number of workers.");
    text.sample(&[], master.target);
    text.gauge("workers_acked", "", "Workers that are up and not stopping.");
    text.sample(&[], master.acked);
    text.gauge("workers", "", "How many workers there are, by their state.");
    for state in WorkerState::ALL {
        let count = status.workers.iter().filter(|worker| worker.state == *state).count();
        text.sample(&[("state", state.word())], count);
    }
}

fn in_progress(text: &mut Text, status: &Status) {
    let now = status.in_progress.as_ref();
    text.gauge("in_progress", "", "Whether this stage is in progress.");
    for stage in ProgressStage::ALL {
        let is_now = now.is_some_and(|now| now.stage == *stage);
        text.sample(&[("stage", stage.name())], u8::from(is_now));
    }
    let numbers = now.map(|now| now.numbers);
    text.gauge("in_progress_acked", "", "How many workers of the new generation are up.");
    text.optional(&[], numbers.map(|numbers| numbers.acked));
    text.gauge("in_progress_old_left", "", "Old workers that have not been asked to stop yet.");
    text.optional(&[], numbers.map(|numbers| numbers.old_left));
    text.gauge("in_progress_failed", "", "How many new workers have failed.");
    text.optional(&[], numbers.map(|numbers| numbers.failed));
    text.gauge("in_progress_elapsed", "seconds", "Time since what is in progress was requested.");
    text.optional(&[], numbers.map(|numbers| seconds(numbers.elapsed_ms)));
}

fn last_upgrade(text: &mut Text, status: &Status) {
    let last = status.last_upgrade.as_ref();
    text.gauge("last_upgrade", "", "Whether the last upgrade ended with this outcome.");
    for outcome in Outcome::ALL.iter().filter(|_| last.is_some()) {
        let is_so = last.is_some_and(|last| last.outcome == *outcome);
        text.sample(&[("outcome", outcome.name())], u8::from(is_so));
    }
    text.gauge("last_upgrade_killed", "", "Old workers that it killed instead of draining.");
    text.optional(&[], last.map(|last| last.killed));
    text.gauge("last_upgrade_end_time", "seconds", "When the last upgrade ended, since 1970.");
    text.optional(&[], last.map(|last| seconds(last.ended_on_ms)));
    text.gauge("last_upgrade_duration", "seconds", "How long the last upgrade took.");
    text.optional(&[], last.map(|last| seconds(last.took_ms)));
}

fn workers(text: &mut Text, workers: &[WorkerStatus]) {
    text.gauge("worker_info", "", "Which worker is in this slot.");
    for worker in workers {
        let (slot, pid) = (worker.slot.to_string(), worker.pid.to_string());
        let generation = worker.generation.to_string();
        let release = worker.release.as_deref().unwrap_or_default();
        let labels = [("slot", slot.as_str()), ("pid", &pid), ("generation", &generation)];
        let more = [("release", release), ("state", worker.state.word())];
        text.sample(&[&labels[..], &more].concat(), 1);
    }
    text.gauge("worker_start_time", "seconds", "When the worker was started, since 1970.");
    text.per_worker(workers, |worker| Some(seconds(worker.started_on_ms)));
    text.gauge("worker_time_to_ack", "seconds", "Time from the start of the worker to its ACK.");
    text.per_worker(workers, |worker| worker.time_to_ack_ms.map(seconds));
    text.counter(
        "worker_restarts",
        "Workers of this slot that exited without being asked to stop.",
    );
    text.per_worker(workers, |worker| Some(worker.restarts));
    text.gauge("worker_resident_memory", "bytes", "Resident memory of the worker.");
    text.per_worker(workers, |worker| worker.memory_bytes);
    text.gauge(
        "worker_deadline",
        "seconds",
        "Time left until the worker is killed, unless it exits first.",
    );
    text.per_worker(workers, |worker| worker.deadline_ms.map(seconds));
}

fn listeners(text: &mut Text, listeners: &[ListenerStatus]) {
    for unit in Unit::ALL {
        let of_unit = || listeners.iter().filter_map(|it| Some((it, it.queue?)));
        let of_unit = || of_unit().filter(|(_, queue)| queue.unit == *unit);
        text.gauge("listener_queue", unit.word(), "Length of the listener's queue.");
        of_unit().for_each(|(it, queue)| text.per_listener(it, queue.depth));
        text.gauge("listener_queue_limit", unit.word(), "Limit of the listener's queue.");
        of_unit().for_each(|(it, queue)| text.per_listener(it, queue.limit));
    }
}

/// OpenMetrics text under construction.
#[derive(Default)]
struct Text {
    out: String,
    /// The sample name of the current family.
    sample_name: String,
}

impl Text {
    /// Begins a family of gauges; the unit becomes part of its name.
    fn gauge(&mut self, name: &str, unit: &str, help: &str) {
        let name = match unit {
            "" => format!("{PREFIX}{name}"),
            unit => format!("{PREFIX}{name}_{unit}"),
        };
        self.begin(&name, "gauge", help);
        if !unit.is_empty() {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.sample_name = name;
    }

    /// Begins a family of counters, which only grow.
    fn counter(&mut self, name: &str, help: &str) {
        let name = format!("{PREFIX}{name}");
        self.begin(&name, "counter", help);
        self.sample_name = name + "_total";
    }

    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# TYPE {name} {kind}"));
        self.line(format_args!("# HELP {name} {help}"));
    }

    /// Adds a sample to the current family.
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(&self.sample_name);
        let mut before = '{';
        for (name, value) in labels {
            self.out.push(before);
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.out.extend(value.chars().flat_map(escaped));
            self.out.push('"');
            before = ',';
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}"));
    }

    /// Adds a sample if its value is known.
    fn optional(&mut self, labels: &[(&str, &str)], value: Option<impl Display>) {
        if let Some(value) = value {
            self.sample(labels, value);
        }
    }

    /// Adds a sample for each worker whose value is known. No two live workers share a slot.
    fn per_worker<V: Display>(
        &mut self,
        workers: &[WorkerStatus],
        value: impl Fn(&WorkerStatus) -> Option<V>,
    ) {
        for worker in workers {
            self.optional(&[("slot", &worker.slot.to_string())], value(worker));
        }
    }

    fn per_listener(&mut self, listener: &ListenerStatus, value: u64) {
        let descriptor = listener.descriptor.to_string();
        let labels = [("address", listener.address.as_str()), ("kind", listener.kind.word())];
        self.sample(&[&labels[..], &[("descriptor", &descriptor)]].concat(), value);
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.out.write_fmt(line);
        self.out.push('\n');
    }
}

/// Escapes a character of a label's value.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let (before, c) = match c {
        '\\' | '"' => (Some('\\'), c),
        '\n' => (Some('\\'), 'n'),
        c => (None, c),
    };
    before.into_iter().chain([c])
}

/// Formats milliseconds as seconds.
fn seconds(ms: impl Into<i128>) -> String {
    let ms = ms.into();
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}
