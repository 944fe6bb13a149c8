//! The listeners, in the order of the command line.

use crate::schema::codec::{Bytes, Text};
use crate::schema::frozen::frozen;
use crate::schema::section::section;
use crate::state;

section! {
    struct Listeners: Critical "listeners" {
        listeners: Vec<Listener> = state.listeners,
    }
}

frozen! {
    struct Listener of state::Listener {
        bind: Bind,
        bound_by: BoundBy,
        descriptor: i32,
        family: Family,
        port: Option<u16>,
    }

    struct Bind of state::Bind {
        address: Address,
        options: BindOptions,
    }

    enum Address of state::Address {
        Tcp { host: Text, port: u16 },
        Udp { host: Text, port: u16 },
        Unix { path: Bytes, mode: Option<u32>, owner: Option<Text>, group: Option<Text> },
    }

    struct BindOptions of state::ListenerOptions {
        reuse_address: bool,
        nonblocking: bool,
        v6only: bool,
        ..state::ListenerOptions::default()
    }

    enum BoundBy of state::BoundBy {
        Option,
        Word,
    }

    enum Family of state::Family {
        Inet,
        Inet6,
        Unix,
    }
}
