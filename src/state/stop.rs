//! How a worker is asked to stop: alternating signals and seconds, and how far along it is.

use std::fmt;
use std::time::Duration;

use crate::state::{Monotonic, SECONDS_MAX, Signal};

/// The most signals in a schedule. Three are common; this many are a mistake.
const STOP_STEPS_MAX: usize = 16;

/// `--stop`, in the notation of start-stop-daemon(8)'s `--retry`: `TERM/30/KILL`.
///
/// There is at least one step, and all but the last say how long they last. KILL comes last, and
/// at least one of the signals ends a program that has no handler for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopSchedule(Vec<StopStep>);

/// A signal of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopStep {
    /// What is sent.
    pub signal: Signal,
    /// How long to wait before the next step; `None` of the last one.
    pub lasts: Option<Duration>,
}

/// How far along a schedule a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopProgress {
    /// Which step, from 0.
    pub step: u32,
    /// When it began.
    pub since: Monotonic,
}

impl StopSchedule {
    /// What applies without `--stop`: USR2, and with `-t` KILL after it.
    pub fn usual(signal_timeout: Option<Duration>) -> StopSchedule {
        let first = StopStep { signal: Signal::Usr2, lasts: signal_timeout };
        let last = signal_timeout.map(|_| StopStep { signal: Signal::Kill, lasts: None });
        StopSchedule([first].into_iter().chain(last).collect())
    }

    /// Understands `TERM/30/KILL`: names of signals with or without `SIG`, in any case, and seconds
    /// above zero between them, with or without a fraction.
    ///
    /// # Errors
    /// What is wrong, and what would be right, in words.
    pub fn parse(text: &str) -> Result<StopSchedule, String> {
        let words: Vec<&str> = text.split('/').map(str::trim).collect();
        let mut steps = Vec::new();
        for pair in words.chunks(2) {
            let signal = signal(pair[0])?;
            let lasts = pair.get(1).map(|word| seconds(word, signal)).transpose()?;
            steps.push(StopStep { signal, lasts });
        }
        StopSchedule::from_steps(steps)
    }

    /// A schedule of these steps.
    ///
    /// # Errors
    /// What is wrong, and what would be right, in words.
    pub fn from_steps(steps: Vec<StopStep>) -> Result<StopSchedule, String> {
        let Some((last, others)) = steps.split_last() else {
            return Err("must begin with a signal, such as TERM/30/KILL".to_owned());
        };
        let name = last.signal;
        if last.lasts.is_some() {
            return Err(format!(
                "must end with a signal: nothing is sent after the seconds of {name}; end with \
                 {name}, or with another signal such as KILL"
            ));
        }
        if steps.len() > STOP_STEPS_MAX {
            return Err(format!("must have at most {STOP_STEPS_MAX} signals"));
        }
        if let Some(step) = others.iter().find(|step| step.lasts.is_none()) {
            return Err(format!("must have seconds after {}", step.signal));
        }
        if others.iter().any(|step| step.signal == Signal::Kill) {
            return Err("must have nothing after KILL, which no program outlives".to_owned());
        }
        if !steps.iter().any(|step| step.signal.ends_a_program()) {
            return Err(format!(
                "must have a signal that ends a program, which {name} does not: \
                 {name}/30/TERM, for example"
            ));
        }
        Ok(StopSchedule(steps))
    }

    /// Its steps; at least one.
    pub fn steps(&self) -> &[StopStep] {
        &self.0
    }

    /// The signal of a step; that of the last one for a step beyond it.
    pub fn signal(&self, step: u32) -> Signal {
        let steps = &self.0;
        let index = usize::try_from(step).unwrap_or(usize::MAX).min(steps.len() - 1);
        steps[index].signal
    }

    /// The signal that asks a worker to stop.
    pub fn first(&self) -> Signal {
        self.signal(0)
    }

    /// The first signal that ends a program without a handler: what workers get when the master
    /// dies (`-k`).
    pub fn death_signal(&self) -> Signal {
        let mut signals = self.0.iter().map(|step| step.signal);
        signals.find(|signal| signal.ends_a_program()).unwrap_or(Signal::Kill)
    }

    /// Whether this signal is that of a step or of one before it.
    pub fn has_come_to(&self, signal: Signal, step: u32) -> bool {
        let count = usize::try_from(step).unwrap_or(usize::MAX).saturating_add(1);
        self.0.iter().take(count).any(|step| step.signal == signal)
    }

    /// Whether there is a step after this one.
    pub fn has_next(&self, step: u32) -> bool {
        usize::try_from(step).is_ok_and(|step| step < self.0.len() - 1)
    }

    /// When the step after this one is due; `None` after the last one.
    pub fn next_due_at(&self, progress: StopProgress) -> Option<Monotonic> {
        let step = self.0.get(usize::try_from(progress.step).ok()?)?;
        Some(progress.since + step.lasts?)
    }

    /// Where a worker that was sent `signaled` under another schedule is on this one: at the last
    /// step before the first signal that it was not sent. `None` if that is the first of all.
    pub fn resumed_at(&self, was_sent: impl Fn(Signal) -> bool) -> Option<u32> {
        let unsent = self.0.iter().position(|step| !was_sent(step.signal));
        u32::try_from(unsent.unwrap_or(self.0.len()).checked_sub(1)?).ok()
    }
}

impl fmt::Display for StopSchedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for StopStep { signal, lasts } in &self.0 {
            write!(out, "{signal}")?;
            if let Some(lasts) = lasts {
                write!(out, "/{}/", lasts.as_secs_f64())?;
            }
        }
        Ok(())
    }
}

fn signal(word: &str) -> Result<Signal, String> {
    Signal::parse(word).ok_or_else(|| match word {
        "" => "must have a signal where there is nothing, such as TERM/30/KILL".to_owned(),
        _ if word.parse::<f64>().is_ok() => format!(
            "must have a signal before the seconds {word}: alternating signals and seconds, such \
             as TERM/{word}/KILL"
        ),
        _ => {
            let known: Vec<&str> = Signal::ALL.iter().map(|signal| signal.name()).collect();
            format!(
                "must have signals such as TERM/30/KILL: {word:?} is none of {}",
                known.join(" ")
            )
        }
    })
}

fn seconds(word: &str, after: Signal) -> Result<Duration, String> {
    let number = word.parse().ok().filter(|number| *number > 0.0 && *number <= SECONDS_MAX);
    let span = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    span.filter(|span| !span.is_zero()).ok_or_else(|| {
        format!(
            "must have seconds after {after}, above 0 and at most {SECONDS_MAX}, not {word:?}: \
             {after}/30/KILL, for example"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_as_start_stop_daemon_reads_it() {
        for (text, same) in [
            ("USR2", "USR2"),
            ("term/30/kill", "TERM/30/KILL"),
            ("SIGQUIT/60/TERM/0.5/KILL", "QUIT/60/TERM/0.5/KILL"),
            ("TSTP/25/TERM/20/KILL", "TSTP/25/TERM/20/KILL"),
            (" TERM / 5 / INT ", "TERM/5/INT"),
        ] {
            assert_eq!(StopSchedule::parse(text).unwrap().to_string(), same);
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_would_be_right() {
        for (text, why) in [
            ("", "must have a signal where there is nothing"),
            ("30", "must have a signal before the seconds 30"),
            ("TERM/30", "must end with a signal"),
            ("TERM/KILL", "must have seconds after TERM"),
            ("TERM/-1/KILL", "not \"-1\""),
            ("TERM/0/KILL", "above 0"),
            ("TERM/nan/KILL", "not \"nan\""),
            ("TERM/1e300/KILL", "at most 1000000000"),
            ("TERM/30/", "where there is nothing"),
            ("TERM//KILL", "seconds after TERM"),
            ("STOPP", "\"STOPP\" is none of HUP INT"),
            ("KILL/5/TERM", "nothing after KILL"),
            ("TSTP/5/WINCH", "a signal that ends a program"),
            (&"TERM/1/".repeat(16), "where there is nothing"),
            (&format!("{}KILL", "TERM/1/".repeat(16)), "at most 16"),
        ] {
            let error = StopSchedule::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_masters_death_is_told_by_a_signal_that_ends() {
        let death = |text| StopSchedule::parse(text).unwrap().death_signal();
        assert_eq!(death("TSTP/25/TERM/20/KILL"), Signal::Term);
        assert_eq!(death("WINCH/9/STOP/9/QUIT"), Signal::Quit);
        assert_eq!(StopSchedule::usual(None).death_signal(), Signal::Usr2);
    }

    #[test]
    fn a_worker_goes_on_where_the_new_schedule_has_what_it_was_not_sent() {
        let schedule = StopSchedule::parse("TERM/30/INT/5/KILL").unwrap();
        assert_eq!(schedule.resumed_at(|_| false), None);
        assert_eq!(schedule.resumed_at(|signal| signal == Signal::Usr2), None);
        assert_eq!(schedule.resumed_at(|signal| signal == Signal::Term), Some(0));
        assert_eq!(schedule.resumed_at(|signal| signal != Signal::Kill), Some(1));
        assert_eq!(schedule.resumed_at(|_| true), Some(2));
    }
}
