//! `status`: prints tables or the JSON document, once or repeatedly.

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

/// The exit status if the master is degraded, or with `--strict` if there are warnings.
const EXIT_DEGRADED: u8 = 1;

/// Prints the status of the master. Returns the exit status: 0 if it is ok, warnings or not.
pub(crate) fn show(
    shell: &mut Shell,
    client: &mut Client,
    command: &Command,
) -> Result<u8, Failure> {
    loop {
        let reply = request(client, command)?;
        let Ok(status) = serde_json::from_str::<Status>(&reply.message) else {
            return print_other(&mut shell.screen, command, &reply);
        };
        print(&mut shell.screen, command, &reply, &status)?;
        match command.options.watch {
            Some(every) if !shell.screen.is_closed => pause(client, every)?,
            _ if status.health == Health::Degraded => return Ok(EXIT_DEGRADED),
            _ if command.options.strict && !status.warnings.is_empty() => {
                return Ok(EXIT_DEGRADED);
            }
            _ => return Ok(0),
        }
    }
}

/// Requests the document; returns the first reply.
fn request(client: &mut Client, command: &Command) -> Result<Reply, Failure> {
    let more = command.words.iter().skip(1).map(String::as_str);
    let args: Vec<&str> = std::iter::once("--json").chain(more).collect();
    let mut replies = client.request_events(&command.words[0], &args)?;
    let reply = replies.next_within(command.options.timeout);
    Ok(reply.unwrap_or(Err(ClientError::TimedOut))?)
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
        Some(_) if screen.is_live => screen.show_page(&page),
        _ => screen.print_raw(&page),
    }
}

/// Prints a reply that is not a document: an error, or the document of an unknown release.
fn print_other(screen: &mut Screen, command: &Command, reply: &Reply) -> Result<u8, Failure> {
    match command.options.json {
        true => screen.print(&as_json(reply))?,
        false => screen.print(&reply.message)?,
    }
    Ok(match exit_status("status", reply) {
        0 => Outcome::NotUnderstood.exit_status(),
        status => status,
    })
}

/// Waits, and notices at once if the master closes the connection.
fn pause(client: &mut Client, span: Duration) -> Result<(), Failure> {
    let started_at = Instant::now();
    while let Some(left) = span.checked_sub(started_at.elapsed()).filter(|left| !left.is_zero()) {
        client.set_read_timeout(Some(left)).map_err(ClientError::Lost)?;
        match client.next_reply() {
            // A late reply to an earlier command.
            Ok(_) | Err(ClientError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
