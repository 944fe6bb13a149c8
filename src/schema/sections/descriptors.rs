//! Every descriptor that is passed on, except the pipes of workers.

use crate::schema::frozen::frozen;
use crate::schema::handover;
use crate::schema::section::section;
use crate::schema::wire::Identity;
use crate::state::{ConnectionId, Pid};

section! {
    struct Descriptors: Base "descriptors" {
        descriptors: Vec<Descriptor> = descriptors,
    }
}

frozen! {
    struct Descriptor of handover::Carried {
        role: Role,
        number: i32,
        identity: Identity,
    }

    enum Role of handover::Role {
        CommandSocket,
        SocketLock,
        Lock,
        Pidfile,
        Listener(index: u32),
        Connection(id: ConnectionId),
        Worker(pid: Pid),
        Inherited,
    }
}
