//! The connections of the command socket: bytes in, lines out, everything bounded.

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

/// Clients at once, connections given by `-g` not counted. When one more comes, the one that has
/// been silent longest makes room, so that idle clients never keep a worker's ACK out.
pub const CLIENTS_MAX: usize = 4096;

/// How much is read from one connection in one turn, so that a flood is taken in turns with
/// everybody else.
const READ_CHUNK: usize = 16 * 1024;

/// While more than this is owed to a client that does not read, its requests wait. One reply may
/// come on top: the largest, the metrics of ten thousand workers, are about 3 MB.
const OWED_MAX: usize = 64 * 1024;

/// What may be owed to all clients together; beyond it, the client that would get more is closed.
const OWED_TOTAL_MAX: usize = 64 * 1024 * 1024;

/// One connection.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    input: LineBuffer,
    /// Who has sent that, where [`Connection::is_given`].
    senders: Senders,
    output: Vec<u8>,
    /// `-g` gave it to a worker: it is never evicted.
    is_given: bool,
    /// The other end will send no more.
    read_closed: bool,
    /// The other end is wholly gone.
    is_hung_up: bool,
    /// It reads no more replies. What it has asked is done all the same.
    write_closed: bool,
    /// Nothing more can be done with it.
    is_broken: bool,
    /// It is to be closed as soon as what it is owed is written.
    is_closing: bool,
    /// The turn in which it last sent something.
    last_active: u64,
    interest: Interest,
}

impl Connection {
    /// One that is watched for reading and has said nothing yet.
    fn new(stream: UnixStream, is_given: bool, turn: u64) -> Connection {
        Connection {
            stream,
            input: LineBuffer::default(),
            senders: Senders::default(),
            output: Vec::new(),
            is_given,
            read_closed: false,
            is_hung_up: false,
            write_closed: false,
            is_broken: false,
            is_closing: false,
            last_active: turn,
            interest: Interest::READ,
        }
    }

    /// Whether it may be owed one more reply.
    fn has_write_room(&self) -> bool {
        self.output.len() <= OWED_MAX
    }

    /// Whether a request of it can be answered now.
    fn has_request(&self) -> bool {
        !self.is_closing && !self.is_broken && self.has_write_room() && self.input.has_line()
    }

    /// Takes the next line, and what its senders may say.
    fn next_line(&mut self) -> Option<(Line, Authority)> {
        let length = self.input.len();
        let line = self.input.next_line()?;
        let authority = match self.is_given {
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
            false if self.is_given => self.senders.push(bytes.len(), sender),
            false => {}
        }
    }

    /// What to wait for: no more is read before the lines that are here are answered.
    fn wanted(&self) -> Interest {
        let is_answered = self.has_write_room() && !self.input.has_line();
        Interest {
            read: is_answered && !self.read_closed && !self.is_closing,
            write: !self.output.is_empty(),
        }
    }

    /// Whether nobody is there to read an answer.
    fn is_gone(&self) -> bool {
        self.is_hung_up || self.write_closed || self.is_broken
    }

    /// Whether nothing is left to do for it.
    fn is_done(&self) -> bool {
        let has_all = self.output.is_empty();
        let says_no_more = self.read_closed && !self.input.has_line();
        self.is_broken || (has_all && (self.is_closing || says_no_more))
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

/// All connections.
#[derive(Debug)]
pub struct Connections {
    table: BTreeMap<ConnectionId, Connection>,
    next_id: ConnectionId,
    /// Those that something happened to in this turn.
    touched: BTreeSet<ConnectionId>,
    /// Those with requests that can be answered though nothing new is heard.
    asking: BTreeSet<ConnectionId>,
    /// Who was answered last: the next one is the next by number, round and round.
    last_answered: ConnectionId,
    given_count: usize,
    owed_total: usize,
    turn: u64,
    clients_max: usize,
    /// What is read into, kept so that it is cleared once.
    chunk: Box<[u8]>,
}

impl Connections {
    /// None yet; `descriptors_max` is how many descriptors this process may have.
    pub fn new(descriptors_max: u64) -> Connections {
        let half = usize::try_from(descriptors_max / 2).unwrap_or(CLIENTS_MAX);
        Connections {
            table: BTreeMap::new(),
            next_id: FIRST_CONNECTION,
            touched: BTreeSet::new(),
            asking: BTreeSet::new(),
            last_answered: ConnectionId(0),
            given_count: 0,
            owed_total: 0,
            turn: 0,
            clients_max: CLIENTS_MAX.min(half.max(1)),
            chunk: vec![0; READ_CHUNK].into(),
        }
    }

    /// Takes in a non-blocking connection; one that `-g` gives notes its senders already.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn add(
        &mut self,
        poll: &Poll,
        stream: UnixStream,
        is_given: bool,
    ) -> io::Result<ConnectionId> {
        let id = self.next_id;
        poll.add(&stream, Source::Connection(id), Interest::READ)?;
        self.next_id = ConnectionId(id.0 + 1);
        self.given_count += usize::from(is_given);
        self.table.insert(id, Connection::new(stream, is_given, self.turn));
        Ok(id)
    }

    /// What travels to the next image: the buffers, and the descriptors under the same ids.
    pub fn carried(&self) -> Vec<(CarriedConnection, RawFd)> {
        let carry = |(id, connection): (&ConnectionId, &Connection)| {
            let (input, is_discarding) = connection.input.parts();
            let carried = CarriedConnection {
                id: *id,
                input: input.to_vec(),
                is_discarding,
                output: connection.output.clone(),
                is_given: connection.is_given,
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

    /// The id that the next connection gets.
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
            self.given_count += usize::from(carried.is_given);
            self.owed_total += carried.output.len();
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

    /// Whether there is no room for one more client.
    pub fn is_full(&self) -> bool {
        self.table.len() - self.given_count >= self.clients_max
    }

    /// Whether there is any client.
    pub fn has_clients(&self) -> bool {
        self.table.len() > self.given_count
    }

    /// The client that has been silent longest; `None` when all came or spoke in this turn.
    pub fn most_silent(&self) -> Option<ConnectionId> {
        let is_silent = |connection: &Connection| connection.last_active < self.turn;
        let clients = self.table.iter().filter(|(_, c)| !c.is_given && is_silent(c));
        clients.min_by_key(|(_, connection)| connection.last_active).map(|(id, _)| *id)
    }

    /// Begins a turn.
    pub fn begin_turn(&mut self) {
        self.turn += 1;
    }

    /// Whether requests wait that can be answered without hearing anything new.
    pub fn is_asked(&self) -> bool {
        !self.asking.is_empty()
    }

    /// Takes the next request, of everybody in turns.
    pub fn next_request(&mut self) -> Option<Asked> {
        loop {
            let after = (Bound::Excluded(self.last_answered), Bound::Unbounded);
            let id = *self.asking.range(after).next().or(self.asking.first())?;
            self.last_answered = id;
            let asking = self.table.get_mut(&id).filter(|connection| connection.has_request());
            let Some((line, authority)) = asking.and_then(Connection::next_line) else {
                self.asking.remove(&id);
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
                self.asking.insert(id);
            }
        }
        connection.is_hung_up |= ready.hung_up;
        if ready.write || ready.hung_up {
            self.write(id);
        }
    }

    /// Whether nobody is there to read an answer.
    pub fn is_gone(&self, id: ConnectionId) -> bool {
        self.table.get(&id).is_none_or(Connection::is_gone)
    }

    /// Whether a client may be owed one more line.
    pub fn has_write_room(&self, id: ConnectionId) -> bool {
        self.table.get(&id).is_some_and(Connection::has_write_room)
    }

    /// Owes a client a line, and writes at once what it takes.
    pub fn send(&mut self, id: ConnectionId, line: &str) {
        let Some(connection) = self.table.get_mut(&id) else { return };
        self.touched.insert(id);
        if connection.write_closed {
            return;
        }
        if self.owed_total + line.len() > OWED_TOTAL_MAX {
            connection.is_broken = true;
            return;
        }
        connection.output.extend_from_slice(line.as_bytes());
        self.owed_total += line.len();
        self.write(id);
    }

    /// Closes a connection once it has what it is owed.
    pub fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.table.get_mut(&id) {
            connection.is_closing = true;
            self.touched.insert(id);
        }
    }

    /// Ends a turn: removes the connections that are done, which are the answer, and makes the
    /// others wait for the right things.
    ///
    /// Those that wait for news stay, though they have said that they will send no more.
    pub fn finish_turn(
        &mut self,
        poll: &Poll,
        waiting: &BTreeSet<ConnectionId>,
    ) -> Vec<ConnectionId> {
        let mut gone = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let Some(connection) = self.table.get_mut(&id) else { continue };
            let interest = connection.wanted();
            let is_awaited = waiting.contains(&id) && !connection.is_gone();
            let is_done = |connection: &Connection| !is_awaited && connection.is_done();
            if interest != connection.interest && !is_done(connection) {
                connection.interest = interest;
                let changed = poll.change(&connection.stream, Source::Connection(id), interest);
                connection.is_broken |= changed.is_err();
            }
            if is_done(connection) {
                self.remove(poll, id);
                gone.push(id);
            } else if connection.has_request() {
                self.asking.insert(id);
            }
        }
        gone
    }

    /// Drops a connection at once.
    pub fn remove(&mut self, poll: &Poll, id: ConnectionId) {
        let Some(connection) = self.table.remove(&id) else { return };
        self.given_count -= usize::from(connection.is_given);
        self.owed_total -= connection.output.len();
        self.asking.remove(&id);
        // A candidate in its preflight may hold the description too: the client is to see the end
        // now, and the loop is to hear of it no more.
        let _ = connection.stream.shutdown(Shutdown::Both);
        let _ = poll.remove(&connection.stream);
    }

    fn write(&mut self, id: ConnectionId) {
        let Some(connection) = self.table.get_mut(&id) else { return };
        while !connection.output.is_empty() {
            match connection.stream.write(&connection.output) {
                Ok(count) => {
                    connection.output.drain(..count);
                    self.owed_total -= count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.owed_total -= connection.output.len();
                    connection.output.clear();
                    connection.write_closed = true;
                }
            }
        }
    }
}

/// Reads one chunk, of one sender.
fn receive(connection: &mut Connection, chunk: &mut [u8]) {
    let received = match connection.is_given {
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
