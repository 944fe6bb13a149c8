//! The hand-over: the old image encodes its state and execs the candidate; the new image adopts the
//! state, or rolls back (docs/handover.md). Both halves are here, side by side.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::decide::{Event, Level};
use crate::master::Master;
use crate::master::child::{Child, status};
use crate::master::clients::client_limit::client_limit;
use crate::master::clients::connections::Connections;
use crate::master::descriptors::{
    carried_file, identity, owned_file, skipped_section_note, verify_descriptors,
};
use crate::master::environment::without_own_variables;
use crate::master::log::Log;
use crate::master::ruby::takeover::{self, Note};
use crate::master::running_master::{Clients, Resources, Wakeups};
use crate::master::source::Source;
use crate::master::upgrade::candidate::{Candidate, NextImage};
use crate::master::upgrade::exec::ExecRequest;
use crate::master::upgrade::open_files::{current_limit, lower_hard_limits, original_limit};
use crate::master::upgrade::pin::verify_directory;
use crate::master::upgrade::rollback::Adoption;
use crate::master::workers::stderr_to_log::WorkerStderr;
use crate::preflight::PinnedFrom;
use crate::ruby::Original;
use crate::schema::{self, Carried, Handover, Role};
use crate::state::{ExitStatus, Pid, Reexec, Rollout, Stage, release};
use crate::sys::poll::{Interest, Poll};
use crate::sys::signal::{self, ForeignImage, Signals};
use crate::sys::{descriptor, limit, memfd, pidfd, process, title};

/// How long a wrapper script may take to exec the next image. The master serves nothing meanwhile;
/// a script that takes longer has hung, and a supervisor can restart the master. Shorter in test
/// builds.
const WRAPPER_SECONDS_MAX: u32 = if cfg!(feature = "next") { 5 } else { 60 };

// ---- the old image ----

impl Master {
    /// Execs the candidate that passed its preflight. Returns only if that failed, or if the
    /// upgrade was aborted meanwhile; nothing has changed.
    pub(in crate::master) fn hand_over(&mut self, next_image: NextImage) {
        // Events that have arrived must be in the state before it is encoded; ends come first, so
        // that nobody who has ended is asked to stop.
        self.reap_children();
        self.deliver_pending_signals();
        self.reap_children();
        self.drain_signals();
        self.dispatch_events();
        if !matches!(self.state.reexec, Some(Reexec { stage: Stage::HandingOver, .. })) {
            return;
        }
        self.log.flush();
        // A Ruby Einhorn would take the orphans that come to it for its workers.
        let wants_orphans = matches!(next_image, NextImage::Einhorn);
        self.set_subreaper(wants_orphans);
        let tried = match &self.upgrade.candidate {
            None => Err(anyhow!("there is no candidate")),
            Some(candidate) => self.try_hand_over(candidate, next_image),
        };
        let Err(why) = tried;
        let why = format!("{why:#}");
        self.upgrade.candidate = None;
        self.set_subreaper(true);
        // SIGCHLD may have been lost if a wrapper was to be executed.
        self.reap_children();
        self.events.push_back(Event::HandOverFailed { why });
        self.dispatch_events();
    }

    fn try_hand_over(&self, candidate: &Candidate, next_image: NextImage) -> Result<Infallible> {
        candidate.verify_unchanged()?;
        self.state.check().map_err(Error::msg).context("the state is inconsistent")?;
        match next_image {
            NextImage::Einhorn => self.hand_over_to(candidate),
            NextImage::Ruby => self.hand_back_to(candidate),
        }
    }

    fn hand_over_to(&self, candidate: &Candidate) -> Result<Infallible> {
        // Shells reap children that they did not start; a pidfd still reports their exit.
        let pidfds = match candidate.is_wrapper() {
            true => self.open_pidfds(),
            false => Vec::new(),
        };
        let handover = self.handover(&pidfds).context("cannot list descriptors")?;
        let rollback = self.resources.image.as_ref().map(|image| image.as_raw_fd());
        let bytes = schema::encode(&handover, rollback, None)?;
        let state =
            memfd::sealed("einhorn-state", &bytes).context("cannot make a memfd for the state")?;
        let mut carried: Vec<RawFd> = handover.numbers().collect();
        let open_files = original_limit(&self.origin, &carried);
        carried.extend(rollback);
        let foreign_image = ForeignImage::Wrapper { seconds_max: WRAPPER_SECONDS_MAX };
        let foreign_image = candidate.is_wrapper().then_some(foreign_image);
        self.execute(candidate, ExecRequest { state: &state, carried, open_files, foreign_image })
    }

    fn open_pidfds(&self) -> Vec<(Pid, OwnedFd)> {
        let open = |pid: &Pid| Some((*pid, pidfd::open(pid.0).ok()?));
        self.state.workers.keys().filter_map(open).collect()
    }

    /// Collects everything that the next image needs.
    pub(in crate::master) fn handover(&self, pidfds: &[(Pid, OwnedFd)]) -> io::Result<Handover> {
        let connections = self.clients.connections.carried();
        let mut numbers = vec![(Role::CommandSocket, self.clients.command_socket.as_raw_fd())];
        let listeners = self.state.listeners.iter().map(|listener| listener.descriptor);
        numbers.extend((0..).map(Role::Listener).zip(listeners));
        numbers.extend(connections.iter().map(|(c, number)| (Role::Connection(c.id), *number)));
        let socket_lock = self.resources.socket_lock.iter();
        numbers.extend(socket_lock.map(|file| (Role::SocketLock, file.as_raw_fd())));
        numbers.extend(self.resources.lock.iter().map(|file| (Role::Lock, file.as_raw_fd())));
        numbers.extend(self.resources.pidfile.iter().map(|file| (Role::Pidfile, file.as_raw_fd())));
        numbers.extend(pidfds.iter().map(|(pid, fd)| (Role::Worker(*pid), fd.as_raw_fd())));
        numbers.extend(
            self.resources.inherited_fds.iter().map(|fd| (Role::Inherited, fd.as_raw_fd())),
        );
        let carry = |(role, number): (Role, RawFd)| -> io::Result<Carried> {
            Ok(Carried { role, number, identity: identity(number)? })
        };
        Ok(Handover {
            release: release().to_owned(),
            state: self.state.clone(),
            origin: self.origin.clone(),
            descriptors: numbers.into_iter().map(carry).collect::<Result<_, _>>()?,
            connections: connections.into_iter().map(|(connection, _)| connection).collect(),
            next_connection: self.clients.connections.next_id(),
            helpers: self.children.iter().filter_map(helper).collect(),
            files: self.resources.files.iter().map(carried_file).collect(),
            worker_stderr: self
                .worker_stderr
                .as_ref()
                .map_or(Ok(Vec::new()), WorkerStderr::carried)?,
            unlogged: self.log.unlogged(),
            senders: self.clients.connections.carried_senders(),
        })
    }
}

fn helper((pid, child): (&Pid, &Child)) -> Option<(Pid, String)> {
    match child {
        Child::Helper(what) => Some((*pid, what.clone())),
        Child::Candidate(_) | Child::CanaryCheck => None,
    }
}

// ---- the new image ----

impl Master {
    /// Prepares to continue from the previous image.
    ///
    /// # Errors
    /// Why this image cannot continue. Nothing has been taken over, so [`Adoption::roll_back`] is
    /// still possible, as it is after a panic.
    pub fn prepare(adoption: &Adoption) -> Result<Prepared> {
        let bytes = takeover::read_state(adoption.state_fd)?;
        fail_point("decode")?;
        let pinned_from = adoption.pinned_from()?;
        let (handover, mut notes) = match Original::is_ruby_state(&bytes) {
            true => takeover::adopt(&bytes, &adoption.launch, adoption.state_fd)?,
            false => {
                let decoded = schema::decode(&bytes)?;
                let notes =
                    decoded.skipped.iter().map(|name| (Level::Info, skipped_section_note(name)));
                (decoded.handover, notes.collect())
            }
        };
        let own = process::own_pid();
        if handover.state.master_pid != Pid(own) {
            let master = handover.state.master_pid;
            bail!("the state belongs to process {master}, but this is {own}");
        }
        fail_point("identity")?;
        verify_descriptors(&handover)?;
        if let Some(from) = &pinned_from {
            verify_directory(from, &handover)?;
        }
        let open_files =
            current_limit(&handover, pinned_from.as_ref(), adoption.rolled_back.is_some());
        // Room for what is opened below; a roll-back can undo it. A failure is reported later.
        let _ = limit::open_files().and_then(limit::raise_open_files);
        descriptor::close_inherited_on_exec().context("cannot set flags")?;
        fail_point("workers")?;
        let lost = lost_workers(&handover, &mut notes);
        fail_point("build")?;
        let log = match handover.state.config.syslog {
            true => Log::to_syslog_when_available(own).context("cannot open the log")?,
            false => Log::to_standard_error(own),
        };
        let signals = Signals::new().context("cannot handle signals")?;
        let poll = watch(&handover, &signals).context("cannot watch")?;
        let captures_stderr = handover.state.config.capture_stderr;
        let worker_stderr =
            captures_stderr.then(|| WorkerStderr::watch_carried(&handover.worker_stderr));
        let worker_stderr = worker_stderr.transpose().context("cannot watch workers")?;
        let image = descriptor::own_image().ok();
        fail_point("panic")?;
        Ok(Prepared {
            handover,
            notes,
            lost,
            pinned_from,
            parts: Parts { log, signals, poll, worker_stderr, image, open_files },
        })
    }

    /// Continues from the previous image. There is no roll-back from here.
    pub fn adopt(adoption: &Adoption, rollback: Option<RawFd>, prepared: Prepared) -> Master {
        let Prepared { handover, notes, lost, pinned_from, parts } = prepared;
        let old_directory = pinned_from.as_ref().map(|from| from.directory);
        let to_close: Vec<RawFd> =
            rollback.into_iter().chain(old_directory).chain([adoption.state_fd]).collect();
        let used: Vec<RawFd> = handover.numbers().chain(to_close.iter().copied()).collect();
        let is_unused = |number: &RawFd| !used.contains(number);
        let unused = adoption.launch.open_at_start.iter().copied().filter(is_unused).collect();
        let from_release = handover.release.clone();
        let open_files = parts.open_files;
        let mut master = Master::assemble(adoption, handover, parts);
        for (level, note) in notes {
            master.log(level, &note);
        }
        for (pid, status) in lost {
            master.child_ended(pid, status);
        }
        master.set_adopted_session_levels();
        master.events.push_back(match &adoption.rolled_back {
            None => Event::Adopted { from_release },
            Some(why) => Event::RolledBack { why: why.clone() },
        });
        if let Err(error) = limit::raise_open_files(open_files) {
            master.log(Level::Error, &format!("Cannot raise the limit of open files: {error}"));
        }
        if let Some(Err(why)) = pinned_from.as_ref().map(lower_hard_limits) {
            master.log(Level::Error, &format!("{why:#}"));
        }
        master.confirm(to_close, unused);
        master
    }

    /// Takes ownership of the verified descriptors and builds the master.
    fn assemble(adoption: &Adoption, handover: Handover, parts: Parts) -> Master {
        let mut claimed: BTreeMap<Role, OwnedFd> = BTreeMap::new();
        let mut inherited_fds = Vec::new();
        for carried in &handover.descriptors {
            let fd = descriptor::claim(carried.number);
            match carried.role {
                Role::Inherited => inherited_fds.push(fd),
                Role::Worker(_) => drop(fd),
                role => drop(claimed.insert(role, fd)),
            }
        }
        let mut take = |role: Role| claimed.remove(&role);
        let listeners = (0..).map_while(|index| take(Role::Listener(index))).collect();
        let mut connections = Connections::new();
        let carried = handover.connections.into_iter();
        let streams = carried.filter_map(|c| take(Role::Connection(c.id)).map(|fd| (c, fd)));
        connections.adopt(streams.collect(), handover.senders, handover.next_connection);
        let most = parts.open_files.hard;
        let worker_stderr =
            parts.worker_stderr.map(|poll| WorkerStderr::adopt(poll, handover.worker_stderr, most));
        let Some(command_socket) = take(Role::CommandSocket) else {
            unreachable!("schema::decode refuses a table without it");
        };
        let mut origin = handover.origin;
        origin.open_files_soft = parts.open_files.soft;
        origin.open_files_hard = parts.open_files.hard;
        if adoption.rolled_back.is_none() {
            // Variables that a wrapper has set apply from now on.
            origin.environment = without_own_variables(&adoption.launch.environment);
        }
        let check = handover.state.rollout.as_ref().and_then(Rollout::check);
        let helpers = handover.helpers.into_iter().map(|(pid, what)| (pid, Child::Helper(what)));
        let children = helpers.chain(check.map(|pid| (pid, Child::CanaryCheck)));
        // A wrapper's shell may have reaped it.
        let children = children.filter(|(pid, _)| !is_lost(*pid)).collect();
        let resources = Resources {
            _listeners: listeners,
            socket_lock: take(Role::SocketLock).map(Into::into),
            lock: take(Role::Lock).map(Into::into),
            pidfile: take(Role::Pidfile).map(Into::into),
            inherited_fds,
            image: parts.image,
            files: handover.files.into_iter().map(owned_file).collect(),
        };
        let limit = client_limit(parts.open_files.hard);
        let clients = Clients { command_socket, accept_again_at: None, connections, limit };
        let wait_mask = origin.mask().without_handled();
        let wakeups = Wakeups { poll: parts.poll, signals: parts.signals, wait_mask };
        let log = parts.log.with_backlog(handover.unlogged);
        let mut master =
            Master::new(handover.state, log, origin, clients, worker_stderr, wakeups, resources);
        master.children = children;
        master
    }

    /// The point of no return: closes the rollback image and unused descriptors, and restores what
    /// the previous image lacked.
    fn confirm(&mut self, to_close: Vec<RawFd>, unused: Vec<RawFd>) {
        signal::set_alarm(0);
        for number in to_close {
            drop(descriptor::claim(number));
        }
        for number in unused {
            drop(descriptor::claim(number));
            self.log(Level::Info, &format!("Closed descriptor {number}, which is not in use"));
        }
        self.restore_locks();
        self.restore_command_socket();
        if let Some(name) = self.origin.own_path.file_name() {
            // Older kernels name a process that was executed by descriptor after its number.
            title::set_process_name(name);
        }
        if let Some(name) = self.state.config.command_name.clone() {
            // Until now ps shows the command line of the exec.
            let _ = title::set(&format!("einhorn: {name}"));
        }
    }
}

/// Everything needed to continue; nothing is taken over yet.
#[derive(Debug)]
pub struct Prepared {
    handover: Handover,
    notes: Vec<Note>,
    lost: Vec<(Pid, ExitStatus)>,
    pinned_from: Option<PinnedFrom>,
    parts: Parts,
}

/// What the new image creates for itself before it takes anything over.
#[derive(Debug)]
struct Parts {
    log: Log,
    signals: Signals,
    poll: Poll,
    /// The poll of the workers' standard error, if that is captured.
    worker_stderr: Option<Poll>,
    image: Option<OwnedFd>,
    open_files: limit::Limit,
}

/// Workers, and the `--on-canary` command, that another program reaped: a wrapper's shell.
fn lost_workers(handover: &Handover, notes: &mut Vec<Note>) -> Vec<(Pid, ExitStatus)> {
    // The pidfd comes first: the pid of a reaped process may have been reused by now.
    let reaped = |pid: &Pid| -> Option<ExitStatus> {
        let carried = handover.descriptors.iter().find(|c| c.role == Role::Worker(*pid))?;
        match pidfd::exit_state(descriptor::borrow(carried.number)).ok()? {
            pidfd::ExitState::Reaped(known) => Some(known.map_or(ExitStatus::Unknown, status)),
            pidfd::ExitState::NotReaped => None,
        }
    };
    let check = handover.state.rollout.as_ref().and_then(Rollout::check);
    let children: Vec<Pid> = handover.state.workers.keys().copied().chain(check).collect();
    if let Some(error) = children.iter().find_map(|pid| process::is_child(pid.0).err()) {
        let note = format!("Cannot ask which workers live: {error}; assuming that they do");
        notes.push((Level::Error, note));
    }
    let gone = |pid: &Pid| is_lost(*pid).then_some(ExitStatus::Unknown);
    children.iter().filter_map(|pid| Some((*pid, reaped(pid).or_else(|| gone(pid))?))).collect()
}

/// Whether a child is known to be gone. If the kernel does not tell, it counts as alive: otherwise
/// it would be forgotten, and one worker too many started.
fn is_lost(pid: Pid) -> bool {
    process::is_child(pid.0).is_ok_and(|is_child| !is_child)
}

fn watch(handover: &Handover, signals: &Signals) -> io::Result<Poll> {
    let poll = Poll::new()?;
    poll.add(signals.descriptor(), Source::Signals, Interest::READ)?;
    for carried in &handover.descriptors {
        let source = match carried.role {
            Role::CommandSocket => Source::CommandSocket,
            Role::Connection(id) => Source::Connection(id),
            _ => continue,
        };
        poll.add(descriptor::borrow(carried.number), source, Interest::READ)?;
    }
    Ok(poll)
}

/// Fails where a test asks for it; test builds only.
fn fail_point(step: &str) -> Result<()> {
    #[cfg(feature = "next")]
    if std::env::var_os("EINHORN_TEST_FAIL_ADOPT").is_some_and(|wanted| wanted == step) {
        assert!(step != "panic", "a panic that a test asked for");
        bail!("a failure at {step} that a test asked for");
    }
    let _ = step;
    Ok(())
}
