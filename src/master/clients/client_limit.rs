//! The limit on clients, and the client that makes room for one more.

use crate::decide::{Event, Level};
use crate::master::Master;
use crate::sys::socket;

/// How many clients may be connected at once, not counting workers' own connections (`-g`). One
/// more evicts the longest idle client, so idle clients cannot keep a worker's ACK out.
const CLIENTS_MAX: usize = 4096;

/// How many clients a process with this limit of descriptors may have: half of them at the most.
pub fn client_limit(descriptors_max: u64) -> usize {
    let half = usize::try_from(descriptors_max / 2).unwrap_or(CLIENTS_MAX);
    CLIENTS_MAX.min(half.max(1))
}

impl Master {
    pub(super) fn is_client_limit_reached(&self) -> bool {
        self.clients.connections.client_count() >= self.clients.limit
    }

    /// Evicts the longest idle client, if a connection is waiting for its place. Returns whether
    /// there is room now; if no client is idle yet, a later turn retries.
    pub(super) fn evict_idle_client(&mut self, why: &str) -> bool {
        // Without a free descriptor, accept(2) fails even when no connection is pending.
        if !socket::has_pending_connection(&self.clients.command_socket) {
            return false;
        }
        let Some(connection) = self.clients.connections.longest_idle() else { return false };
        self.clients.connections.remove(&self.wakeups.poll, connection);
        self.events.push_back(Event::Closed { connection });
        self.log(Level::Error, &format!("Closed the connection of the longest idle client: {why}"));
        self.dispatch_events();
        true
    }
}
