//! Connections of the command socket: buffered input and output, all of it bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::ops::Bound;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::decide::Authority;
use crate::master::clients::senders::Senders;
use crate::master::source::{FIRST_CONNECTION, Source};
use crate::protocol::{BadRequest, Line, LineBuffer, Request};
use crate::schema::{CarriedConnection, CarriedSender};
use crate::state::ConnectionId;
use crate::sys::poll::{Interest, Poll, Ready};
use crate::sys::{credentials, user};

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
    /// Who has sent that, where [`Connection::is_given`].
    senders: Senders,
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
            senders: Senders::default(),
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

    /// Takes the next line, and what its senders may say.
    fn next_line(&mut self) -> Option<(Line, Authority)> {
        let length = self.input.len();
        let line = self.input.next_line()?;
        let authority = match self.is_worker {
            true => self.senders.take(length - self.input.len(), user::effective_id()),
            false => Authority::Full,
        };
        Some((line, authority))
    }

    /// Adds what was read from a sender.
    fn push(&mut self, bytes: &[u8], sender: Option<(i32, u32)>) {
        self.input.push(bytes);
        match self.input.is_empty() {
            // They were of a line that is too long.
            true => self.senders.clear(),
            false if self.is_worker => self.senders.push(bytes.len(), sender),
            false => {}
        }
    }

    /// What to wait for: no more is read before the lines that are here are answered.
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

/// A request of a connection.
#[derive(Debug)]
pub struct Asked {
    /// Which.
    pub connection: ConnectionId,
    /// The line, understood or not.
    pub request: Result<Request, BadRequest>,
    /// What its senders may say.
    pub authority: Authority,
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
    /// Read buffer, kept so that it is zeroed only once.
    chunk: Box<[u8]>,
}

impl Connections {
    /// No connections yet.
    pub fn new() -> Connections {
        Connections {
            table: BTreeMap::new(),
            next_id: FIRST_CONNECTION,
            touched: BTreeSet::new(),
            with_requests: BTreeSet::new(),
            last_answered: ConnectionId(0),
            worker_count: 0,
            output_total: 0,
            turn: 0,
            chunk: vec![0; READ_CHUNK].into(),
        }
    }

    /// Adds a non-blocking connection. A worker's own notes its senders already.
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

    /// What travels too: who has sent the input of those that `-g` has given.
    pub fn carried_senders(&self) -> BTreeMap<ConnectionId, Vec<CarriedSender>> {
        let carry =
            |(id, connection): (&ConnectionId, &Connection)| (*id, connection.senders.carried());
        self.table.iter().map(carry).filter(|(_, senders)| !senders.is_empty()).collect()
    }

    /// The id of the next new connection.
    pub fn next_id(&self) -> ConnectionId {
        self.next_id
    }

    /// Takes in connections of the image before this one; they are watched already, for reading.
    pub fn adopt(
        &mut self,
        connections: Vec<(CarriedConnection, OwnedFd)>,
        mut senders: BTreeMap<ConnectionId, Vec<CarriedSender>>,
        next: ConnectionId,
    ) {
        self.next_id = next;
        for (carried, stream) in connections {
            self.worker_count += usize::from(carried.is_given);
            self.output_total += carried.output.len();
            self.touched.insert(carried.id);
            let noted = senders.remove(&carried.id).unwrap_or_default();
            let senders = match carried.is_given {
                true => {
                    // A Ruby master has not asked for it. Where it fails nobody is known, and
                    // those who are not known may do the least.
                    let _ = credentials::note_senders(&stream);
                    Senders::adopt(noted, carried.input.len())
                }
                false => Senders::default(),
            };
            let connection = Connection {
                senders,
                input: LineBuffer::from_parts(carried.input, carried.is_discarding),
                output: carried.output,
                read_closed: carried.read_closed,
                is_closing: carried.is_closing,
                ..Connection::new(stream.into(), carried.is_given, self.turn)
            };
            self.table.insert(carried.id, connection);
        }
    }

    /// How many clients are connected, not counting workers' own connections.
    pub fn client_count(&self) -> usize {
        self.table.len() - self.worker_count
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

    /// Takes the next request, of everybody in turns.
    pub fn next_request(&mut self) -> Option<Asked> {
        loop {
            let after = (Bound::Excluded(self.last_answered), Bound::Unbounded);
            let id = *self.with_requests.range(after).next().or(self.with_requests.first())?;
            self.last_answered = id;
            let asking = self.table.get_mut(&id).filter(|connection| connection.has_request());
            let Some((line, authority)) = asking.and_then(Connection::next_line) else {
                self.with_requests.remove(&id);
                continue;
            };
            self.touched.insert(id);
            return Some(Asked { connection: id, request: Request::parse(&line), authority });
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

/// Reads one chunk, of one sender.
fn receive(connection: &mut Connection, chunk: &mut [u8]) {
    let received = match connection.is_worker {
        true => credentials::receive(&connection.stream, chunk),
        false => connection.stream.read(chunk).map(|count| (count, None)),
    };
    match received {
        Ok((0, _)) => connection.read_closed = true,
        Ok((count, sender)) => connection.push(&chunk[..count], sender),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        Err(_) => connection.read_closed = true,
    }
}
