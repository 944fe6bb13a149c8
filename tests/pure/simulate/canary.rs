//! What must come of a canary: rule 2 of docs/decisions/0010-upgrades-that-end.md, written a second
//! time.

use einhorn::outcome::Outcome;
use einhorn::state::{ExitStatus, Pid};

use super::due::Due;
use super::ledger::Ledger;
use super::rollout::Rollout;

/// The first new worker shows what it is worth.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Canary {
    pub(super) check: Option<Check>,
}

/// The command of `--on-canary` looks at it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub(super) worker: Pid,
    /// `None` until it is said to run.
    pub(super) process: Option<Pid>,
    pub(super) until: u64,
    pub(super) is_killed: bool,
}

impl Ledger {
    /// It runs; nobody wants it any more if the roll-out is over or the canary dead.
    pub(super) fn check_started(&mut self, pid: Pid, due: &mut Due) {
        let canary = self.upgrade.rollout.as_mut().and_then(|rollout| rollout.canary.as_mut());
        match canary.and_then(|canary| canary.check.as_mut()) {
            Some(check) if check.process.is_none() => {
                check.process = Some(pid);
                due.check_kills.extend(check.is_killed.then_some(pid));
            }
            _ => {
                due.check_kills.push(pid);
                self.saw("a look at the canary that comes too late");
            }
        }
    }

    /// It does not.
    pub(super) fn check_not_started(&mut self, now: u64, due: &mut Due) {
        let rollout = self.upgrade.rollout.as_mut();
        let canary = rollout.and_then(|rollout| rollout.canary.as_mut());
        let Some(canary) = canary else { return };
        if canary.check.take_if(|check| check.process.is_none()).is_some() {
            self.saw("a look at the canary that cannot be started");
            self.end_rollout(now, Outcome::Failed, due);
        }
    }

    /// A process has ended that is no worker: the one that looks at the canary, if any.
    pub(super) fn check_ended(&mut self, now: u64, pid: Pid, status: ExitStatus, due: &mut Due) {
        let Some(Rollout { canary: Some(canary), .. }) = &mut self.upgrade.rollout else { return };
        let Some(check) = canary.check.take_if(|check| check.process == Some(pid)) else { return };
        if status == ExitStatus::Code(0) && !check.is_killed {
            self.upgrade.rollout.as_mut().expect("it is there").canary = None;
            self.saw("a canary that was looked at and passed");
        } else {
            self.saw("a canary that was looked at in vain");
            self.end_rollout(now, Outcome::Failed, due);
        }
    }

    /// Nobody looks at a canary that is dead.
    pub(super) fn canary_died(&mut self, pid: Pid, due: &mut Due) {
        let Some(Rollout { canary: Some(canary), .. }) = &mut self.upgrade.rollout else { return };
        if let Some(check) = canary.check.take_if(|check| check.worker == pid) {
            due.check_kills.extend(check.process.filter(|_| !check.is_killed));
            self.saw("a canary that dies while it is looked at");
        }
    }

    /// Nobody looks at the canary of a roll-out that is over.
    pub(super) fn forget_check(&mut self, rollout: &Rollout, due: &mut Due) {
        if let Some(check) = rollout.check() {
            due.check_kills.extend(check.process.filter(|_| !check.is_killed));
            self.saw("a roll-out that ends while its canary is looked at");
        }
    }

    /// The canary has passed once it has been up for long enough and was found well.
    pub(super) fn watch_canary(&mut self, now: u64, due: &mut Due) {
        let passes = self.canary_passes_at();
        let (has_check, generation) = (self.settings.has_check, self.generation);
        let check_until = now + self.settings.check_timeout;
        let Some(Rollout { canary: at @ Some(_), .. }) = &mut self.upgrade.rollout else { return };
        let Some(canary) = at else { return };
        match (&mut canary.check, passes) {
            (Some(check), _) if check.until <= now && !check.is_killed => {
                check.is_killed = true;
                due.check_kills.extend(check.process);
                self.saw("a look at the canary that takes too long");
            }
            (Some(_), _) => {}
            (None, Some((worker, passes_at))) if passes_at <= now => {
                if has_check {
                    let (process, until, is_killed) = (None, check_until, false);
                    canary.check = Some(Check { worker, process, until, is_killed });
                    due.checks.push((worker, generation));
                } else {
                    *at = None;
                    self.saw("a canary that passed");
                }
            }
            (None, _) => {}
        }
    }

    /// Who is the canary, once it is up, and when it has been up for long enough.
    pub(super) fn canary_passes_at(&self) -> Option<(Pid, u64)> {
        let (pid, canary) = self.current().find(|(_, worker)| worker.serves())?;
        Some((pid, canary.acked_at? + self.settings.canary))
    }

    /// Whether the command of `--on-canary` runs.
    pub(super) fn looks_at_canary(&self) -> bool {
        let check = self.upgrade.rollout.as_ref().and_then(Rollout::check);
        check.is_some_and(|check| check.process.is_some())
    }

    /// Whether a canary has not passed yet.
    pub(super) fn has_canary(&self) -> bool {
        self.upgrade.rollout.as_ref().is_some_and(|rollout| rollout.canary.is_some())
    }
}
