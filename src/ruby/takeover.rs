//! Converts a Ruby master's state to one of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::protocol::LINE_MAX;
use crate::ruby::connection::Subscription;
use crate::ruby::original::{self, Original};
use crate::schema::{Carried, CarriedConnection, Handover, Identity, Origin, Role};
use crate::state::{
    self, AckMode, Address, Config, Connection, ConnectionId, Family, Generation, Listener,
    Monotonic, Now, Pid, Ping, Realtime, Reexec, Rollout, RolloutKind, Slot, Stage, State,
    StopProgress, Stopping, UpgradeKind, Waiter, WaitsFor, Worker,
};

/// Facts about the machine and this process.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The pid of the master.
    pub master_pid: Pid,
    /// The current time.
    pub now: Now,
    /// The number of processors.
    pub processor_count: u32,
    /// How this image was started.
    pub origin: Origin,
    /// The directory that relative paths are based on.
    pub directory: PathBuf,
    /// The directory of files without an explicit path.
    pub default_folder: PathBuf,
    /// The open files of [`Original::descriptors`], by number.
    pub found: BTreeMap<i32, Found>,
    /// The parentage of the processes of [`Original::workers`].
    pub parentage: BTreeMap<i32, Parentage>,
    /// The lock file, and the pid file if it is the master's.
    pub files: Vec<(Role, i32, Identity)>,
    /// Other open descriptors, kept because children may depend on them.
    pub inherited_fds: Vec<(i32, Identity)>,
    /// The id of the first connection.
    pub first_connection: ConnectionId,
}

/// An open file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its identity.
    pub identity: Identity,
    /// The socket, if it is one.
    pub socket: Option<Socket>,
}

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its family; `None` if unsupported.
    pub family: Option<Family>,
    /// Whether it is a stream socket.
    pub is_stream: bool,
    /// The port that it is bound to.
    pub port: Option<u16>,
    /// The path that it is bound to.
    pub path: Option<PathBuf>,
    /// The pid of the peer.
    pub peer: Option<i32>,
}

/// Whether a process is a child of the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parentage {
    /// It is the master's child.
    Ours,
    /// It is another process's child.
    Foreign,
    /// It does not exist.
    Gone,
}

/// A converted state.
#[derive(Clone, Debug, PartialEq)]
pub struct Takeover {
    /// The hand-over, as if one of our masters had written it.
    pub handover: Handover,
    /// What will be different after the takeover, as messages for the log.
    pub notes: Vec<String>,
}

impl Original {
    /// The path of its command socket: the configured one, or else the bound one.
    ///
    /// # Errors
    /// The path is unknown.
    pub fn socket_path(&self, facts: &Facts) -> Result<PathBuf, String> {
        let asked = self.options.socket_path.clone().map(PathBuf::from);
        let bound = || facts.found.get(&self.command_server)?.socket.as_ref()?.path.clone();
        let path = asked.or_else(bound).ok_or("the path of the command server is unknown")?;
        Ok(facts.directory.join(path))
    }

    /// The path of its pid file (`pid`) or lock file (`lock`). By default it is in the default
    /// directory, whatever path the command socket was given. If that was given none, it is in the
    /// default directory too, so its own directory is used: this is more reliable than our
    /// environment.
    ///
    /// # Errors
    /// As [`Original::socket_path`].
    pub fn file_path(&self, extension: &str, facts: &Facts) -> Result<PathBuf, String> {
        let asked = match extension {
            "pid" => &self.options.pidfile,
            _ => &self.options.lockfile,
        };
        if let Some(asked) = asked {
            return Ok(facts.directory.join(asked));
        }
        let name = state::default_file_name(self.options.config.command_name.as_deref(), extension);
        match self.options.socket_path {
            Some(_) => Ok(facts.directory.join(&facts.default_folder).join(name)),
            None => Ok(self.socket_path(facts)?.with_file_name(name)),
        }
    }

    /// Converts the state to one of ours.
    ///
    /// # Errors
    /// A field, which the message names, cannot be honoured.
    pub fn take_over(&self, facts: &Facts) -> Result<Takeover, String> {
        self.check_descriptors(facts)?;
        let mut notes = self.notes.clone();
        self.check_parentage(facts, &mut notes)?;
        let listeners = self.listeners.iter().map(|listener| taken_listener(listener, facts));
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let config = Config {
            socket_path: self.socket_path(facts)?,
            pidfile: self.file_path("pid", facts)?,
            lockfile: self.file_path("lock", facts)?,
            is_lockfile_named: self.options.lockfile.is_some(),
            ..self.options.config.clone()
        };
        let mut state = State::new(config, listeners, facts.master_pid, facts.processor_count);
        state.cold_start_count = 0;
        state.workers = self.taken_workers(facts, &mut notes);
        state.generation = Generation(self.version);
        state.newest_generation = state.generation;
        // The original has already counted this exec; we count it once it is complete.
        state.reexec_count = self.generation.saturating_sub(1);
        state.early_death_count = self.early_death_count;
        state.last_spawned_on = self.last_spinup;
        state.last_spawn_at = self.last_spinup.map(|on| to_monotonic(on, facts.now));
        state.last_upgraded_on = self.last_upgraded;
        if !self.respawn {
            state.stopping = Some(Stopping { exit_code: 0 });
        } else {
            self.take_upgrade(&mut state, facts);
        }
        let connections = self.take_connections(&mut state, facts);
        let next = facts.first_connection.0 + u64::try_from(connections.len()).unwrap_or(u64::MAX);
        let helpers = self.passers.iter().map(|pid| (Pid(*pid), "handing over".to_owned()));
        let handover = Handover {
            release: "(Ruby)".to_owned(),
            state,
            origin: facts.origin.clone(),
            descriptors: self.carried(facts),
            connections,
            next_connection: ConnectionId(next),
            helpers: helpers.collect(),
            files: Vec::new(),
            worker_stderr: Vec::new(),
            unlogged: Vec::new(),
            senders: BTreeMap::new(),
        };
        Ok(Takeover { handover, notes })
    }

    /// Each descriptor number occurs once and refers to a socket of the right kind.
    fn check_descriptors(&self, facts: &Facts) -> Result<(), String> {
        let mut places: BTreeMap<i32, String> = BTreeMap::new();
        for (number, place) in self.descriptors() {
            if let Some(other) = places.insert(number, place.clone()) {
                return Err(format!("`{place}` is descriptor {number}, which `{other}` has too"));
            }
        }
        let need = |number: i32, what: &str, is_it: &dyn Fn(&Found, &Socket) -> bool| {
            let found = facts.found.get(&number);
            let socket = found.and_then(|found| Some((found, found.socket.as_ref()?)));
            match (found, socket.is_some_and(|(found, socket)| is_it(found, socket))) {
                (None, _) => Err(format!("`{}` {number} is not open", places[&number])),
                (Some(_), false) => Err(format!("`{}` {number} is no {what}", places[&number])),
                (Some(_), true) => Ok(()),
            }
        };
        need(self.command_server, "listening UNIX stream socket", &|found, socket| {
            found.identity.is_listening && socket.is_stream && socket.family == Some(Family::Unix)
        })?;
        for listener in &self.listeners {
            need(listener.descriptor, "listening stream socket", &|found, socket| {
                found.identity.is_listening && socket.is_stream && socket.family.is_some()
            })?;
        }
        for connection in &self.connections {
            need(connection.descriptor, "UNIX stream connection", &|found, socket| {
                let is_unix = socket.family == Some(Family::Unix);
                is_unix && socket.is_stream && !found.identity.is_listening
            })?;
        }
        Ok(())
    }

    /// If no worker is our child, the state belongs to another master. Some workers may have been
    /// reaped by a script that ran in the master's place, and their pids reused, but not all of
    /// them.
    fn check_parentage(&self, facts: &Facts, notes: &mut Vec<String>) -> Result<(), String> {
        let impossible = |pid: &i32| *pid <= 1 || *pid == facts.master_pid.0;
        if let Some(pid) = self.workers().chain(self.passers.iter().copied()).find(impossible) {
            return Err(format!("`:state: :children: {pid}` is no child of the master"));
        }
        let whose = |pid: i32| facts.parentage.get(&pid).copied().unwrap_or(Parentage::Gone);
        let foreign: Vec<i32> =
            self.workers().filter(|pid| whose(*pid) == Parentage::Foreign).collect();
        let Some(first) = foreign.first() else { return Ok(()) };
        if !self.workers().any(|pid| whose(pid) == Parentage::Ours) {
            let master = facts.master_pid;
            return Err(format!(
                "`:state: :children: {first}` is no child of the master (pid {master}): the state \
                 is another master's"
            ));
        }
        notes.extend(foreign.iter().map(|pid| {
            format!("Process {pid} is no child of this master any more: it counts as ended")
        }));
        Ok(())
    }

    fn taken_workers(&self, facts: &Facts, notes: &mut Vec<String>) -> BTreeMap<Pid, Worker> {
        let mut taken: BTreeMap<Pid, Worker> = BTreeMap::new();
        let mut used: BTreeSet<Slot> = self.workers.iter().filter_map(|w| w.slot).collect();
        let mut seen: BTreeSet<Slot> = BTreeSet::new();
        for child in &self.workers {
            let slot = match child.slot.filter(|slot| seen.insert(*slot)) {
                Some(slot) => slot,
                None => {
                    let free = (0..).map(Slot).find(|slot| !used.contains(slot));
                    let free = free.unwrap_or(Slot(0));
                    notes.push(format!("Worker {} has slot {} from now on", child.pid, free.0));
                    used.insert(free);
                    free
                }
            };
            let spawned_on = child.spinup_time.or(self.last_spinup).unwrap_or(facts.now.realtime);
            let now = Now { realtime: spawned_on, ..facts.now };
            let mut worker = Worker::new(slot, Generation(child.version.min(self.version)), now);
            worker.spawned_at = self.spawned_at(child.pid, spawned_on, facts.now);
            worker.acked_at = child.acked.then_some(worker.spawned_at);
            worker.signaled = child.signaled.clone();
            worker.last_signaled_on = child.last_signaled_at;
            if !worker.signaled.is_empty() {
                let since = child.last_signaled_at.unwrap_or(facts.now.realtime);
                let since = to_monotonic(since, facts.now);
                worker.stop_requested_at = Some(since);
                worker.stop_progress = Some(StopProgress { step: 0, since });
            }
            worker.ping =
                child.pinged_at.map(|at| Ping { at, request_id: child.pinged_request_id.clone() });
            taken.insert(Pid(child.pid), worker);
        }
        taken
    }

    /// When a worker was started. If its ACK timer is pending, this is set so that the timer
    /// expires when the original's would have.
    fn spawned_at(&self, pid: i32, spawned_on: Realtime, now: Now) -> Monotonic {
        let timer = self.ack_timers.iter().find(|timer| timer.pid == pid);
        let (Some(timer), AckMode::Timer(after)) = (timer, self.options.config.ack_mode) else {
            return to_monotonic(spawned_on, now);
        };
        let due = to_monotonic(timer.start, now) + timer.time;
        Monotonic(due.0.saturating_sub((Monotonic(0) + after).0))
    }

    /// Takes over the upgrade that is in progress or about to begin.
    fn take_upgrade(&self, state: &mut State, facts: &Facts) {
        let kind = if self.smooth_upgrade { RolloutKind::Smooth } else { RolloutKind::Fleet };
        let (from, now) = (state.previous_generation(), facts.now.monotonic);
        state.rollout = self.upgrading.then(|| Rollout::resumed(kind, from, now));
        let kind = match (self.reloading_for_upgrade, self.smooth_upgrade) {
            (false, _) => UpgradeKind::Reload,
            (true, true) => UpgradeKind::Smooth,
            (true, false) => UpgradeKind::Fleet,
        };
        let (asked_at, stage) = (now, Stage::HandingOver);
        state.reexec = Some(Reexec { kind, asked_at, stage, is_hand_back: false });
    }

    fn take_connections(&self, state: &mut State, facts: &Facts) -> Vec<CarriedConnection> {
        let mut carried = Vec::new();
        for (number, connection) in (facts.first_connection.0..).zip(&self.connections) {
            let id = ConnectionId(number);
            let owner = self.connection_owner(connection.descriptor, state, facts);
            if let Some(worker) = owner.and_then(|pid| state.workers.get_mut(&pid)) {
                worker.connection = Some(id);
            }
            state.connections.insert(id, Connection { given_to: owner });
            for (what, request_id) in &connection.subscriptions {
                let waits_for = match what {
                    Subscription::Upgrade if self.reloading_for_upgrade => WaitsFor::Upgrade,
                    Subscription::Upgrade if self.upgrading => WaitsFor::Rollout,
                    // A refused upgrade, about whose end the original does not notify clients.
                    Subscription::Upgrade | Subscription::Reload => WaitsFor::Reexec,
                };
                let request_id = request_id.clone();
                state.waiters.push(Waiter {
                    connection: id,
                    request_id,
                    waits_for,
                    wants_events: false,
                    until_drained: false,
                    killed_count: 0,
                });
            }
            let is_too_long =
                connection.input.len() > LINE_MAX && !connection.input.contains(&b'\n');
            carried.push(CarriedConnection {
                id,
                input: if is_too_long { Vec::new() } else { connection.input.clone() },
                is_discarding: is_too_long,
                output: connection.output.clone(),
                is_given: owner.is_some() || is_own_pair(connection.descriptor, facts),
                read_closed: false,
                is_closing: false,
            });
        }
        carried
    }

    /// The worker that owns a connection with `-g`. In the original, the worker connects itself.
    fn connection_owner(&self, descriptor: i32, state: &State, facts: &Facts) -> Option<Pid> {
        let pid = Pid(facts.found.get(&descriptor)?.socket.as_ref()?.peer?);
        let worker = state.workers.get(&pid)?;
        let is_first = self.options.config.command_socket_as_fd && worker.connection.is_none();
        is_first.then_some(pid)
    }

    fn carried(&self, facts: &Facts) -> Vec<Carried> {
        let mut numbers = vec![(Role::CommandSocket, self.command_server)];
        let listeners = self.listeners.iter().map(|listener| listener.descriptor);
        numbers.extend((0..).map(Role::Listener).zip(listeners));
        let ids = (facts.first_connection.0..).map(|id| Role::Connection(ConnectionId(id)));
        numbers.extend(ids.zip(self.connections.iter().map(|c| c.descriptor)));
        let identity = |number| facts.found.get(number).map(|f| f.identity).unwrap_or_default();
        let known = numbers.iter().map(|(role, number)| (*role, *number, identity(number)));
        let inherited_fds =
            facts.inherited_fds.iter().map(|(number, i)| (Role::Inherited, *number, *i));
        let all = known.chain(facts.files.iter().copied()).chain(inherited_fds);
        all.map(|(role, number, identity)| Carried { role, number, identity }).collect()
    }
}

/// Whether a master of ours has made a connection for a worker, before a Ruby master went on with
/// it: both ends are the master's own, and have no name. For whom, the original cannot tell.
fn is_own_pair(descriptor: i32, facts: &Facts) -> bool {
    let socket = facts.found.get(&descriptor).and_then(|found| found.socket.as_ref());
    socket.is_some_and(|socket| socket.peer == Some(facts.master_pid.0) && socket.path.is_none())
}

fn taken_listener(listener: &original::Listener, facts: &Facts) -> Result<Listener, String> {
    let socket = facts.found.get(&listener.descriptor).and_then(|found| found.socket.as_ref());
    let family = socket.and_then(|socket| socket.family);
    let (Some(socket), Some(family)) = (socket, family) else {
        return Err(format!("`{}` is no socket", listener.place));
    };
    let asked = match listener.bind.address {
        Address::Tcp { port, .. } | Address::Udp { port, .. } => Some(port),
        Address::Unix { .. } => None,
    };
    let is_same = asked.is_none_or(|port| port == 0 || socket.port == Some(port));
    if !is_same || asked.is_some() == (family == Family::Unix) {
        return Err(format!(
            "`{}` {} is bound to something else than {}",
            listener.place, listener.descriptor, listener.bind.address
        ));
    }
    Ok(Listener {
        bind: listener.bind.clone(),
        bound_by: if listener.is_word { state::BoundBy::Word } else { state::BoundBy::Option },
        descriptor: listener.descriptor,
        family,
        port: socket.port,
    })
}

/// Converts a calendar time to the monotonic clock: not later than now, nor before boot.
fn to_monotonic(on: Realtime, now: Now) -> Monotonic {
    let ago = u64::try_from(now.realtime.0.saturating_sub(on.0)).unwrap_or(0);
    Monotonic(now.monotonic.0.saturating_sub(ago))
}
