//! Formats the document as tables.

use comfy_table::CellAlignment::{self, Left, Right};
use comfy_table::{Table, TableStyle};

use crate::outcome::Outcome;
use crate::protocol::{Numbers, WorkerFailure};
use crate::status::document::{InProgress, ListenerStatus, Status, StopStepStatus, WorkerStatus};
use crate::status::kinds::{Health, WorkerState};
use crate::status::words::{printable, size, span};

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Plain text.
    Plain,
    /// Text with the control sequences of a terminal.
    Coloured,
}

/// The colours of a terminal, by ECMA-48.
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// The number of blanks between two columns.
const GAP: u16 = 2;

/// The cell for a value that is not known or not applicable.
const EMPTY_CELL: &str = "-";

/// Formats the document: first what is wrong, then tables of the master, the workers and the
/// listeners.
pub fn table(status: &Status, style: Style) -> String {
    let mut out = String::new();
    let mut say = |colour: &str, line: &str| {
        out.push_str(&paint(style, colour, line));
        out.push('\n');
    };
    match status.health {
        Health::Ok => say(GREEN, "ok"),
        Health::Degraded => {
            let reasons = status.reasons.iter();
            reasons.for_each(|why| say(RED, &format!("degraded: {}", printable(why))));
        }
    }
    let warnings = status.warnings.iter();
    warnings.for_each(|it| say(RED, &format!("warning: {}", printable(&it.message))));
    status.notes.iter().for_each(|note| say(YELLOW, &format!("note: {}", printable(note))));
    if let Some(now) = &status.in_progress {
        say(YELLOW, &progress(now));
    }
    if let Some(last) = &status.last_upgrade {
        let colour = if last.outcome == Outcome::Done { "" } else { RED };
        let ago = u64::try_from(status.written_on_ms - last.ended_on_ms).unwrap_or(0);
        say(colour, &format!("last upgrade, {} ago: {}", span(ago), printable(&last.message)));
        for failed in &last.failures {
            say(colour, &failure(failed));
            let words = failed.last_words.as_deref().unwrap_or_default().lines();
            words.for_each(|line| say(colour, &format!("    {}", printable(line))));
        }
    }
    let tables =
        [(MASTER, master(status)), (WORKERS, workers(status)), (LISTENERS, listeners(status))];
    for (columns, rows) in tables.into_iter().filter(|(_, rows)| !rows.is_empty()) {
        say("", "");
        layout(columns, rows).iter().for_each(|(colour, line)| say(colour, line));
    }
    out
}

/// The title and alignment of a column; numbers are right-aligned.
type Column = (&'static str, CellAlignment);

const MASTER: &[Column] = &[
    ("MASTER", Right),
    ("NAME", Left),
    ("RELEASE", Left),
    ("GENERATION", Right),
    ("UPTIME", Right),
    ("RE-EXECS", Right),
    ("TARGET", Right),
    ("ACKED", Right),
    ("MEMORY", Right),
    ("IN PROGRESS", Left),
];

const WORKERS: &[Column] = &[
    ("SLOT", Right),
    ("PID", Right),
    ("GENERATION", Right),
    ("RELEASE", Left),
    ("STATE", Left),
    ("AGE", Right),
    ("ACKED AFTER", Right),
    ("RESTARTS", Right),
    ("MEMORY", Right),
    ("STEP", Left),
    ("DEADLINE", Left),
];

const LISTENERS: &[Column] = &[
    ("LISTENER", Left),
    ("KIND", Left),
    ("DESCRIPTOR", Right),
    ("QUEUE", Right),
    ("LIMIT", Right),
    ("OF", Left),
];

/// A row of a table.
struct Row {
    colour: &'static str,
    cells: Vec<String>,
}

fn master(status: &Status) -> Vec<Row> {
    let master = &status.master;
    let cells = vec![
        master.pid.to_string(),
        optional(master.name.as_deref(), printable),
        printable(&master.release),
        master.generation.to_string(),
        optional(master.uptime_ms, span),
        master.reexecs.to_string(),
        master.target.to_string(),
        master.acked.to_string(),
        optional(master.memory_bytes, size),
        optional(status.in_progress.as_ref(), |it| it.stage.words().to_owned()),
    ];
    vec![Row { colour: "", cells }]
}

fn workers(status: &Status) -> Vec<Row> {
    let row = |worker: &WorkerStatus| Row {
        colour: match worker.state {
            WorkerState::Up => GREEN,
            WorkerState::Starting | WorkerState::Canary | WorkerState::Draining => YELLOW,
            WorkerState::Suspended | WorkerState::AckOverdue => RED,
        },
        cells: vec![
            worker.slot.to_string(),
            worker.pid.to_string(),
            worker.generation.to_string(),
            optional(worker.release.as_deref(), printable),
            worker.state.word().to_owned(),
            span(worker.age_ms),
            optional(worker.time_to_ack_ms, span),
            worker.restarts.to_string(),
            optional(worker.memory_bytes, size),
            optional(worker.step.as_ref(), step),
            deadline(worker),
        ],
    };
    status.workers.iter().map(row).collect()
}

fn listeners(status: &Status) -> Vec<Row> {
    let row = |listener: &ListenerStatus| Row {
        colour: match listener.queue {
            Some(queue) if queue.depth >= queue.limit => RED,
            _ => "",
        },
        cells: vec![
            printable(&listener.address),
            listener.kind.word().to_owned(),
            listener.descriptor.to_string(),
            optional(listener.queue, |queue| queue.depth.to_string()),
            optional(listener.queue, |queue| queue.limit.to_string()),
            optional(listener.queue, |queue| queue.unit.word().to_owned()),
        ],
    };
    status.listeners.iter().map(row).collect()
}

/// `in progress: roll-out, generation 2: 1 of 4 ACKed, 3 old left, 0 failed, after 1.23s`.
fn progress(progress: &InProgress) -> String {
    let Numbers { generation, acked, target, old_left, failed, elapsed_ms } = progress.numbers;
    format!(
        "in progress: {}, generation {generation}: {acked} of {target} ACKed, {old_left} old \
         left, {failed} failed, after {}",
        progress.stage.words(),
        span(elapsed_ms)
    )
}

/// `  slot 3, pid 17: exit status 3, 0.12s old`.
fn failure(failure: &WorkerFailure) -> String {
    let pid = failure.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let (slot, what) = (failure.slot, printable(&failure.what));
    format!("  slot {slot}{pid}: {what}, {} old", span(failure.age_ms))
}

/// `TERM (1 of 2)`.
fn step(step: &StopStepStatus) -> String {
    format!("{} ({} of {})", printable(&step.signal), step.number, step.of)
}

/// `KILL in 24s`.
fn deadline(worker: &WorkerStatus) -> String {
    optional(worker.next_signal.as_deref().zip(worker.deadline_ms), |(signal, ms)| {
        format!("{} in {}", printable(signal), time_left(ms))
    })
}

/// The time left, negative if it is over.
fn time_left(ms: i64) -> String {
    format!("{}{}", if ms < 0 { "-" } else { "" }, span(ms.unsigned_abs()))
}

fn optional<T>(value: Option<T>, write: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| EMPTY_CELL.to_owned(), write)
}

/// Lays out a table: a line with the titles, then one for each row, each with its colour.
fn layout(columns: &[Column], rows: Vec<Row>) -> Vec<(&'static str, String)> {
    let colours: Vec<_> = std::iter::once(BOLD).chain(rows.iter().map(|row| row.colour)).collect();
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.add_row(columns.iter().map(|(title, _)| *title));
    table.add_rows(rows.into_iter().map(|row| row.cells));
    for (column, (_, alignment)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, GAP)).set_cell_alignment(*alignment);
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    colours.into_iter().zip(lines).collect()
}

fn paint(style: Style, colour: &str, text: &str) -> String {
    match style {
        Style::Coloured if !colour.is_empty() => format!("{colour}{text}{RESET}"),
        _ => text.to_owned(),
    }
}
