//! Commands asked by the real einhornsh, and what it told of them.

use std::process::{Child, Stdio};

use einhorn::outcome::Outcome;
use einhorn::protocol::{End, Progress, ReplyEvent};
use einhorn::status::Status;

use crate::shell::sessions::{outcome, run, shell};
use crate::support::last_line::is_done;
use crate::support::rig::Rig;
use crate::support::wait::PATIENCE;

/// What einhornsh told of a command, to its end.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// How it went on.
    pub(crate) progress: Vec<Progress>,
    /// How it ended.
    pub(crate) end: End,
}

impl Told {
    /// # Panics
    /// The events are not some of progress and one end, or the exit status is not that of the end.
    fn of((code, stdout, stderr): (Option<i32>, String, String)) -> Told {
        let news = stdout.lines().map(|line| {
            ReplyEvent::parse(line).unwrap_or_else(|why| panic!("{why}: {line}\n{stderr}"))
        });
        let mut news: Vec<ReplyEvent> = news.collect();
        let Some(ReplyEvent::End(end)) = news.pop() else { panic!("no end: {stdout}{stderr}") };
        assert_eq!(stderr, "");
        assert_eq!(code, Some(i32::from(end.exit_status)), "{end:?}");
        assert_eq!(end.exit_status, end.outcome.exit_status());
        let progress = news.into_iter().map(|news| match news {
            ReplyEvent::Progress(progress) => progress,
            ReplyEvent::End(end) => panic!("two ends: {end:?}"),
        });
        Told { progress: progress.collect(), end }
    }

    /// # Panics
    /// It is no upgrade that was done, or its last line does not say so.
    pub(crate) fn done(&self) {
        let End { outcome, message, .. } = &self.end;
        assert!(*outcome == Outcome::Done && is_done(message), "{:?}", self.end);
    }

    /// # Panics
    /// It ended otherwise, or not in these words.
    pub(crate) fn ended(&self, outcome: Outcome, beginning: &str) {
        let End { outcome: ended, message, .. } = &self.end;
        assert!(*ended == outcome && message.starts_with(beginning), "{:?}", self.end);
    }
}

fn line(command: &str) -> String {
    format!("{command} --json --timeout {}", PATIENCE.as_secs())
}

/// Asks, and waits for the end.
pub(crate) fn tell(rig: &Rig, command: &str) -> Told {
    Told::of(run(rig, &["-e", &line(command)]))
}

/// A command under way.
pub(crate) struct Asked(Child);

/// Asks, and leaves the end for later.
pub(crate) fn ask(rig: &Rig, command: &str) -> Asked {
    let mut command = shell(rig, &["-e", &line(command)]);
    Asked(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

impl Asked {
    /// Waits for the end.
    pub(crate) fn told(self) -> Told {
        Told::of(outcome(self.0.wait_with_output().unwrap()))
    }

    /// Ends who has asked, as a terminal that is closed does.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

/// How the master is, and whether it is well by the exit status.
pub(crate) fn status(rig: &Rig) -> (Status, bool) {
    let (code, stdout, stderr) = run(rig, &["-e", "status --json"]);
    assert_eq!(stderr, "");
    let status = serde_json::from_str(&stdout).unwrap_or_else(|why| panic!("{why}: {stdout}"));
    (status, code == Some(0))
}
