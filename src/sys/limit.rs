//! Resource limits.

use std::fmt;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Every resource of getrlimit(2) on Linux.
const RESOURCES: [Resource; 16] = [
    Resource::RLIMIT_AS,
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_LOCKS,
    Resource::RLIMIT_MEMLOCK,
    Resource::RLIMIT_MSGQUEUE,
    Resource::RLIMIT_NICE,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_RSS,
    Resource::RLIMIT_RTPRIO,
    Resource::RLIMIT_RTTIME,
    Resource::RLIMIT_SIGPENDING,
    Resource::RLIMIT_STACK,
];

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    resource: Resource,
    /// The limit in force.
    pub soft: u64,
    /// What the soft limit may be raised to.
    pub hard: u64,
}

impl Limit {
    /// All limits of this process, as they are now.
    ///
    /// # Errors
    /// Those of getrlimit(2).
    pub fn all() -> io::Result<Vec<Limit>> {
        RESOURCES.into_iter().map(Limit::now).collect()
    }

    /// A limit of open files.
    pub fn open_files(soft: u64, hard: u64) -> Limit {
        Limit { resource: Resource::RLIMIT_NOFILE, soft, hard }
    }

    /// A limit of a resource by name; `None` for an unknown name.
    pub fn named(name: &str, soft: u64, hard: u64) -> Option<Limit> {
        let mut limits = RESOURCES.into_iter().map(|resource| Limit { resource, soft, hard });
        limits.find(|limit| limit.name() == name)
    }

    /// The name of the resource, such as `RLIMIT_NOFILE`.
    pub fn name(self) -> String {
        format!("{:?}", self.resource)
    }

    fn now(resource: Resource) -> io::Result<Limit> {
        let (soft, hard) = getrlimit(resource)?;
        Ok(Limit { resource, soft, hard })
    }

    /// This process's current limit of the same resource.
    ///
    /// # Errors
    /// Those of getrlimit(2).
    pub fn current(self) -> io::Result<Limit> {
        Limit::now(self.resource)
    }

    /// Sets it for this process.
    ///
    /// # Errors
    /// Those of setrlimit(2).
    pub fn set(self) -> io::Result<()> {
        Ok(setrlimit(self.resource, self.soft, self.hard)?)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}:{}", self.name(), self.soft, self.hard)
    }
}

/// This process's current limit of open files.
///
/// # Errors
/// Those of getrlimit(2).
pub fn open_files() -> io::Result<Limit> {
    Limit::now(Resource::RLIMIT_NOFILE)
}

/// Raises this process's soft limit of open files to the hard one.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_open_files(original: Limit) -> io::Result<()> {
    Limit { soft: original.hard, ..original }.set()
}

/// How many processors this process may use; at least 1.
pub fn processor_count() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}
