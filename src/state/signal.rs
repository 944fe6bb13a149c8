//! Signal names and exit statuses.

use std::fmt;

/// Declares [`Signal`] and its table of names.
macro_rules! signals {
    ($($variant:ident $name:literal,)*) => {
        /// A standard signal. Numbers differ between architectures, so only `sys` knows them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Signal { $(#[doc = concat!("SIG", $name, ", signal(7).")] $variant,)* }

        impl Signal {
            /// Every signal, in the order of signal(7).
            pub const ALL: &[Signal] = &[$(Signal::$variant,)*];

            /// The name without `SIG`, as the original's dumps and replies write it.
            pub fn name(self) -> &'static str {
                match self { $(Signal::$variant => $name,)* }
            }
        }
    };
}

signals! {
    Hup "HUP", Int "INT", Quit "QUIT", Ill "ILL", Trap "TRAP", Abrt "ABRT", Bus "BUS", Fpe "FPE",
    Kill "KILL", Usr1 "USR1", Segv "SEGV", Usr2 "USR2", Pipe "PIPE", Alrm "ALRM", Term "TERM",
    Stkflt "STKFLT", Chld "CHLD", Cont "CONT", Stop "STOP", Tstp "TSTP", Ttin "TTIN", Ttou "TTOU",
    Urg "URG", Xcpu "XCPU", Xfsz "XFSZ", Vtalrm "VTALRM", Prof "PROF", Winch "WINCH", Io "IO",
    Pwr "PWR", Sys "SYS",
}

impl Signal {
    /// Finds a signal by name, with or without `SIG`, in either case, including obsolete names
    /// (behaviour.md section 7, `signal`).
    pub fn parse(name: &str) -> Option<Signal> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let bare = match bare {
            "IOT" => "ABRT",
            "CLD" => "CHLD",
            "POLL" => "IO",
            other => other,
        };
        Signal::ALL.iter().copied().find(|signal| signal.name() == bare)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// How a process ended, from wait(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It called exit with this code.
    Code(i32),
    /// A signal ended it.
    Killed {
        /// The signal number on this machine; real-time signals have no [`Signal`].
        number: i32,
        /// The signal, if it is a standard one.
        signal: Option<Signal>,
        /// Whether the kernel wrote a core file.
        core_dumped: bool,
    },
    /// Unknown, because another process reaped it.
    Unknown,
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(out, "exit status {code}"),
            ExitStatus::Unknown => out.write_str("status unknown"),
            ExitStatus::Killed { number, signal, core_dumped } => {
                match signal {
                    Some(signal) => write!(out, "killed by SIG{signal}")?,
                    None => write!(out, "killed by signal {number}")?,
                }
                if *core_dumped {
                    out.write_str(" (core dumped)")?;
                }
                Ok(())
            }
        }
    }
}
