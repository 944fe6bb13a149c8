//! What lives in the master and not in its decisions: origin, descriptors, buffers, files.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::schema::codec::{Bytes, Secret, Text, list};
use crate::schema::handover;
use crate::state::{ConnectionId, Pid};

/// What the first image was started with.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Origin {
    pub own_path: Bytes,
    pub own_name: Bytes,
    pub environment: Vec<Variable>,
    pub blocked_signals: u64,
    pub open_files_soft: u64,
    pub open_files_hard: u64,
    pub nice: i32,
}

/// An environment variable.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Variable {
    pub name: Bytes,
    pub value: Secret,
}

/// A descriptor that travels.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Carried {
    pub role: Role,
    pub number: i32,
    pub identity: Identity,
}

/// What a descriptor is for.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) enum Role {
    CommandSocket,
    Listener { index: u32 },
    Connection { id: u64 },
    Lock,
    Pidfile,
    Worker { pid: i32 },
    Stray,
}

/// What must be found under its number.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Identity {
    pub device: u64,
    pub inode: u64,
    pub file_type: u32,
    pub cookie: u64,
    pub is_listening: bool,
}

/// The buffers of a connection.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct CarriedConnection {
    pub id: u64,
    pub input: Bytes,
    pub is_discarding: bool,
    pub output: Bytes,
    pub is_given: bool,
    pub has_ended: bool,
    pub is_closing: bool,
}

/// A child that is no worker.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct Helper {
    pub pid: i32,
    pub purpose: Text,
}

/// A file that the master removes when it leaves.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::schema) struct CarriedFile {
    pub path: Bytes,
    pub device: u64,
    pub inode: u64,
}

impl From<&handover::Origin> for Origin {
    fn from(origin: &handover::Origin) -> Origin {
        let handover::Origin {
            own_path,
            own_name,
            environment,
            blocked_signals,
            open_files_soft,
            open_files_hard,
            nice,
        } = origin;
        Origin {
            own_path: own_path.into(),
            own_name: own_name.into(),
            environment: list(environment),
            blocked_signals: *blocked_signals,
            open_files_soft: *open_files_soft,
            open_files_hard: *open_files_hard,
            nice: *nice,
        }
    }
}

impl From<Origin> for handover::Origin {
    fn from(wire: Origin) -> handover::Origin {
        let Origin {
            own_path,
            own_name,
            environment,
            blocked_signals,
            open_files_soft,
            open_files_hard,
            nice,
        } = wire;
        handover::Origin {
            own_path: own_path.into(),
            own_name: own_name.into(),
            environment: list(environment),
            blocked_signals,
            open_files_soft,
            open_files_hard,
            nice,
        }
    }
}

impl From<&(OsString, OsString)> for Variable {
    fn from((name, value): &(OsString, OsString)) -> Variable {
        Variable { name: name.into(), value: value.into() }
    }
}

impl From<Variable> for (OsString, OsString) {
    fn from(Variable { name, value }: Variable) -> (OsString, OsString) {
        (name.into(), value.into())
    }
}

impl From<&handover::Carried> for Carried {
    fn from(carried: &handover::Carried) -> Carried {
        let handover::Carried { role, number, identity } = *carried;
        let role = match role {
            handover::Role::CommandSocket => Role::CommandSocket,
            handover::Role::Listener(index) => Role::Listener { index },
            handover::Role::Connection(ConnectionId(id)) => Role::Connection { id },
            handover::Role::SocketLock => Role::Lock,
            // Kept open for whoever counts on it.
            handover::Role::Lock => Role::Stray,
            handover::Role::Pidfile => Role::Pidfile,
            handover::Role::Worker(Pid(pid)) => Role::Worker { pid },
            handover::Role::Stray => Role::Stray,
        };
        Carried { role, number, identity: identity.into() }
    }
}

impl From<Carried> for handover::Carried {
    fn from(wire: Carried) -> handover::Carried {
        let Carried { role, number, identity } = wire;
        let role = match role {
            Role::CommandSocket => handover::Role::CommandSocket,
            Role::Listener { index } => handover::Role::Listener(index),
            Role::Connection { id } => handover::Role::Connection(ConnectionId(id)),
            Role::Lock => handover::Role::SocketLock,
            Role::Pidfile => handover::Role::Pidfile,
            Role::Worker { pid } => handover::Role::Worker(Pid(pid)),
            Role::Stray => handover::Role::Stray,
        };
        handover::Carried { role, number, identity: identity.into() }
    }
}

impl From<handover::Identity> for Identity {
    fn from(identity: handover::Identity) -> Identity {
        let handover::Identity { device, inode, file_type, cookie, is_listening } = identity;
        Identity { device, inode, file_type, cookie, is_listening }
    }
}

impl From<Identity> for handover::Identity {
    fn from(wire: Identity) -> handover::Identity {
        let Identity { device, inode, file_type, cookie, is_listening } = wire;
        handover::Identity { device, inode, file_type, cookie, is_listening }
    }
}

impl From<&handover::CarriedConnection> for CarriedConnection {
    fn from(connection: &handover::CarriedConnection) -> CarriedConnection {
        let handover::CarriedConnection {
            id: ConnectionId(id),
            input,
            is_discarding,
            output,
            is_given,
            has_ended,
            is_closing,
        } = connection;
        CarriedConnection {
            id: *id,
            input: input.as_slice().into(),
            is_discarding: *is_discarding,
            output: output.as_slice().into(),
            is_given: *is_given,
            has_ended: *has_ended,
            is_closing: *is_closing,
        }
    }
}

impl From<CarriedConnection> for handover::CarriedConnection {
    fn from(wire: CarriedConnection) -> handover::CarriedConnection {
        let CarriedConnection {
            id,
            input: Bytes(input),
            is_discarding,
            output: Bytes(output),
            is_given,
            has_ended,
            is_closing,
        } = wire;
        let id = ConnectionId(id);
        handover::CarriedConnection {
            id,
            input,
            is_discarding,
            output,
            is_given,
            has_ended,
            is_closing,
        }
    }
}

impl From<&(Pid, String)> for Helper {
    fn from((pid, purpose): &(Pid, String)) -> Helper {
        Helper { pid: pid.0, purpose: purpose.into() }
    }
}

impl From<Helper> for (Pid, String) {
    fn from(Helper { pid, purpose }: Helper) -> (Pid, String) {
        (Pid(pid), purpose.into())
    }
}

impl From<&handover::CarriedFile> for CarriedFile {
    fn from(file: &handover::CarriedFile) -> CarriedFile {
        let handover::CarriedFile { path, device, inode } = file;
        CarriedFile { path: path.into(), device: *device, inode: *inode }
    }
}

impl From<CarriedFile> for handover::CarriedFile {
    fn from(wire: CarriedFile) -> handover::CarriedFile {
        let CarriedFile { path, device, inode } = wire;
        handover::CarriedFile { path: path.into(), device, inode }
    }
}
