//! Status reports: gathers what the kernel knows and renders the document.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decide::ReportKind;
use crate::master::Master;
use crate::master::now::now;
use crate::master::workers::deployment;
use crate::state::{Address, Listener, Pid};
use crate::status::{self, Measurements, Queue, Status, Style, Unit};
use crate::sys::{descriptor, process, queue};

/// How long one report may take to read the memory of workers, one file of `/proc` each: some
/// thousands of them unless the machine is overloaded. Workers beyond that are reported without it.
const MEASURING_MAX: Duration = Duration::from_millis(50);

impl Master {
    /// The text of a report.
    pub(in crate::master) fn report(&self, kind: ReportKind) -> String {
        let status = self.status();
        match kind {
            ReportKind::Table => status::table(&status, Style::Plain),
            ReportKind::Json => status::json(&status),
            ReportKind::Metrics => status::metrics(&status),
        }
    }

    fn status(&self) -> Status {
        let measured = Measurements {
            uptime: process::own_age(),
            memory: self.memory(),
            queues: self.state.listeners.iter().map(waiting).collect(),
            is_release_gone: deployment::is_gone(&self.state, self.state.generation),
        };
        status::report(&self.state, now(), &measured)
    }

    /// The resident memory of the master and the workers.
    fn memory(&self) -> BTreeMap<Pid, u64> {
        let begun = now().monotonic;
        let master = self.state.master_pid;
        let pids = std::iter::once(&master).chain(self.state.workers.keys());
        pids.take_while(|_| now().monotonic.since(begun) < MEASURING_MAX)
            .filter_map(|pid| Some((*pid, process::resident_bytes(pid.0)?)))
            .collect()
    }
}

/// The queue of a listener, where the kernel reports it.
fn waiting(listener: &Listener) -> Option<Queue> {
    let socket = descriptor::borrow(listener.descriptor);
    let (queue, unit) = match listener.bind.address {
        Address::Tcp { .. } => (queue::of_tcp(socket), Unit::Connections),
        Address::Unix { .. } => (queue::of_unix(socket), Unit::Connections),
        Address::Udp { .. } => (queue::of_udp(socket), Unit::Bytes),
    };
    let queue = queue.ok()?;
    Some(Queue { depth: queue.depth.into(), limit: queue.limit.into(), unit })
}
