//! Figure 7: how long nothing is answered while the master re-executes itself, seen from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::Effort;
use crate::report::{Budget, Row, Samples, heading};
use crate::rig::Rig;

/// Rounds of each fleet; the median of them is told.
const ROUNDS: u32 = 20;

/// Workers of a small fleet, and the longest silence in milliseconds that it may cause.
const SMALL: (usize, f64) = (10, 5.0);

/// The longest silence in milliseconds that a thousand workers may cause.
const MANY_MS: f64 = 15.0;

/// Figure 7.
pub(crate) fn silence(rig: &Rig, effort: &Effort) {
    heading(7, "The longest silence on a connection during a reload");
    for (workers, most) in [SMALL, (effort.many, MANY_MS)] {
        let master = rig.start_idle(workers, &[]);
        let rounds = ROUNDS.min(effort.rounds * 3);
        let samples = Samples::ms((0..rounds).map(|_| longest_gap(&rig.socket())));
        drop(master);
        let what = format!("{workers} workers");
        let budget = Some(Budget::Most(most));
        Row { what: &what, unit: "ms", samples: &samples, bare: None, budget }.print();
    }
}

/// The longest time between a question and its answer, from before a reload until after it.
fn longest_gap(socket: &Path) -> Duration {
    let done = AtomicBool::new(false);
    let (begun, has_begun) = mpsc::channel();
    std::thread::scope(|scope| {
        let done = &done;
        let asking = scope.spawn(move || {
            let mut client = UnixStream::connect(socket).unwrap();
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                client.write_all(b"{\"command\":\"ehlo\",\"user\":\"bench\"}\n").unwrap();
                let mut answer = [0; 1024];
                assert!(client.read(&mut answer).unwrap() > 0, "the master left");
                longest = longest.max(start.elapsed());
                // Nobody listens after the first.
                let _ = begun.send(());
            }
            longest
        });
        has_begun.recv().unwrap();
        reload(socket);
        done.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    })
}

/// Asks for a reload and waits for its last line.
fn reload(socket: &Path) {
    let mut client = UnixStream::connect(socket).unwrap();
    client.write_all(b"{\"command\":\"reload\",\"id\":1}\n").unwrap();
    let mut lines = BufReader::new(client).lines();
    let last = lines.find(|line| !line.as_ref().unwrap().contains("wait: true")).unwrap().unwrap();
    assert!(last.contains("Reload done"), "{last}");
}
