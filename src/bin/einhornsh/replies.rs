//! Runs a command of the master and prints its replies: as lines, as one live line on a terminal,
//! or as JSON events. The last reply determines the exit status.

use std::str::FromStr;
use std::time::{Duration, Instant};

use einhorn::client::{Client, ClientError};
use einhorn::outcome::Outcome;
use einhorn::protocol::{End, Progress, ProgressStage, Reply, ReplyEvent, WorkerFailure};
use serde_json::{Value, json};

use super::failure::{Failure, NOT_WAITED, print_error};
use super::options::{Command, Options};
use super::screen::{Colour, Screen};
use super::shell::Shell;

/// How often the live line is redrawn: often enough for its seconds to advance evenly.
const TICK: Duration = Duration::from_millis(250);

/// Runs a command and prints its replies. Returns its exit status.
pub(crate) fn run(
    shell: &mut Shell,
    client: &mut Client,
    command: &Command,
) -> Result<u8, Failure> {
    let Shell { screen, address, .. } = shell;
    let Some((name, args)) = command.words.split_first() else { return Ok(0) };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut printer = ReplyPrinter {
        screen,
        options: &command.options,
        command: name,
        address,
        sent_at: Instant::now(),
        has_reply: false,
        progress: None,
        stage: None,
    };
    let mut replies = client.request_events(name, &args)?;
    loop {
        let Some(wait) = printer.next_wait() else { return printer.time_out() };
        match replies.next_within(wait) {
            Some(Ok(reply)) => {
                if let Some(status) = printer.print(&reply)? {
                    return Ok(status);
                }
            }
            Some(Err(ClientError::TimedOut)) => printer.tick()?,
            Some(Err(error)) => return Err(error.into()),
            None => return Ok(0),
        }
    }
}

/// Prints the replies to one command.
struct ReplyPrinter<'a> {
    screen: &'a mut Screen,
    options: &'a Options,
    command: &'a str,
    /// The options of einhornsh that select the same master.
    address: &'a str,
    sent_at: Instant,
    /// Whether the master has replied.
    has_reply: bool,
    /// The latest progress, and when it arrived.
    progress: Option<(Progress, Instant)>,
    /// The latest known stage.
    stage: Option<ProgressStage>,
}

impl ReplyPrinter<'_> {
    /// How long to wait for the next reply; the inner `None` has no limit, the outer one means that
    /// `--timeout` is over.
    fn next_wait(&self) -> Option<Option<Duration>> {
        let tick = self.progress.as_ref().filter(|_| self.is_live()).map(|_| TICK);
        let Some(timeout) = self.options.timeout else { return Some(tick) };
        let left = timeout.checked_sub(self.sent_at.elapsed()).filter(|left| !left.is_zero())?;
        Some(Some(tick.map_or(left, |tick| tick.min(left))))
    }

    fn is_live(&self) -> bool {
        self.screen.is_live && !self.options.json
    }

    /// Prints a reply. Returns the exit status if it is the last one to wait for.
    fn print(&mut self, reply: &Reply) -> Result<Option<u8>, Failure> {
        self.has_reply = true;
        let event = reply.event.as_deref().and_then(|event| ReplyEvent::parse(event).ok());
        let is_last = !reply.wait || self.options.detach;
        let had_progress = self.progress.is_some();
        self.progress = match &event {
            Some(ReplyEvent::Progress(progress)) => Some((progress.clone(), Instant::now())),
            _ => None,
        };
        self.stage = self.progress.as_ref().map(|(progress, _)| progress.stage).or(self.stage);
        match event {
            _ if self.options.json => self.screen.print(&as_json(reply))?,
            Some(ReplyEvent::End(end)) => self.print_end(reply, &end, had_progress)?,
            Some(ReplyEvent::Progress(_)) if self.screen.is_live && !is_last => self.tick()?,
            _ => self.screen.print(&reply.message)?,
        }
        Ok(match (is_last, reply.wait) {
            (false, _) => None,
            (true, true) => Some(0),
            (true, false) => Some(exit_status(self.command, reply)),
        })
    }

    /// Prints how a command ended, in green only if it took long enough to show progress.
    fn print_end(&mut self, reply: &Reply, end: &End, is_long: bool) -> Result<(), Failure> {
        let colour = match end.outcome {
            Outcome::Done => is_long.then_some(Colour::Green),
            _ => Some(Colour::Red),
        };
        // The last line must say how it ended, so failures before a success are printed first.
        let is_done = matches!(end.outcome, Outcome::Done | Outcome::Killed);
        let mut failures = end.failures.iter().map(failure_text);
        if is_done {
            failures.try_for_each(|text| self.screen.print(&format!("failed: {text}")))?;
            return self.screen.print_in(colour, &reply.message);
        }
        self.screen.print_in(colour, &reply.message)?;
        failures.try_for_each(|text| self.screen.print(&text))
    }

    /// Redraws the live line with the current time.
    fn tick(&mut self) -> Result<(), Failure> {
        match &self.progress {
            Some((progress, since)) if self.is_live() => {
                let elapsed = Duration::from_millis(progress.numbers.elapsed_ms) + since.elapsed();
                // The time before the master received a new command counts too.
                let elapsed = elapsed.max(self.sent_at.elapsed());
                self.screen.draw(&live_line(progress, elapsed))
            }
            _ => Ok(()),
        }
    }

    /// Reports that `--timeout` is over, and what the user can do.
    fn time_out(&mut self) -> Result<u8, Failure> {
        if !self.has_reply {
            return Err(ClientError::TimedOut.into());
        }
        let seconds = self.options.timeout.unwrap_or_default().as_secs_f64();
        let shell = format!("einhornsh{}", self.address);
        let message = match self.stage {
            None
            | Some(ProgressStage::Draining | ProgressStage::Settling | ProgressStage::Stopping) => {
                format!("not finished within {seconds}s; it continues")
            }
            Some(_) => format!(
                "not finished within {seconds}s; the upgrade continues: wait for it with \
                 `{shell} -e wait`, or stop it with `{shell} -e abort`"
            ),
        };
        let status = Outcome::TimedOut.exit_status();
        self.screen.keep_live_line();
        if self.options.json {
            self.screen.print(&end_event(NOT_WAITED, status, &message))?;
        }
        print_error(&message);
        Ok(status)
    }
}

/// Formats a reply as an event: the master's, or else one with the message.
pub(crate) fn as_json(reply: &Reply) -> String {
    let message = || json!({"event": "message", "message": reply.message}).to_string();
    reply.event.clone().unwrap_or_else(message)
}

/// An end event of einhornsh itself.
pub(crate) fn end_event(outcome: &str, exit_status: u8, message: &str) -> String {
    let end = json!({"event": "end", "outcome": outcome, "exit_status": exit_status,
                     "message": message});
    end.to_string()
}

/// The exit status for the last reply to a command. A reply without an event, from an original
/// master or an old release, is judged by its words.
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

/// How the last line of an upgrade begins, and its outcome. The original ends a reload with its
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

/// Formats progress as one line.
fn live_line(progress: &Progress, elapsed: Duration) -> String {
    let Progress { stage, numbers, message } = progress;
    let (seconds, words) = (elapsed.as_secs(), stage.words());
    // What is counted says nothing of these.
    let is_plain = matches!(
        stage,
        ProgressStage::Preflight | ProgressStage::HandingOver | ProgressStage::Draining
    );
    if is_plain {
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

/// Formats a failure of a worker, with its last output on indented lines.
fn failure_text(failure: &WorkerFailure) -> String {
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
