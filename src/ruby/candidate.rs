//! Recognizes a Ruby Einhorn candidate by its log. In every release from 0.8 on, its check logs
//! `[MASTER PID] INFO: Running under Ruby VERSION`.

use crate::state::Pid;

const BEFORE_PID: &str = "[MASTER ";
const AFTER_PID: &str = "] INFO: Running under Ruby ";

/// Why a candidate that exited with status 0 is not a Ruby Einhorn that can take over this process,
/// judged by the end of its output; `None` if it is one.
pub fn candidate_error(words: &str, candidate: Pid, is_truncated: bool) -> Option<String> {
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

/// The pid in a log line of a check. The line may begin with output that lacked a newline.
fn pid(line: &str) -> Option<&str> {
    let (before, _) = line.split_once(AFTER_PID)?;
    let (_, pid) = before.rsplit_once(BEFORE_PID)?;
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some(pid)
}
