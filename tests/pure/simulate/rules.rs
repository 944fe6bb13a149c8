//! The rules: what holds after every event, whatever happens, each a sentence and a short function.
//! They say what is allowed and what must come in the end, and not how the master gets there;
//! what single commands answer, and at which instant exactly, is for the tests by example.

/// Who is told what.
mod clients;
/// What the master knows.
mod facts;
/// Who is started.
pub(super) mod starts;
/// Who is told to go.
mod stops;
/// Candidates, canaries, roll-outs.
mod upgrades;

use super::ledger::Ledger;
use super::step::Step;

/// Nothing, or how the rule is broken.
pub(super) type Broken = Result<(), String>;

type Rule = fn(&Step) -> Broken;
type LastingRule = fn(&mut Ledger, &Step) -> Broken;

/// After every event.
#[rustfmt::skip]
const RULES: &[(&str, Rule)] = &[
    ("the state is one that may be", facts::the_state_is_sound),
    ("workers are known as they were started, as long as they live", facts::workers_are_known),
    ("who is ordered is known until it is started or fails", facts::orders_are_known),
    ("a connection is its worker's as long as that lives", facts::connections_are_given),
    ("a worker is up since its ACK, or since its timer ended", facts::acks_are_known),
    ("since when, and for how long, a worker was suspended is known", facts::suspensions_are_known),
    ("the deaths of each index are counted", facts::deaths_are_counted),
    ("every step ends", facts::steps_end),
    ("a master on its way out stays that", facts::stops_stay),

    ("only turns start workers", starts::only_in_turns),
    ("one is tried first, and then sixteen at a time", starts::in_batches),
    ("a new worker has the lowest free index", starts::at_the_lowest_index),
    ("there are as many of each code as may be", starts::within_the_limits),
    ("no more wait for their ACK than may", starts::within_the_unacked),

    ("a stop tells every worker", stops::a_stop_tells_everyone),

    ("whoever waits hears of every start and end", clients::they_hear_of_it),
    ("programs are told the same as people", clients::events_say_the_same),
    ("the last line says how it ended", clients::last_lines_are_true),
    ("who waits for a fleet that has settled is told at once", clients::the_settled_is_told),
    ("who waits for old workers is told once they are gone", clients::the_drained_is_told),

    ("only what was found fit takes over", upgrades::only_the_fit_take_over),
    ("nobody who was asked runs on in vain", upgrades::asked_in_vain),
    ("a canary passes once it was up for so long and found well", upgrades::canaries_pass),
    ("a canary is looked at that serves, until one of both ends", upgrades::looks_last),
    ("failures are counted, the first eight told", upgrades::failures_are_counted),
    ("a roll-out ends for a reason", upgrades::it_ends_for_a_reason),
];

/// After every turn of a master that is not on its way out.
#[rustfmt::skip]
const TURN_RULES: &[(&str, Rule)] = &[
    ("a turn takes no capacity away that is needed", stops::capacity_stays),
    ("of those that serve the surplus goes, from the top", stops::surplus_goes),
    ("old workers go that are not needed, and no others", stops::the_needed_stay),
    ("a roll-out ends with its bounds", upgrades::bounds_end_it),
];

/// After every event, with something to be remembered.
#[rustfmt::skip]
const LASTING_RULES: &[(&str, LastingRule)] = &[
    ("a roll-out is of code that never was, and goes back to who served", Ledger::generations),
    ("each request has one last line, and nobody is forgotten", Ledger::waiting),
    ("a roll-out keeps as many who serve as there were, or are wanted", Ledger::promise),
    ("starts are twice the fleet, then at a pace; after early deaths one by one", Ledger::starts),
    ("whoever is missing comes, unless a limit keeps it away", Ledger::the_missing_come),
    ("old workers that were killed are told, and no others", Ledger::the_killed),
    ("stops go by the schedule, step by step, each once and in its time", Ledger::signals),
    ("what could not be sent does not count", Ledger::what_was_sent),
    ("the end of an upgrade waits for deaths that are certain, a second at most", Ledger::the_end),
    ("the master leaves when its schedule is over for all who are left", Ledger::leaves),
];

/// Checks every rule.
pub(super) fn check(step: &Step, ledger: &mut Ledger) -> Broken {
    for (sentence, rule) in LASTING_RULES {
        rule(ledger, step).map_err(|how| format!("{sentence}: {how}"))?;
    }
    let turn_rules = if step.is_working_turn() { TURN_RULES } else { &[] };
    for (sentence, rule) in RULES.iter().chain(turn_rules) {
        rule(step).map_err(|how| format!("{sentence}: {how}"))?;
    }
    Ok(())
}

pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Broken {
    if holds { Ok(()) } else { Err(what()) }
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, due: &T) -> Broken {
    ensure(found == due, || format!("{what}: found {found:?}, due {due:?}"))
}
