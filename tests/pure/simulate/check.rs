//! The command of `--on-canary`, and how it behaves.

use einhorn::decide::Event;
use einhorn::state::{ExitStatus, Pid, Signal};

use super::ledger::Ledger;
use super::world::{MILLISECOND, Mood, SECOND, Told, World, told};

/// A process that looks at a canary, or will be.
#[derive(Debug)]
pub(super) struct Check {
    manner: Manner,
    /// `None` until it is said to run.
    pid: Option<Pid>,
    /// `None` if it never ends by itself.
    pub(super) ends_at: Option<u64>,
    is_killed: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// It finds the canary well.
    Approves,
    /// It does not.
    Refuses,
    /// A signal ends it.
    Dies,
    /// It does not end.
    Hangs,
    /// It does not even start.
    NotStarted,
}

const MANNERS: &[Manner] = &[
    Manner::Approves,
    Manner::Approves,
    Manner::Approves,
    Manner::Approves,
    Manner::Refuses,
    Manner::Dies,
    Manner::Hangs,
    Manner::NotStarted,
];

impl World {
    /// The master wants one.
    pub(super) fn start_check(&mut self) {
        assert!(self.checks.iter().all(|check| check.pid.is_some()), "two looks ordered at once");
        let is_calm = self.mood == Mood::Calm;
        let manner = if is_calm { Manner::Approves } else { self.random.one_of(MANNERS) };
        let span = self.random.one_of(&[1, 50 * MILLISECOND, SECOND, 11 * SECOND]);
        let span = if is_calm { MILLISECOND } else { self.random.below(span) };
        let ends_at = (manner != Manner::Hangs).then_some(self.now + span);
        self.checks.push(Check { manner, pid: None, ends_at, is_killed: false });
    }

    /// The master wants it no more.
    pub(super) fn kill_check(&mut self, process: Pid) {
        let mut checks = self.checks.iter_mut();
        let check = checks.find(|check| check.pid == Some(process)).expect("it was not reaped");
        // One that ends at the same moment ends by itself.
        check.is_killed |= check.ends_at.is_none_or(|at| at > self.now);
        check.ends_at = Some(self.now);
    }

    /// All of them find that all is well, at once.
    pub(super) fn calm_checks(&mut self) {
        for check in &mut self.checks {
            check.ends_at = Some(self.now);
            check.manner = Manner::Approves;
        }
    }

    /// That one runs, or does not, if that is news.
    pub(super) fn check_starts(&mut self) -> Option<Told> {
        let index = self.checks.iter().position(|check| check.pid.is_none())?;
        if self.checks[index].manner == Manner::NotStarted {
            self.checks.remove(index);
            return Some(told(Event::CheckNotStarted { why: "no such file".to_owned() }));
        }
        let pid = Pid(self.next_pid);
        self.next_pid += 1;
        self.checks[index].pid = Some(pid);
        Some(told(Event::CheckStarted { pid }))
    }

    /// The same, or that one has ended.
    pub(super) fn check_news(&mut self, ledger: &mut Ledger) -> Option<Told> {
        if let Some(news) = self.check_starts() {
            return Some(news);
        }
        let now = self.now;
        let has_ended = |check: &Check| check.ends_at.is_some_and(|at| at <= now);
        let index = self.checks.iter().position(has_ended)?;
        let pid = self.checks[index].pid?;
        let check = self.checks.remove(index);
        let killed = |number, signal| ExitStatus::Killed { number, signal, core_dumped: false };
        let status = match check.manner {
            _ if check.is_killed => {
                ledger.saw("a look at the canary that was ended");
                killed(9, Some(Signal::Kill))
            }
            Manner::Approves => ExitStatus::Code(0),
            Manner::Dies => killed(11, Some(Signal::Segv)),
            Manner::Refuses | Manner::Hangs | Manner::NotStarted => ExitStatus::Code(1),
        };
        Some(told(Event::Exited { pid, status, last_words: Vec::new() }))
    }
}
