//! A master with every option at its default, and the few words in which tests talk to it.

use std::ffi::OsString;
use std::path::PathBuf;

use einhorn::decide::{Action, Authority, Event, Inspection, PreflightOutcome, step};
use einhorn::protocol::{Line, Request};
use einhorn::state::{
    CandidateReport, Config, ConnectionId, Disposition, ExitStatus, Monotonic, Now, Pid, Realtime,
    STATE_FORMAT, Signal, Slot, State,
};

/// The master's own pid.
pub(crate) const MASTER: Pid = Pid(900);

/// What `einhorn -n TARGET -- /srv/web` asks for.
pub(crate) fn config(target: u32) -> Config {
    Config {
        original_command: vec![OsString::from("web")],
        target,
        socket_path: PathBuf::from("/run/einhorn.sock"),
        pidfile: PathBuf::from("/run/einhorn.pid"),
        lockfile: PathBuf::from("/run/einhorn.lock"),
        ..Config::new(vec![OsString::from("/srv/web")])
    }
}

/// A master with a clock to turn by hand, in milliseconds since it began.
pub(crate) struct Master {
    /// What it knows.
    pub(crate) state: State,
    /// What time it is.
    pub(crate) now_ms: u64,
    /// What the workers do with signals.
    pub(crate) inspection: Inspection,
    /// The worker that may not be sent signals.
    pub(crate) refused: Option<Pid>,
}

impl Master {
    /// On a machine with four processors; no worker was started yet.
    pub(crate) fn new(config: Config) -> Master {
        let state = State::new(config, Vec::new(), MASTER, 4);
        let disposition = Some(Disposition::Caught);
        let inspection = Inspection { disposition, program: Some("web".to_owned()) };
        Master { state, now_ms: 0, inspection, refused: None }
    }

    /// With all its workers started at once, none of them up: index 0 as pid 1000, and so on.
    pub(crate) fn started(config: Config) -> Master {
        let mut master = Master::new(config);
        while master.state.missing_count() > 0 {
            let orders = master.turn_at(0);
            master.start(&orders);
        }
        master
    }

    /// Tells it that something happened. Answers everything that it does about that.
    pub(crate) fn tell(&mut self, event: Event) -> Vec<Action> {
        // The clock for people: seconds into a minute of a day in 2026.
        let realtime = 1_795_206_031_000_000_000 + i64::try_from(self.now_ms).unwrap() * 1_000_000;
        let now =
            Now { monotonic: Monotonic(self.now_ms * 1_000_000), realtime: Realtime(realtime) };
        let mut actions = step(&mut self.state, now, event);
        self.state.check().unwrap();
        // As the shell does, and before anything else happens.
        let answers: Vec<Event> = actions.iter().filter_map(|it| self.answer(it)).collect();
        actions.retain(|action| !matches!(action, Action::Inspect { .. }));
        for answer in answers {
            actions.extend(self.tell(answer));
        }
        actions
    }

    /// What the shell answers to a signal or a look at a worker.
    fn answer(&self, action: &Action) -> Option<Event> {
        let inspection = self.inspection.clone();
        match *action {
            Action::Signal { pid, signal } => Some(match self.refused {
                Some(refused) if refused == pid => {
                    let why = "Operation not permitted (os error 1)".to_owned();
                    Event::SignalFailed { pid, signal, why }
                }
                _ => Event::SignalSent { pid, signal, inspection },
            }),
            Action::Inspect { pid, signal } => Some(Event::Inspected { pid, signal, inspection }),
            _ => None,
        }
    }

    /// What it does in a turn at a time, the log left out.
    pub(crate) fn turn_at(&mut self, now_ms: u64) -> Vec<Action> {
        self.now_ms = now_ms;
        without_log(self.tell(Event::Turn))
    }

    /// What it does, at this time, about a line of a client, the log left out.
    pub(crate) fn ask(&mut self, line: &str) -> Vec<Action> {
        without_log(self.tell(requested(1, line)))
    }

    /// A worker ends before it is told to.
    pub(crate) fn exit(&mut self, pid: i32) {
        assert_eq!(without_log(self.tell(exited(pid, ExitStatus::Code(1)))), []);
    }

    /// Workers say that they are up.
    pub(crate) fn ack(&mut self, pids: &[i32]) {
        for pid in pids {
            self.ask(&format!("{{command: worker:ack, pid: {pid}}}"));
            assert!(self.state.workers[&Pid(*pid)].is_acked());
        }
    }

    /// A signal arrives.
    pub(crate) fn signal(&mut self, signal: Signal) -> Vec<Action> {
        without_log(self.tell(Event::Signaled { signal, sender: None }))
    }

    /// A fit candidate was asked for, and is this image a moment later.
    pub(crate) fn reexec(&mut self) {
        self.tell(Event::PreflightStarted { pid: Pid(2000), deployment: None });
        let orders = self.tell(ended(ExitStatus::Code(0), Some(fit()), ""));
        assert!(orders.iter().any(|order| matches!(order, Action::HandOver)), "{orders:?}");
        self.tell(adopted());
    }

    /// SIGHUP, and all that follows from it at once.
    pub(crate) fn upgrade(&mut self) {
        self.signal(Signal::Hup);
        self.reexec();
    }

    /// Everything that was ordered starts: index 0 as pid 1000, index 1 as 1001, and so on.
    pub(crate) fn start(&mut self, orders: &[Action]) {
        for order in orders {
            let Action::Spawn { slot, .. } = order else { panic!("not a start: {order:?}") };
            let pid = Pid(1000 + i32::try_from(slot.0).unwrap());
            let started = Event::Spawned { slot: *slot, pid, connection: None, directory: None };
            assert_eq!(without_log(self.tell(started)), []);
        }
    }

    /// A start that was ordered fails.
    pub(crate) fn fail(&mut self, slot: u32) {
        let failed = Event::SpawnFailed { slot: Slot(slot), why: "no such file".to_owned() };
        assert_eq!(without_log(self.tell(failed)), []);
    }
}

/// What a candidate says that can take over: release 9.9.9, as pid 2000.
pub(crate) fn fit() -> CandidateReport {
    CandidateReport {
        pid: 2000,
        release: "9.9.9".to_owned(),
        format: STATE_FORMAT,
        has_adopted: true,
    }
}

/// That the candidate ended.
pub(crate) fn ended(status: ExitStatus, report: Option<CandidateReport>, words: &str) -> Event {
    let (pid, last_words) = (Pid(2000), words.to_owned());
    Event::PreflightEnded {
        outcome: PreflightOutcome::Ended {
            pid,
            status,
            report,
            pin: None,
            last_words,
            is_truncated: false,
        },
    }
}

/// That a child was reaped that has said nothing.
pub(crate) fn exited(pid: i32, status: ExitStatus) -> Event {
    Event::Exited { pid: Pid(pid), status, last_words: Vec::new(), left: None }
}

/// That this image goes on with the state of the one before it.
pub(crate) fn adopted() -> Event {
    Event::Adopted { from_release: "0.0.1".to_owned() }
}

/// That a client sent a line.
pub(crate) fn requested(connection: u64, line: &str) -> Event {
    let line = Line::Complete(line.as_bytes().to_vec());
    Event::Requested {
        connection: ConnectionId(connection),
        request: Request::parse(&line),
        authority: Authority::Full,
        membership: None,
    }
}

pub(crate) fn without_log(mut actions: Vec<Action>) -> Vec<Action> {
    actions.retain(|action| !matches!(action, Action::Log { .. }));
    actions
}
