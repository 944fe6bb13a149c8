//! Who is asked whether it can take over, and how it behaves.

use einhorn::decide::{Event, Preflight};
use einhorn::state::{CandidateReport, ExitStatus, Pid, STATE_FORMAT, Signal};

use super::ledger::Ledger;
use super::meaning::{Meaning, Verdict};
use super::world::{MILLISECOND, Mood, SECOND, Told, World, told};

/// A process that is asked, or will be.
#[derive(Debug)]
pub(super) struct Candidate {
    manner: Manner,
    /// `None` until it is said to run.
    pid: Option<Pid>,
    /// `None` if it never ends by itself.
    pub(super) ends_at: Option<u64>,
    is_killed: bool,
    /// Whether the master has said that it shall end.
    is_unwanted: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// It can take over.
    Fit,
    /// It says what is wrong, and exits.
    Refuses,
    /// It reports that all is well, and fails then.
    FailsLate,
    /// It reports, but not that it could adopt the state.
    AdoptsNothing,
    /// It is a child of the process that was started.
    IsAChild,
    /// It reads another format of the state.
    ReadsAnother,
    /// It ends well, without a report.
    SaysNothing,
    /// It is a Ruby Einhorn.
    IsRuby,
    /// It does not end.
    Hangs,
    /// It does not even start.
    NotStarted,
}

const MANNERS: &[Manner] = &[
    Manner::Fit,
    Manner::Fit,
    Manner::Fit,
    Manner::Fit,
    Manner::Fit,
    Manner::Fit,
    Manner::Fit,
    Manner::Fit,
    Manner::Refuses,
    Manner::FailsLate,
    Manner::AdoptsNothing,
    Manner::IsAChild,
    Manner::ReadsAnother,
    Manner::SaysNothing,
    Manner::IsRuby,
    Manner::IsRuby,
    Manner::Hangs,
    Manner::NotStarted,
];

impl World {
    /// The master wants to ask one.
    pub(super) fn ask_candidate(&mut self) {
        // One that is not wanted any more is forgotten with the next.
        let is_free = self.candidate.as_ref().is_none_or(|candidate| candidate.is_unwanted);
        assert!(is_free, "two candidates at once");
        let manner = match self.mood {
            Mood::Calm => Manner::Fit,
            _ if std::mem::take(&mut self.wants_ruby) && self.random.chance(60) => Manner::IsRuby,
            Mood::Deploy if self.random.chance(75) => Manner::Fit,
            _ => self.random.one_of(MANNERS),
        };
        let span = self.random.one_of(&[1, 50 * MILLISECOND, SECOND, 31 * SECOND]);
        let span = if self.mood == Mood::Calm { MILLISECOND } else { self.random.below(span) };
        let ends_at = (manner != Manner::Hangs).then_some(self.now + span);
        let (is_killed, is_unwanted) = (false, false);
        self.candidate = Some(Candidate { manner, pid: None, ends_at, is_killed, is_unwanted });
    }

    /// The master wants it no more.
    pub(super) fn kill_candidate(&mut self) {
        if let Some(candidate) = &mut self.candidate {
            candidate.is_unwanted = true;
            // One that ends at the same moment ends by itself.
            candidate.is_killed |= candidate.ends_at.is_none_or(|at| at > self.now);
            candidate.ends_at = Some(self.now);
        }
    }

    /// It ends at once, unless it hangs.
    pub(super) fn hurry_candidate(&mut self) {
        let ends_at = self.candidate.as_mut().and_then(|candidate| candidate.ends_at.as_mut());
        if let Some(ends_at) = ends_at {
            *ends_at = self.now;
        }
    }

    /// That it runs, or that it has ended, if that is news.
    pub(super) fn candidate_news(&mut self, ledger: &mut Ledger) -> Option<Told> {
        let candidate = self.candidate.as_mut()?;
        if candidate.pid.is_none() {
            if candidate.manner == Manner::NotStarted {
                self.candidate = None;
                ledger.saw("a candidate that cannot be started");
                let outcome = Preflight::NotStarted { why: "no such file".to_owned() };
                return Some(ended(outcome, Verdict::Unfit));
            }
            let pid = Pid(self.next_pid);
            self.next_pid += 1;
            candidate.pid = Some(pid);
            return Some(told(Event::PreflightStarted { pid, deployment: None }));
        }
        if candidate.ends_at.is_none_or(|at| at > self.now) {
            return None;
        }
        let candidate = self.candidate.take()?;
        let pid = candidate.pid?;
        let verdict = candidate.verdict();
        ledger.saw(candidate.seen());
        let outcome = Preflight::Ended {
            pid,
            status: candidate.status(),
            report: candidate.report(pid),
            pin: None,
            last_words: match candidate.manner {
                Manner::IsRuby => format!("[MASTER {pid}] INFO: Running under Ruby 3.1.2\n"),
                _ => self.random.one_of(&["", "boom", "one\ntwo\n"]).to_owned(),
            },
            is_cut: self.random.chance(10),
        };
        Some(ended(outcome, verdict))
    }
}

fn ended(outcome: Preflight, verdict: Verdict) -> Told {
    Told { event: Event::PreflightEnded { outcome }, meaning: Meaning::Candidate(verdict) }
}

impl Candidate {
    /// What to think of it. One that was killed after its report has not said that it is well.
    fn verdict(&self) -> Verdict {
        match self.manner {
            _ if self.is_killed => Verdict::Unfit,
            Manner::Fit => Verdict::Fit,
            Manner::IsRuby => Verdict::Ruby,
            _ => Verdict::Unfit,
        }
    }

    fn status(&self) -> ExitStatus {
        let killed = |number, signal| ExitStatus::Killed { number, signal, core_dumped: false };
        match self.manner {
            _ if self.is_killed => killed(9, Some(Signal::Kill)),
            Manner::Refuses => ExitStatus::Code(1),
            Manner::FailsLate => killed(11, Some(Signal::Segv)),
            _ => ExitStatus::Code(0),
        }
    }

    fn report(&self, pid: Pid) -> Option<CandidateReport> {
        let release = "9.9.9".to_owned();
        let format = STATE_FORMAT;
        let report = CandidateReport { pid: pid.0, release, format, has_adopted: true };
        match self.manner {
            Manner::Refuses | Manner::SaysNothing | Manner::IsRuby => None,
            Manner::Hangs | Manner::NotStarted => None,
            Manner::Fit | Manner::FailsLate => Some(report),
            Manner::AdoptsNothing => Some(CandidateReport { has_adopted: false, ..report }),
            Manner::IsAChild => Some(CandidateReport { pid: pid.0 + 1, ..report }),
            Manner::ReadsAnother => Some(CandidateReport { format: format + 1, ..report }),
        }
    }

    fn seen(&self) -> &'static str {
        match self.manner {
            _ if self.is_killed => "a candidate that was ended",
            Manner::Fit => "a candidate found fit",
            Manner::Refuses => "a candidate that refuses",
            Manner::FailsLate => "a candidate that fails after its report",
            Manner::AdoptsNothing => "a candidate that cannot adopt the state",
            Manner::IsAChild => "a candidate that is a child",
            Manner::ReadsAnother => "a candidate that reads another format",
            Manner::SaysNothing => "a candidate that says nothing",
            Manner::IsRuby => "a candidate that is a Ruby Einhorn",
            Manner::Hangs => "a candidate that hangs",
            Manner::NotStarted => "a candidate that cannot be started",
        }
    }
}
