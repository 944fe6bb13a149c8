//! The preflight: whether a candidate can take over, by its report (docs/handover.md).

use std::time::Duration;

use crate::decide::event::PreflightOutcome;
use crate::ruby;
use crate::state::{ExitStatus, STATE_FORMAT, UpgradeKind};

/// How long a candidate may take. Wrapper scripts set up language environments; none that works
/// needs longer. Builds for tests wait less.
pub const PREFLIGHT_MAX: Duration =
    Duration::from_secs(if cfg!(feature = "next") { 5 } else { 30 });

/// The upgrade that was requested.
#[derive(Clone, Copy, Debug)]
pub(super) struct UpgradeRequest {
    pub(super) kind: UpgradeKind,
    /// Whether the next image is to be a Ruby Einhorn.
    pub(super) is_hand_back: bool,
}

impl UpgradeRequest {
    pub(super) fn ordinary(kind: UpgradeKind) -> UpgradeRequest {
        UpgradeRequest { kind, is_hand_back: false }
    }
}

/// What to do after a preflight.
pub(super) enum Verdict {
    Accept { release: String },
    HandBack,
    Refuse { why: String },
}

/// Decides whether the candidate may take over.
pub(super) fn verdict(
    outcome: &PreflightOutcome,
    request: UpgradeRequest,
    is_overdue: bool,
) -> Verdict {
    let refuse = |why: String| Verdict::Refuse { why };
    let (pid, status, report, pin, words, is_truncated) = match outcome {
        PreflightOutcome::NotStarted { why } => return refuse(why.clone()),
        PreflightOutcome::Ended { pid, status, report, pin, last_words, is_truncated } => {
            (*pid, *status, report.as_ref(), pin, last_words.trim(), *is_truncated)
        }
    };
    let with_output = |what: String| match words {
        "" => format!("{what}; it printed nothing"),
        words => format!("{what}; its last output: {words}"),
    };
    if is_overdue {
        let seconds = PREFLIGHT_MAX.as_secs();
        return refuse(with_output(format!(
            "the new release took longer than {seconds}s to check itself"
        )));
    }
    let Some(report) = report else {
        let error = request.is_hand_back.then(|| ruby::candidate_error(words, pid, is_truncated));
        return match unreported(status, error) {
            None => Verdict::HandBack,
            Some(why) => refuse(with_output(why)),
        };
    };
    if request.is_hand_back {
        return refuse(format!(
            "the re-exec command runs einhorn {}, which is no Ruby Einhorn: leave out --to-ruby",
            report.release
        ));
    }
    if report.pid != pid.0 {
        return refuse(format!(
            "the re-exec command runs einhorn as a child (pid {} instead of {pid}): its last \
             command must be run with `exec`",
            report.pid
        ));
    }
    if report.format != STATE_FORMAT {
        return refuse(format!(
            "einhorn {} reads a state of format {}, and this release writes format {STATE_FORMAT}",
            report.release, report.format
        ));
    }
    if !report.has_adopted || status != ExitStatus::Code(0) {
        return refuse(with_output(format!(
            "einhorn {} cannot take over ({status})",
            report.release
        )));
    }
    match pin {
        Some(Err(why)) => refuse(format!("einhorn {} cannot be pinned: {why}", report.release)),
        _ => Verdict::Accept { release: report.release.clone() },
    }
}

/// Why a candidate without a report is refused; `None` accepts a Ruby Einhorn that was asked for.
/// `error` is then the reason, if any, why that one cannot take over.
fn unreported(status: ExitStatus, error: Option<Option<String>>) -> Option<String> {
    match (status, error) {
        (ExitStatus::Code(0), Some(error)) => error,
        (ExitStatus::Code(0), None) => Some(
            "the check passed without a report, as a Ruby Einhorn's does; to hand back to one: \
             einhornsh -e 'upgrade --to-ruby'. If it is none, the command runs no einhorn, or a \
             wrapper closes descriptors"
                .to_owned(),
        ),
        (status, _) => Some(format!("the check of the new release failed ({status})")),
    }
}
