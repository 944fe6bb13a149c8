//! What a candidate must say of itself to be taken for a Ruby Einhorn. Its check says it in the
//! log, in every release from 0.8 on: `[MASTER PID] INFO: Running under Ruby VERSION`.

use crate::state::Pid;

const BEFORE_PID: &str = "[MASTER ";
const AFTER_PID: &str = "] INFO: Running under Ruby ";

/// Why a candidate that ended well is no Ruby Einhorn that can go on in this process, by the end of
/// what it wrote; `None` for one that is.
pub fn unfit(words: &str, candidate: Pid, is_truncated: bool) -> Option<String> {
    let pids: Vec<&str> = words.lines().filter_map(pid).collect();
    if pids.iter().any(|pid| *pid == candidate.to_string()) {
        return None;
    }
    Some(match (pids.first(), is_truncated) {
        (Some(pid), _) => format!(
            "the re-exec command runs a Ruby Einhorn as a child (pid {pid} instead of \
             {candidate}): its last command must be run with `exec`"
        ),
        (None, false) => format!(
            "the re-exec command runs no Ruby Einhorn: its check does not say \
             `{BEFORE_PID}{candidate}{AFTER_PID}…`"
        ),
        (None, true) => format!(
            "the re-exec command runs no Ruby Einhorn, or writes too much after it: the end of \
             its output, which is all that is kept, does not say \
             `{BEFORE_PID}{candidate}{AFTER_PID}…`"
        ),
    })
}

/// The pid in a line of a check. Something may stand before it that ended in no newline.
fn pid(line: &str) -> Option<&str> {
    let (before, _) = line.split_once(AFTER_PID)?;
    let (_, pid) = before.rsplit_once(BEFORE_PID)?;
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some(pid)
}
