//! The settings that bear on the decisions, and how they change.

use super::due::Due;
use super::ledger::Ledger;
use super::meaning::Change;

/// What the operator asked for; times in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) target: u32,
    pub(super) interval: u64,
    /// After how long a timer ACKs; `None` in manual mode.
    pub(super) ack_after: Option<u64>,
    pub(super) signal_timeout: Option<u64>,
    pub(super) max_unacked: u32,
    pub(super) max_additional: Option<u32>,
    pub(super) retries: Option<u32>,
    pub(super) verbosity: u8,
    pub(super) kill_children_on_exit: bool,
    pub(super) ack_timeout: Option<u64>,
    pub(super) upgrade_timeout: Option<u64>,
    pub(super) failures_max: Option<u32>,
    /// For how long the first new worker must have been up.
    pub(super) canary: u64,
    /// Whether `--on-canary` is given.
    pub(super) has_check: bool,
    pub(super) check_timeout: u64,
}

impl Ledger {
    /// `config`, understood.
    pub(super) fn change(&mut self, now: u64, changes: &[Change], due: &mut Due) {
        let numbered = changes.iter().any(|change| matches!(change, Change::Target(_)));
        if numbered && self.stop_code.is_some() {
            return;
        }
        for change in changes {
            if let Change::Target(target) = *change {
                self.retarget(now, i64::from(target), due);
            }
            let settings = &mut self.settings;
            match *change {
                Change::Target(_) => {}
                Change::Interval(span) => settings.interval = span,
                Change::AckAfter(after) => settings.ack_after = after,
                Change::SignalTimeout(timeout) => settings.signal_timeout = timeout,
                Change::Verbosity(level) => settings.verbosity = level,
                Change::MaxUnacked(max) => settings.max_unacked = max,
                Change::MaxAdditional(max) => settings.max_additional = max,
                Change::Retries(retries) => settings.retries = retries,
                Change::AckTimeout(timeout) => settings.ack_timeout = timeout,
                Change::UpgradeTimeout(timeout) => settings.upgrade_timeout = timeout,
                Change::FailuresMax(max) => settings.failures_max = max,
                Change::Canary(span) => settings.canary = span,
                Change::CheckTimeout(timeout) => settings.check_timeout = timeout,
            }
        }
        if self.upgrade.rollout.is_some() {
            self.saw("a change of settings in a roll-out");
        }
        self.saw("a change of settings");
    }
}
