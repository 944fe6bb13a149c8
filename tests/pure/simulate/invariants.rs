//! What holds after every event, whatever happens: each broken rule is one sentence.

use std::collections::BTreeSet;

use einhorn::decide::{Action, next_deadline};
use einhorn::state::{Pid, RolloutKind, Signal, State, Worker};

use super::due::{Due, Whom};
use super::ledger::{Entry, Ledger};
use super::news;

/// How far two ways to compute a back-off may differ, in nanoseconds: their roundings.
const TOLERANCE: u64 = 4;

/// No step does more than this, and four things a worker: a repeated signal is logged too, and QUIT
/// with `-k` is two signals. As much again goes to each client that waits for an upgrade.
const ACTIONS_MAX: usize = 48;

/// Nothing, or the rule that is broken.
pub(super) type Broken = Result<(), String>;

/// A signal goes to processes that were not reaped, and a step ends.
pub(super) fn any_event(
    ledger: &Ledger,
    is_turn: bool,
    waiting: usize,
    actions: &[Action],
) -> Broken {
    for action in actions {
        if let Action::Signal { pid, signal } = action
            && !ledger.workers.contains_key(pid)
        {
            return Err(format!("SIG{signal} to {pid}, which is gone"));
        }
    }
    let actions_max = ACTIONS_MAX + 4 * ledger.workers.len();
    ensure(actions.len() <= actions_max * (1 + waiting), || {
        format!("{} actions in one step", actions.len())
    })?;
    for action in actions {
        let is_signal = matches!(action, Action::Signal { signal, .. }
            if !matches!(signal, Signal::Usr2 | Signal::Kill));
        ensure(!is_turn || !is_signal, || format!("a signal that nobody asked for: {action:?}"))?;
    }
    Ok(())
}

/// An event that is no turn is answered by what is due and nothing else.
pub(super) fn event(ledger: &mut Ledger, due: &Due, died: bool, actions: &[Action]) -> Broken {
    let starts = actions.iter().filter(|action| matches!(action, Action::Spawn { .. })).count();
    same("a step that is no turn starts nobody", &starts, &0)?;
    let signals = actions.iter().filter_map(|action| match action {
        Action::Signal { pid, signal } => Some((*pid, *signal)),
        _ => None,
    });
    same("signals go to whom they must", &signals.collect(), &due.signals)?;
    ledger.keeps_its_promise(false, died)?;
    done(ledger, due, actions)
}

/// What is due in any step, who is started and who gets a signal left aside.
fn done(ledger: &Ledger, due: &Due, actions: &[Action]) -> Broken {
    conversations(ledger, due, actions)?;
    let (mut closes, mut exits) = (vec![], vec![]);
    let (mut preflight_count, mut handover_count) = (0, 0);
    let (mut kill_count, mut hand_back_count) = (0, 0);
    let (mut checks, mut check_kills) = (vec![], vec![]);
    for action in actions {
        match action {
            Action::Close { connection } => closes.push(*connection),
            Action::Exit { code } => exits.push(*code),
            Action::StartPreflight => preflight_count += 1,
            Action::KillPreflight => kill_count += 1,
            Action::HandOver => handover_count += 1,
            Action::HandBack => hand_back_count += 1,
            Action::RunCanaryCheck { worker, generation } => checks.push((*worker, generation.0)),
            Action::KillCheck { process } => check_kills.push(*process),
            Action::Spawn { .. }
            | Action::Signal { .. }
            | Action::Reply { .. }
            | Action::Report { .. }
            | Action::Log { .. } => {}
        }
    }
    same("worker:* closes what -g did not give", &closes, &due.closes)?;
    same("the master leaves when it must, and only then", &exits, &due.exits)?;
    same("a candidate is asked when none is", &preflight_count, &due.preflight_count)?;
    same("a candidate ends with its time or its master", &kill_count, &due.kill_count)?;
    same("only what was found fit takes over", &handover_count, &due.handover_count)?;
    same("a canary is looked at once it has been up for so long", &checks, &due.checks)?;
    same("nobody looks longer than wanted", &check_kills, &due.check_kills)?;
    same("a Ruby master only where it was asked for", &hand_back_count, &due.hand_back_count)
}

/// A turn does everything that is due and nothing that is not; the ledger follows it.
pub(super) fn turn(ledger: &mut Ledger, now: u64, actions: &[Action]) -> Broken {
    let mut due = ledger.nothing_due();
    ledger.acknowledge_due(now, &mut due);
    kills(ledger, now, actions)?;
    let serving = ledger.capacity();
    if ledger.stop_code.is_none() {
        ledger.step_turn(now, &mut due);
        ledger.rollout_turn(now, &mut due);
    }
    culls(ledger, now, &mut due, actions)?;
    let promised = serving.min(ledger.settings.target);
    ensure(ledger.stop_code.is_some() || ledger.capacity() >= promised, || {
        format!("{serving} served, and now {}, fewer than the target", ledger.capacity())
    })?;
    ledger.keeps_its_promise(true, false)?;
    starts(ledger, now, actions)?;
    if ledger.stop_code.is_none() {
        ledger.answer_settled(&mut due);
    }
    if let Some(code) = ledger.leaves_with() {
        if ledger.stop_code.is_none() {
            ledger.stop_code = Some(code);
            if !ledger.upgrade.is_over() {
                ledger.saw("a master that gives up in an upgrade");
            }
            ledger.abandon(now, &mut due);
        }
        due.exits.push(code);
        ledger.answer_exit(&mut due);
    }
    done(ledger, &due, actions)
}

/// Each request has one last line, with its id; until then it may be told how it goes on.
fn conversations(ledger: &Ledger, due: &Due, actions: &[Action]) -> Broken {
    let mut stages = due.stages.clone();
    stages.extend(ledger.upgrade.stages());
    let mut open = due.open.clone();
    let mut told = Vec::new();
    let mut last_lines = due.replies.clone();
    for action in actions {
        let (connection, reply, is_told) = match action {
            Action::Reply { connection, reply } => (connection, reply, !reply.message.is_empty()),
            // The shell fills it.
            Action::Report { connection, reply, .. } => (connection, reply, true),
            _ => continue,
        };
        let (id, wants_events) = (reply.request_id.clone(), reply.event.is_some());
        let whom = Whom { connection: *connection, id, wants_events };
        ensure(is_told, || "an empty reply".to_owned())?;
        let is_open = open.iter().position(|other| *other == whom);
        if reply.wait {
            ensure(is_open.is_some(), || format!("nobody waits for {reply:?}"))?;
            let stages = stages.iter().filter(|(other, _)| *other == whom);
            news::goes_on(reply, &stages.map(|(_, stage)| *stage).collect::<Vec<_>>())?;
            told.push(whom);
            continue;
        }
        let Some(index) = last_lines.iter().position(|last| last.whom == whom) else {
            return Err(format!("a last line that is not due: {reply:?}"));
        };
        let last = last_lines.remove(index);
        news::ends(reply, &last)?;
        if last.is_done.is_some() {
            open.remove(is_open.expect("who waits is known"));
        }
    }
    ensure(last_lines.is_empty(), || format!("last lines that are still due: {last_lines:?}"))?;
    let must_hear = |whom: &_| due.is_told || due.asker.as_ref() == Some(whom);
    let deaf = open.iter().find(|whom| must_hear(*whom) && !told.contains(whom));
    ensure(deaf.is_none(), || format!("{deaf:?} is not told how it goes on"))
}

fn kills(ledger: &mut Ledger, now: u64, actions: &[Action]) -> Broken {
    let killed = signaled(actions, Signal::Kill)?;
    same("KILL comes when a worker outlives its signal, once", &killed, &ledger.overdue(now))?;
    for pid in killed {
        ledger.told(now, pid, Signal::Kill);
        ledger.saw("a KILL after the signal timeout");
    }
    Ok(())
}

fn culls(ledger: &mut Ledger, now: u64, due: &mut Due, actions: &[Action]) -> Broken {
    let culled = signaled(actions, Signal::Usr2)?;
    let mut going = due.overrun.clone();
    if ledger.stop_code.is_none() {
        going.extend(ledger.not_needed());
        due.is_told |= !going.is_empty();
        let surplus = ledger.surplus();
        if !surplus.is_empty() {
            ledger.saw("a worker too many");
        }
        going.extend(surplus);
    }
    same("who is not needed is told to go, and nobody else", &culled, &going)?;
    for pid in culled {
        ledger.told(now, pid, Signal::Usr2);
    }
    Ok(())
}

/// To whom a turn sends a signal; to each once.
fn signaled(actions: &[Action], wanted: Signal) -> Result<BTreeSet<Pid>, String> {
    let mut pids = BTreeSet::new();
    for action in actions {
        if let Action::Signal { pid, signal } = action
            && *signal == wanted
            && !pids.insert(*pid)
        {
            return Err(format!("SIG{signal} to {pid} twice in one turn"));
        }
    }
    Ok(pids)
}

fn starts(ledger: &mut Ledger, now: u64, actions: &[Action]) -> Broken {
    for action in actions {
        let Action::Spawn { slot, generation } = action else { continue };
        match ledger.start_due() {
            Err(why) => return Err(format!("a start although {why}")),
            Ok((due, rule)) => ensure(due <= now + TOLERANCE, || {
                format!("a start {}ns sooner than the {rule} allows", due - now)
            })?,
        }
        ensure(!ledger.is_batch_full(), || "a batch too big".to_owned())?;
        same("a new index is the lowest free", &slot.0, &ledger.lowest_free())?;
        same("of which code a new one is", &Some(generation.0), &ledger.wanted())?;
        ledger.ordered(now, slot.0, generation.0)?;
        let (current, _) = ledger.present();
        let most = if ledger.has_canary() { 1 } else { ledger.settings.target };
        ensure(current <= most, || format!("{current} workers where there may be {most}"))?;
        beside_the_old(ledger)?;
    }
    if ledger.is_batch_full() {
        if ledger.has_started {
            ledger.saw("a full batch of starts");
        }
    } else if let Ok((due, rule)) = ledger.start_due() {
        ensure(due + TOLERANCE > now, || {
            format!("nobody was started, {}ns after the {rule} allows it", now - due)
        })?;
    }
    Ok(())
}

/// A roll-out starts no more than `--max-upgrade-additional` above the target, and a smooth one no
/// more than may wait for their ACK.
fn beside_the_old(ledger: &Ledger) -> Broken {
    let Some(rollout) = &ledger.upgrade.rollout else { return Ok(()) };
    let staying = ledger.staying();
    let most = ledger.settings.max_additional.map(|max| u64::from(max + ledger.settings.target));
    ensure(most.is_none_or(|most| staying <= most), || {
        format!("{staying} workers in a roll-out that allows {most:?}")
    })?;
    let waiting = ledger.waiting(ledger.generation);
    let is_free = rollout.kind == RolloutKind::Fleet || rollout.canary.is_some();
    ensure(is_free || waiting <= ledger.settings.max_unacked, || {
        format!("{waiting} new ones wait for their ACK in a smooth roll-out")
    })
}

/// The master knows what happened, and asks to be woken when something falls due.
pub(super) fn facts(ledger: &Ledger, state: &State, now: u64) -> Broken {
    state.check()?;
    for (pid, entry) in &ledger.workers {
        let known = state.workers.get(pid);
        ensure(known.is_some_and(|worker| agrees(entry, worker)), || {
            format!("worker {pid}: found {known:?}, due {entry:?}")
        })?;
    }
    same("how many workers there are", &state.workers.len(), &ledger.workers.len())?;
    let ordered: Vec<(u32, u32)> = state.ordered.iter().map(|(s, g)| (s.0, g.0)).collect();
    let due: Vec<(u32, u32)> = ledger.ordered.iter().map(|(s, g)| (*s, *g)).collect();
    same("who was ordered", &ordered, &due)?;
    let connections = state.connections.iter().map(|(id, known)| (*id, known.given_to));
    let connections: Vec<_> = connections.collect();
    let due: Vec<_> = ledger.connections.iter().map(|(id, given)| (*id, *given)).collect();
    same("which connections are open, and given to whom", &connections, &due)?;
    let settings = &ledger.settings;
    same("the target", &state.config.target, &settings.target)?;
    same("the limit of unacked ones", &state.max_unacked(), &settings.max_unacked)?;
    let additional = state.config.max_upgrade_additional;
    same("the limit above the target", &additional, &settings.max_additional)?;
    same("the verbosity", &state.config.verbosity.0, &settings.verbosity)?;
    same("the streak of early deaths", &state.early_death_count, &ledger.streak)?;
    let deaths: Vec<(u32, u32)> = state.slot_deaths.iter().map(|(s, n)| (s.0, *n)).collect();
    let due: Vec<(u32, u32)> = ledger.slot_deaths.iter().map(|(s, n)| (*s, *n)).collect();
    same("how often each index lost its worker", &deaths, &due)?;
    same("that it stops", &state.stopping.map(|stop| stop.exit_code), &ledger.stop_code)?;
    let generations = (state.generation.0, state.newest_generation.0);
    same("who serves, and the newest code", &generations, &(ledger.generation, ledger.newest))?;
    ledger.upgrade.agrees(state)?;
    wakes(ledger, state, now)
}

fn agrees(entry: &Entry, worker: &Worker) -> bool {
    entry.slot == worker.slot.0
        && entry.generation == worker.generation.0
        && entry.started_at == worker.spawned_at.0
        && entry.acked_at == worker.acked_at.map(|at| at.0)
        && entry.has_overrun == worker.has_overrun
        && entry.told_at == worker.told_to_go_at.map(|at| at.0)
        && entry.signals == worker.signaled
        && entry.pinged.as_ref() == worker.ping.as_ref().map(|ping| &ping.request_id)
        && entry.connection == worker.connection
}

fn wakes(ledger: &Ledger, state: &State, now: u64) -> Broken {
    let wakes = next_deadline(state).map(|at| at.0.max(now));
    let due = ledger.deadline().map(|at| at.max(now));
    let agrees = match (wakes, due) {
        (Some(wakes), Some(due)) => wakes.abs_diff(due) <= TOLERANCE,
        (None, None) => true,
        _ => false,
    };
    ensure(agrees, || format!("it wakes at {wakes:?}, but something falls due at {due:?}"))
}

/// Nothing is left undone after a turn unless its batch of starts is full: the loop never spins.
pub(super) fn rests(ledger: &Ledger, state: &State, now: u64) -> Broken {
    let spins = next_deadline(state).is_some_and(|at| at.0 <= now) && !ledger.is_batch_full();
    ensure(!spins, || "after a turn it asks for another at once".to_owned())
}

pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Broken {
    if holds { Ok(()) } else { Err(what()) }
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(rule: &str, found: &T, due: &T) -> Broken {
    ensure(found == due, || format!("{rule}: found {found:?}, due {due:?}"))
}
