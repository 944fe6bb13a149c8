//! A command, and how it goes on: messages as lines, on a terminal as one live line, or events as
//! lines of JSON. What it ends with becomes the exit status.

use std::str::FromStr;
use std::time::{Duration, Instant};

use einhorn::client::{Client, ClientError};
use einhorn::outcome::Outcome;
use einhorn::protocol::{End, News, NewsFailure, NewsStage, Progress, Reply};
use serde_json::{Value, json};

use super::failure::{Failure, NOT_WAITED, complain};
use super::options::{Command, Options};
use super::screen::{Mood, Screen};
use super::shell::Shell;

/// How often the seconds of the live line are looked at: often enough for them to run evenly.
const TICK: Duration = Duration::from_millis(250);

/// Carries a command out and tells about it. Answers its exit status.
pub(crate) fn tell(
    shell: &mut Shell,
    client: &mut Client,
    command: &Command,
) -> Result<u8, Failure> {
    let Shell { screen, address, .. } = shell;
    let Some((name, args)) = command.words.split_first() else { return Ok(0) };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut printer = ReplyPrinter::new(screen, &command.options, name, address);
    let mut replies = client.request_events(name, &args)?;
    loop {
        let Some(pause) = printer.pause() else { return printer.waited_in_vain() };
        match replies.next_within(pause) {
            Some(Ok(reply)) => {
                if let Some(status) = printer.heard(&reply)? {
                    return Ok(status);
                }
            }
            Some(Err(ClientError::TimedOut)) => printer.tick()?,
            Some(Err(error)) => return Err(error.into()),
            None => return Ok(0),
        }
    }
}

/// The answer to one command, while it arrives.
struct ReplyPrinter<'a> {
    screen: &'a mut Screen,
    options: &'a Options,
    command: &'a str,
    /// What leads to the same master, as options of `einhornsh`.
    address: &'a str,
    asked_at: Instant,
    /// Whether the master has taken it on.
    is_under_way: bool,
    /// How it goes on, and since when that is known.
    progress: Option<(Progress, Instant)>,
    /// What was being done when that was told last.
    stage: Option<NewsStage>,
}

impl<'a> ReplyPrinter<'a> {
    fn new(
        screen: &'a mut Screen,
        options: &'a Options,
        command: &'a str,
        address: &'a str,
    ) -> ReplyPrinter<'a> {
        ReplyPrinter {
            screen,
            options,
            command,
            address,
            asked_at: Instant::now(),
            is_under_way: false,
            progress: None,
            stage: None,
        }
    }

    /// How long to wait for the next reply, for ever in the inner `None`; the outer one says that
    /// the time is over.
    fn pause(&self) -> Option<Option<Duration>> {
        let tick = self.progress.as_ref().filter(|_| self.is_live()).map(|_| TICK);
        let Some(timeout) = self.options.timeout else { return Some(tick) };
        let left = timeout.checked_sub(self.asked_at.elapsed()).filter(|left| !left.is_zero())?;
        Some(Some(tick.map_or(left, |tick| tick.min(left))))
    }

    fn is_live(&self) -> bool {
        self.screen.is_live && !self.options.json
    }

    /// Tells about a reply; answers the exit status where there is no more to wait for.
    fn heard(&mut self, reply: &Reply) -> Result<Option<u8>, Failure> {
        self.is_under_way = true;
        let news = reply.event.as_deref().and_then(|event| News::parse(event).ok());
        let is_last = !reply.wait || self.options.detach;
        let had_progress = self.progress.is_some();
        self.progress = match &news {
            Some(News::Progress(progress)) => Some((progress.clone(), Instant::now())),
            _ => None,
        };
        self.stage = self.progress.as_ref().map(|(progress, _)| progress.stage).or(self.stage);
        match news {
            _ if self.options.json => self.screen.print(&as_json(reply))?,
            Some(News::End(end)) => self.show_end(reply, &end, had_progress)?,
            Some(News::Progress(_)) if self.screen.is_live && !is_last => self.tick()?,
            _ => self.screen.print(&reply.message)?,
        }
        Ok(match (is_last, reply.wait) {
            (false, _) => None,
            (true, true) => Some(0),
            (true, false) => Some(exit_status(self.command, reply)),
        })
    }

    /// Tells people how it ended. What is done at once needs no praise.
    fn show_end(&mut self, reply: &Reply, end: &End, is_long: bool) -> Result<(), Failure> {
        let mood = match end.outcome {
            Outcome::Done => is_long.then_some(Mood::Good),
            _ => Some(Mood::Bad),
        };
        // The last line says how it ended, so what failed on the way to success stands before it.
        let is_done = end.outcome == Outcome::Done;
        let mut failures = end.failures.iter().map(block);
        if is_done {
            failures.try_for_each(|block| self.screen.print(&format!("failed: {block}")))?;
            return self.screen.print_in(mood, &reply.message);
        }
        self.screen.print_in(mood, &reply.message)?;
        failures.try_for_each(|block| self.screen.print(&block))
    }

    /// Lets the seconds of the live line run.
    fn tick(&mut self) -> Result<(), Failure> {
        match &self.progress {
            Some((progress, since)) if self.is_live() => {
                let elapsed = Duration::from_millis(progress.numbers.elapsed_ms) + since.elapsed();
                // What is asked for anew begins with us.
                let elapsed = elapsed.max(self.asked_at.elapsed());
                self.screen.draw(&live_line(progress, elapsed))
            }
            _ => Ok(()),
        }
    }

    /// Says that `--timeout` is over, and what can be done now.
    fn waited_in_vain(&mut self) -> Result<u8, Failure> {
        if !self.is_under_way {
            return Err(ClientError::TimedOut.into());
        }
        let seconds = self.options.timeout.unwrap_or_default().as_secs_f64();
        let shell = format!("einhornsh{}", self.address);
        let message = match self.stage {
            None | Some(NewsStage::Settling | NewsStage::Stopping) => {
                format!("not finished within {seconds}s; it continues")
            }
            Some(_) => format!(
                "not finished within {seconds}s; the upgrade continues: wait for it with \
                 `{shell} -e wait`, or stop it with `{shell} -e abort`"
            ),
        };
        let status = Outcome::TimedOut.exit_status();
        self.screen.leave();
        if self.options.json {
            self.screen.print(&own_end(NOT_WAITED, status, &message))?;
        }
        complain(&message);
        Ok(status)
    }
}

/// A reply as an event, which is the master's own if it sent one.
pub(crate) fn as_json(reply: &Reply) -> String {
    let message = || json!({"event": "message", "message": reply.message}).to_string();
    reply.event.clone().unwrap_or_else(message)
}

/// What the client itself says at the end, as an event.
pub(crate) fn own_end(outcome: &str, exit_status: u8, message: &str) -> String {
    let end = json!({"event": "end", "outcome": outcome, "exit_status": exit_status,
                     "message": message});
    end.to_string()
}

/// What the last reply to a command means. Without an event, from an original master or one of a
/// release before events, its words must do.
pub(crate) fn exit_status(command: &str, reply: &Reply) -> u8 {
    let event = reply.event.as_deref().and_then(|event| Value::from_str(event).ok());
    let status = event.and_then(|event| event["exit_status"].as_u64()?.try_into().ok());
    if let Some(status) = status {
        return status;
    }
    let is_upgrade = matches!(command, "reload" | "upgrade" | "upgrade_fleet");
    let known = WORDS.iter().find(|(beginning, _)| reply.message.starts_with(beginning));
    match known {
        Some((_, Outcome::NotUnderstood)) => Outcome::NotUnderstood.exit_status(),
        _ if !is_upgrade => 0,
        known => known.map_or(Outcome::Failed, |(_, outcome)| *outcome).exit_status(),
    }
}

/// How the last line of an upgrade begins, and what that means. The original ends a reload with its
/// first line.
const WORDS: &[(&str, Outcome)] = &[
    ("Unrecognized command", Outcome::NotUnderstood),
    ("Upgrade done", Outcome::Done),
    ("Reload done", Outcome::Done),
    ("Reloading, as commanded", Outcome::Done),
    ("Not upgrading", Outcome::Refused),
    ("Not handing back", Outcome::Refused),
    ("Could not upgrade", Outcome::Refused),
    ("Rolled back", Outcome::RolledBack),
];

/// How it goes on, in one line.
fn live_line(progress: &Progress, elapsed: Duration) -> String {
    let Progress { stage, numbers, message } = progress;
    let (seconds, words) = (elapsed.as_secs(), stage.words());
    if matches!(stage, NewsStage::Preflight | NewsStage::HandingOver) {
        // There are no new workers yet.
        return format!("{words}: {seconds}s | {message}");
    }
    let failed = match numbers.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    format!(
        "{words}: {}/{} up, {} old left{failed}, {seconds}s | {message}",
        numbers.acked, numbers.target, numbers.old_left,
    )
}

/// A failed worker with its last words, in lines.
fn block(failure: &NewsFailure) -> String {
    let worker = match failure.pid {
        Some(pid) => format!("worker {pid}"),
        None => "a worker".to_owned(),
    };
    let age = Duration::from_millis(failure.age_ms).as_secs_f64();
    let mut lines = format!("{worker} (slot {}): {}, {age:.3}s old", failure.slot, failure.what);
    for words in failure.last_words.as_deref().unwrap_or_default().lines() {
        lines += "\n    ";
        lines += words;
    }
    lines
}
