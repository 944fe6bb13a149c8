//! `decide` in random worlds: a seed makes a configuration and everything that happens to it, and
//! every invariant is checked after every event.
//!
//! A failure names its seed. `EINHORN_SIM_SEED=N` runs that seed alone, or from it on as long as
//! `EINHORN_SIM_EVENTS=N` says; `EINHORN_SIM_EVENTS` alone makes the usual run longer or shorter.

/// The first new worker of a roll-out.
mod canary;
/// Who is asked whether it can take over.
mod candidate;
/// The command that looks at canaries.
mod check;
/// What is to be done about an event.
mod due;
/// The state on its way into the next image.
mod handover;
/// The last events, for the report of a failure.
mod history;
/// The rules, each a sentence.
mod invariants;
/// What must be, computed a second time.
mod ledger;
/// What a request asks for.
mod meaning;
/// Who is needed.
mod needed;
/// What programs are told.
mod news;
/// The pace of immediate starts, counted twice.
mod pace;
/// Random numbers.
mod random;
/// What clients send.
mod requests;
/// The roll-outs of new code.
mod rollout;
/// What a run must have seen.
mod seen;
/// What the operator asked for.
mod settings;
/// Where a run begins.
mod start;
/// Who is to be started.
mod starts;
/// What must come of upgrades.
mod upgrade;
/// Who waits for what.
mod waiting;
/// Processes, clients, the clock.
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use einhorn::decide::{Action, Event, next_deadline, step};
use einhorn::state::{Monotonic, Now, Realtime, Signal, State};

use due::Due;
use history::History;
use ledger::Ledger;
use seen::MUST_BE_SEEN;
use world::{Mood, SECOND, Successor, Told, World, told};

/// The first seed; the others follow it.
const SEED: u64 = 20_261_120;

/// How many events the usual run has at least, turns left aside.
const EVENTS_MIN: u64 = 200_000;

/// How many events one seed has, turns included, unless the master leaves before.
const EVENTS_PER_SEED: u64 = 1_500;

#[test]
fn random_worlds_break_no_invariant() {
    let seed = number("EINHORN_SIM_SEED");
    let events = number("EINHORN_SIM_EVENTS");
    let wanted = events.unwrap_or(if seed.is_some() { 1 } else { EVENTS_MIN });
    let mut seen = BTreeMap::new();
    let mut count = 0;
    for seed in seed.unwrap_or(SEED).. {
        count += run(seed, &mut seen);
        if count >= wanted {
            break;
        }
    }
    let unseen: Vec<_> = MUST_BE_SEEN.iter().filter(|what| !seen.contains_key(**what)).collect();
    let is_usual = seed.is_none() && count >= EVENTS_MIN;
    assert!(!is_usual || unseen.is_empty(), "never seen: {unseen:?}; seen: {seen:#?}");
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}")))
}

/// Runs one seed to its end. Answers how many events it had, turns left aside.
fn run(seed: u64, seen: &mut BTreeMap<&'static str, u64>) -> u64 {
    let mut simulation = Simulation::new(seed);
    let outcome = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let why = match outcome {
        Ok(Ok(())) => {
            for (what, count) in &simulation.ledger.seen {
                *seen.entry(what).or_default() += count;
            }
            return simulation.event_count - simulation.turn_count;
        }
        Ok(Err(why)) => why,
        Err(_) => "a panic, see above".to_owned(),
    };
    panic!(
        "seed {seed}, event {}: {why}\n\nThe last events:\n{}\nReplay it with:\n    \
         EINHORN_SIM_SEED={seed} cargo test --test pure simulate\n",
        simulation.event_count,
        simulation.history.report()
    );
}

struct Simulation {
    state: State,
    ledger: Ledger,
    world: World,
    history: History,
    event_count: u64,
    turn_count: u64,
    exit: Option<i32>,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let (state, ledger, world) = start::any(seed);
        Simulation {
            state,
            ledger,
            world,
            history: History::default(),
            event_count: 0,
            turn_count: 0,
            exit: None,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        // A big fleet takes some turns to start; in these the target may change too.
        self.world.mood = Mood::Resize;
        for _ in 0..self.world.random.below(8) {
            self.turn()?;
        }
        self.world.mood = self.any_mood();
        while self.event_count < EVENTS_PER_SEED && self.exit.is_none() {
            self.turn()?;
            match self.world.random.below(200) {
                0 => self.settle()?,
                1..=4 => self.world.mood = self.any_mood(),
                _ => {}
            }
        }
        self.finish()
    }

    fn any_mood(&mut self) -> Mood {
        self.world.random.one_of(&[
            Mood::Usual,
            Mood::Usual,
            Mood::DieEarly,
            Mood::DieLate,
            Mood::NoStarts,
            Mood::Silent,
            Mood::Resize,
            Mood::Upgrade,
            Mood::Upgrade,
            Mood::Deploy,
            Mood::Deploy,
            Mood::Deploy,
            Mood::Deploy,
        ])
    }

    /// One turn of the master's loop, and the time until the next.
    fn turn(&mut self) -> Result<(), String> {
        for _ in 0..self.world.random.below(6) {
            if let Some(told) = self.world.next(&mut self.ledger) {
                self.tell(told)?;
            }
        }
        if self.world.random.chance(80) {
            self.catch_up()?;
        }
        self.tell(told(Event::Turn))?;
        if self.world.random.chance(90) {
            self.report_orders()?;
        }
        self.hand_over()?;
        self.world.pass_time(next_deadline(&self.state).map(|at| at.0));
        Ok(())
    }

    /// Tells everything that has happened already.
    fn catch_up(&mut self) -> Result<(), String> {
        while self.exit.is_none() {
            let Some(told) = self.world.overdue(&mut self.ledger) else { break };
            self.tell(told)?;
        }
        Ok(())
    }

    /// Tells what became of the starts that were ordered.
    fn report_orders(&mut self) -> Result<(), String> {
        while self.exit.is_none() && self.world.owes_orders() {
            let Some(told) = self.world.overdue(&mut self.ledger) else { break };
            self.tell(told)?;
        }
        Ok(())
    }

    /// Hands the state over if that was ordered, and is not given up by now.
    fn hand_over(&mut self) -> Result<(), String> {
        let Some(successor) = self.world.handover_due.take() else { return Ok(()) };
        self.report_orders()?;
        if let Some(news) = self.world.check_starts() {
            self.tell(news)?;
        }
        if self.world.random.chance(50) && self.world.mood != Mood::Calm {
            self.catch_up()?;
            let whim = self.world.whim(&self.ledger);
            self.tell(whim)?;
        }
        if self.exit.is_some() || !self.ledger.upgrade.is_handing_over() {
            return Ok(());
        }
        let is_calm = self.world.mood == Mood::Calm;
        let fate = if is_calm { 5 } else { self.world.random.below(10) };
        let why = "it was not to be".to_owned();
        let given = &self.world.given;
        match successor {
            Successor::Einhorn => {}
            Successor::Ruby => {
                // What a Ruby master does then is not simulated; here none can be executed.
                let written = handover::to_ruby(&self.state, |id| given.contains(&id));
                match written {
                    // A setting of late that it has no words for.
                    Err(_) if self.ledger.uses_features() => {}
                    written => written?,
                }
                self.ledger.saw("a hand-back that was written");
                return self.tell(told(Event::HandOverFailed { why }));
            }
        }
        if fate == 0 {
            self.ledger.saw("an exec that fails");
            return self.tell(told(Event::HandOverFailed { why }));
        }
        self.state = handover::travel(&self.state, |id| given.contains(&id))?;
        self.world.take_over();
        while self.world.random.chance(20) && !is_calm {
            self.ledger.saw("a worker lost across an exec");
            let death = self.world.random_death();
            self.tell(death)?;
        }
        if fate == 1 {
            self.ledger.saw("an upgrade rolled back");
            return self.tell(told(Event::RolledBack { why }));
        }
        self.tell(told(Event::Adopted { from_release: "0.0.1".to_owned() }))
    }

    /// Tells the master of an event and checks all that can be checked.
    fn tell(&mut self, Told { event, meaning }: Told) -> Result<(), String> {
        if self.exit.is_some() {
            return Ok(());
        }
        let now = self.world.now;
        self.event_count += 1;
        self.history.event(now, &event);
        let is_turn = event == Event::Turn;
        let died = matches!(event, Event::Exited { .. });
        let due = self.ledger.happened(now, &event, &meaning);
        // Decisions never depend on the clock for people.
        let realtime = Realtime(self.world.random.below(1 << 60).cast_signed());
        let actions = step(&mut self.state, Now { monotonic: Monotonic(now), realtime }, event);
        let outcome = self.check(is_turn, died, &due, &actions);
        self.history.actions(actions);
        outcome
    }

    /// Checks what was done about an event, and carries it out.
    fn check(
        &mut self,
        is_turn: bool,
        died: bool,
        due: &Due,
        actions: &[Action],
    ) -> Result<(), String> {
        let now = self.world.now;
        invariants::any_event(&self.ledger, is_turn, due.open.len(), actions)?;
        if is_turn {
            self.turn_count += 1;
            invariants::turn(&mut self.ledger, now, actions)?;
            self.note();
        } else {
            invariants::event(&mut self.ledger, due, died, actions)?;
        }
        self.exit = self.world.carry_out(actions);
        if let (Some(code), true) = (self.exit, is_turn) {
            self.ledger.saw(match code {
                0 => "a master that stopped and left",
                _ => "a master that gave up and left",
            });
        }
        invariants::facts(&self.ledger, &self.state, now)?;
        match is_turn {
            true => invariants::rests(&self.ledger, &self.state, now),
            false => Ok(()),
        }
    }

    /// Notes the limits that a turn ran into.
    fn note(&mut self) {
        let ledger = &mut self.ledger;
        let max = ledger.settings.max_unacked;
        let code = ledger.wanted().unwrap_or(ledger.generation);
        match ledger.start_due() {
            Err(_) if ledger.missing() > 0 && ledger.room() == 0 => {
                ledger.saw("as many beside the old ones as may be");
            }
            Err(_) if ledger.missing() == 0 || ledger.waiting(code) < max => {}
            Err(_) if ledger.waiting(code) == max => ledger.saw("as many unacked as may be"),
            Err(_) => ledger.saw("more unacked than may be"),
            Ok((due, "pace")) if due > self.world.now => ledger.saw("the pace slowing starts"),
            Ok((_, "back-off")) if ledger.back_off() == 30 * SECOND => {
                ledger.saw("a back-off at its longest");
            }
            Ok(_) => {}
        }
    }

    /// In a world without trouble the fleet is complete before long, and then nothing is to do.
    fn settle(&mut self) -> Result<(), String> {
        self.world.calm_down(&self.ledger);
        let target = self.ledger.settings.target;
        let ack_after = self.ledger.settings.ack_after.unwrap_or(SECOND / 100);
        let canary = self.ledger.settings.canary + SECOND;
        // Longest is a roll-out one by one, another that was put off and fails late, and the way
        // back.
        let one_by_one = u64::from(target) * (ack_after + SECOND * 6 / 10) + canary;
        let patience = 31 * SECOND + one_by_one * 4;
        let began = self.world.now;
        let turns_max = 200 + 20 * (self.state.workers.len() as u64 + u64::from(target));
        for _ in 0..turns_max {
            self.catch_up()?;
            self.tell(told(Event::Turn))?;
            self.report_orders()?;
            if self.world.handover_due.is_some() {
                // The next image has its first turn before it waits for anything.
                self.hand_over()?;
                continue;
            }
            if self.exit.is_some() || self.ledger.stop_code.is_some() || self.ledger.has_given_up()
            {
                self.world.mood = Mood::Usual;
                return Ok(());
            }
            let up = u64::from(self.ledger.serving_new());
            let deadline = next_deadline(&self.state);
            if up == u64::from(target) && deadline.is_none() && self.ledger.upgrade.is_over() {
                self.ledger.saw("a fleet complete in calm");
                self.world.mood = self.any_mood();
                return Ok(());
            }
            self.world.pass_time(deadline.map(|at| at.0));
            if self.world.now > began + patience {
                return Err(format!("{up} of {target} are up after {patience}ns of calm"));
            }
        }
        Err(format!("{turns_max} turns of calm did not complete the fleet of {target}"))
    }

    /// Nobody starts any more, and the master gives up.
    fn lose_patience(&mut self) -> Result<(), String> {
        self.settle()?;
        self.world.mood = Mood::NoStarts;
        let death = self.world.random_death();
        self.tell(death)?;
        self.tell(told(Event::Turn))?;
        self.report_orders()?;
        match self.world.lose_patience() {
            Some(told) => self.tell(told),
            None => Ok(()),
        }
    }

    /// Some workers are gone, and others are under way in their place.
    fn lose_some(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            let death = self.world.random_death();
            self.tell(death)?;
        }
        self.tell(told(Event::Turn))
    }

    /// An upgrade is under way, at any point of it.
    fn begin_upgrade(&mut self) -> Result<(), String> {
        let hangup = self.world.signaled(Signal::Hup);
        self.tell(hangup)?;
        for _ in 0..self.world.random.below(4) {
            self.world.hurry_candidate();
            if let Some(news) = self.world.candidate_news(&mut self.ledger) {
                self.tell(news)?;
            }
        }
        match self.world.random.chance(50) {
            true => self.hand_over(),
            false => Ok(()),
        }
    }

    /// A master that is told to stop leaves once all workers are gone, whoever has to kill them.
    fn finish(&mut self) -> Result<(), String> {
        let signal = match self.world.random.below(10) {
            0 => Signal::Quit,
            1..=4 => Signal::Int,
            _ => Signal::Term,
        };
        match self.world.random.below(4) {
            0 | 1 => self.lose_patience()?,
            2 => self.lose_some()?,
            _ => {
                self.settle()?;
                self.lose_some()?;
            }
        }
        if self.world.random.chance(75) {
            self.begin_upgrade()?;
        }
        let stop = match self.world.random.chance(20) {
            true => self.world.die(),
            false => self.world.signaled(signal),
        };
        self.tell(stop)?;
        if self.ledger.stop_code.is_none() {
            let stop = self.world.signaled(signal);
            self.tell(stop)?;
        }
        self.tell(told(Event::Turn))?;
        for turn in 0..200 {
            if self.exit.is_some() {
                return Ok(());
            }
            if turn >= 100 {
                self.world.kill_all();
            }
            self.turn()?;
        }
        match self.exit {
            Some(_) => Ok(()),
            None => Err("it does not leave though all workers are gone".to_owned()),
        }
    }
}
