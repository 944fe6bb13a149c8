//! The enumerations of the document, each value with one word for all formats.

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

            /// The word for it in documents, tables and metrics.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// The health of the master.
    Health {
        /// The target number of workers is serving.
        Ok "ok",
        /// Fewer workers are serving, or the master is shutting down.
        Degraded "degraded",
    }
}

words! {
    /// What a warning is about.
    WarningKind {
        /// Workers have no handler for the signal that asks them to stop.
        NoHandler "no_handler",
        /// Workers cannot be sent the signal that asks them to stop.
        NotSignalled "not_signalled",
        /// Old workers have been draining for long.
        LongDrain "long_drain",
        /// Old workers were killed instead of draining after their upgrade had ended.
        Killed "killed",
        /// Workers have left processes running.
        LeftOver "left_over",
        /// A signal suspends workers.
        Suspended "suspended",
    }
}

words! {
    /// The command that began an upgrade.
    UpgradeCommand {
        /// The master re-executes itself, without replacing workers.
        Reload "reload",
        /// The master re-executes itself, then replaces the workers gradually.
        Upgrade "upgrade",
        /// The master re-executes itself, then starts a whole new set of workers.
        UpgradeFleet "upgrade_fleet",
    }
}

words! {
    /// The state of a worker.
    WorkerState {
        /// It is not ACKed yet.
        Starting "starting",
        /// It is the first of its generation, and must pass before others are started.
        Canary "canary",
        /// It is serving.
        Up "up",
        /// A signal suspends it, so that it does not serve.
        Suspended "suspended",
        /// It was asked to stop.
        Draining "draining",
        /// It was asked to stop because its ACK did not come in time.
        AckOverdue "ack_overdue",
    }
}

words! {
    /// The kind of a listener.
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
    /// The unit of a queue.
    Unit {
        /// Connections that no worker has accepted.
        Connections "connections",
        /// Memory taken by unread datagrams, the kernel's overhead included.
        Bytes "bytes",
    }
}
