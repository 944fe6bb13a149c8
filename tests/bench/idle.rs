//! Figures 2 and 4: what a master costs while it does nothing.

use crate::report::{Budget, Row, Samples, heading, rounds};
use crate::rig::{Rig, number};
use crate::{Effort, wait};

const SMALL: usize = 4;
const LARGE: usize = 100;

/// Figure 2.
pub(crate) fn wake_ups(rig: &Rig, effort: &Effort) {
    let master = rig.start_idle(SMALL, &[]);
    let switches = || {
        let voluntary = number(master.pid(), "voluntary_ctxt_switches:");
        voluntary + number(master.pid(), "nonvoluntary_ctxt_switches:")
    };
    let before = switches();
    wait::throughout(effort.idle, || ());
    let samples = Samples::new([switches() - before]);
    let span = effort.idle.as_secs();
    heading(2, &format!("An idle master of {SMALL} ACKed workers, watched for {span} s"));
    let budget = Some(Budget::Most(0.0));
    Row { what: "context switches", unit: "", samples: &samples, bare: None, budget }.print();
}

/// Figure 4.
pub(crate) fn memory(rig: &Rig, effort: &Effort) {
    heading(4, "Resident memory of an idle master");
    let budget = Some(Budget::Below(3.0));
    let measured = rounds(effort, || resident(rig, LARGE));
    let of = |which: fn(&Resident) -> f64| Samples::new(measured.iter().map(which));
    let bare = of(|resident| resident.worker);
    let row = |what: &str, samples: &Samples, bare, budget| {
        Row { what, unit: "MB", samples, bare, budget }.print();
    };
    row(&format!("einhorn, {LARGE} workers, VmRSS"), &of(|r| r.all), Some(&bare), budget);
    row("   of it its own (RssAnon)", &of(|r| r.anonymous), None, None);
    row("bare: a worker that only waits, VmRSS", &bare, None, None);
    row("   of it its own (RssAnon)", &of(|r| r.worker_anonymous), None, None);
    let many = resident(rig, effort.many);
    let all = Samples::new([many.all]);
    row(&format!("einhorn, {} workers, VmRSS", effort.many), &all, Some(&bare), None);
    row("   of it its own (RssAnon)", &Samples::new([many.anonymous]), None, None);
}

/// In megabytes.
struct Resident {
    all: f64,
    anonymous: f64,
    worker: f64,
    worker_anonymous: f64,
}

fn resident(rig: &Rig, workers: usize) -> Resident {
    let master = rig.start_idle(workers, &[]);
    let worker = master.workers()[0].as_raw();
    let megabytes = |pid, field| number(pid, field) * 1024.0 / 1e6;
    Resident {
        all: megabytes(master.pid(), "VmRSS:"),
        anonymous: megabytes(master.pid(), "RssAnon:"),
        worker: megabytes(worker, "VmRSS:"),
        worker_anonymous: megabytes(worker, "RssAnon:"),
    }
}
