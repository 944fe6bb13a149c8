//! The world around the master: a clock, and whoever carries out what it orders, late, in vain, or
//! not quite as hoped. Who lives in it is for `processes` and `people`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use einhorn::decide::{Action, Event, PREFLIGHT_MAX};
use einhorn::state::{ConnectionId, Generation, Monotonic, Pid, State};

use super::people::People;
use super::processes::{Fate, Group, Process, Role};
use super::random::Random;
use crate::example::MASTER;

/// Decades, of which nothing is said but that time passes.
const LEAP: Duration = Duration::from_secs(900_000_000);

pub(super) struct World {
    pub(super) random: Random,
    pub(super) now: Monotonic,
    /// Whether every process does well.
    pub(super) is_calm: bool,
    pub(super) people: People,
    /// How all workers fare for a while, whatever their code.
    pub(super) trouble: Option<Fate>,
    /// How the workers of each code fare otherwise.
    pub(super) fates: BTreeMap<Generation, Fate>,
    pub(super) processes: BTreeMap<Pid, Process>,
    /// What reaped workers have left running, by their pids.
    pub(super) groups: BTreeMap<Pid, Group>,
    /// The worker or the check that ended last.
    pub(super) ended: Option<Process>,
    pub(super) last_pid: Pid,
    pub(super) last_reaped: Option<Pid>,
    /// Starts that were ordered, and are not reported yet; and when they have had long enough.
    pub(super) orders: Vec<(Role, Option<Monotonic>)>,
    /// What the shell answers before anything else happens.
    pub(super) answers: VecDeque<Event>,
    /// Connections that are closed, which is not reported yet.
    pub(super) closed: Vec<ConnectionId>,
    pub(super) last_connection: ConnectionId,
}

impl World {
    /// A world without processes, at some time since it was booted.
    pub(super) fn new(mut random: Random) -> World {
        World {
            now: Monotonic(random.one_of(&[0, 1, 5_000_000_000, 1_000_000_000_000_000])),
            random,
            is_calm: false,
            people: People::Anything,
            trouble: None,
            fates: BTreeMap::new(),
            processes: BTreeMap::new(),
            groups: BTreeMap::new(),
            ended: None,
            last_pid: MASTER,
            last_reaped: None,
            orders: Vec::new(),
            answers: VecDeque::new(),
            closed: Vec::new(),
            last_connection: ConnectionId(0),
        }
    }

    /// People want something else from now on, and other things go wrong.
    pub(super) fn change_mood(&mut self) {
        use People::{Anything, Deploy, Resize, Upgrade};
        self.is_calm = false;
        self.people = self.random.one_of(&[Anything, Anything, Resize, Upgrade, Deploy, Deploy]);
        self.trouble = self.random.chance(35).then(|| self.bad_fate());
    }

    /// Does what the master ordered. Answers the exit status if it is to leave.
    pub(super) fn carry_out(&mut self, state: &State, actions: &[Action]) -> Option<i32> {
        let mut exit = None;
        for action in actions {
            match action {
                Action::Spawn { slot, generation } => {
                    self.order(Role::Worker(*slot, *generation), None);
                }
                Action::StartPreflight => self.order(Role::Candidate, Some(PREFLIGHT_MAX)),
                Action::RunCanaryCheck { .. } => {
                    self.order(Role::Check, Some(state.config.rollout.on_canary_timeout));
                }
                Action::Signal { pid, signal } => {
                    let answer = self.signal(state, *pid, *signal);
                    self.answers.push_back(answer);
                }
                Action::Inspect { pid, signal } => {
                    let (pid, signal, inspection) = (*pid, *signal, self.inspect(*pid));
                    self.answers.push_back(Event::Inspected { pid, signal, inspection });
                }
                Action::LookAtGroups => {
                    let seen = state.leftovers.keys().map(|group| self.look_at(*group));
                    self.answers.extend(seen.collect::<Vec<_>>());
                }
                Action::KillPreflight => self.kill_candidate(),
                Action::KillCheck { process } => self.kill(*process),
                Action::Close { connection } => self.close(state, *connection),
                Action::Exit { code } => exit = Some(*code),
                // The state says that a hand-over is due.
                Action::HandOver | Action::HandBack => {}
                Action::Reply { .. } | Action::Report { .. } | Action::Log { .. } => {}
            }
        }
        exit
    }

    /// Whether something has become of an order that was not reported yet.
    pub(super) fn has_news(&self) -> bool {
        !self.closed.is_empty() || !self.orders.is_empty()
    }

    /// What has become of an order.
    pub(super) fn report(&mut self, state: &State) -> Option<Event> {
        let closed = self.closed.pop().map(|connection| Event::Closed { connection });
        closed.or_else(|| self.start(state))
    }

    /// Lets time pass until the master wants to be woken, or less, or more.
    pub(super) fn pass_time(&mut self, deadline: Option<Monotonic>) {
        let (now, random) = (self.now, &mut self.random);
        let deadline = deadline.map(|at| at.max(now));
        // A nanosecond, a second or anything between, each as likely.
        let magnitude = random.below(31);
        let span = Duration::from_nanos(random.below(1 << magnitude));
        let until_deadline = deadline.unwrap_or(now + span);
        self.now = match random.below(1000) {
            _ if self.is_calm => deadline.unwrap_or(now),
            0..=499 => until_deadline.min(now + span),
            500..=799 => until_deadline,
            800..=949 => now,
            950..=994 => until_deadline + span,
            995..=998 => now + Duration::from_secs(random.below(100_000)),
            // Once: no span that a state tells of is longer than 31 years.
            _ if now.since(Monotonic(0)) < LEAP => now + LEAP,
            _ => now,
        };
    }
}
