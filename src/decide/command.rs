//! The commands of the command socket (behaviour.md section 7).

use crate::decide::action::{Action, ReportKind};
use crate::decide::event::{Authority, Membership, Sender};
use crate::decide::preflight_verdict::UpgradeRequest;
use crate::decide::turn::Turn;
use crate::decide::waiters::{self, Answer, Requester};
use crate::decide::{pool, settings, shutdown, upgrade, worker_message};
use crate::outcome::Outcome;
use crate::protocol::{Args, BadRequest, Request, command_list};
use crate::ruby;
use crate::state::{ConnectionId, Signal, UpgradeKind, Verbosity, WORKERS_MAX, WaitsFor, release};

/// The argument of an upgrade command that hands back to a Ruby Einhorn.
const TO_RUBY: &str = "--to-ruby";

/// The argument with which a client waits until the old workers are gone after an upgrade.
const DRAINED: &str = "--drained";

/// The argument with which a client waits until a change is complete.
const WAIT: &str = "--wait";

/// The argument of `die` that moves workers to the next step of their schedule.
const NEXT: &str = "--next";

/// The argument of `status` that selects machine-readable output.
const JSON: &str = "--json";

/// A client sent a line.
pub(super) fn requested(
    turn: &mut Turn,
    connection: ConnectionId,
    request: Result<Request, BadRequest>,
    authority: Authority,
    membership: Option<Membership>,
) {
    let (request_id, wants_events, until_drained) = (None, false, false);
    let mut requester = Requester { connection, request_id, wants_events, until_drained };
    let request = match request {
        Ok(request) => request,
        Err(BadRequest(why)) => {
            return waiters::answer(turn, &requester, Answer::not_understood(why));
        }
    };
    requester.request_id.clone_from(&request.id);
    requester.wants_events = request.wants_events;
    let Some(command) = request.command.clone() else {
        let why = "No \"command\" parameter provided; not sure what you want me to do.";
        return waiters::answer(turn, &requester, Answer::not_understood(why));
    };
    if turn.state.config.verbosity == Verbosity::DEBUG {
        turn.debug(format!("Received command {command:?}"));
    }
    if request.is_worker_message() {
        let from = worker_message::From { connection, authority };
        return worker_message::received(turn, from, &request, membership);
    }
    if let Authority::OwnWorker(sender) = authority {
        return refuse_lesser(turn, &requester, &command, sender);
    }
    let words = match &request.args {
        Args::Absent => &[][..],
        Args::List(words) => words,
        Args::Invalid(why) => {
            return waiters::answer(turn, &requester, Answer::not_understood(why.clone()));
        }
    };
    if let Some(kind) = upgrade_kind(&command) {
        return match upgrade_option(kind, &command, words) {
            Ok(option) => {
                requester.until_drained = option == Some(DRAINED);
                let is_hand_back = option == Some(TO_RUBY);
                let upgrade_request = UpgradeRequest { kind, is_hand_back };
                upgrade::requested_by_client(turn, upgrade_request, requester);
            }
            Err(why) => waiters::answer(turn, &requester, Answer::not_understood(why)),
        };
    }
    if let Some(kind) = report_kind(&command, words) {
        return match kind {
            Ok(kind) => waiters::report(turn, &requester, kind),
            Err(why) => waiters::answer(turn, &requester, Answer::not_understood(why)),
        };
    }
    match command.as_str() {
        "wait" => match one_option(&command, words, &[DRAINED]) {
            Ok(option) => {
                requester.until_drained = option.is_some();
                waiters::attach(turn, requester);
            }
            Err(why) => waiters::answer(turn, &requester, Answer::not_understood(why)),
        },
        "dec" | "die" | "inc" | "set_workers" => run_change(turn, &command, words, requester),
        _ => {
            let answer = run_immediate(turn, &command, words, &request);
            waiters::answer(turn, &requester, answer);
        }
    }
}

/// Over a worker's own connection, who is neither the master's user nor root commands nothing.
fn refuse_lesser(turn: &mut Turn, requester: &Requester, command: &str, sender: Sender) {
    let why = format!(
        "Refused {command:?} from {sender}: over a connection that -g gave to a worker, only the \
         master's user and root may send anything but worker:ack and worker:ping"
    );
    turn.error(why.clone());
    waiters::answer(turn, requester, Answer::refused(why));
}

/// Runs a command that is complete when it is answered.
fn run_immediate(turn: &mut Turn, command: &str, words: &[String], request: &Request) -> Answer {
    match command {
        "abort" => upgrade::abort(turn),
        "config" => settings::change(turn, words),
        "ehlo" => Answer::done(greeting(turn, request)),
        "help" => Answer::done(format!("These commands are available:\n\n{}\n", command_list())),
        "louder" => change_verbosity(turn, -1),
        "quieter" => change_verbosity(turn, 1),
        "signal" => send_signals(turn, words),
        "state" => Answer::done(ruby::dump(turn.state)),
        unknown => {
            let commands = command_list();
            Answer::not_understood(format!("Unrecognized command: {unknown:?}\n\n{commands}\n"))
        }
    }
}

/// Runs a command whose completion a client can wait for.
fn run_change(turn: &mut Turn, command: &str, words: &[String], requester: Requester) {
    let is_waited_for = words.iter().any(|word| word == WAIT);
    let words: Vec<String> = words.iter().filter(|word| *word != WAIT).cloned().collect();
    // A refused command must not take effect, so check before running it.
    if let Some(refusal) = waiters::refuse(turn, &requester).filter(|_| is_waited_for) {
        return waiters::answer(turn, &requester, refusal);
    }
    let (answer, waits_for) = match command {
        "die" => (die(turn, &words), WaitsFor::Exit),
        "dec" => (change_target(turn, "Decrementing", -1), WaitsFor::Settled),
        "inc" => (change_target(turn, "Incrementing", 1), WaitsFor::Settled),
        _ => (set_workers(turn, &words), WaitsFor::Settled),
    };
    if answer.outcome == Outcome::Done && is_waited_for {
        waiters::join(turn, requester, waits_for, &answer.message);
    } else {
        waiters::answer(turn, &requester, answer);
    }
}

fn upgrade_kind(command: &str) -> Option<UpgradeKind> {
    match command {
        "reload" => Some(UpgradeKind::Reload),
        "upgrade" => Some(UpgradeKind::Smooth),
        "upgrade_fleet" => Some(UpgradeKind::Fleet),
        _ => None,
    }
}

/// The option of an upgrade. A Ruby Einhorn does not tell when old workers are gone, so there is one
/// at most.
fn upgrade_option(
    kind: UpgradeKind,
    command: &str,
    words: &[String],
) -> Result<Option<&'static str>, String> {
    match kind {
        UpgradeKind::Reload => one_option(command, words, &[TO_RUBY]),
        _ => one_option(command, words, &[TO_RUBY, DRAINED]),
    }
}

/// The option that a command was given, of those that it has; anything else is an error.
fn one_option(
    command: &str,
    words: &[String],
    known: &[&'static str],
) -> Result<Option<&'static str>, String> {
    refuse_others(command, words, known)?;
    let is_given = |option: &&&str| words.iter().any(|word| word == **option);
    let mut given = known.iter().filter(is_given);
    match (given.next(), given.next()) {
        (Some(_), Some(_)) => {
            Err(format!("{command} takes one of {}, not both", known.join(" and ")))
        }
        (one, _) => Ok(one.copied()),
    }
}

/// The report that a command asks for, if it is a report command; an unknown argument is an error.
fn report_kind(command: &str, words: &[String]) -> Option<Result<ReportKind, String>> {
    let (kind, known) = match command {
        "status" if words.iter().any(|word| word == JSON) => (ReportKind::Json, &[JSON][..]),
        "status" => (ReportKind::Table, &[JSON][..]),
        "metrics" => (ReportKind::Metrics, &[][..]),
        _ => return None,
    };
    Some(refuse_others(command, words, known).map(|()| kind))
}

/// Refuses arguments of a command that it does not know.
fn refuse_others(command: &str, words: &[String], known: &[&str]) -> Result<(), String> {
    let Some(unknown) = words.iter().find(|word| !known.contains(&word.as_str())) else {
        return Ok(());
    };
    let but = if known.is_empty() { String::new() } else { format!(" but {}", known.join(" or ")) };
    Err(format!("{command} takes no argument{but}, and was given {unknown:?}"))
}

fn greeting(turn: &Turn, request: &Request) -> String {
    let user = request.user.as_deref().unwrap_or("stranger");
    let name = turn.state.config.command_name.as_ref().map(|name| format!(" ({name})"));
    format!(
        "Welcome, {user}! You are speaking to Einhorn Master Process {}{}, einhorn {}\n",
        turn.state.master_pid,
        name.unwrap_or_default(),
        release()
    )
}

fn change_target(turn: &mut Turn, verb: &str, by: i64) -> Answer {
    let old = turn.state.config.target;
    let new = i64::from(old) + by;
    if new < 1 {
        return Answer::refused(format!(
            "Can't decrease number of workers (already at {old}). Run kill {} if you really want \
             to stop einhorn.",
            turn.state.master_pid
        ));
    }
    if let Some(refusal) = pool::refuse_target(turn, new) {
        return Answer::refused(refusal);
    }
    pool::set_target(turn, u32::try_from(new).unwrap_or(old));
    log_and_answer(turn, format!("{verb} number of workers from {old} -> {new}"))
}

fn set_workers(turn: &mut Turn, words: &[String]) -> Answer {
    let wanted = match words {
        [word] => word.parse::<i64>().ok(),
        _ => None,
    };
    let valid = format!("a whole number from 1 to {WORKERS_MAX}");
    let Some(new) = wanted.filter(|new| *new >= 1) else {
        let why = format!("set_workers needs {valid}, not {:?}", words.join(" "));
        return Answer::not_understood(why);
    };
    if let Some(refusal) = pool::refuse_target(turn, new) {
        return Answer::refused(refusal);
    }
    let old = turn.state.config.target;
    let new = u32::try_from(new).unwrap_or(old);
    pool::set_target(turn, new);
    let doing = match new.cmp(&old) {
        std::cmp::Ordering::Greater => "Will spin up additional workers.",
        std::cmp::Ordering::Less => "Will gracefully terminate workers.",
        std::cmp::Ordering::Equal => "Nothing to do.",
    };
    log_and_answer(turn, format!("Altering worker count, {old} -> {new}. {doing}"))
}

fn change_verbosity(turn: &mut Turn, by: i8) -> Answer {
    let old = turn.state.config.verbosity;
    let new = Verbosity(old.0.saturating_add_signed(by)).min(Verbosity::ERROR);
    turn.state.config.verbosity = new;
    let level = match new {
        Verbosity::DEBUG => "debug",
        Verbosity::INFO => "info",
        _ => "errors only",
    };
    let verb = if new == old { "is already at" } else { "set to" };
    log_and_answer(turn, format!("Verbosity {verb} {} ({level})", new.0))
}

fn send_signals(turn: &mut Turn, words: &[String]) -> Answer {
    if words.is_empty() {
        return Answer::not_understood("signal needs the name of a signal, such as: signal HUP");
    }
    let signals = match parse_signals(words) {
        Ok(signals) => signals,
        Err(refusal) => return Answer::not_understood(refusal),
    };
    let workers = turn.all_workers();
    let mut messages = Vec::new();
    for signal in signals {
        turn.actions.extend(workers.iter().map(|pid| Action::Signal { pid: *pid, signal }));
        messages.push(log_and_answer(turn, shutdown::sent_message(signal, &workers)).message);
    }
    Answer::done(messages.join("\n"))
}

fn die(turn: &mut Turn, words: &[String]) -> Answer {
    if words.len() > 1 {
        let why = "die takes one signal at most, such as: die TERM, or --next";
        return Answer::not_understood(why);
    }
    if words.first().is_some_and(|word| word == NEXT) {
        return Answer::done(format!("Einhorn is going down! {}", shutdown::next_step(turn)));
    }
    match parse_signals(words) {
        Err(refusal) => Answer::not_understood(refusal),
        Ok(signals) => {
            let sent = match signals.first() {
                Some(signal) => shutdown::with_signal(turn, *signal),
                None => shutdown::by_schedule(turn),
            };
            let message = format!("Einhorn is going down! {sent}");
            log_and_answer(turn, message)
        }
    }
}

fn parse_signals(words: &[String]) -> Result<Vec<Signal>, String> {
    let parse = |word: &String| {
        let known = || Signal::ALL.iter().map(|signal| signal.name()).collect::<Vec<_>>().join(" ");
        Signal::parse(word).ok_or_else(|| format!("Invalid signal: {word:?}. Known: {}", known()))
    };
    words.iter().map(parse).collect()
}

/// Logs a message and returns it as the answer to the client.
fn log_and_answer(turn: &mut Turn, message: String) -> Answer {
    turn.info(message.clone());
    Answer::done(message)
}
