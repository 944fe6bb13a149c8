//! `status`: for people a table, for programs the document; once, or again and again.

use std::time::{Duration, Instant};

use einhorn::client::{Client, ClientError};
use einhorn::outcome::Outcome;
use einhorn::protocol::Reply;
use einhorn::status::{Health, Status, Style, table};

use super::failure::Failure;
use super::options::Command;
use super::replies::{as_json, exit_status};
use super::screen::Screen;
use super::shell::Shell;

/// The exit status of a master that is not as it should be.
const EXIT_DEGRADED: u8 = 1;

/// Shows how the master is. Answers the exit status: 0 if that is well.
pub(crate) fn show(
    shell: &mut Shell,
    client: &mut Client,
    command: &Command,
) -> Result<u8, Failure> {
    loop {
        let reply = ask(client, command)?;
        let Ok(status) = serde_json::from_str::<Status>(&reply.message) else {
            return not_told(&mut shell.screen, command, &reply);
        };
        print(&mut shell.screen, command, &reply, &status)?;
        match command.options.watch {
            Some(every) if !shell.screen.is_unread => pause(client, every)?,
            _ if status.health == Health::Ok => return Ok(0),
            _ => return Ok(EXIT_DEGRADED),
        }
    }
}

/// The answer of the master.
fn ask(client: &mut Client, command: &Command) -> Result<Reply, Failure> {
    let more = command.words.iter().skip(1).map(String::as_str);
    let args: Vec<&str> = std::iter::once("--json").chain(more).collect();
    let mut replies = client.request_events(&command.words[0], &args)?;
    let answer = replies.next_within(command.options.timeout);
    Ok(answer.unwrap_or(Err(ClientError::TimedOut))?)
}

fn print(
    screen: &mut Screen,
    command: &Command,
    reply: &Reply,
    status: &Status,
) -> Result<(), Failure> {
    if command.options.json {
        return screen.print(&reply.message);
    }
    let style = if screen.has_colour { Style::Coloured } else { Style::Plain };
    let page = table(status, style);
    match command.options.watch {
        Some(_) if screen.is_live => screen.turn_to(&page),
        _ => screen.print_raw(&page),
    }
}

/// The master does not know how it is, or says it in words that are not known here.
fn not_told(screen: &mut Screen, command: &Command, reply: &Reply) -> Result<u8, Failure> {
    match command.options.json {
        true => screen.print(&as_json(reply))?,
        false => screen.print(&reply.message)?,
    }
    Ok(match exit_status("status", reply) {
        0 => Outcome::NotUnderstood.exit_status(),
        told => told,
    })
}

/// Lets time pass. A master that goes away meanwhile is noticed at once.
fn pause(client: &mut Client, span: Duration) -> Result<(), Failure> {
    let begun_at = Instant::now();
    while let Some(left) = span.checked_sub(begun_at.elapsed()).filter(|left| !left.is_zero()) {
        client.set_read_timeout(Some(left)).map_err(ClientError::Lost)?;
        match client.next_reply() {
            // Of a command that nobody waits for any more.
            Ok(_) | Err(ClientError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
