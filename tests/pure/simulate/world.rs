//! The world around the master: processes that live and die, clients that come and go, a clock.
//! It carries out what the master orders, late, in vain, or not quite as hoped.

use std::collections::{BTreeMap, BTreeSet};

use einhorn::decide::{Action, Event, Sender};
use einhorn::state::{ConnectionId, ExitStatus, Pid, Signal, Slot};

use super::candidate::Candidate;
use super::check::Check;
use super::ledger::Ledger;
use super::meaning::Meaning;
use super::random::Random;
use super::requests::{self, Ask};
use crate::example::MASTER;

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
    /// Workers die before their ACK.
    DieEarly,
    /// Workers die right after their ACK.
    DieLate,
    /// Workers do not even start.
    NoStarts,
    /// Nobody ACKs and nobody dies.
    Silent,
    /// Clients change the target again and again.
    Resize,
    /// Everyone asks for upgrades.
    Upgrade,
    /// Somebody deploys one release after another, some of them good for nothing.
    Deploy,
}

/// A process that was not reaped yet; dead once its time has come.
#[derive(Debug, Default)]
struct Process {
    dies_at: Option<u64>,
    acks_at: Option<u64>,
    connection: Option<ConnectionId>,
}

/// One thing to tell the master, and what must come of it if it is a request.
pub(super) struct Told {
    pub(super) event: Event,
    pub(super) meaning: Meaning,
}

/// Who goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Successor {
    Einhorn,
    Ruby,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) mood: Mood,
    pub(super) now: u64,
    /// Whether `-g` was given.
    gives_connections: bool,
    processes: BTreeMap<i32, Process>,
    reaped: Vec<i32>,
    pub(super) next_pid: i32,
    /// Ordered, and not reported yet.
    orders: Vec<Slot>,
    clients: Vec<ConnectionId>,
    /// Closed, and not reported yet.
    closed: Vec<ConnectionId>,
    next_connection: u64,
    /// The connections that `-g` gave, whoever has them now.
    pub(super) given: BTreeSet<ConnectionId>,
    /// Who is asked whether it can take over.
    pub(super) candidate: Option<Candidate>,
    /// Whether somebody has asked for a Ruby Einhorn since one was last asked.
    pub(super) wants_ruby: bool,
    /// Who looks, or looked, at canaries; the last one is the one that the master knows.
    pub(super) checks: Vec<Check>,
    /// How good each code is.
    qualities: BTreeMap<u32, Mood>,
    /// To whom the state is to be handed over at the end of this turn.
    pub(super) handover_due: Option<Successor>,
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
            candidate: None,
            wants_ruby: false,
            checks: Vec::new(),
            qualities: BTreeMap::new(),
            handover_due: None,
        }
    }

    /// Starts a process; rarely under the pid of one that was reaped.
    pub(super) fn start(&mut self, ledger: &mut Ledger, mood: Mood) -> Pid {
        let mut pid = self.next_pid;
        if !self.reaped.is_empty() && self.random.chance(12) {
            let index = self.random.index(self.reaped.len());
            pid = self.reaped.swap_remove(index);
            ledger.saw("a pid used again");
        } else {
            self.next_pid += 1;
        }
        let ack_after = ledger.settings.ack_after;
        let process = self.live(ack_after, mood);
        self.processes.insert(pid, process);
        Pid(pid)
    }

    /// How workers of a code fare while nothing else troubles them: most are well, but a new one
    /// may be good for nothing.
    fn quality(&mut self, generation: u32) -> Mood {
        if !matches!(self.mood, Mood::Usual | Mood::Upgrade | Mood::Deploy) {
            return self.mood;
        }
        let quality = match self.random.below(9) {
            0 => Mood::DieEarly,
            1 => Mood::DieLate,
            2 => Mood::Silent,
            3 => Mood::NoStarts,
            _ => Mood::Usual,
        };
        *self.qualities.entry(generation).or_insert(quality)
    }

    /// A new process's plans for its life.
    fn live(&mut self, ack_after: Option<u64>, mood: Mood) -> Process {
        let (now, random) = (self.now, &mut self.random);
        let mut soon = |span: u64| Some(now + random.below(span));
        let up_after = ack_after.unwrap_or(10 * MILLISECOND);
        let (acks_at, dies_at) = match mood {
            Mood::Calm => (soon(10 * MILLISECOND), None),
            Mood::Silent => (None, None),
            Mood::DieEarly | Mood::NoStarts => (None, soon(up_after.min(5 * MILLISECOND) + 1)),
            Mood::DieLate => {
                let up_at = now + up_after;
                (Some(up_at), soon(2 * MILLISECOND).map(|at| at + up_after))
            }
            Mood::Usual | Mood::Resize | Mood::Upgrade | Mood::Deploy => {
                (soon(2 * SECOND), soon(300 * SECOND))
            }
        };
        Process { dies_at, acks_at, connection: None }
    }

    /// The next thing to tell: what has happened already, or a whim; in calm there are none.
    pub(super) fn next(&mut self, ledger: &mut Ledger) -> Option<Told> {
        if self.random.chance(60)
            && let Some(told) = self.overdue(ledger)
        {
            return Some(told);
        }
        match self.mood {
            Mood::Calm => None,
            Mood::Deploy if self.random.chance(60) => None,
            Mood::Deploy if ledger.upgrade.is_over() => {
                let ask = requests::upgrade(&mut self.random);
                Some(self.asked(ask))
            }
            Mood::Deploy if ledger.looks_at_canary() && self.random.chance(4) => {
                Some(self.signaled(Signal::Term))
            }
            Mood::Deploy if ledger.has_canary() && self.random.chance(5) => {
                let ask = requests::reload(&mut self.random);
                Some(self.asked(ask))
            }
            _ => Some(self.whim(ledger)),
        }
    }

    /// Something that has happened already and is to be reported.
    pub(super) fn overdue(&mut self, ledger: &mut Ledger) -> Option<Told> {
        if let Some(slot) = self.orders.pop() {
            return Some(self.outcome(slot, ledger));
        }
        if let Some(told) = self.candidate_news(ledger).or_else(|| self.check_news(ledger)) {
            return Some(told);
        }
        if let Some(connection) = self.closed.pop() {
            return Some(told(Event::Closed { connection }));
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

    /// Whether the master waits to hear of something that has happened.
    pub(super) fn owes_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    fn outcome(&mut self, slot: Slot, ledger: &mut Ledger) -> Told {
        let generation = ledger.ordered.get(&slot.0).copied().unwrap_or(ledger.generation);
        let quality = self.quality(generation);
        let fails = match quality {
            Mood::Calm => 0,
            Mood::NoStarts => 90,
            _ => 2,
        };
        if self.random.chance(fails) {
            return told(Event::SpawnFailed { slot, why: "no such file".to_owned() });
        }
        let pid = self.start(ledger, quality);
        let connection = (self.gives_connections && self.random.chance(85)).then(|| self.connect());
        self.given.extend(connection);
        if let Some(process) = self.processes.get_mut(&pid.0) {
            process.connection = connection;
        }
        told(Event::Spawned { slot, pid, connection, directory: None })
    }

    fn connect(&mut self) -> ConnectionId {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.clients.push(connection);
        connection
    }

    /// A worker says that it is up: over its own connection or a new one.
    fn ack(&mut self, pid: i32) -> Told {
        let process = self.processes.get_mut(&pid).expect("it lives");
        process.acks_at = None;
        let own = process.connection.filter(|connection| self.clients.contains(connection));
        let Some(connection) = own.or_else(|| self.clients.last().copied()) else {
            process.acks_at = Some(self.now);
            return told(Event::Opened { connection: self.connect() });
        };
        request(connection, requests::ack_for(&mut self.random, pid))
    }

    fn reap(&mut self, pid: i32) -> Told {
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
        // Not by chance, which would make other worlds of the same seeds.
        let last_words = if pid % 2 == 0 { b"no\x1b[0m \xff\n".to_vec() } else { Vec::new() };
        told(Event::Exited { pid: Pid(pid), status, last_words })
    }

    fn close(&mut self, connection: ConnectionId) {
        if let Some(index) = self.clients.iter().position(|client| *client == connection) {
            self.clients.swap_remove(index);
            self.closed.push(connection);
        }
    }

    /// Something that need not have happened.
    pub(super) fn whim(&mut self, ledger: &Ledger) -> Told {
        let owned = self.processes.values().filter(|process| process.connection.is_some()).count();
        match self.random.below(100) {
            0..=24 if self.clients.len() < CLIENTS_MAX + owned => {
                told(Event::Opened { connection: self.connect() })
            }
            25..=29 if !self.clients.is_empty() => {
                let index = self.random.index(self.clients.len());
                let connection = self.clients.swap_remove(index);
                told(Event::Closed { connection })
            }
            30..=32 => self.reap(1_000_000),
            33..=37 => self.random_death(),
            38..=42 => self.signal(ledger),
            43..=52 if self.mood == Mood::Upgrade => self.signal(ledger),
            _ => self.any_request(),
        }
    }

    /// A process ends, if any lives, and is reaped.
    pub(super) fn random_death(&mut self) -> Told {
        let pids: Vec<i32> = self.processes.keys().copied().collect();
        match pids.is_empty() || self.mood == Mood::Silent {
            true => self.reap(1_000_001),
            false => {
                let pid = self.random.one_of(&pids);
                self.reap(pid)
            }
        }
    }

    /// A signal to the master: mostly one that must never harm it.
    fn signal(&mut self, ledger: &Ledger) -> Told {
        const HARMLESS: &[Signal] =
            &[Signal::Hup, Signal::Usr1, Signal::Alrm, Signal::Pipe, Signal::Winch, Signal::Chld];
        const STOPS: &[Signal] = &[Signal::Int, Signal::Usr2, Signal::Term];
        // Once it stops, more signals come more often: people get impatient.
        let stopping = ledger.stop_code.is_some();
        let signal = match self.random.below(if stopping { 20 } else { 400 }) {
            0 => self.random.one_of(STOPS),
            1 if self.random.chance(20) => Signal::Quit,
            _ if self.mood == Mood::Upgrade => Signal::Hup,
            _ => self.random.one_of(HARMLESS),
        };
        self.signaled(signal)
    }

    /// This signal arrives.
    pub(super) fn signaled(&mut self, signal: Signal) -> Told {
        let sender = self.random.chance(50).then_some(Sender { pid: 4321, uid: 1000 });
        told(Event::Signaled { signal, sender })
    }

    fn any_request(&mut self) -> Told {
        let mut pids: Vec<i32> = self.processes.keys().copied().collect();
        pids.extend(self.reaped.last());
        pids.extend([MASTER.0, 0, -1, 1_000_000]);
        let ask = match self.mood {
            Mood::Silent => requests::any(&mut self.random, &[-1]),
            Mood::Resize if self.random.chance(60) => requests::resize(&mut self.random),
            Mood::Upgrade if self.random.chance(20) => requests::upgrade(&mut self.random),
            _ => requests::any(&mut self.random, &pids),
        };
        self.asked(ask)
    }

    /// Some client asks this, if there is one.
    fn asked(&mut self, ask: Ask) -> Told {
        if self.clients.is_empty() {
            return told(Event::Opened { connection: self.connect() });
        }
        self.wants_ruby |= matches!(ask.meaning, Meaning::HandBack(_));
        let index = self.random.index(self.clients.len());
        request(self.clients[index], ask)
    }

    /// A client asks for the end of the master, and waits for it.
    pub(super) fn die(&mut self) -> Told {
        let ask = requests::die_waiting(&mut self.random);
        self.asked(ask)
    }

    /// A client says that one early death is enough to give up, if there is a client.
    pub(super) fn lose_patience(&mut self) -> Option<Told> {
        let connection = *self.clients.first()?;
        Some(request(connection, requests::lose_patience(&mut self.random)))
    }

    /// Does what the master ordered. Answers the exit status if it is to leave.
    pub(super) fn carry_out(&mut self, actions: &[Action]) -> Option<i32> {
        let mut exit = None;
        for action in actions {
            match action {
                Action::Spawn { slot, .. } => self.orders.push(*slot),
                Action::Signal { pid, signal } => self.receive(*pid, *signal),
                Action::Close { connection } => self.close(*connection),
                Action::Exit { code } => exit = Some(*code),
                Action::StartPreflight => self.ask_candidate(),
                Action::KillPreflight => self.kill_candidate(),
                Action::HandOver => self.handover_due = Some(Successor::Einhorn),
                Action::HandBack => self.handover_due = Some(Successor::Ruby),
                Action::RunCanaryCheck { .. } => self.start_check(),
                Action::KillCheck { process } => self.kill_check(*process),
                Action::Reply { .. } | Action::Report { .. } | Action::Log { .. } => {}
            }
        }
        exit
    }

    /// A process gets a signal: it dies of it now, soon, late or not at all.
    fn receive(&mut self, pid: Pid, signal: Signal) {
        let delay = match (signal, self.mood) {
            (Signal::Kill, _) => Some(0),
            (Signal::Usr1 | Signal::Winch | Signal::Chld | Signal::Cont | Signal::Urg, _) => None,
            (_, Mood::Calm) => Some(self.random.below(SECOND / 5)),
            (_, Mood::Silent) => None,
            _ => match self.random.below(4) {
                0 => None,
                1 => Some(0),
                2 => Some(self.random.below(SECOND)),
                _ => Some(self.random.below(20 * SECOND)),
            },
        };
        let now = self.now;
        if let (Some(process), Some(delay)) = (self.processes.get_mut(&pid.0), delay) {
            let sooner = process.dies_at.map_or(now + delay, |at| at.min(now + delay));
            process.dies_at = Some(sooner);
        }
    }

    /// Everyone who lives is well, and goes when told to.
    pub(super) fn calm_down(&mut self, ledger: &Ledger) {
        self.mood = Mood::Calm;
        self.kill_candidate();
        self.calm_checks();
        for (pid, process) in &mut self.processes {
            let entry = ledger.workers.get(&Pid(*pid));
            let going = entry.is_some_and(|worker| worker.told_at.is_some());
            let dead = process.dies_at.is_some_and(|at| at <= self.now);
            process.dies_at = (going || dead).then_some(self.now);
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
        let candidate = self.candidate.as_ref().and_then(|candidate| candidate.ends_at);
        let checks = self.checks.iter().filter_map(|check| check.ends_at);
        let plans = plans.flatten().chain(candidate).chain(checks);
        let happens = plans.map(|at| at.max(now)).min();
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

/// An event that is no request.
pub(super) fn told(event: Event) -> Told {
    Told { event, meaning: Meaning::Nothing }
}

fn request(connection: ConnectionId, Ask { request, meaning }: Ask) -> Told {
    Told { event: Event::Requested { connection, request }, meaning }
}
