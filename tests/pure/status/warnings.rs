//! What is warned of although all is well, an example of each kind.

use einhorn::decide::{Action, Event, Inspection};
use einhorn::state::{
    AckMode, Config, Delivery, Disposition, ExitStatus, Leftover, Monotonic, Now, Pid, Signal,
    StopSchedule,
};
use einhorn::status::{Health, Measurements, WarningKind, report};

use crate::example::{Master, config, exited};

/// Two workers that serve.
fn up(disposition: Disposition, program: &str, stop: Option<&str>) -> Master {
    let stop = stop.map(|text| StopSchedule::parse(text).unwrap());
    let mut master = Master::started(Config { ack_mode: AckMode::Manual, stop, ..config(2) });
    let program = Some(program.to_owned());
    master.inspection = Inspection { disposition: Some(disposition), program };
    master.ack(&[1000, 1001]);
    master
}

/// The warnings now; all is well otherwise.
fn warnings(master: &Master) -> Vec<(WarningKind, String)> {
    let monotonic = Monotonic(master.now_ms * 1_000_000);
    let now = Now { monotonic, ..Now::default() };
    let status = report(&master.state, now, &Measurements::default());
    assert_eq!(status.health, Health::Ok, "{:?}", status.reasons);
    status.warnings.into_iter().map(|warning| (warning.kind, warning.message)).collect()
}

#[test]
fn workers_without_a_handler_are_told_with_the_cure() {
    let name =
        "name the signals on which the program stops with --stop, such as --stop TERM/30/KILL";
    for (found, stop, why) in [
        (
            Disposition::Default,
            None,
            format!("no handler for USR2, which kills instead of draining; {name}"),
        ),
        (
            Disposition::Ignored,
            Some("QUIT/30/KILL"),
            "QUIT is ignored; --stop QUIT/30/KILL should begin with a signal that the program \
             handles"
                .to_owned(),
        ),
    ] {
        let mut master = up(found, "python3", stop);
        master.now_ms = 60_000;
        let due = format!("2 workers (1000, 1001) (python3): {why}");
        assert_eq!(warnings(&master), [(WarningKind::NoHandler, due)]);
        // Some programs set up their handlers last.
        master.now_ms = 59_999;
        assert!(warnings(&master)[0].1.contains(" so far"));
    }
    assert_eq!(warnings(&up(Disposition::Caught, "web", None)), []);
    assert_eq!(warnings(&up(Disposition::Blocked, "web", None)), []);
}

#[test]
fn workers_that_cannot_be_signalled_are_told() {
    let mut master = up(Disposition::Caught, "web", None);
    master.ask("{command: set_workers, args: ['1']}");
    master.refused = Some(Pid(1001));
    master.turn_at(0);
    let sent = master.state.workers[&Pid(1001)].stop_signal.clone().unwrap();
    assert!(matches!(sent.delivery, Delivery::Failed { .. }), "{sent:?}");
    let why = "1 worker (1001) cannot be sent USR2: Operation not permitted (os error 1)";
    assert_eq!(warnings(&master), [(WarningKind::NotSignalled, why.to_owned())]);
}

#[test]
fn long_drains_are_told() {
    let cure = ", and nothing more is sent; name the signals on which the program stops with \
                --stop, such as --stop TERM/30/KILL";
    for (stop, max_ms, why) in [
        (Some("TERM/900/KILL"), 600_000, "10m 0s".to_owned()),
        (None, 30_000, format!("30s{cure}")),
    ] {
        let mut master = up(Disposition::Caught, "nginx", stop);
        master.ask("{command: set_workers, args: ['1']}");
        master.turn_at(0);
        master.now_ms = max_ms;
        assert_eq!(warnings(&master), []);
        master.now_ms = max_ms + 1;
        let why = format!("1 worker (1001) (nginx): draining for up to {why}");
        assert_eq!(warnings(&master), [(WarningKind::LongDrain, why)]);
    }
}

#[test]
fn workers_killed_after_the_end_are_told() {
    let mut master = up(Disposition::Caught, "web", None);
    master.upgrade();
    for pid in [1002, 1003] {
        let mut orders = master.turn_at(0);
        orders.retain(|order| matches!(order, Action::Spawn { .. }));
        master.start(&orders);
        master.ack(&[pid]);
    }
    master.turn_at(0);
    assert!(master.state.last_upgrade.is_some());
    master.state.workers.get_mut(&Pid(1000)).unwrap().stop_signal.as_mut().unwrap().disposition =
        Some(Disposition::Default);
    let killed = ExitStatus::Killed { number: 12, signal: Some(Signal::Usr2), core_dumped: false };
    master.tell(exited(1000, killed));
    let why = "1 old worker was killed instead of draining after the last upgrade's end \
               (see the log)";
    assert_eq!(warnings(&master), [(WarningKind::Killed, why.to_owned())]);
}

#[test]
fn leftovers_and_suspended_workers_are_told() {
    let mut master = up(Disposition::Caught, "web", None);
    let leftover = Leftover { count: 2, program: Some("sleep".to_owned()), ..Leftover::default() };
    master.state.leftovers.insert(Pid(999), leftover);
    master.ask("{command: set_workers, args: ['1']}");
    master.tell(Event::Suspended { pid: Pid(1001), signal: Signal::Stop });
    let left = "worker 999 has left 2 processes (sleep) running in its group; without --stop \
                they are left alone"
        .to_owned();
    let suspended = "worker 1001 (slot 1) is suspended by SIGSTOP; SIGCONT lets it run".to_owned();
    let due = [(WarningKind::LeftOver, left), (WarningKind::Suspended, suspended)];
    assert_eq!(warnings(&master), due);
}

#[test]
fn who_is_stopping_is_not_told_for_having_no_handler() {
    let mut master = up(Disposition::Default, "python3", None);
    master.ask("{command: set_workers, args: ['1']}");
    master.turn_at(0);
    assert!(master.state.workers[&Pid(1001)].is_stopping());
    let told = warnings(&master);
    assert!(told[0].1.starts_with("1 worker (1000) (python3): no handler for USR2"), "{told:?}");
}
