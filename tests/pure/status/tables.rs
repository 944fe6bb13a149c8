//! The tables for people, in full.

use einhorn::protocol::{Numbers, ProgressStage};
use einhorn::status::{
    Health, InProgress, ListenerKind, ListenerStatus, MasterStatus, Queue, Status, StopStepStatus,
    Style, Unit, VERSION, Warning, WarningKind, WorkerState, WorkerStatus, table,
};

const BUSY: &str = include_str!("busy.txt");

/// A master in the middle of a roll-out, a worker of each kind.
pub(super) fn busy() -> Status {
    let queue = |depth, limit, unit| Some(Queue { depth, limit, unit });
    let listener = |address: &str, kind, descriptor, queue| ListenerStatus {
        address: address.to_owned(),
        kind,
        descriptor,
        queue,
    };
    Status {
        version: VERSION,
        written_on_ms: 1_795_299_815_750,
        health: Health::Degraded,
        reasons: vec!["1 of 4 workers are up".to_owned(), "2 deaths in a row".to_owned()],
        warnings: vec![Warning { kind: WarningKind::LeftOver, message: "a warning".to_owned() }],
        notes: vec!["a note".to_owned()],
        master: MasterStatus {
            pid: 900,
            name: Some("web".to_owned()),
            release: "0.1.0".to_owned(),
            generation: 2,
            uptime_ms: Some(1_000_000_000),
            reexecs: 12,
            target: 4,
            acked: 1,
            early_deaths: 2,
            memory_bytes: Some(2_949_120),
        },
        in_progress: Some(InProgress {
            stage: ProgressStage::Rollout,
            numbers: Numbers {
                generation: 2,
                acked: 0,
                target: 4,
                old_left: 1,
                failed: 2,
                elapsed_ms: 1_234,
            },
        }),
        last_upgrade: None,
        workers: workers(),
        listeners: vec![
            listener("127.0.0.1:80", ListenerKind::Tcp, 6, queue(3, 100, Unit::Connections)),
            listener("unix:/run/w", ListenerKind::Unix, 7, queue(101, 100, Unit::Connections)),
            listener("udp:[::1]:53", ListenerKind::Udp, 8, queue(0, 212_992, Unit::Bytes)),
            listener("10.0.0.1:81", ListenerKind::Tcp, 9, None),
        ],
    }
}

fn workers() -> Vec<WorkerStatus> {
    let worker = |slot, state, generation| WorkerStatus {
        slot,
        pid: 1000 + i32::try_from(slot).unwrap(),
        generation,
        release: None,
        state,
        started_on_ms: 1_795_206_031_500,
        age_ms: 93_784_250,
        time_to_ack_ms: None,
        restarts: 0,
        memory_bytes: None,
        step: None,
        next_signal: None,
        deadline_ms: None,
    };
    let step = |number, signal: &str| Some(StopStepStatus { number, of: 2, signal: signal.into() });
    let kill = || Some("KILL".to_owned());
    let release = Some("/srv/web/releases/42\u{1b}[31m".to_owned());
    vec![
        WorkerStatus {
            time_to_ack_ms: Some(1_000),
            restarts: 11,
            memory_bytes: Some(123_456_789),
            release,
            ..worker(0, WorkerState::Up, 1)
        },
        WorkerStatus { age_ms: 500, ..worker(1, WorkerState::Starting, 2) },
        WorkerStatus { age_ms: 75_000, ..worker(2, WorkerState::Canary, 2) },
        WorkerStatus {
            step: step(1, "TERM"),
            next_signal: kill(),
            deadline_ms: Some(12_500),
            ..worker(3, WorkerState::Draining, 1)
        },
        WorkerStatus {
            step: step(1, "TERM"),
            next_signal: kill(),
            deadline_ms: Some(-100),
            ..worker(10, WorkerState::AckOverdue, 2)
        },
    ]
}

#[test]
fn a_busy_master_in_full() {
    let found = table(&busy(), Style::Plain);
    assert_eq!(found, BUSY, "\n{found}");
}

#[test]
fn a_terminal_sees_each_line_in_one_colour_and_the_same_text() {
    let coloured = table(&busy(), Style::Coloured);
    let mut plain = String::new();
    for line in coloured.lines() {
        let text = line.strip_prefix("\x1b[").and_then(|rest| rest.split_once('m'));
        let text = text.map(|(_, text)| text.strip_suffix("\x1b[0m").expect("an end"));
        plain += text.unwrap_or(line);
        plain.push('\n');
    }
    assert_eq!(plain, BUSY);
    let line = |text: &str| coloured.lines().find(|line| line.contains(text)).unwrap();
    assert!(line("degraded: 1").starts_with("\x1b[31m"));
    assert!(line("1000").starts_with("\x1b[32m"));
    assert!(line("1003").starts_with("\x1b[33m"));
    assert!(line("unix:").starts_with("\x1b[31m"));
    assert!(!line("10.0.0.1").contains('\x1b'));
}

#[test]
fn what_is_well_needs_few_lines() {
    let fine = Status {
        health: Health::Ok,
        reasons: Vec::new(),
        warnings: Vec::new(),
        notes: Vec::new(),
        in_progress: None,
        workers: Vec::new(),
        listeners: Vec::new(),
        ..busy()
    };
    let found = table(&fine, Style::Plain);
    assert!(found.starts_with("ok\n\nMASTER "), "{found}");
    assert_eq!(found.lines().count(), 4, "{found}");
}
