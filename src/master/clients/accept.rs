//! Accepting clients and handling their requests, within time limits that keep signals and workers
//! responsive.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::decide::{Event, Level};
use crate::master::Master;
use crate::master::clients::connections::Asked;
use crate::master::clients::membership::membership;
use crate::master::now::now;
use crate::master::source::Source;
use crate::protocol::Request;
use crate::sys::poll::Interest;
use crate::sys::{socket, user};

/// How many connections are accepted in one turn of the loop.
const ACCEPTS_PER_TURN: usize = 64;

/// How long requests are handled before the loop looks at other events.
const REQUESTS_TIME_MAX: Duration = Duration::from_millis(10);

/// How long accepting pauses when the process is out of descriptors and no client could be evicted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

impl Master {
    /// Handles pending requests, at most for [`REQUESTS_TIME_MAX`].
    pub(in crate::master) fn handle_requests(&mut self) {
        let begun = now().monotonic;
        while let Some(asked) = self.clients.connections.next_request() {
            let Asked { connection, request, authority } = asked;
            // Nobody is there to hear; what it told us to do is done all the same.
            let is_unread = request.as_ref().is_ok_and(Request::is_query)
                && self.clients.connections.is_gone(connection);
            if is_unread {
                continue;
            }
            let named = request.as_ref().ok();
            let membership = named.and_then(|request| membership(&self.state.workers, request));
            let event = Event::Requested { connection, request, authority, membership };
            self.events.push_back(event);
            self.dispatch_events();
            if now().monotonic.since(begun) >= REQUESTS_TIME_MAX {
                return;
            }
        }
    }

    pub(in crate::master) fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.is_client_limit_reached() && !self.evict_idle_client("there are too many") {
                return;
            }
            match socket::accept(&self.clients.command_socket) {
                Ok(None) => return,
                Ok(Some(stream)) => self.admit(stream),
                Err(error) if self.clients.connections.client_count() == 0 => {
                    return self.pause_accepting(&error);
                }
                Err(error) => {
                    if !self.evict_idle_client(&format!("no more can be accepted: {error}")) {
                        return;
                    }
                }
            }
        }
    }

    /// Adds a client's connection if its user is this one or root.
    pub(in crate::master) fn admit(&mut self, stream: UnixStream) {
        let own = user::effective_id();
        match socket::peer(&stream) {
            Ok((_, uid)) if uid == own || uid == 0 => {}
            Ok((pid, uid)) => {
                let who = format!("pid {pid} of user {uid}, who is neither {own} nor root");
                return self.log(Level::Error, &format!("Refused a connection of {who}"));
            }
            Err(error) => {
                return self.log(
                    Level::Error,
                    &format!("Refused a connection whose peer is unknown: {error}"),
                );
            }
        }
        match self.clients.connections.add(&self.wakeups.poll, stream, false) {
            Ok(connection) => self.events.push_back(Event::Opened { connection }),
            Err(error) => self.log(Level::Error, &format!("Cannot watch a connection: {error}")),
        }
        self.dispatch_events();
    }

    fn pause_accepting(&mut self, error: &std::io::Error) {
        self.log(Level::Error, &format!("Cannot accept clients for a moment: {error}"));
        self.clients.accept_again_at = Some(now().monotonic + ACCEPT_PAUSE);
        self.watch_command_socket(false);
    }

    pub(in crate::master) fn resume_accepting(&mut self) {
        if self.clients.accept_again_at.is_some_and(|at| at <= now().monotonic) {
            self.clients.accept_again_at = None;
            self.watch_command_socket(true);
        }
    }

    fn watch_command_socket(&mut self, read: bool) {
        let interest = Interest { read, write: false };
        if let Err(error) =
            self.wakeups.poll.change(&self.clients.command_socket, Source::CommandSocket, interest)
        {
            self.log(Level::Error, &format!("Cannot watch the command socket: {error}"));
        }
    }
}
