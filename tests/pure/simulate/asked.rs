//! The two kinds of processes that the master asks: candidates, which may take over, and the
//! command of `--on-canary`.

use std::time::Duration;

use einhorn::decide::{Event, PreflightOutcome};
use einhorn::state::{CandidateReport, ExitStatus, Pid, Signal};

use super::world::{MILLISECOND, Mood, SECOND, World};
use crate::example::fit;

/// A process that is asked, or will be.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    manner: Manner,
    pub(super) is_candidate: bool,
    /// When it has had long enough.
    until: u64,
    /// `None` until it is said to run.
    pub(super) pid: Option<Pid>,
    /// `None` if it never ends by itself.
    pub(super) ends_at: Option<u64>,
    is_killed: bool,
    /// Whether the master has said that it shall end.
    pub(super) is_unwanted: bool,
}

/// What becomes of it. In how many ways candidates can be unfit is for the tests by example.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// It says yes.
    Fit,
    /// It says yes, and fails then.
    Unfit,
    /// It is a Ruby Einhorn.
    Ruby,
    /// It does not end.
    Hangs,
    /// It does not even start.
    NotStarted,
}

impl Asked {
    /// Whether it runs on though it has had long enough.
    pub(super) fn is_late(&self, now: u64) -> bool {
        self.pid.is_some() && !self.is_unwanted && self.until <= now
    }

    fn status(&self) -> ExitStatus {
        match self.is_killed {
            true => {
                ExitStatus::Killed { number: 9, signal: Some(Signal::Kill), core_dumped: false }
            }
            false => ExitStatus::Code(i32::from(self.manner == Manner::Unfit)),
        }
    }

    /// What may follow now that this candidate has ended: a hand-over, or a hand-back.
    pub(super) fn may_take_over(&self) -> (bool, bool) {
        let is_it = |manner| self.manner == manner && !self.is_killed;
        (is_it(Manner::Fit), is_it(Manner::Ruby))
    }
}

impl World {
    /// The master wants to ask one. A candidate that it wants no more is forgotten with the next.
    pub(super) fn ask(&mut self, is_candidate: bool, most: Duration) {
        use Manner::{Fit, Hangs, NotStarted, Ruby, Unfit};
        self.asked.retain(|asked| !(is_candidate && asked.is_candidate && asked.is_unwanted));
        let is_like = |asked: &Asked| asked.is_candidate == is_candidate && !asked.is_unwanted;
        assert!(!self.asked.iter().any(is_like), "two of a kind are asked at once");
        let is_ruby = is_candidate && std::mem::take(&mut self.wants_ruby);
        let is_well = self.random.chance(if self.mood == Mood::Deploy { 85 } else { 50 });
        let manner = match is_candidate {
            _ if self.mood == Mood::Calm => Fit,
            _ if is_ruby && self.random.chance(60) => Ruby,
            _ if is_well => Fit,
            true => self.random.one_of(&[Unfit, Unfit, Ruby, Hangs, NotStarted]),
            false => self.random.one_of(&[Unfit, Hangs, NotStarted]),
        };
        let most = u64::try_from(most.as_nanos()).expect("a span fits");
        let span = self.random.one_of(&[1, 50 * MILLISECOND, SECOND, most + SECOND]);
        let span = if self.mood == Mood::Calm { MILLISECOND } else { span };
        let ends_at = (manner != Hangs).then(|| self.now + self.random.below(span));
        let (until, pid) = (self.now + most, None);
        let (is_killed, is_unwanted) = (false, false);
        self.asked.push(Asked {
            manner,
            is_candidate,
            until,
            pid,
            ends_at,
            is_killed,
            is_unwanted,
        });
    }

    /// The command that runs as this process shall end, or the candidate; one that ends at the same
    /// moment ends by itself.
    pub(super) fn end_asked(&mut self, process: Option<Pid>) {
        let is_it = |asked: &&mut Asked| match process {
            Some(_) => asked.pid == process,
            None => asked.is_candidate,
        };
        let asked = self.asked.iter_mut().find(is_it).expect("only what runs is ended");
        assert!(!asked.is_unwanted || process.is_none(), "the command is ended twice");
        asked.is_unwanted = true;
        asked.is_killed |= asked.ends_at.is_none_or(|at| at > self.now);
        asked.ends_at = Some(self.now);
    }

    /// That somebody who is asked runs, or cannot be started; or that one has ended.
    pub(super) fn asked_news(&mut self, only_starts: bool) -> Option<Event> {
        let has_ended = |asked: &Asked| asked.ends_at.is_some_and(|at| at <= self.now);
        let is_news = |asked: &Asked| asked.pid.is_none() || (!only_starts && has_ended(asked));
        let index = self.asked.iter().position(is_news)?;
        let asked = self.asked[index];
        let Asked { is_candidate, manner, .. } = asked;
        let is_started = manner != Manner::NotStarted;
        if asked.pid.is_none() && is_started {
            let pid = self.new_pid();
            self.asked[index].pid = Some(pid);
            return Some(match is_candidate {
                true => Event::PreflightStarted { pid, deployment: None },
                false => Event::CheckStarted { pid },
            });
        }
        self.ended = Some(self.asked.remove(index));
        let (why, status) = ("no such file".to_owned(), asked.status());
        Some(match asked.pid {
            None if is_candidate => {
                Event::PreflightEnded { outcome: PreflightOutcome::NotStarted { why } }
            }
            None => Event::CheckNotStarted { why },
            Some(pid) if is_candidate => {
                let report =
                    (manner != Manner::Ruby).then(|| CandidateReport { pid: pid.0, ..fit() });
                let last_words = match manner {
                    Manner::Ruby => format!("[MASTER {pid}] INFO: Running under Ruby 3.1.2\n"),
                    _ => "one\ntwo\n".to_owned(),
                };
                let (pin, is_truncated) = (None, false);
                let outcome =
                    PreflightOutcome::Ended { pid, status, report, pin, last_words, is_truncated };
                Event::PreflightEnded { outcome }
            }
            Some(pid) => Event::Exited { pid, status, last_words: Vec::new() },
        })
    }

    /// Candidates end now, and commands find that all is well.
    pub(super) fn hurry(&mut self) {
        for asked in &mut self.asked {
            asked.ends_at = asked.ends_at.map(|_| self.now);
            if self.mood == Mood::Calm {
                asked.manner = Manner::Fit;
                asked.ends_at = Some(self.now);
            }
        }
    }
}
