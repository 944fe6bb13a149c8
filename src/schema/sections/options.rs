//! The configuration.

use std::time::Duration;

use crate::schema::codec::{Bytes, Text};
use crate::schema::frozen::frozen;
use crate::schema::section::section;
use crate::state::{self, Verbosity};

section! {
    struct Options: Base "options" {
        original_command: Vec<Bytes> = state.config.original_command,
        command: Vec<Bytes> = state.config.command,
        target: u32 = state.config.target,
        backlog: u32 = state.config.backlog,
        respawn_interval: Duration = state.config.respawn_interval,
        ack_mode: AckMode = state.config.ack_mode,
        signal_timeout: Option<Duration> = state.config.signal_timeout,
        max_unacked: Option<u32> = state.config.max_unacked,
        max_upgrade_additional: Option<u32> = state.config.max_upgrade_additional,
        retries: Option<u32> = state.config.retries,
        kill_children_on_exit: bool = state.config.kill_children_on_exit,
        command_socket_as_fd: bool = state.config.command_socket_as_fd,
        command_name: Option<Text> = state.config.command_name,
        socket_path: Bytes = state.config.socket_path,
        pidfile: Bytes = state.config.pidfile,
        lockfile: Bytes = state.config.lockfile,
        is_lockfile_named: bool = state.config.is_lockfile_named,
        nice_master: Option<i32> = state.config.nice.master,
        nice_worker: Option<i32> = state.config.nice.worker,
        renice_command: Option<Vec<Text>> = state.config.nice.renice_command,
        reexec_as: Vec<Bytes> = state.config.reexec_as,
        reexec_mode: ReexecMode = state.config.reexec_mode,
        drop_env_vars: Vec<Bytes> = state.config.drop_env_vars,
        verbosity: Verbosity = state.config.verbosity,
        syslog: bool = state.config.syslog,
    }
}

frozen! {
    enum AckMode of state::AckMode {
        Manual,
        Timer(after: Duration),
    }

    enum ReexecMode of state::ReexecMode {
        Exec,
        Pinned,
    }
}
