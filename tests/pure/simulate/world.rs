//! The world around the master: processes that live and die, clients that come and go, a clock.
//! It carries out what the master orders, late, in vain, or not quite as hoped.

use std::collections::{BTreeMap, BTreeSet};

use einhorn::decide::{Action, Authority, Event, PREFLIGHT_MAX, Sender};
use einhorn::protocol::{Line, Request};
use einhorn::state::{AckMode, ConnectionId, ExitStatus, Generation, Pid, Signal, Slot, State};

use super::asked::Asked;
use super::random::Random;
use super::requests;
use super::step::has_canary;
use crate::example::{MASTER, exited};

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const MILLISECOND: u64 = 1_000_000;

/// Decades, of which nothing is said but that time passes.
const LEAP: u64 = 900_000_000 * SECOND;

/// How many clients are connected at once, those by `-g` left aside.
const CLIENTS_MAX: usize = 12;

/// What kind of trouble the world makes for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    /// None at all: every worker starts, ACKs and stays.
    Calm,
    /// A little of everything.
    Usual,
    /// Workers die before their ACK, or right after it, or do not even start.
    DieEarly,
    DieLate,
    NoStarts,
    /// Nobody ACKs and nobody dies.
    Silent,
    /// Clients change the target again and again, or ask for upgrades.
    Resize,
    Upgrade,
    /// Somebody deploys one release after another, some of them good for nothing.
    Deploy,
}

/// A process that was not reaped yet; dead once its time has come.
pub(super) struct Process {
    dies_at: Option<u64>,
    acks_at: Option<u64>,
    connection: Option<ConnectionId>,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) mood: Mood,
    /// Nanoseconds since it was booted.
    pub(super) now: u64,
    /// Whether `-g` was given.
    gives_connections: bool,
    pub(super) processes: BTreeMap<Pid, Process>,
    reaped: Vec<Pid>,
    next_pid: i32,
    /// Ordered, and not reported yet.
    orders: Vec<(Slot, Generation)>,
    clients: Vec<ConnectionId>,
    /// Closed, and not reported yet.
    closed: Vec<ConnectionId>,
    next_connection: u64,
    /// The connections that `-g` gave, whoever has them now.
    pub(super) given: BTreeSet<ConnectionId>,
    /// Candidates, and those who look at canaries; and who of them has ended last.
    pub(super) asked: Vec<Asked>,
    pub(super) ended: Option<Asked>,
    /// Whether somebody has asked for a Ruby Einhorn since one was last asked.
    pub(super) wants_ruby: bool,
    /// How good each code is.
    qualities: BTreeMap<Generation, Mood>,
    /// That the state is to be handed over at the end of this turn, or back.
    pub(super) handover_due: Option<Action>,
}

impl World {
    /// A world without processes, at some time since it was booted.
    pub(super) fn new(mut random: Random, gives_connections: bool) -> World {
        World {
            now: random.one_of(&[0, 1, 5 * SECOND, 1_000_000 * SECOND]),
            random,
            mood: Mood::Usual,
            gives_connections,
            processes: BTreeMap::new(),
            reaped: Vec::new(),
            next_pid: MASTER.0 + 1,
            orders: Vec::new(),
            clients: Vec::new(),
            closed: Vec::new(),
            next_connection: 1,
            given: BTreeSet::new(),
            asked: Vec::new(),
            ended: None,
            wants_ruby: false,
            qualities: BTreeMap::new(),
            handover_due: None,
        }
    }

    pub(super) fn new_pid(&mut self) -> Pid {
        self.next_pid += 1;
        Pid(self.next_pid)
    }

    /// How workers of a code fare unless something else troubles them; it may be good for nothing.
    fn quality(&mut self, generation: Generation) -> Mood {
        use Mood::{Deploy, DieEarly, DieLate, NoStarts, Silent, Upgrade, Usual};
        if !matches!(self.mood, Usual | Upgrade | Deploy) {
            return self.mood;
        }
        let bad = [DieEarly, DieLate, Silent, NoStarts];
        let quality = if self.random.chance(45) { self.random.one_of(&bad) } else { Usual };
        *self.qualities.entry(generation).or_insert(quality)
    }

    /// A new process's plans for its life.
    fn live(&mut self, ack_mode: AckMode, quality: Mood) -> Process {
        let up_after = match ack_mode {
            AckMode::Manual => 10 * MILLISECOND,
            AckMode::Timer(after) => u64::try_from(after.as_nanos()).expect("a span fits"),
        };
        let (now, random) = (self.now, &mut self.random);
        let mut soon = |span: u64| Some(now + random.below(span));
        let (acks_at, dies_at) = match quality {
            Mood::Calm => (soon(10 * MILLISECOND), None),
            Mood::Silent => (None, None),
            Mood::DieEarly | Mood::NoStarts => (None, soon(up_after.min(5 * MILLISECOND) + 1)),
            Mood::DieLate => (Some(now + up_after), Some(now + up_after + MILLISECOND)),
            _ => (soon(2 * SECOND), soon(300 * SECOND)),
        };
        Process { dies_at, acks_at, connection: None }
    }

    /// The next thing to tell: what has happened already, or a whim; in calm there are none.
    pub(super) fn next(&mut self, state: &State) -> Option<Event> {
        if self.random.chance(60)
            && let Some(event) = self.overdue(state)
        {
            return Some(event);
        }
        let is_over = state.reexec.is_none() && state.rollout.is_none() && state.waiters.is_empty();
        let is_looked_at = self.asked.iter().any(|asked| !asked.is_candidate);
        Some(match self.mood {
            Mood::Calm => return None,
            Mood::Deploy if self.random.chance(60) => return None,
            Mood::Deploy if is_over => self.asks(requests::upgrade),
            Mood::Deploy if is_looked_at && self.random.chance(6) => self.signaled(Signal::Term),
            Mood::Deploy if is_looked_at && self.random.chance(6) => {
                self.asks(|_| requests::with_args("abort", ""))
            }
            Mood::Deploy if has_canary(state) && self.random.chance(5) => {
                self.asks(|_| requests::with_args("reload", ""))
            }
            _ => self.whim(state),
        })
    }

    /// Something that has happened already and is to be reported.
    pub(super) fn overdue(&mut self, state: &State) -> Option<Event> {
        let news = self.order_news(state).or_else(|| self.asked_news(false));
        let closed = || self.closed.pop().map(|connection| Event::Closed { connection });
        if let Some(news) = news.or_else(closed) {
            return Some(news);
        }
        let now = self.now;
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let acks = self.processes.iter().find(|(_, process)| is_due(process.acks_at));
        if let Some(pid) = acks.map(|(pid, _)| *pid) {
            return Some(self.ack(pid));
        }
        let dead = self.processes.iter().find(|(_, process)| is_due(process.dies_at));
        let pid = dead.map(|(pid, _)| *pid)?;
        Some(self.reap(pid))
    }

    /// What became of a start that was ordered.
    pub(super) fn order_news(&mut self, state: &State) -> Option<Event> {
        let (slot, generation) = self.orders.pop()?;
        let quality = self.quality(generation);
        let fails = match quality {
            Mood::Calm => 0,
            Mood::NoStarts => 90,
            _ => 2,
        };
        if self.random.chance(fails) {
            return Some(Event::SpawnFailed { slot, why: "no such file".to_owned() });
        }
        // Rarely under the pid of one that was reaped.
        let reaped = self.random.chance(12).then(|| self.reaped.pop()).flatten();
        let pid = reaped.unwrap_or_else(|| self.new_pid());
        let connection = (self.gives_connections && self.random.chance(85)).then(|| self.connect());
        self.given.extend(connection);
        let process = Process { connection, ..self.live(state.config.ack_mode, quality) };
        self.processes.insert(pid, process);
        Some(Event::Spawned { slot, pid, connection, directory: None })
    }

    fn connect(&mut self) -> ConnectionId {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.clients.push(connection);
        connection
    }

    /// A worker says that it is up: over its own connection or a new one.
    fn ack(&mut self, pid: Pid) -> Event {
        let process = self.processes.get_mut(&pid).expect("it lives");
        process.acks_at = None;
        let own = process.connection.filter(|connection| self.clients.contains(connection));
        let Some(connection) = own.or_else(|| self.clients.last().copied()) else {
            process.acks_at = Some(self.now);
            return Event::Opened { connection: self.connect() };
        };
        let ack = format!(r#""command":"worker:ack","pid":{pid}"#);
        sent(connection, &requests::line(&mut self.random, &ack))
    }

    fn reap(&mut self, pid: Pid) -> Event {
        if let Some(process) = self.processes.remove(&pid) {
            self.reaped.push(pid);
            // A descendant may hold the connection on.
            if let Some(connection) = process.connection
                && self.random.chance(70)
            {
                self.close(connection);
            }
        }
        let status = match self.random.below(6) {
            0..3 => ExitStatus::Code(0),
            3 => ExitStatus::Code(70),
            4 => ExitStatus::Unknown,
            _ => ExitStatus::Killed { number: 9, signal: Some(Signal::Kill), core_dumped: false },
        };
        let last_words = self.random.one_of(&[&b""[..], b"no\x1b[0m \xff\n"]).to_vec();
        Event::Exited { pid, status, last_words }
    }

    fn close(&mut self, connection: ConnectionId) {
        if let Some(index) = self.clients.iter().position(|client| *client == connection) {
            self.clients.swap_remove(index);
            self.closed.push(connection);
        }
    }

    /// Something that need not have happened.
    pub(super) fn whim(&mut self, state: &State) -> Event {
        let owned = self.processes.values().filter(|process| process.connection.is_some()).count();
        match self.random.below(100) {
            0..=24 if self.clients.len() < CLIENTS_MAX + owned => {
                Event::Opened { connection: self.connect() }
            }
            25..=29 if !self.clients.is_empty() => {
                let index = self.random.index(self.clients.len());
                Event::Closed { connection: self.clients.swap_remove(index) }
            }
            30..=32 => exited(1_000_000, ExitStatus::Code(0)),
            33..=37 => self.random_death(),
            38..=42 => self.signal(state),
            43..=52 if self.mood == Mood::Upgrade => self.signal(state),
            _ if self.mood == Mood::Silent => self.asks(|random| requests::any(random, &[-1])),
            _ if self.mood == Mood::Resize && self.random.chance(60) => self.asks(requests::resize),
            _ if self.mood == Mood::Upgrade && self.random.chance(20) => {
                self.asks(requests::upgrade)
            }
            _ => {
                let alive = self.processes.keys().chain(self.reaped.last()).map(|pid| pid.0);
                let pids: Vec<i32> = alive.chain([MASTER.0, 0, -1, 1_000_000]).collect();
                self.asks(|random| requests::any(random, &pids))
            }
        }
    }

    /// A process ends, if any lives, and is reaped.
    pub(super) fn random_death(&mut self) -> Event {
        let pids: Vec<Pid> = self.processes.keys().copied().collect();
        let nobody = pids.is_empty() || self.mood == Mood::Silent;
        let pid = if nobody { Pid(1_000_001) } else { self.random.one_of(&pids) };
        self.reap(pid)
    }

    /// A signal to the master: mostly one that must never harm it.
    fn signal(&mut self, state: &State) -> Event {
        use Signal::{Alrm, Chld, Hup, Int, Pipe, Quit, Term, Usr1, Usr2, Winch};
        // Once it stops, more signals come more often: people get impatient.
        let signal = match self.random.below(if state.stopping.is_some() { 20 } else { 400 }) {
            0 => self.random.one_of(&[Int, Usr2, Term]),
            1 if self.random.chance(20) => Quit,
            _ if self.mood == Mood::Upgrade => Hup,
            _ => self.random.one_of(&[Hup, Usr1, Alrm, Pipe, Winch, Chld]),
        };
        self.signaled(signal)
    }

    /// This signal arrives.
    pub(super) fn signaled(&mut self, signal: Signal) -> Event {
        let sender = self.random.chance(50).then_some(Sender { pid: 4321, uid: 1000 });
        Event::Signaled { signal, sender }
    }

    /// Some client asks this, if there is one.
    pub(super) fn asks(&mut self, what: impl FnOnce(&mut Random) -> String) -> Event {
        if self.clients.is_empty() {
            return Event::Opened { connection: self.connect() };
        }
        let words = what(&mut self.random);
        self.wants_ruby |= words.contains("--to-ruby");
        let line = match self.random.chance(2) {
            true => requests::nonsense(&mut self.random),
            false => requests::line(&mut self.random, &words),
        };
        sent(self.random.one_of(&self.clients), &line)
    }

    /// Does what the master ordered. Answers the exit status if it is to leave.
    pub(super) fn carry_out(&mut self, state: &State, actions: &[Action]) -> Option<i32> {
        let mut exit = None;
        for action in actions {
            match action {
                Action::Spawn { slot, generation } => self.orders.push((*slot, *generation)),
                Action::Signal { pid, signal } => self.receive(*pid, *signal),
                Action::Close { connection } => self.close(*connection),
                Action::Exit { code } => exit = Some(*code),
                Action::StartPreflight => self.ask(true, PREFLIGHT_MAX),
                Action::KillPreflight => self.end_asked(None),
                Action::HandOver | Action::HandBack => self.handover_due = Some(action.clone()),
                Action::RunCanaryCheck { .. } => {
                    self.ask(false, state.config.rollout.on_canary_timeout);
                }
                Action::KillCheck { process } => self.end_asked(Some(*process)),
                Action::Reply { .. } | Action::Report { .. } | Action::Log { .. } => {}
            }
        }
        exit
    }

    /// A process gets a signal: it dies of it now, soon, late or not at all.
    fn receive(&mut self, pid: Pid, signal: Signal) {
        use Signal::{Chld, Cont, Kill, Urg, Usr1, Winch};
        let delay = match (signal, self.mood) {
            (Kill, _) => Some(0),
            (Usr1 | Winch | Chld | Cont | Urg, _) | (_, Mood::Silent) => None,
            (_, Mood::Calm) => Some(self.random.below(SECOND / 5)),
            _ => self.random.one_of(&[None, Some(0), Some(SECOND / 2), Some(9 * SECOND)]),
        };
        let process = self.processes.get_mut(&pid).expect("the master signals the living only");
        let at = delay.map(|delay| self.now + delay);
        process.dies_at = process.dies_at.into_iter().chain(at).min();
    }

    /// Everyone who lives is well, and goes when told to.
    pub(super) fn calm_down(&mut self, state: &State) {
        self.mood = Mood::Calm;
        self.hurry();
        for (pid, process) in &mut self.processes {
            let is_going = state.workers.get(pid).is_some_and(|worker| worker.is_stopping());
            let is_dead = process.dies_at.is_some_and(|at| at <= self.now);
            process.dies_at = (is_going || is_dead).then_some(self.now);
            process.acks_at = Some(self.now);
        }
    }

    /// Whoever still lives is killed by somebody else.
    pub(super) fn kill_all(&mut self) {
        for process in self.processes.values_mut() {
            process.dies_at = Some(self.now);
        }
    }

    /// Another image is there after a while, mostly a short one.
    pub(super) fn take_over(&mut self) {
        let span = self.random.one_of(&[MILLISECOND, MILLISECOND, 20 * MILLISECOND, 60 * SECOND]);
        let span = if self.mood == Mood::Calm { MILLISECOND } else { span };
        self.now += self.random.below(span);
    }

    /// Lets time pass until the master wants to be woken, something happens, or less, or more.
    pub(super) fn pass_time(&mut self, deadline: Option<u64>) {
        let now = self.now;
        let deadline = deadline.map(|at| at.max(now));
        let plans = self.processes.values().flat_map(|process| [process.dies_at, process.acks_at]);
        let asked = self.asked.iter().map(|asked| asked.ends_at);
        let happens = plans.chain(asked).flatten().map(|at| at.max(now)).min();
        let first = deadline.into_iter().chain(happens).min();
        if self.mood == Mood::Calm {
            self.now = first.unwrap_or(now);
            return;
        }
        let random = &mut self.random;
        let until = |at: Option<u64>| at.unwrap_or(now + SECOND);
        self.now = match random.below(1000) {
            0..=449 => until(first),
            450..=649 => until(deadline),
            650..=799 => now + random.below(until(first) - now + 1),
            800..=949 => now,
            950..=994 => until(deadline) + random.below(SECOND),
            995..=998 => now + random.below(100_000) * SECOND,
            // Once: no span that a state tells of is longer than 31 years.
            _ if now < LEAP => now + LEAP,
            _ => now,
        };
    }
}

/// That a client has sent a line.
fn sent(connection: ConnectionId, line: &Line) -> Event {
    let (authority, membership) = (Authority::Full, None);
    Event::Requested { connection, request: Request::parse(line), authority, membership }
}
