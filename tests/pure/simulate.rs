//! `decide` in random worlds: a seed makes a configuration and everything that happens to it, and
//! every rule is checked after every event.
//!
//! `world` is what the master lives in, `rules` what must hold, and `ledger` the little that they
//! must remember. A failure names its seed: `EINHORN_SIM_SEED=N` runs that one alone, or from it on
//! as long as `EINHORN_SIM_EVENTS=N` says; that alone makes the usual run longer or shorter.

/// Whom the master asks: candidates, and the command that looks at canaries.
mod asked;
/// The state on its way into the next image.
mod handover;
/// The last events, for the report of a failure.
mod history;
/// What the rules must remember.
mod ledger;
/// Random numbers.
mod random;
/// What clients send.
mod requests;
/// What must hold, each a sentence.
mod rules;
/// What a run must have seen.
mod seen;
/// Where a run begins.
mod start;
/// One step of the master.
mod step;
/// Processes, clients, the clock.
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use einhorn::decide::{Action, Event, next_deadline, step};
use einhorn::state::{Monotonic, Now, Realtime, Signal, Stage, State};

use history::History;
use ledger::Ledger;
use random::Random;
use rules::Broken;
use seen::Unseen;
use step::Step;
use world::{Mood, SECOND, World};

/// The first seed; the others follow it.
const SEED: u64 = 20_261_120;

/// How many events the usual run has at least, turns left aside.
const EVENTS_MIN: u64 = 200_000;

/// How many events one seed has, turns included, unless the master leaves before.
const EVENTS_PER_SEED: u64 = 1_500;

/// What a usual run must have seen beside what single steps show.
const ALSO_SEEN: &[&str] = &[CALM, HANDED_OVER, HANDED_BACK];
const CALM: &str = "a fleet complete in calm";
const HANDED_OVER: &str = "a state handed over";
const HANDED_BACK: &str = "a state handed back";

#[test]
fn random_worlds_break_no_rule() {
    let seed = number("EINHORN_SIM_SEED");
    let events = number("EINHORN_SIM_EVENTS");
    let wanted = events.unwrap_or(if seed.is_some() { 1 } else { EVENTS_MIN });
    let mut unseen = Unseen::new(ALSO_SEEN);
    let mut count = 0;
    for seed in seed.unwrap_or(SEED).. {
        count += run(seed, &mut unseen);
        if count >= wanted {
            break;
        }
    }
    if seed.is_none() && count >= EVENTS_MIN {
        unseen.check().unwrap();
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{variable}={value}: {error}")))
}

/// Runs one seed to its end. Answers how many events it had, turns left aside.
fn run(seed: u64, unseen: &mut Unseen) -> u64 {
    let mut simulation = Simulation::new(seed, unseen);
    let outcome = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let why = match outcome {
        Ok(Ok(())) => {
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

struct Simulation<'u> {
    state: State,
    ledger: Ledger,
    world: World,
    history: History,
    unseen: &'u mut Unseen,
    event_count: u64,
    turn_count: u64,
    exit: Option<i32>,
}

impl<'u> Simulation<'u> {
    fn new(seed: u64, unseen: &'u mut Unseen) -> Simulation<'u> {
        let mut random = Random::new(seed);
        let state = start::any(&mut random);
        let world = World::new(random, state.config.command_socket_as_fd);
        let (ledger, history) = (Ledger::new(&state), History::default());
        let (event_count, turn_count, exit) = (0, 0, None);
        Simulation { state, ledger, world, history, unseen, event_count, turn_count, exit }
    }

    fn run(&mut self) -> Broken {
        while self.event_count < EVENTS_PER_SEED && self.exit.is_none() {
            self.turn()?;
            match self.world.random.below(200) {
                0 => self.finish_turn()?,
                1..=4 => self.world.mood = self.any_mood(),
                _ => {}
            }
        }
        self.finish()
    }

    fn any_mood(&mut self) -> Mood {
        use Mood::{Deploy, DieEarly, DieLate, NoStarts, Resize, Silent, Upgrade, Usual};
        match self.world.random.chance(30) {
            true => Deploy,
            false => self.world.random.one_of(&[
                Usual, Usual, DieEarly, DieLate, NoStarts, Silent, Resize, Upgrade, Upgrade,
            ]),
        }
    }

    /// One turn of the master's loop, and the time until the next.
    fn turn(&mut self) -> Broken {
        for _ in 0..self.world.random.below(6) {
            if let Some(event) = self.world.next(&self.state) {
                self.tell(event)?;
            }
        }
        if self.world.random.chance(80) {
            self.catch_up()?;
        }
        self.tell(Event::Turn)?;
        if self.world.random.chance(90) {
            self.report_orders()?;
        }
        self.hand_over()?;
        self.world.pass_time(next_deadline(&self.state).map(|at| at.0));
        Ok(())
    }

    /// Tells everything that has happened already.
    fn catch_up(&mut self) -> Broken {
        while let Some(event) = self.world.overdue(&self.state) {
            self.tell(event)?;
        }
        Ok(())
    }

    /// Tells what became of the starts that were ordered.
    fn report_orders(&mut self) -> Broken {
        while let Some(event) = self.world.order_news(&self.state) {
            self.tell(event)?;
        }
        Ok(())
    }

    /// Hands the state over if that was ordered, and is not given up by now.
    fn hand_over(&mut self) -> Broken {
        let Some(next_image) = self.world.handover_due.take() else { return Ok(()) };
        let is_calm = self.world.mood == Mood::Calm;
        self.report_orders()?;
        if let Some(news) = self.world.asked_news(true) {
            self.tell(news)?;
        }
        if self.world.random.chance(50) && !is_calm {
            self.catch_up()?;
            let whim = self.world.whim(&self.state);
            self.tell(whim)?;
        }
        let is_due = self.state.reexec.is_some_and(|reexec| reexec.stage == Stage::HandingOver);
        if self.exit.is_some() || !is_due {
            return Ok(());
        }
        let fate = if is_calm { 5 } else { self.world.random.below(10) };
        let given = &self.world.given;
        let is_given = |id| given.contains(&id);
        if next_image == Action::HandBack {
            // What a Ruby master does then is not simulated; here none can be executed. It has no
            // words for some settings of late.
            let has_words = einhorn::ruby::unknown_to_ruby(&self.state).is_empty();
            let written = handover::to_ruby(&self.state, is_given);
            written.or_else(|why| if has_words { Err(why) } else { Ok(()) })?;
            self.unseen.saw(HANDED_BACK);
        } else if fate > 0 {
            self.state = handover::travel(&self.state, is_given)?;
            self.unseen.saw(HANDED_OVER);
            self.world.take_over();
            while self.world.random.chance(20) && !is_calm {
                let death = self.world.random_death();
                self.tell(death)?;
            }
            return self.tell(match fate {
                1 => Event::RolledBack { why: "it was not to be".to_owned() },
                _ => Event::Adopted { from_release: "0.0.1".to_owned() },
            });
        }
        self.tell(Event::HandOverFailed { why: "it was not to be".to_owned() })
    }

    /// Tells the master of an event, checks every rule, and lets the world carry out what is to be
    /// done.
    fn tell(&mut self, event: Event) -> Broken {
        if self.exit.is_some() {
            return Ok(());
        }
        self.event_count += 1;
        let before = self.state.clone();
        let now = Monotonic(self.world.now);
        // Decisions never depend on the clock for people.
        let realtime = Realtime(self.world.random.below(1 << 60).cast_signed());
        let actions = step(&mut self.state, Now { monotonic: now, realtime }, event.clone());
        let taken = Step::new(now, &before, &event, &actions, &self.state);
        self.unseen.note(&taken);
        self.exit = self.world.carry_out(&self.state, &actions);
        let outcome = self
            .ledger
            .follow(&taken)
            .and_then(|()| rules::check(&taken, &self.ledger, &self.world));
        let is_turn = event == Event::Turn;
        self.history.note(now.0, event, actions);
        outcome?;
        if is_turn {
            self.turn_count += 1;
            if self.exit.is_none() && self.world.random.chance(30) {
                self.look_ahead()?;
            }
        }
        Ok(())
    }

    /// The master wakes when it has something to do, and not before: until then a turn in which
    /// nothing has happened changes nothing, and then one does.
    fn look_ahead(&self) -> Broken {
        let changes = |at: u64| {
            let mut state = self.state.clone();
            let now = Now { monotonic: Monotonic(at), ..Now::default() };
            let actions = step(&mut state, now, Event::Turn);
            !actions.is_empty() || state != self.state
        };
        let far = self.world.now + 900_000_000 * SECOND;
        match next_deadline(&self.state) {
            _ if rules::is_batch_full(&self.state) => Ok(()),
            Some(at) if at.0 <= self.world.now => Err("a turn asks for another at once".to_owned()),
            Some(at) if !changes(at.0) => Err(format!("it wakes at {at:?}, and does nothing")),
            Some(at) if changes(at.0 - 1) => Err(format!("it wakes at {at:?}, too late")),
            None if changes(far) => Err("it does not wake".to_owned()),
            _ => Ok(()),
        }
    }

    /// In a world without trouble the fleet is complete before long, and then nothing is to do.
    fn finish_turn(&mut self) -> Broken {
        self.world.calm_down(&self.state);
        let target = self.state.config.target;
        let turns_max = 200 + 20 * (self.state.workers.len() as u64 + u64::from(target));
        // Longest is a roll-out one by one, another that was put off and fails late, and the way
        // back.
        let one_by_one = u64::from(target) * 11 * SECOND + 11 * SECOND;
        let patience = 31 * SECOND + one_by_one * 4;
        let began = self.world.now;
        for _ in 0..turns_max {
            self.catch_up()?;
            self.tell(Event::Turn)?;
            self.report_orders()?;
            if self.world.handover_due.is_some() {
                // The next image has its first turn before it waits for anything.
                self.hand_over()?;
                continue;
            }
            let state = &self.state;
            if self.exit.is_some() || state.stopping.is_some() || state.has_given_up() {
                self.world.mood = Mood::Usual;
                return Ok(());
            }
            let is_over = state.reexec.is_none() && state.rollout.is_none();
            let is_complete = step::serving(state) == target && step::staying(state) == target;
            let deadline = next_deadline(state);
            if is_over && is_complete && state.waiters.is_empty() && deadline.is_none() {
                self.unseen.saw(CALM);
                self.world.mood = self.any_mood();
                return Ok(());
            }
            self.world.pass_time(deadline.map(|at| at.0));
            if self.world.now > began + patience {
                return Err(format!("no fleet of {target} after {patience}ns of calm"));
            }
        }
        Err(format!("{turns_max} turns of calm did not complete the fleet of {target}"))
    }

    /// A master that is told to stop, at any moment, leaves once all workers are gone.
    fn finish(&mut self) -> Broken {
        if self.world.random.chance(60) {
            self.finish_turn()?;
        }
        for _ in 0..self.world.random.below(4) {
            let death = self.world.random_death();
            self.tell(death)?;
        }
        if self.world.random.chance(50) {
            // Nobody starts any more, and one attempt is enough to give up.
            self.world.mood = Mood::NoStarts;
            self.tell(Event::Turn)?;
            self.report_orders()?;
            let enough = self.world.asks(|_| requests::GIVE_UP.to_owned());
            self.tell(enough)?;
        }
        self.world.mood = self.any_mood();
        for _ in 0..self.world.random.below(4) {
            let hangup = self.world.signaled(Signal::Hup);
            self.tell(hangup)?;
            self.world.hurry();
            self.catch_up()?;
        }
        if self.world.random.chance(20) {
            let die = self.world.asks(|_| requests::with_args("die", "--wait"));
            self.tell(die)?;
        }
        let signal = self.world.random.one_of(&[Signal::Quit, Signal::Int, Signal::Term]);
        let stop = self.world.signaled(signal);
        self.tell(stop)?;
        for turn in 0..200 {
            if self.exit.is_some() {
                return Ok(());
            }
            if turn >= 100 {
                self.world.kill_all();
            }
            self.turn()?;
        }
        Err("it does not leave, though alone".to_owned())
    }
}
