//! What the document says in one word, the same word in each of its shapes.

use serde::{Deserialize, Serialize};

/// Declares an enum and its one table of words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$what:meta])* $variant:ident $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$what])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every variant.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The one word for it.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// Whether all is as it should be.
    Health {
        /// As many workers serve as are wanted.
        Ok "ok",
        /// Fewer do, or the master is on its way out.
        Degraded "degraded",
    }
}

words! {
    /// The command that begins an upgrade.
    UpgradeCommand {
        /// Only the master re-executes itself.
        Reload "reload",
        /// Then the workers are replaced gradually.
        Upgrade "upgrade",
        /// Then a whole new set of workers takes their place.
        UpgradeFleet "upgrade_fleet",
    }
}

words! {
    /// How far in its life a worker is.
    WorkerState {
        /// It was not ACKed yet.
        Starting "starting",
        /// The first of its generation, which must prove itself before others are started.
        Canary "canary",
        /// It serves.
        Up "up",
        /// It was told to go.
        Draining "draining",
        /// It was told to go because its ACK did not come in time.
        Overrun "overrun",
    }
}

words! {
    /// What a listener is.
    ListenerKind {
        /// A stream over IPv4 or IPv6.
        Tcp "tcp",
        /// Datagrams over IPv4 or IPv6.
        Udp "udp",
        /// A UNIX stream.
        Unix "unix",
    }
}

words! {
    /// What a queue is measured in.
    Unit {
        /// Connections that nobody has accepted.
        Connections "connections",
        /// Memory of datagrams that nobody has read, the kernel's own included.
        Bytes "bytes",
    }
}
