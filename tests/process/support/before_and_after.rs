//! A master and its workers before and after an upgrade: what must be the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::support::rig::Master;
use crate::support::{proc, wait};

/// What the kernel says of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// What is open. Sockets and pipes, some of which each image makes anew, count by their kind.
    descriptors: Vec<String>,
    /// Which workers there are, and that each is a child of the master.
    workers: Vec<i32>,
    directory: PathBuf,
    umask: String,
    limits: String,
    nice: i32,
    /// Blocked, ignored, and handled.
    signals: [u64; 3],
    threads: String,
}

impl Snapshot {
    pub(crate) fn of(master: &Master<'_>) -> Snapshot {
        // Asked for first: an answer means that the image is up.
        let mut workers: Vec<i32> = master.workers().iter().map(|worker| worker.pid).collect();
        workers.sort_unstable();
        let pid = master.pid();
        // Connections that were given up may be open yet: twice the same are those that stay.
        let mut open = Vec::new();
        master.until("the descriptors stay as they are", || {
            master.until_left_alone();
            master.until("it is idle", || {
                proc::stat(pid).is_some_and(|stat| stat.state == 'S').then_some(())
            });
            let before = std::mem::replace(&mut open, descriptors(pid));
            (before == open).then_some(())
        });
        let children = proc::children(pid);
        for worker in &workers {
            assert!(children.iter().any(|child| child.pid == *worker), "{worker} is no child");
        }
        Snapshot {
            descriptors: open,
            workers,
            directory: fs::read_link(format!("/proc/{pid}/cwd")).unwrap(),
            umask: proc::status(pid, "Umask"),
            limits: fs::read_to_string(format!("/proc/{pid}/limits")).unwrap(),
            nice: proc::stat(pid).unwrap().nice,
            signals: ["SigBlk", "SigIgn", "SigCgt"].map(|set| proc::signal_set(pid, set)),
            threads: proc::status(pid, "Threads"),
        }
    }

    /// How many descriptors were open.
    pub(crate) fn descriptor_count(&self) -> usize {
        self.descriptors.len()
    }

    /// Fails with what differs. Clients that have just left are waited for, and so are children
    /// that are no workers.
    pub(crate) fn assert_kept(&self, master: &Master<'_>) {
        master.until("no stranger is a child", || {
            let workers = self.workers.len();
            (proc::children(master.pid()).len() <= workers).then_some(())
        });
        let mut last = Snapshot::of(master);
        master.until("the descriptors are as before", || {
            last = Snapshot::of(master);
            (last.descriptors.len() <= self.descriptors.len()).then_some(())
        });
        assert_eq!(*self, last);
        assert!(!last.descriptors.iter().any(|open| open.contains("memfd:")), "{last:?}");
        assert_eq!(self.threads, "1");
    }
}

impl Snapshot {
    /// The same after workers were replaced.
    pub(crate) fn assert_kept_but_for_workers(&self, after: &Snapshot) {
        assert_eq!(*self, Snapshot { workers: self.workers.clone(), ..after.clone() });
    }
}

/// What is open; which numbers things made anew get depends on what was free.
fn descriptors(pid: i32) -> Vec<String> {
    let open = proc::descriptors(pid).into_values().map(|target| target.display().to_string());
    let kind = |target: String| match target.split_once(':') {
        Some((kind, _)) if kind == "socket" || kind == "pipe" => kind.to_owned(),
        _ => target,
    };
    let mut kinds: Vec<String> = open.map(kind).collect();
    kinds.sort();
    kinds
}

/// What a worker was given, without what must differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    environment: Vec<String>,
    descriptors: BTreeMap<i32, PathBuf>,
    directory: PathBuf,
    umask: String,
    limits: String,
    nice: i32,
    signals: [u64; 3],
}

impl Given {
    /// The signals that are blocked, ignored, and handled.
    pub(crate) fn signals(&self) -> [u64; 3] {
        self.signals
    }

    /// Of a worker that is up and idle; while a program is loaded, files of its own are open.
    pub(crate) fn to(worker: i32) -> Given {
        let is_idle = |stat: &proc::Stat| stat.state == 'S' && stat.name != "einhorn";
        wait::until_some(
            "the worker is idle",
            || proc::stat(worker).filter(is_idle),
            || format!("{:?}", proc::stat(worker)),
        );
        let environment = proc::environment(worker);
        let texts = environment.iter().map(|entry| entry.to_string_lossy().into_owned());
        Given {
            environment: texts.filter(|text| !text.starts_with("EINHORN_CHILD_INDEX=")).collect(),
            descriptors: proc::descriptors(worker),
            directory: fs::read_link(format!("/proc/{worker}/cwd")).unwrap(),
            umask: proc::status(worker, "Umask"),
            limits: fs::read_to_string(format!("/proc/{worker}/limits")).unwrap(),
            nice: proc::stat(worker).unwrap().nice,
            signals: ["SigBlk", "SigIgn", "SigCgt"].map(|set| proc::signal_set(worker, set)),
        }
    }
}
