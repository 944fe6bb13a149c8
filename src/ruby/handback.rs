//! Writes a hand-over in the original's format: the state and the descriptors (behaviour.md section
//! 8, docs/handover.md).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::protocol::{Psych, Reply, document};
use crate::ruby::Original;
use crate::ruby::dump::{DumpContext, facts, time};
use crate::scalar::Scalar;
use crate::schema::{CarriedConnection, Handover, Role};
use crate::state::{
    AckMode, Address, ConnectionId, Family, Listener, Monotonic, Now, Realtime, ReexecMode,
    RolloutBounds, RolloutKind, State, Waiter, WaitsFor,
};

/// The final reply to a client that only waits for the re-exec.
const RELOADED: &str = "Handed back: a Ruby Einhorn goes on";

/// The final reply to a client that waits for a roll-out, if the original cannot notify it later.
const ROLLOUT_CONTINUES: &str = "Handed back: a Ruby Einhorn goes on with the roll-out, and tells \
                                 how it ends to the newest request of a connection that has an id";

/// The final reply to a client that waits for old workers to drain.
const NOT_DRAINED: &str = "Not drained: handed back to a Ruby Einhorn, which does not tell";

/// Names everything in this state that the original cannot represent.
pub fn unknown_to_ruby(state: &State) -> Vec<String> {
    let listeners = state.listeners.iter().filter(|listener| !is_known(listener));
    let named = listeners.map(|listener| format!("the listener {}", listener.bind.address));
    named.chain(unknown_features(state).map(|name| format!("the feature {name:?}"))).collect()
}

/// Features in use that the original would ignore, changing the meaning of the state.
fn unknown_features(state: &State) -> impl Iterator<Item = &'static str> {
    let (config, bounds) = (&state.config, &state.config.rollout);
    let default = RolloutBounds::default();
    let is_canary_default = bounds.canary == default.canary
        && bounds.on_canary == default.on_canary
        && bounds.on_canary_timeout == default.on_canary_timeout;
    let started = state.workers.values().map(|worker| worker.generation);
    let mut given = started.chain(state.ordered.values().copied());
    let in_use = [
        ("ack-timeout", bounds.ack_timeout != default.ack_timeout),
        ("upgrade-timeout", bounds.upgrade_timeout != default.upgrade_timeout),
        ("upgrade-max-failures", bounds.failures_max != default.failures_max),
        ("canary", !is_canary_default),
        ("stop", config.stop.is_some()),
        ("chdir", config.chdir.is_some()),
        ("env-file", config.env_file.is_some()),
        ("metrics-file", config.metrics_file.is_some()),
        ("failed-generation", given.any(|generation| generation > state.generation)),
        ("capture-stderr", config.capture_stderr),
    ];
    in_use.into_iter().filter(|(_, is_used)| *is_used).map(|(feature, _)| feature)
}

/// Whether the original supports a listener: it binds only IPv4 and TCP, and does not pass the
/// address family to workers.
fn is_known(listener: &Listener) -> bool {
    listener.family == Family::Inet && matches!(listener.bind.address, Address::Tcp { .. })
}

/// What will change after a hand-back, as a clause each: options that the original lacks.
pub fn changes(state: &State) -> Vec<&'static str> {
    let config = &state.config;
    let is_pinned = config.reexec_mode == ReexecMode::Pinned;
    let changes = [
        (config.retries.is_some(), "it knows no --retries, and tries for ever"),
        (config.syslog, "it knows no --syslog, and logs to standard error"),
        (
            is_pinned,
            "it knows no --reexec-mode, and runs its re-exec command in the master's place",
        ),
        (
            !state.leftovers.is_empty(),
            "it does not look after what workers have left running in their process groups",
        ),
    ];
    changes.into_iter().filter(|(holds, _)| *holds).map(|(_, change)| change).collect()
}

/// Writes everything that a Ruby Einhorn needs to continue where this master stops: the YAML
/// document that it reads from `--with-state-fd`.
///
/// # Errors
/// The original cannot represent the state, a descriptor is missing from the table, or the document
/// does not read back as the same state; the message names the part.
pub fn write(handover: &Handover, now: Now) -> Result<String, String> {
    let state = &handover.state;
    let unknown = unknown_to_ruby(state);
    if !unknown.is_empty() {
        return Err(format!("a Ruby Einhorn cannot hold {}", unknown.join(", ")));
    }
    let asked = state.reexec.and_then(|reexec| reexec.kind.rollout());
    let under_way = state.rollout.as_ref().map(|rollout| rollout.kind);
    let context = DumpContext {
        helpers: &handover.helpers,
        retries: None,
        is_smooth: asked.or(under_way) == Some(RolloutKind::Smooth),
        generation: state.reexec_count.saturating_add(1),
        // Without one, the original's arithmetic fails, and a smooth upgrade would crash it.
        last_spinup: Some(state.last_spawned_on.unwrap_or(now.realtime)),
    };
    let descriptors = persistent(handover, now)?;
    let document = document(&Psych::symbols(vec![
        ("state", facts(state, &context)),
        ("persistent_descriptors", Psych::List(descriptors)),
    ]));
    // If the Ruby master cannot read it, there is no rollback; so read it back first.
    let original = Original::read(document.as_bytes())
        .map_err(|why| format!("what is written for it cannot be read: {why}"))?;
    match difference(&original, handover, &context) {
        None => Ok(document),
        Some(what) => Err(format!("what is written for it reads back as other {what}")),
    }
}

/// Names a part of the document that does not read back as this master's state; descriptors are
/// compared with the table of those that are passed on.
fn difference(
    original: &Original,
    handover: &Handover,
    context: &DumpContext<'_>,
) -> Option<&'static str> {
    let Handover { state, descriptors, connections, .. } = handover;
    let numbers = |is_it: &dyn Fn(Role) -> bool| -> BTreeSet<i32> {
        let these = descriptors.iter().filter(|carried| is_it(carried.role));
        these.map(|carried| carried.number).collect()
    };
    let left = connections.iter().filter(|one| !is_handed_back(one));
    let left: Vec<Role> = left.map(|one| Role::Connection(one.id)).collect();
    let is_client = |role| matches!(role, Role::Connection(_)) && !left.contains(&role);
    let listeners = original.listeners.iter().map(|listener| listener.descriptor).collect();
    let upgrade = (original.upgrading, original.smooth_upgrade, original.reloading_for_upgrade);
    let is_to_roll_out = state.reexec.is_some_and(|reexec| reexec.kind.rollout().is_some());
    let same = [
        (original.workers().eq(state.workers.keys().map(|pid| pid.0)), "workers"),
        (original.version == state.generation.0, "generation"),
        (
            upgrade == (state.rollout.is_some(), context.is_smooth, is_to_roll_out),
            "steps of the upgrade",
        ),
        (
            numbers(&|role| role == Role::CommandSocket) == [original.command_server].into(),
            "command socket",
        ),
        (numbers(&|role| matches!(role, Role::Listener(_))) == listeners, "listeners"),
        (numbers(&is_client) == original.clients().collect(), "connections"),
    ];
    same.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
}

/// Whether a connection is handed back. One that is closing and has no pending output is left out,
/// which closes it.
pub fn is_handed_back(connection: &CarriedConnection) -> bool {
    !connection.is_closing || !connection.output.is_empty()
}

/// The original's persistent descriptors, which include ACK timers.
fn persistent(handover: &Handover, now: Now) -> Result<Vec<Psych>, String> {
    let number = |role: Role, what: &str| {
        let carried = handover.descriptors.iter().find(|carried| carried.role == role);
        carried.map(|carried| Psych::integer(carried.number)).ok_or(format!("{what} is not open"))
    };
    let server = number(Role::CommandSocket, "the command socket")?;
    let mut entries = vec![entry("CommandServer", vec![("server", server)])];
    let mut waiting: BTreeMap<ConnectionId, Vec<&Waiter>> = BTreeMap::new();
    for waiter in &handover.state.waiters {
        waiting.entry(waiter.connection).or_default().push(waiter);
    }
    for carried in handover.connections.iter().filter(|connection| is_handed_back(connection)) {
        let what = format!("connection {}", carried.id.0);
        let socket = number(Role::Connection(carried.id), &what)?;
        let waiters = waiting.remove(&carried.id).unwrap_or_default();
        entries.push(connection(socket, carried, &waiters));
    }
    entries.extend(ack_timers(&handover.state, now));
    Ok(entries)
}

fn entry(class: &str, facts: Vec<(&'static str, Psych)>) -> Psych {
    // As text: the original looks the class up by name, and does not load classes from YAML.
    let class = Psych::text(format!("Einhorn::Event::{class}"));
    Psych::symbols([vec![("class", class)], facts].concat())
}

/// A connection. The original can subscribe one request id of it to a roll-out; other requests get
/// their final reply now, in the write buffer, which is flushed only if the state is adopted.
fn connection(socket: Psych, carried: &CarriedConnection, waiters: &[&Waiter]) -> Psych {
    let subscribed = waiters.iter().rposition(|waiter| can_be_subscribed(waiter));
    let mut output = carried.output.clone();
    for (index, waiter) in waiters.iter().enumerate() {
        if Some(index) != subscribed {
            let message = match waiter.waits_for {
                WaitsFor::Reexec | WaitsFor::Settled | WaitsFor::Exit => RELOADED,
                WaitsFor::Rollout | WaitsFor::Upgrade => ROLLOUT_CONTINUES,
                WaitsFor::Drained { .. } => NOT_DRAINED,
            };
            let request_id = waiter.request_id.clone();
            let event = None;
            let reply = Reply { message: message.to_owned(), request_id, wait: false, event };
            output.extend_from_slice(reply.to_line().as_bytes());
        }
    }
    let id = subscribed.and_then(|index| waiters[index].request_id.clone());
    let subscriptions = id.map(|id| ("upgrade", Psych::Scalar(id))).into_iter().collect();
    let buffers = [("read_buffer", &remaining_input(carried)), ("write_buffer", &output)];
    let mut facts = vec![("socket", socket)];
    let filled = buffers.into_iter().filter(|(_, bytes)| !bytes.is_empty());
    facts.extend(filled.map(|(name, bytes)| (name, buffer(bytes))));
    facts.push(("subscriptions", Psych::symbols(subscriptions)));
    entry("Connection", facts)
}

/// The input that the original continues with. The rest of a line whose start was discarded must
/// not be taken for a command: no command begins with `]`, whatever follows, while one might begin
/// with `{`.
fn remaining_input(carried: &CarriedConnection) -> Vec<u8> {
    let input = carried.input.as_slice();
    let is_within_line = carried.is_discarding || !input.is_empty() && !input.ends_with(b"\n");
    match (carried.is_closing, carried.is_discarding) {
        // No further request is read from it.
        (true, _) if is_within_line => b"]".to_vec(),
        (true, _) => Vec::new(),
        (false, true) => [b"]", input].concat(),
        (false, false) => input.to_vec(),
    }
}

/// Whether the original can notify this waiter of the end of a roll-out: it notifies only ids that
/// are truthy in Ruby.
fn can_be_subscribed(waiter: &Waiter) -> bool {
    let has_id = !matches!(waiter.request_id, None | Some(Scalar::Bool(false)));
    has_id && matches!(waiter.waits_for, WaitsFor::Rollout | WaitsFor::Upgrade)
}

/// A read or write buffer. The original counts written bytes but cuts the buffer by characters, and
/// appends bytes to its read buffer. Non-ASCII data in a character string would therefore crash it,
/// so it is written as binary, as the original does for itself.
fn buffer(bytes: &[u8]) -> Psych {
    match bytes.is_ascii() {
        true => Psych::bytes(bytes),
        false => Psych::Binary(bytes.to_vec()),
    }
}

/// An ACK timer for each worker that is not ACKed yet.
fn ack_timers(state: &State, now: Now) -> impl Iterator<Item = Psych> {
    let after = match state.config.ack_mode {
        AckMode::Timer(after) => Some(after),
        AckMode::Manual => None,
    };
    let pending = state.workers.iter().filter(|(_, worker)| !worker.is_acked());
    pending.filter_map(move |(pid, worker)| {
        let timer = vec![
            ("time", Psych::Scalar(Scalar::Float(after?.as_secs_f64()))),
            ("start", time(to_realtime(worker.spawned_at, now))),
            ("pid", Psych::integer(pid.0)),
        ];
        Some(entry("ACKTimer", timer))
    })
}

/// Converts an instant to calendar time, relative to now, so that clock adjustments in between do
/// not count as time that a worker has been running.
fn to_realtime(at: Monotonic, now: Now) -> Realtime {
    let ago: Duration = now.monotonic.since(at);
    Realtime(now.realtime.0.saturating_sub(i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX)))
}
