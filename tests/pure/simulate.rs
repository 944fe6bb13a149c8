//! `decide` in random worlds: a seed makes a configuration and everything that happens to it, and
//! every rule is checked after every event.
//!
//! `world` is what the master lives in: a clock, `processes` and `people`, with choices by
//! `random`. `rules` are what must hold of every `step`, and `ledger` the little that they must
//! remember. `handover` takes the state into the next image. `seen` lists what a run must have
//! been through, so that the rules prove something.
//!
//! A failure names its seed: `EINHORN_SIM_SEED=N` runs that one alone, or from it on as long as
//! `EINHORN_SIM_EVENTS=N` says; that alone makes the usual run longer or shorter.

mod handover;
mod ledger;
mod people;
mod processes;
mod random;
mod rules;
mod seen;
mod step;
mod world;

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use einhorn::decide::{Action, Event, next_deadline, step};
use einhorn::state::{Monotonic, Now, Realtime, Reexec, Stage, State, StopSchedule};

use crate::example::{self, MASTER, adopted};
use ledger::Ledger;
use random::Random;
use rules::{Broken, ensure};
use step::Step;
use world::World;

/// The first seed; the others follow it.
const SEED: u64 = 20_261_120;

/// How many events the usual run has at least, turns left aside.
const EVENTS_MIN: u64 = 160_000;

/// How many one seed has, unless the master leaves before.
const EVENTS_PER_SEED: u64 = 1_000;

/// How many events, turns included, the report of a failure shows.
const SHOWN_MAX: usize = 30;

#[test]
fn random_worlds_break_no_rule() {
    let number = |variable: &str| {
        let value = std::env::var(variable).ok()?;
        Some(value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}")))
    };
    let (seed, events) = (number("EINHORN_SIM_SEED"), number("EINHORN_SIM_EVENTS"));
    let wanted = events.unwrap_or(if seed.is_some() { 1 } else { EVENTS_MIN });
    let mut unseen = BTreeSet::from_iter(seen::MUST_BE_SEEN.iter().copied());
    let mut count = 0;
    let mut seeds = seed.unwrap_or(SEED)..;
    while count < wanted {
        count += run(seeds.next().expect("there are more"), &mut unseen);
    }
    if seed.is_none() && count >= EVENTS_MIN {
        assert!(unseen.is_empty(), "never seen: {unseen:#?}");
    }
}

/// Runs one seed to its end. Answers how many events it had, turns left aside.
fn run(seed: u64, unseen: &mut BTreeSet<&'static str>) -> u64 {
    let mut simulation = Simulation::new(seed, unseen);
    let why = match catch_unwind(AssertUnwindSafe(|| simulation.run())) {
        Ok(Ok(())) => return simulation.event_count,
        Ok(Err(why)) => why,
        Err(_) => "a panic, see above".to_owned(),
    };
    // A line an event, and one below it for every action; a state dump is cut short.
    let mut story = String::new();
    for (now, event, actions) in &simulation.history {
        story += &format!("{:>20}ns {:.240}\n", now.0, format!("{event:?}"));
        for action in actions {
            story += &format!("{:>22} -> {:.240}\n", "", format!("{action:?}"));
        }
    }
    panic!(
        "seed {seed}, event {}: {why}\n\nThe last events:\n{story}\nReplay it with:\n    \
         EINHORN_SIM_SEED={seed} cargo test --test pure simulate\n",
        simulation.event_count
    );
}

struct Simulation<'u> {
    state: State,
    ledger: Ledger,
    world: World,
    unseen: &'u mut BTreeSet<&'static str>,
    /// Turns left aside.
    event_count: u64,
    /// What happened last, and what was done about it.
    history: VecDeque<(Monotonic, Event, Vec<Action>)>,
    exit: Option<i32>,
}

impl<'u> Simulation<'u> {
    /// A master with any options that no `config` changes.
    fn new(seed: u64, unseen: &'u mut BTreeSet<&'static str>) -> Simulation<'u> {
        let mut random = Random::new(seed);
        let mut config = example::config(random.one_of(&[1, 2, 3, 3, 4, 6, 8, 12, 20, 50]));
        config.kill_children_on_exit = random.chance(30);
        config.command_socket_as_fd = random.chance(50);
        // A Ruby Einhorn does not know it; nor does it know what bounds a roll-out.
        config.rollout.on_canary = random.chance(75).then(|| "look".into()).into_iter().collect();
        if !config.rollout.on_canary.is_empty() {
            config.stop = StopSchedule::parse(random.word(people::STOPS_BY)).ok();
        }
        let state = State::new(config, Vec::new(), MASTER, random.one_of(&[1, 2, 4, 8]));
        let (ledger, world) = (Ledger::default(), World::new(random));
        let (event_count, history, exit) = (0, VecDeque::new(), None);
        Simulation { state, ledger, world, unseen, event_count, history, exit }
    }

    fn run(&mut self) -> Broken {
        for _ in 0..self.world.random.below(12) {
            self.tell_of(World::asks_for_config)?;
        }
        while self.event_count < EVENTS_PER_SEED && self.exit.is_none() {
            self.turn()?;
            match self.world.random.below(200) {
                0 => self.settle()?,
                1..=4 => self.world.change_mood(),
                _ => {}
            }
        }
        self.end()
    }

    /// One turn of the master's loop, and the time until the next.
    fn turn(&mut self) -> Broken {
        for _ in 0..self.world.random.below(6) {
            match self.world.random.chance(35) {
                true => self.live()?,
                false => self.tell_of(World::whim)?,
            }
        }
        self.end_turn()?;
        // Whoever was ordered starts at once, though that may be reported late.
        if self.world.orders.is_empty() {
            self.world.pass_time(next_deadline(&self.state));
        }
        Ok(())
    }

    /// Tells what has become of orders, and what each process does.
    fn live(&mut self) -> Broken {
        self.report()?;
        self.tell_of(World::live_on)?;
        let pids: Vec<_> = self.world.processes.keys().copied().collect();
        pids.into_iter().try_for_each(|pid| self.tell_of(|world, state| world.live(state, pid)))
    }

    /// Tells what has become of orders; of some it is told later.
    fn report(&mut self) -> Broken {
        while self.world.has_news() && (self.world.is_calm || self.world.random.chance(85)) {
            self.tell_of(World::report)?;
        }
        Ok(())
    }

    /// Ends a turn, with a hand-over if one is due.
    fn end_turn(&mut self) -> Broken {
        self.tell(Event::Turn)?;
        self.report()?;
        match self.state.reexec {
            Some(Reexec { stage: Stage::HandingOver, is_hand_back, .. }) => {
                self.hand_over(is_hand_back)
            }
            _ => Ok(()),
        }
    }

    /// Hands the state over, or back, or tries to.
    fn hand_over(&mut self, is_hand_back: bool) -> Broken {
        while self.world.has_news() {
            self.report()?;
        }
        let why = "it was not to be".to_owned();
        let fate = if self.world.is_calm { 9 } else { self.world.random.below(10) };
        let mut outcome = Event::HandOverFailed { why: why.clone() };
        if is_hand_back {
            handover::to_ruby(&self.state)?;
        } else if fate > 0 {
            self.state = handover::travel(&self.state)?;
            self.world.pass_time(None);
            outcome = if fate == 1 { Event::RolledBack { why } } else { adopted() };
        }
        self.tell(outcome)
    }

    /// Tells the master what happens in the world, if anything does.
    fn tell_of(&mut self, what: impl FnOnce(&mut World, &State) -> Option<Event>) -> Broken {
        what(&mut self.world, &self.state).map_or(Ok(()), |event| self.tell(event))
    }

    /// Tells the master of an event, lets the world carry out what is to be done, and checks every
    /// rule.
    fn tell(&mut self, event: Event) -> Broken {
        if self.exit.is_some() {
            return Ok(());
        }
        let before = self.state.clone();
        let now = self.world.now;
        // Decisions never depend on the clock for people.
        let realtime = Realtime(self.world.random.below(1 << 60).cast_signed());
        let actions = step(&mut self.state, Now { monotonic: now, realtime }, event.clone());
        self.exit = self.world.carry_out(&self.state, &actions);
        let (before, after, world) = (&before, &self.state, &self.world);
        let taken = Step { now, before, event: &event, actions: &actions, after, world };
        let (is_turn, outcome) = (taken.is_turn(), rules::check(&taken, &mut self.ledger));
        seen::note(self.unseen, &taken);
        self.event_count += u64::from(!is_turn);
        self.history.push_back((now, event, actions));
        self.history.drain(..self.history.len().saturating_sub(SHOWN_MAX));
        outcome?;
        while let Some(answer) = self.world.answers.pop_front() {
            self.tell(answer)?;
        }
        if is_turn && self.exit.is_none() && self.world.random.chance(30) {
            self.look_ahead()?;
        }
        Ok(())
    }

    /// The master wakes when it has something to do, and not before: until then a turn in which
    /// nothing has happened changes nothing, and then one does.
    fn look_ahead(&self) -> Broken {
        let changes = |monotonic: Monotonic| {
            let mut state = self.state.clone();
            let actions = step(&mut state, Now { monotonic, ..Now::default() }, Event::Turn);
            !actions.is_empty() || state != self.state
        };
        // What was sent, or seen, may bring work at once.
        let is_answered = self.history.back().is_some_and(|(_, event, _)| *event != Event::Turn);
        let far = self.world.now + Duration::from_secs(900_000_000);
        match next_deadline(&self.state) {
            _ if rules::starts::is_batch_full(&self.state) => Ok(()),
            Some(at) if at <= self.world.now && is_answered && changes(at) => Ok(()),
            Some(at) if at <= self.world.now => Err("a turn asks for another at once".to_owned()),
            Some(at) if !changes(at) => Err(format!("it wakes at {at:?}, and does nothing")),
            Some(at) if changes(Monotonic(at.0 - 1)) => Err(format!("it wakes at {at:?}, late")),
            None if changes(far) => Err("it does not wake".to_owned()),
            _ => Ok(()),
        }
    }

    /// In a world without trouble the fleet is complete before long, and then nothing is to do.
    fn settle(&mut self) -> Broken {
        self.world.is_calm = true;
        let target = u64::from(self.state.config.target);
        // Longest is a roll-out one by one, another that was put off and fails late, and the way
        // back.
        let latest = self.world.now + Duration::from_secs(75 + 44 * target);
        for _ in 0..200 + 40 * (self.state.workers.len() as u64 + target) {
            let event_count = self.event_count;
            self.live()?;
            self.end_turn()?;
            let (state, deadline) = (&self.state, next_deadline(&self.state));
            let is_over = state.reexec.is_none() && state.rollout.is_none() && deadline.is_none();
            let has_settled = is_over && state.waiters.is_empty() && step::has_settled(state);
            if has_settled {
                self.unseen.remove("a fleet settled in calm");
            }
            if has_settled || state.stopping.is_some() || state.has_given_up() {
                self.world.change_mood();
                return Ok(());
            }
            // Time stands still while there is something to do, or a turn has just ordered it.
            let is_quiet = self.history.back().is_none_or(|(.., actions)| actions.is_empty());
            if is_quiet && self.event_count == event_count {
                self.world.pass_time(deadline);
            }
            ensure(self.world.now <= latest, || format!("no fleet of {target} in calm"))?;
        }
        Err(format!("no fleet of {target} after so many turns of calm"))
    }

    /// A master that is told to stop, at any moment, leaves once all workers are gone.
    fn end(&mut self) -> Broken {
        if self.world.random.chance(60) {
            self.settle()?;
        }
        for _ in 0..self.world.random.below(4) {
            self.tell_of(World::random_death)?;
        }
        if self.world.random.chance(20) {
            self.tell_of(|world, state| world.asks(state, people::HURRIES))?;
        }
        self.tell_of(|world, state| world.signaled(state, people::STOPS))?;
        for turn in 0..400 {
            if self.exit.is_some() {
                return Ok(());
            }
            self.world.is_calm |= turn == 100;
            self.turn()?;
        }
        Err("it does not leave, though alone".to_owned())
    }
}
