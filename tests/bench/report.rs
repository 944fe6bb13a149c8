//! Samples, and how they are printed.

use std::time::{Duration, Instant};

use crate::Effort;

/// What was measured, smallest first; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Samples {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Samples(values)
    }

    /// Spans in milliseconds.
    pub(crate) fn ms(spans: impl IntoIterator<Item = Duration>) -> Samples {
        Samples::new(spans.into_iter().map(|span| span.as_secs_f64() * 1e3))
    }

    /// The value that this share of the samples does not exceed.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    fn median(&self) -> f64 {
        self.percentile(0.5)
    }
}

/// What the issue asks for.
#[derive(Clone, Copy)]
pub(crate) enum Budget {
    /// At most this many times the bare minimum.
    Times(f64),
    /// At most this.
    Most(f64),
    /// Less than this.
    Below(f64),
}

/// One line of a figure.
pub(crate) struct Row<'a> {
    pub(crate) what: &'a str,
    pub(crate) unit: &'a str,
    pub(crate) samples: &'a Samples,
    /// The bare minimum to set it beside.
    pub(crate) bare: Option<&'a Samples>,
    pub(crate) budget: Option<Budget>,
}

impl Row<'_> {
    pub(crate) fn print(&self) {
        let Row { what, unit, samples, bare, budget } = self;
        let median = samples.median();
        let (least, most) = (samples.percentile(0.0), samples.percentile(1.0));
        let ratio = bare.map(|bare| median / bare.median());
        let times = ratio.map(|ratio| format!("{ratio:.2} × bare")).unwrap_or_default();
        let (limit, met) = match (budget, ratio) {
            (Some(Budget::Times(limit)), Some(ratio)) => (format!("≤ {limit} ×"), ratio <= *limit),
            (Some(Budget::Most(limit)), _) => (format!("≤ {limit} {unit}"), median <= *limit),
            (Some(Budget::Below(limit)), _) => (format!("< {limit} {unit}"), median < *limit),
            _ => (String::new(), true),
        };
        let verdict = match (limit.is_empty(), met) {
            (true, _) => String::new(),
            (false, true) => format!("budget {limit}: met"),
            (false, false) => format!("budget {limit}: MISSED"),
        };
        let middle = format!("{median:.1} {unit}");
        let range = format!("({least:.1} … {most:.1})");
        let line = format!("   {what:<44}{middle:>12}  {range:<20}{times:<14}{verdict}");
        println!("{}", line.trim_end());
    }
}

/// Begins a figure.
pub(crate) fn heading(number: u32, title: &str) {
    println!("\n{number}. {title}");
}

/// Measures some rounds, fewer where the machine is slow.
pub(crate) fn rounds<T>(effort: &Effort, mut measure: impl FnMut() -> T) -> Vec<T> {
    let end = Instant::now() + effort.span;
    let mut measured = vec![measure()];
    while measured.len() < effort.rounds as usize && Instant::now() < end {
        measured.push(measure());
    }
    measured
}

/// What the figures were measured on.
pub(crate) fn machine() {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let libc = if cfg!(target_env = "musl") { "static musl" } else { "glibc" };
    println!("{processors} processors, kernel {}, {libc}", kernel.trim());
    if cfg!(debug_assertions) {
        println!("NOT A RELEASE BUILD: these figures say nothing");
    }
    println!("each line: median (smallest … largest) of some rounds");
    load();
}

/// Who else was at work: figures of a busy machine say little.
pub(crate) fn load() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average: {}", load.trim());
}
