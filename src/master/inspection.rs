//! Looking at what workers do with signals, and sending them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::decide::{Event, Inspection};
use crate::master::Master;
use crate::master::now::now;
use crate::state::{Disposition, Pid, Signal, Worker};
use crate::sys::{group, handlers, process, signal};

/// How long a status report may look at workers again, which takes a file of `/proc` each, and with
/// `--stop` a look at all processes. Those beyond that are reported as they were.
const LOOKING_MAX: Duration = Duration::from_millis(50);

impl Master {
    /// Looks up what a worker does with a signal.
    pub(super) fn inspect(&mut self, pid: Pid, signal: Signal) {
        let inspection = self.inspection(pid, signal);
        self.events.push_back(Event::Inspected { pid, signal, inspection });
    }

    /// Looks again at the workers that had no handler: some programs set it up late.
    pub(super) fn inspect_unhandled(&mut self) {
        let signal = self.state.config.stop_schedule().first();
        let is_unhandled = |it: &Worker| it.disposition.is_some_and(|found| !found.is_handled());
        let workers = self.state.workers.iter();
        let unhandled = workers.filter(|(_, it)| !it.is_stopping() && is_unhandled(it));
        let unhandled: Vec<Pid> = unhandled.map(|(pid, _)| *pid).collect();
        let begun = now().monotonic;
        for pid in unhandled {
            self.inspect(pid, signal);
            if now().monotonic.since(begun) >= LOOKING_MAX {
                break;
            }
        }
        self.dispatch_events();
    }

    /// Sends a signal to a worker, or to what one has left; to nobody whose pid may be another's by
    /// now.
    pub(super) fn send_signal(&mut self, pid: Pid, signal: Signal) {
        let is_worker = self.state.workers.contains_key(&pid);
        if !is_worker && !self.state.leftovers.contains_key(&pid) {
            return;
        }
        // Its handler may have been set up after its ACK, or removed.
        let inspection = match is_worker && self.is_asked_to_stop_by(pid, signal) {
            true => self.inspection(pid, signal),
            false => Inspection::default(),
        };
        let sent = match signal::number(signal.name()) {
            Some(number) if !is_worker => group::signal_leftovers(pid.0, number),
            // Nothing of the worker is left to clean up after the others. One that has left its
            // group is alone.
            Some(number) if signal == Signal::Kill => match process::kill_group(pid.0) {
                Err(error) if process::is_no_such_process(&error) => process::kill(pid.0, number),
                sent => sent,
            },
            Some(number) => process::kill(pid.0, number),
            None => Err(std::io::ErrorKind::Unsupported.into()),
        };
        self.events.push_back(match sent {
            Err(error) if !process::is_no_such_process(&error) => {
                Event::SignalFailed { pid, signal, why: error.to_string() }
            }
            // One that is gone has been reaped by another process, or is about to be.
            _ => Event::SignalSent { pid, signal, inspection },
        });
    }

    /// Whether this is the signal that asks a worker to stop; KILL has no handler.
    fn is_asked_to_stop_by(&self, pid: Pid, signal: Signal) -> bool {
        let stop_signal = self.state.workers.get(&pid).and_then(|it| it.stop_signal.as_ref());
        signal != Signal::Kill && stop_signal.is_some_and(|sent| sent.signal == signal)
    }

    /// What a worker does with a signal. With `--stop`, a handler of any process of its group
    /// counts: each gets the signal once the worker's first process has ended.
    fn inspection(&self, pid: Pid, signal: Signal) -> Inspection {
        let program = handlers::program_name(pid.0).and_then(|name| name.into_string().ok());
        let Some(number) = signal::number(signal.name()) else {
            return Inspection { disposition: None, program };
        };
        let own = disposition(pid.0, number);
        let counts_group = self.state.config.stop.is_some();
        let disposition = match own {
            Some(found) if counts_group && !found.is_handled() => {
                let members = group::members(&BTreeSet::from([pid.0])).unwrap_or_default();
                let mut others = members.iter().filter(|member| member.pid != pid.0);
                let caught = Some(Disposition::Caught);
                // Shells block signals for a moment while they fork.
                match others.any(|other| disposition(other.pid, number) == caught) {
                    true => caught,
                    false => own,
                }
            }
            own => own,
        };
        Inspection { disposition, program }
    }
}

fn disposition(pid: i32, number: i32) -> Option<Disposition> {
    Some(match handlers::of(pid)?.disposition(number) {
        handlers::Disposition::Caught => Disposition::Caught,
        handlers::Disposition::Blocked => Disposition::Blocked,
        handlers::Disposition::Ignored => Disposition::Ignored,
        handlers::Disposition::Default => Disposition::Default,
    })
}
