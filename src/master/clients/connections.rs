//! Connections of the command socket: buffered input and output, all of it bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::ops::Bound;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::master::source::{FIRST_CONNECTION, Source};
use crate::protocol::{BadRequest, LineBuffer, Request};
use crate::schema::CarriedConnection;
use crate::state::ConnectionId;
use crate::sys::poll::{Interest, Poll, Ready};

/// How many clients may be connected at once, not counting workers' own connections (`-g`). One
/// more evicts the longest idle client, so idle clients cannot keep a worker's ACK out.
pub const CLIENTS_MAX: usize = 4096;

/// How much is read from one connection in one turn, so that one busy client cannot starve the
/// others.
const READ_CHUNK: usize = 16 * 1024;

/// While a client has more unread output than this, its requests wait. One reply may exceed it: the
/// largest, the metrics of ten thousand workers, are about 3 MB.
const OUTPUT_MAX: usize = 64 * 1024;

/// Limit on the buffered output of all clients; a client whose reply would exceed it is closed.
const OUTPUT_TOTAL_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    input: LineBuffer,
    output: Vec<u8>,
    /// A worker's own connection (`-g`), which is never evicted.
    is_worker: bool,
    /// The client has shut down its writing side.
    read_closed: bool,
    /// The client has closed the connection (EPOLLHUP or EPOLLERR).
    is_hung_up: bool,
    /// Writing failed: replies are discarded, but its requests are still carried out.
    write_closed: bool,
    /// Unusable; removed at the end of the turn.
    is_broken: bool,
    /// To be closed once its output is written.
    is_closing: bool,
    /// The turn in which it was last read.
    last_active: u64,
    interest: Interest,
}

impl Connection {
    /// A new connection, watched for reading.
    fn new(stream: UnixStream, is_worker: bool, turn: u64) -> Connection {
        Connection {
            stream,
            input: LineBuffer::default(),
            output: Vec::new(),
            is_worker,
            read_closed: false,
            is_hung_up: false,
            write_closed: false,
            is_broken: false,
            is_closing: false,
            last_active: turn,
            interest: Interest::READ,
        }
    }

    /// Whether its output has room for one more reply.
    fn has_write_room(&self) -> bool {
        self.output.len() <= OUTPUT_MAX
    }

    /// Whether it has a request that can be handled now.
    fn has_request(&self) -> bool {
        !self.is_closing && !self.is_broken && self.has_write_room() && self.input.has_line()
    }

    /// The events to wait for; nothing more is read while complete lines are waiting.
    fn wanted_interest(&self) -> Interest {
        let has_room = self.has_write_room() && !self.input.has_line();
        Interest {
            read: has_room && !self.read_closed && !self.is_closing,
            write: !self.output.is_empty(),
        }
    }

    /// Whether the client can no longer read a reply.
    fn is_gone(&self) -> bool {
        self.is_hung_up || self.write_closed || self.is_broken
    }

    fn is_done(&self) -> bool {
        let is_flushed = self.output.is_empty();
        let has_no_more_requests = self.read_closed && !self.input.has_line();
        self.is_broken || (is_flushed && (self.is_closing || has_no_more_requests))
    }
}

/// All connections of the command socket.
#[derive(Debug)]
pub struct Connections {
    table: BTreeMap<ConnectionId, Connection>,
    next_id: ConnectionId,
    /// Connections to look at when this turn ends.
    touched: BTreeSet<ConnectionId>,
    /// Connections with requests that can be handled without reading more.
    with_requests: BTreeSet<ConnectionId>,
    /// The connection handled last: the next one is the next by id, round-robin.
    last_answered: ConnectionId,
    worker_count: usize,
    output_total: usize,
    turn: u64,
    clients_max: usize,
    /// Read buffer, kept so that it is zeroed only once.
    chunk: Box<[u8]>,
}

impl Connections {
    /// No connections yet; `descriptors_max` is this process's descriptor limit.
    pub fn new(descriptors_max: u64) -> Connections {
        let half = usize::try_from(descriptors_max / 2).unwrap_or(CLIENTS_MAX);
        Connections {
            table: BTreeMap::new(),
            next_id: FIRST_CONNECTION,
            touched: BTreeSet::new(),
            with_requests: BTreeSet::new(),
            last_answered: ConnectionId(0),
            worker_count: 0,
            output_total: 0,
            turn: 0,
            clients_max: CLIENTS_MAX.min(half.max(1)),
            chunk: vec![0; READ_CHUNK].into(),
        }
    }

    /// Adds a non-blocking connection.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn add(
        &mut self,
        poll: &Poll,
        stream: UnixStream,
        is_worker: bool,
    ) -> io::Result<ConnectionId> {
        let id = self.next_id;
        poll.add(&stream, Source::Connection(id), Interest::READ)?;
        self.next_id = ConnectionId(id.0 + 1);
        self.worker_count += usize::from(is_worker);
        self.table.insert(id, Connection::new(stream, is_worker, self.turn));
        Ok(id)
    }

    /// What is handed over to the next image: the buffers, and the descriptors under the same ids.
    pub fn carried(&self) -> Vec<(CarriedConnection, RawFd)> {
        let carry = |(id, connection): (&ConnectionId, &Connection)| {
            let (input, is_discarding) = connection.input.parts();
            let carried = CarriedConnection {
                id: *id,
                input: input.to_vec(),
                is_discarding,
                output: connection.output.clone(),
                is_given: connection.is_worker,
                read_closed: connection.read_closed,
                is_closing: connection.is_closing,
            };
            (carried, connection.stream.as_raw_fd())
        };
        self.table.iter().map(carry).collect()
    }

    /// The id of the next new connection.
    pub fn next_id(&self) -> ConnectionId {
        self.next_id
    }

    /// Adopts the connections of the previous image; the poll watches them for reading already.
    pub fn adopt(&mut self, connections: Vec<(CarriedConnection, OwnedFd)>, next: ConnectionId) {
        self.next_id = next;
        for (carried, stream) in connections {
            self.worker_count += usize::from(carried.is_given);
            self.output_total += carried.output.len();
            self.touched.insert(carried.id);
            let connection = Connection {
                input: LineBuffer::from_parts(carried.input, carried.is_discarding),
                output: carried.output,
                read_closed: carried.read_closed,
                is_closing: carried.is_closing,
                ..Connection::new(stream.into(), carried.is_given, self.turn)
            };
            self.table.insert(carried.id, connection);
        }
    }

    /// Whether the limit of clients is reached.
    pub fn is_full(&self) -> bool {
        self.table.len() - self.worker_count >= self.clients_max
    }

    /// Whether there is any client.
    pub fn has_clients(&self) -> bool {
        self.table.len() > self.worker_count
    }

    /// The longest idle client; `None` when every client connected or sent something in this turn.
    pub fn longest_idle(&self) -> Option<ConnectionId> {
        let is_idle = |connection: &Connection| connection.last_active < self.turn;
        let clients = self.table.iter().filter(|(_, c)| !c.is_worker && is_idle(c));
        clients.min_by_key(|(_, connection)| connection.last_active).map(|(id, _)| *id)
    }

    /// Begins a turn.
    pub fn begin_turn(&mut self) {
        self.turn += 1;
    }

    /// Whether there are requests that can be handled without reading more.
    pub fn has_requests(&self) -> bool {
        !self.with_requests.is_empty()
    }

    /// Takes the next request, round-robin over the connections.
    pub fn next_request(&mut self) -> Option<(ConnectionId, Result<Request, BadRequest>)> {
        loop {
            let after = (Bound::Excluded(self.last_answered), Bound::Unbounded);
            let id = *self.with_requests.range(after).next().or(self.with_requests.first())?;
            self.last_answered = id;
            let connection = self.table.get_mut(&id).filter(|connection| connection.has_request());
            let Some(line) = connection.and_then(|connection| connection.input.next_line()) else {
                self.with_requests.remove(&id);
                continue;
            };
            self.touched.insert(id);
            return Some((id, Request::parse(&line)));
        }
    }

    /// Reads and writes what a connection is ready for.
    pub fn serve(&mut self, id: ConnectionId, ready: Ready) {
        let Some(connection) = self.table.get_mut(&id) else { return };
        self.touched.insert(id);
        if ready.read && connection.interest.read {
            connection.last_active = self.turn;
            receive(connection, &mut self.chunk);
            if connection.has_request() {
                self.with_requests.insert(id);
            }
        }
        connection.is_hung_up |= ready.hung_up;
        if ready.write || ready.hung_up {
            self.write(id);
        }
    }

    /// Whether a client can no longer read a reply.
    pub fn is_gone(&self, id: ConnectionId) -> bool {
        self.table.get(&id).is_none_or(Connection::is_gone)
    }

    /// Whether a client's output has room for one more reply.
    pub fn has_write_room(&self, id: ConnectionId) -> bool {
        self.table.get(&id).is_some_and(Connection::has_write_room)
    }

    /// Queues a line for a client, and writes what its socket takes at once.
    pub fn send(&mut self, id: ConnectionId, line: &str) {
        let Some(connection) = self.table.get_mut(&id) else { return };
        self.touched.insert(id);
        if connection.write_closed {
            return;
        }
        if self.output_total + line.len() > OUTPUT_TOTAL_MAX {
            connection.is_broken = true;
            return;
        }
        connection.output.extend_from_slice(line.as_bytes());
        self.output_total += line.len();
        self.write(id);
    }

    /// Closes a connection once its output is written.
    pub fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.table.get_mut(&id) {
            connection.is_closing = true;
            self.touched.insert(id);
        }
    }

    /// Ends a turn: removes the connections that are done, and updates what the poll waits for on
    /// the others. Returns the removed ones.
    ///
    /// A connection in `waiting` stays, even if its client has shut down its writing side.
    pub fn finish_turn(
        &mut self,
        poll: &Poll,
        waiting: &BTreeSet<ConnectionId>,
    ) -> Vec<ConnectionId> {
        let mut gone = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let Some(connection) = self.table.get_mut(&id) else { continue };
            let interest = connection.wanted_interest();
            let is_waiting = waiting.contains(&id) && !connection.is_gone();
            let is_done = |connection: &Connection| !is_waiting && connection.is_done();
            if interest != connection.interest && !is_done(connection) {
                connection.interest = interest;
                let changed = poll.change(&connection.stream, Source::Connection(id), interest);
                connection.is_broken |= changed.is_err();
            }
            if is_done(connection) {
                self.remove(poll, id);
                gone.push(id);
            } else if connection.has_request() {
                self.with_requests.insert(id);
            }
        }
        gone
    }

    /// Closes a connection at once.
    pub fn remove(&mut self, poll: &Poll, id: ConnectionId) {
        let Some(connection) = self.table.remove(&id) else { return };
        self.worker_count -= usize::from(connection.is_worker);
        self.output_total -= connection.output.len();
        self.with_requests.remove(&id);
        // A candidate may hold the same open file description: shut it down so that the client sees
        // the end now, and remove it so that the poll does not report it again.
        let _ = connection.stream.shutdown(Shutdown::Both);
        let _ = poll.remove(&connection.stream);
    }

    fn write(&mut self, id: ConnectionId) {
        let Some(connection) = self.table.get_mut(&id) else { return };
        while !connection.output.is_empty() {
            match connection.stream.write(&connection.output) {
                Ok(count) => {
                    connection.output.drain(..count);
                    self.output_total -= count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.output_total -= connection.output.len();
                    connection.output.clear();
                    connection.write_closed = true;
                }
            }
        }
    }
}

fn receive(connection: &mut Connection, chunk: &mut [u8]) {
    match connection.stream.read(chunk) {
        Ok(0) => connection.read_closed = true,
        Ok(count) => connection.input.push(&chunk[..count]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        Err(_) => connection.read_closed = true,
    }
}
