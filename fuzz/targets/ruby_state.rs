//! What a process that may be a Ruby master's left in a pipe.
//!
//! Asserts that a state that is honoured, on a machine where everything is as it says, is one that
//! a master of ours may have, can hand on, and can hand back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use einhorn::ruby::{Facts, Found, Original, Parentage, Socket, unknown_to_ruby, write};
use einhorn::schema::{self, Identity, Origin, Role};
use einhorn::state::{ConnectionId, Family, Monotonic, Now, Pid, Realtime};

/// The master's own pid.
pub(crate) const MASTER: Pid = Pid(900);

/// Runs one input.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(original) = Original::read(bytes) else { return };
    let now = Now {
        monotonic: Monotonic(600_000_000_000),
        realtime: Realtime(1_795_206_045_000_000_000),
    };
    let Ok(taken) = original.take_over(&facts(&original, now)) else { return };
    assert_eq!(taken.handover.state.check(), Ok(()));
    let bytes = schema::encode(&taken.handover, None, None).expect("a state to hand on");
    assert!(schema::decode(&bytes).is_ok());
    if unknown_to_ruby(&taken.handover.state).is_empty() {
        let back = write(&taken.handover, now).expect("a state to hand back");
        let again = Original::read(back.as_bytes()).expect("a state of the original's");
        assert!(again.descriptors().iter().map(|(number, _)| *number).eq(numbers(&original)));
    }
}

/// The numbers of its descriptors.
fn numbers(original: &Original) -> impl Iterator<Item = i32> {
    original.descriptors().into_iter().map(|(number, _)| number)
}

/// A machine on which everything is as the state says.
pub(crate) fn facts(original: &Original, now: Now) -> Facts {
    let mut found: BTreeMap<i32, Found> = original
        .descriptors()
        .iter()
        .map(|(number, _)| (*number, as_said(original, *number)))
        .collect();
    for (number, port) in original.ports() {
        if let Some(socket) = found.get_mut(&number).and_then(|found| found.socket.as_mut()) {
            socket.port = Some(port);
            socket.family = Some(Family::Inet);
        }
    }
    Facts {
        master_pid: MASTER,
        now,
        processor_count: 4,
        origin: Origin {
            own_path: "/usr/bin/einhorn".into(),
            own_name: "einhorn".into(),
            environment: Vec::new(),
            blocked_signals: 0,
            open_files_soft: 1024,
            open_files_hard: 4096,
            nice: 0,
        },
        directory: "/srv".into(),
        default_folder: "/var/tmp".into(),
        found,
        parentage: original.workers().map(|pid| (pid, Parentage::Ours)).collect(),
        files: vec![(Role::Lock, 90, Identity::default())],
        inherited_fds: Vec::new(),
        first_connection: ConnectionId(16),
    }
}

/// A UNIX socket that listens unless it is a client's.
fn as_said(original: &Original, number: i32) -> Found {
    let inode = u64::try_from(number).unwrap_or_default();
    let is_listening = original.clients().all(|client| client != number);
    let is_server = number == original.command_socket();
    Found {
        identity: Identity { inode, is_listening, ..Identity::default() },
        socket: Some(Socket {
            family: Some(Family::Unix),
            is_stream: true,
            port: None,
            path: is_server.then(|| PathBuf::from("/run/web/bound.sock")),
            peer: None,
        }),
    }
}
