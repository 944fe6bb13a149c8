//! People and clients: signals, connections, and lines, sensible ones and mistaken ones. What each
//! command answers is for the transcripts of `commands`; here they are what may come at any time.

use einhorn::decide::{Authority, Event, Sender};
use einhorn::protocol::{Line, Request};
use einhorn::state::{ConnectionId, Pid, RolloutStage, Signal, State};

use super::random::Random;
use super::world::World;

/// How many clients are connected at once, those by `-g` left aside.
const CLIENTS_MAX: usize = 12;

/// What people want for a while: a column of [`WHIMS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum People {
    Anything,
    /// Another number of workers again and again.
    Resize,
    /// Upgrades beside upgrades.
    Upgrade,
    /// One release after another, mostly left alone until it serves.
    Deploy,
}

/// What need not happen.
type Whim = fn(&mut World, &State) -> Option<Event>;

/// Every whim, and how often people of each kind have it, of about a thousand.
#[rustfmt::skip]
const WHIMS: &[([u64; 4], Whim)] = &[
    // Anything, Resize, Upgrade, Deploy
    ([200, 200, 200, 200], World::open),
    ([50, 50, 50, 50], World::hang_up),
    ([30, 30, 30, 30], |world, state| world.reap(state, Pid(1_000_000))),
    ([50, 50, 50, 50], World::random_death),
    ([40, 40, 40, 40], |world, state| world.signaled(state, HARMLESS)),
    ([10, 10, 140, 10], |world, state| world.signaled(state, &[Signal::Hup])),
    ([210, 80, 150, 210], |world, state| world.asks(state, MESSAGES)),
    ([125, 330, 90, 125], |world, state| world.asks(state, SIZES)),
    ([90, 40, 60, 80], World::asks_for_config),
    ([185, 165, 80, 185], |world, state| world.asks(state, OTHERS)),
    ([10, 5, 110, 10], |world, state| world.asks(state, UPGRADES)),
];

/// These must never harm the master.
const HARMLESS: &[Signal] =
    &[Signal::Usr1, Signal::Alrm, Signal::Pipe, Signal::Winch, Signal::Chld];
pub(super) const STOPS: &[Signal] = &[Signal::Int, Signal::Usr2, Signal::Term, Signal::Quit];

const MESSAGES: &[&str] = &["worker:ack", "worker:ack", "worker:ack", "worker:ping"];
#[rustfmt::skip]
const SIZES: &[&str] = &[
    "inc", "inc --wait", "dec", "dec", "dec --wait", "dec --wait", "set_workers 1 --wait",
    "set_workers 3", "set_workers 5 --wait", "set_workers 8", "set_workers 12 --wait",
    "set_workers 20", "set_workers 50", "set_workers 0", "set_workers many --wait",
    "set_workers 10001 --wait",
];
#[rustfmt::skip]
const UPGRADES: &[&str] = &[
    "reload", "upgrade", "upgrade", "upgrade", "upgrade_fleet", "upgrade_fleet", "upgrade_fleet",
    "upgrade --drained", "upgrade_fleet --drained", "wait --drained", "wait", "abort",
    "upgrade --to-ruby", "reload --to-ruby", "upgrade --to-ruby now",
];
/// Few stop the master.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "louder", "quieter", "wait", "wait", "wait", "wait --drained", "abort", "abort", "abort",
    "state", "state", "status", "metrics", "help", "ehlo", "", "signal USR1", "signal TERM HUP",
    "signal SIGKILL", "signal int usr2 quit", "signal CONT SIGNAL", "signal", "die A", "die TERM",
    "die NOW", "die TERM INT",
];
/// What they ask a master for that stops already.
pub(super) const HURRIES: &[&str] =
    &["die", "die --wait", "die --next", "die --next", "die TERM", "die KILL --wait", "die TSTP"];

/// What `config` may change, and to what. No time-out is shorter than a worker takes that is well.
const SETTINGS: &[(&str, &str)] = &[
    ("number", "1 2 3 3 4 5 6 8 10 12 20 50 0"),
    ("seconds", "1.0e-9 0.1 1 1 2.5 29.9 100 1.0e-10"),
    ("ack_mode", "manual manual 0 0.05 1 10"),
    ("signal_timeout", "null 0.1 1 2.5 29.9 100"),
    ("verbosity", "0 1 2"),
    ("max_unacked", "1 2 3 6"),
    ("max_upgrade_additional", "null null 1 2 3 6"),
    ("retries", "null null null 1 3 8"),
    ("backlog", "7"),
];

/// What a Ruby Einhorn does not know: with any of them none can take over.
const BOUNDS: &[(&str, &str)] = &[
    ("ack_timeout", "null 0.05 1 10 100"),
    ("upgrade_timeout", "null null 1 10 100 1000 1000"),
    ("upgrade_max_failures", "null 1 2 5 12"),
    ("canary_seconds", "0 0.05 1 10"),
    ("on_canary_timeout", "0.05 1 10 100"),
    ("stop", STOPS_BY),
    ("stop", STOPS_BY),
];

/// Schedules, a few of which end.
pub(super) const STOPS_BY: &str = "null null USR2 KILL TERM/1/KILL TERM/29.9/KILL TERM/2.5/INT \
     QUIT/2.5/TERM/0.1/KILL TSTP/1/TERM/1/KILL WINCH/1/HUP TERM/1/STOP";

impl World {
    /// Something that need not have happened.
    pub(super) fn whim(&mut self, state: &State) -> Option<Event> {
        if self.people == People::Deploy && self.random.chance(60) {
            return self.deploy(state);
        }
        let column = self.people as usize;
        let whims = WHIMS.iter().map(|(weights, whim)| (weights[column], *whim));
        self.random.weighted(whims)(self, state)
    }

    /// The next release once the last one is over; some are stopped while a canary is looked at,
    /// or the canary is.
    fn deploy(&mut self, state: &State) -> Option<Event> {
        let is_over = state.reexec.is_none() && state.rollout.is_none() && state.waiters.is_empty();
        let stage = state.rollout.as_ref().map(|rollout| rollout.stage);
        let look = match stage {
            Some(RolloutStage::Canary { check }) => check,
            _ => None,
        };
        let is_looked_at = look.is_some();
        match self.random.below(100) {
            _ if is_over => self.asks(state, UPGRADES),
            0..5 if is_looked_at => self.signaled(state, STOPS),
            20..25 => look.and_then(|look| self.stop(state, look.worker)),
            5..20 if is_looked_at => self.asks(state, &["abort", "reload"]),
            _ => None,
        }
    }

    /// One of these signals arrives. Once the master stops, people get impatient.
    pub(super) fn signaled(&mut self, state: &State, signals: &[Signal]) -> Option<Event> {
        let is_late = state.stopping.is_some() && self.random.chance(5);
        let signal = self.random.one_of(if is_late { STOPS } else { signals });
        let sender = self.random.chance(50).then_some(Sender { pid: 4321, uid: 1000 });
        Some(Event::Signaled { signal, sender })
    }

    /// Whose connections are open.
    fn clients(&self, state: &State) -> Vec<ConnectionId> {
        state.connections.keys().filter(|id| !self.closed.contains(id)).copied().collect()
    }

    /// The number of a new connection.
    pub(super) fn connect(&mut self) -> ConnectionId {
        self.last_connection.0 += 1;
        self.last_connection
    }

    /// A client connects, or another asks something if there are enough.
    fn open(&mut self, state: &State) -> Option<Event> {
        match self.clients(state).len() < CLIENTS_MAX + self.processes.len() {
            true => Some(Event::Opened { connection: self.connect() }),
            false => self.asks(state, OTHERS),
        }
    }

    fn hang_up(&mut self, state: &State) -> Option<Event> {
        match self.clients(state)[..] {
            [] => self.open(state),
            ref clients => Some(Event::Closed { connection: self.random.one_of(clients) }),
        }
    }

    /// A connection is closed, which is reported later.
    pub(super) fn close(&mut self, state: &State, connection: ConnectionId) {
        let is_open = self.clients(state).contains(&connection);
        self.closed.extend(is_open.then_some(connection));
    }

    /// Some client sends one of these lines, rarely one that is too long.
    pub(super) fn asks(&mut self, state: &State, lines: &[&str]) -> Option<Event> {
        let known = self.processes.keys().chain(&self.last_reaped).map(Pid::to_string);
        let others = ["0", "-1", "1.5", r#""x""#, r#""901""#].map(str::to_owned);
        let pids: Vec<String> = known.chain(others).collect();
        let (words, pid) = (self.random.one_of(lines), self.random.one_of(&pids));
        let hurries = state.stopping.is_some() && self.random.chance(5);
        let words = if hurries { self.random.one_of(HURRIES) } else { words };
        let line = line(&mut self.random, words, &pid);
        let line = if self.random.chance(1) { Line::TooLong } else { line };
        self.sends(state, None, &line)
    }

    pub(super) fn asks_for_config(&mut self, state: &State) -> Option<Event> {
        let may_be_bound = !state.config.rollout.on_canary.is_empty();
        let settings = if may_be_bound && self.random.chance(40) { BOUNDS } else { SETTINGS };
        let (name, values) = self.random.one_of(settings);
        let value = self.random.word(values);
        // With a schedule `-t` is in the way.
        let and = if name == "stop" { ", signal_timeout: null" } else { "" };
        self.asks(state, &[&format!("config {{{name}: {value}{and}}}")])
    }

    /// A worker says that it is up: over its own connection or another one.
    pub(super) fn ack(&mut self, state: &State, pid: Pid) -> Option<Event> {
        let own = state.workers.get(&pid).and_then(|worker| worker.connection);
        let line = line(&mut self.random, "worker:ack", &pid.to_string());
        self.sends(state, own, &line)
    }

    /// A client sends a line, this one if it is connected. If none is, one connects.
    fn sends(&mut self, state: &State, own: Option<ConnectionId>, line: &Line) -> Option<Event> {
        let clients = self.clients(state);
        if clients.is_empty() {
            return Some(Event::Opened { connection: self.connect() });
        }
        let own = own.filter(|own| clients.contains(own));
        let connection = own.unwrap_or_else(|| self.random.one_of(&clients));
        let (authority, membership) = (Authority::Full, None);
        Some(Event::Requested { connection, request: Request::parse(line), authority, membership })
    }
}

/// These words, with any id, of a client that wants events or does not.
fn line(random: &mut Random, words: &str, pid: &str) -> Line {
    let (command, args) = words.split_once(' ').unwrap_or((words, ""));
    let args: Vec<String> = args.split_whitespace().map(|word| format!("{word:?}")).collect();
    let args = args.join(",");
    let id = random.one_of(&["", r#","id":12"#, r#","id":"a b""#, r#","id":-1.5"#]);
    let events = random.chance(40);
    Line::Complete(
        format!(r#"{{"command":"{command}","args":[{args}],"pid":{pid},"events":{events}{id}}}"#)
            .into_bytes(),
    )
}
