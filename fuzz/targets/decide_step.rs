//! What may happen to the master, in any order.
//!
//! An input is a list of events, a line each, in the words of [`Shell::happen`]; a line that says
//! nothing that can happen now is passed over. A shell of nothing but sets stands in for the
//! kernel: it gives out pids (the lowest free one, so that they come again at once), starts and
//! ends processes, opens and closes connections.
//!
//! After every event it asserts that `State::check` finds nothing, that no signal goes to a process
//! that is gone, that workers are started only for what is missing, that answers go to who asked,
//! and that the loop would not spin.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use einhorn::decide::{Action, Event, SPAWNS_PER_TURN, Sender, next_deadline, step};
use einhorn::protocol::{LINE_MAX, Line, Request};
use einhorn::state::{AckMode, Config, ConnectionId, ExitStatus, Generation, Monotonic, Nice};
use einhorn::state::{Now, Pid, Realtime, Signal, Slot, State, Verbosity};

/// More lines than this say nothing new.
const EVENTS_MAX: usize = 500;

/// Runs one input.
pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let config = config(lines.next().unwrap_or_default());
    let mut shell = Shell::new(config);
    for line in lines.take(EVENTS_MAX) {
        if shell.left {
            return;
        }
        shell.happen(line);
    }
}

/// The master's surroundings.
struct Shell {
    state: State,
    now: Monotonic,
    /// The workers that run, and those that ended and were not reaped yet.
    processes: BTreeSet<Pid>,
    /// Workers that were ordered, neither started nor failed.
    orders: BTreeMap<Slot, Generation>,
    /// Open connections, with the living worker that `-g` gave one to.
    open: BTreeMap<ConnectionId, Option<Pid>>,
    next_connection: u64,
    /// The master was told to stop.
    stopping: bool,
    /// The master has left.
    left: bool,
}

impl Shell {
    fn new(config: Config) -> Shell {
        let state = State::new(config, Vec::new(), Pid(50), 2);
        state.check().expect("a sound start");
        Shell {
            state,
            now: Monotonic(1_000_000_000),
            processes: BTreeSet::new(),
            orders: BTreeMap::new(),
            open: BTreeMap::new(),
            next_connection: 1,
            stopping: false,
            left: false,
        }
    }

    /// Lets happen what a line says, if it can.
    ///
    /// - `t MS`: time passes, a turn ends
    /// - `s [N]`, `g [N]`: the Nth ordered worker runs, with `g` given a connection
    /// - `f [N]`: it could not be started
    /// - `x N CODE`, `k N NUMBER`: the Nth process ends, by itself or by a signal
    /// - `u PID`: a process that is none of ours is reaped
    /// - `! NAME`: a signal arrives
    /// - `o`, `c N`: a client connects; the Nth connection is gone
    /// - `> N LINE`: it sends a line; `$` in it is the pid of the first process
    fn happen(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let event = words.next().unwrap_or_default();
        let first = words.next().unwrap_or_default();
        let second = words.next().unwrap_or_default();
        let nth: usize = first.parse().unwrap_or(0);
        match event {
            "t" => self.turn(first.parse().unwrap_or(0)),
            "s" | "g" | "f" => self.finish_order(nth, event),
            "x" => self.exit(nth, ExitStatus::Code(second.parse().unwrap_or(0))),
            "k" => {
                let number = second.parse().unwrap_or(9);
                let killed = ExitStatus::Killed { number, signal: None, core_dumped: false };
                self.exit(nth, killed);
            }
            "u" => {
                let pid = Pid(first.parse().unwrap_or(0));
                if !self.processes.contains(&pid) {
                    self.tell(Event::Exited { pid, status: ExitStatus::Code(0) });
                }
            }
            "!" => {
                let sender = Some(Sender { pid: 1, uid: 0 });
                if let Some(signal) = Signal::parse(first) {
                    use Signal::{Int, Quit, Term, Usr2};
                    self.stopping |= matches!(signal, Int | Quit | Term | Usr2);
                    self.tell(Event::Signaled { signal, sender });
                }
            }
            "o" => {
                let connection = self.connect(None);
                self.tell(Event::Opened { connection });
            }
            "c" => {
                if let Some(connection) = pick(self.open.keys(), nth) {
                    self.close(connection);
                }
            }
            ">" => self.request(nth, second),
            _ => {}
        }
    }

    fn turn(&mut self, ms: u32) {
        self.now = self.now + Duration::from_millis(u64::from(ms));
        self.tell(Event::Turn);
        // What is ordered is answered at once; with nothing on the way, only time brings work.
        let due = next_deadline(&self.state).filter(|due| *due <= self.now);
        assert!(
            self.left || !self.orders.is_empty() || due.is_none(),
            "the loop spins: {due:?} is due at {:?}",
            self.now
        );
    }

    fn finish_order(&mut self, nth: usize, how: &str) {
        let Some(slot) = pick(self.orders.keys(), nth) else { return };
        self.orders.remove(&slot);
        if how == "f" {
            let why = "no such file".to_owned();
            return self.tell(Event::SpawnFailed { slot, why });
        }
        let taken = |pid: &i32| self.processes.contains(&Pid(*pid));
        let pid = Pid((100..).find(|pid| !taken(pid)).expect("a free pid"));
        self.processes.insert(pid);
        let connection = (how == "g").then(|| self.connect(Some(pid)));
        self.tell(Event::Spawned { slot, pid, connection });
    }

    fn exit(&mut self, nth: usize, status: ExitStatus) {
        if let Some(pid) = pick(self.processes.iter(), nth) {
            self.processes.remove(&pid);
            for owner in self.open.values_mut() {
                owner.take_if(|owner| *owner == pid);
            }
            self.tell(Event::Exited { pid, status });
        }
    }

    fn connect(&mut self, owner: Option<Pid>) -> ConnectionId {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.open.insert(connection, owner);
        connection
    }

    fn close(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
        self.tell(Event::Closed { connection });
    }

    fn request(&mut self, nth: usize, line: &str) {
        let Some(connection) = pick(self.open.keys(), nth) else { return };
        let first = self.processes.first().map_or("0".to_owned(), Pid::to_string);
        let line = line.replace('$', &first);
        let line = match line.len() > LINE_MAX {
            true => Line::TooLong,
            false => Line::Complete(line.into_bytes()),
        };
        self.tell(Event::Requested { connection, request: Request::parse(&line) });
    }

    /// Tells an event, carries out what is to be done, and asserts what must hold.
    fn tell(&mut self, event: Event) {
        let asker = match &event {
            Event::Requested { connection, .. } => Some(*connection),
            _ => None,
        };
        let now = Now { monotonic: self.now, realtime: Realtime(0) };
        let is_turn = event == Event::Turn;
        let actions = step(&mut self.state, now, event.clone());
        if let Err(broken) = self.state.check() {
            panic!("{broken}, after {event:?}: {:#?}", self.state);
        }
        for action in actions {
            match action {
                Action::Spawn { slot, generation } => {
                    assert!(is_turn, "a worker ordered by {event:?}");
                    let stopping = self.stopping || self.state.stopping.is_some();
                    assert!(!stopping, "a worker ordered on the way out");
                    assert!(self.orders.insert(slot, generation).is_none(), "{slot:?} twice");
                }
                Action::Signal { pid, signal } => {
                    assert!(self.processes.contains(&pid), "{signal} to {pid}, which is gone");
                }
                Action::Reply { connection, reply } => {
                    assert_eq!(Some(connection), asker, "told, though another asked");
                    assert!(!reply.message.is_empty(), "an empty answer");
                }
                Action::Close { connection } => {
                    let owner = self.open.get(&connection).expect("closed, though not open");
                    assert_eq!(*owner, None, "closed, though a worker may use it again");
                    self.close(connection);
                }
                Action::Log { message, .. } => assert!(!message.is_empty(), "an empty line"),
                Action::Exit { code } => {
                    let alone = self.processes.is_empty() && self.orders.is_empty();
                    assert!(alone || code != 0, "left its workers behind");
                    self.left = true;
                }
            }
        }
        self.agree();
    }

    /// The state and the world know of the same things, and of no more than there may be.
    fn agree(&self) {
        assert!(self.state.workers.keys().eq(&self.processes), "workers are processes");
        assert!(self.state.connections.keys().eq(self.open.keys()), "connections are open");
        assert_eq!(self.state.ordered, self.orders, "orders are on the way");
        assert!(self.orders.len() <= SPAWNS_PER_TURN, "{} orders", self.orders.len());
    }
}

/// The Nth of some things, counted round.
fn pick<'t, T: Copy + 't>(
    mut things: impl ExactSizeIterator<Item = &'t T>,
    nth: usize,
) -> Option<T> {
    things.nth(nth.checked_rem(things.len())?).copied()
}

/// The first line: `WORKERS [manual] [kill] [SETTING=NUMBER …]`.
fn config(line: &str) -> Config {
    let number = |name: &str| -> Option<u32> {
        let word = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word?.parse().ok()
    };
    let at_least_one = |number: u32| number.clamp(1, 100);
    let has = |name: &str| line.split(' ').any(|word| word == name);
    let seconds = |count: u32| Duration::from_secs(u64::from(count));
    let target = line.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(1);
    Config {
        original_command: vec![OsString::from("worker")],
        command: vec![OsString::from("/bin/worker")],
        target: at_least_one(target),
        backlog: 100,
        respawn_interval: seconds(1),
        ack_mode: match has("manual") {
            true => AckMode::Manual,
            false => AckMode::Timer(seconds(number("ack").unwrap_or(1))),
        },
        signal_timeout: number("timeout").map(seconds),
        max_unacked: number("unacked").map(at_least_one),
        max_upgrade_additional: number("additional").map(at_least_one),
        retries: number("retries").map(at_least_one),
        kill_children_on_exit: has("kill"),
        command_socket_as_fd: true,
        command_name: None,
        socket_path: PathBuf::from("/run/einhorn.sock"),
        pidfile: PathBuf::from("/run/einhorn.pid"),
        lockfile: PathBuf::from("/run/einhorn.lock"),
        nice: Nice::default(),
        reexec_as: Vec::new(),
        drop_env_vars: Vec::new(),
        verbosity: Verbosity::INFO,
        syslog: false,
    }
}
