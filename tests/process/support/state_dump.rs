//! What the state dump says of the workers at one moment, and looking at it all the time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::background::meanwhile;
use crate::support::load::{port, under_load};
use crate::support::rig::Master;
use crate::support::wait;

/// A worker at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: i32,
    pub(crate) version: u64,
    pub(crate) index: u64,
    pub(crate) is_acked: bool,
    pub(crate) is_told_to_go: bool,
}

/// What the state dump says at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) workers: Vec<Seen>,
    pub(crate) version: u64,
    pub(crate) target: usize,
    pub(crate) is_upgrading: bool,
}

impl Moment {
    pub(crate) fn of(master: &Master<'_>) -> Moment {
        let state = master.state();
        let worker = |(pid, worker): (&serde_yaml::Value, &serde_yaml::Value)| {
            let serde_yaml::Value::Tagged(set) = &worker[":signaled"] else { panic!("no set") };
            let number = |name: &str| worker[name].as_u64().unwrap();
            Seen {
                pid: i32::try_from(pid.as_i64().unwrap()).unwrap(),
                version: number(":version"),
                index: number(":index"),
                is_acked: worker[":acked"].as_bool().unwrap(),
                is_told_to_go: !set.value["hash"].as_mapping().unwrap().is_empty(),
            }
        };
        Moment {
            workers: state[":children"].as_mapping().unwrap().iter().map(worker).collect(),
            version: state[":version"].as_u64().unwrap(),
            target: usize::try_from(state[":config"][":number"].as_u64().unwrap()).unwrap(),
            is_upgrading: state[":upgrading"].as_bool().unwrap(),
        }
    }

    fn count(&self, is_meant: impl Fn(&Seen) -> bool) -> usize {
        self.workers.iter().filter(|worker| is_meant(worker)).count()
    }

    /// Workers that serve and stay.
    pub(crate) fn capacity(&self) -> usize {
        self.count(|worker| worker.is_acked && !worker.is_told_to_go)
    }

    pub(crate) fn staying(&self) -> usize {
        self.count(|worker| !worker.is_told_to_go)
    }

    /// Workers of the newest code that wait for their ACK.
    pub(crate) fn unacked(&self) -> usize {
        self.count(|worker| worker.version == self.version && !worker.is_acked)
    }

    /// Workers of the newest code that serve.
    pub(crate) fn up(&self) -> usize {
        self.count(|worker| worker.version == self.version && worker.is_acked)
    }

    pub(crate) fn asked_to_stop(&self) -> usize {
        self.count(|worker| worker.is_told_to_go)
    }

    /// Whether only workers of the newest code are left, all of them up.
    pub(crate) fn has_converged(&self) -> bool {
        !self.is_upgrading
            && self.workers.len() == self.target
            && self.count(|worker| worker.version == self.version && worker.is_acked) == self.target
            && self.asked_to_stop() == 0
    }

    /// # Panics
    /// Less capacity than is wanted, or two workers of one index.
    pub(crate) fn is_sound(&self) {
        assert!(self.capacity() >= self.target, "{:?}", self.workers);
        let indexes: BTreeSet<u64> = self.workers.iter().map(|worker| worker.index).collect();
        assert_eq!(indexes.len(), self.workers.len(), "{:?}", self.workers);
    }
}

/// Looks without a pause until the roll-out is over and only the newest code is left.
pub(crate) fn watch(master: &Master<'_>, version: u64, mut check: impl FnMut(&Moment)) {
    master.until("the newest code has taken over", || {
        let moment = Moment::of(master);
        check(&moment);
        (moment.has_converged() && moment.version == version).then_some(())
    });
}

/// Checks for a while that nothing moves on.
pub(crate) fn stays(master: &Master<'_>, check: impl Fn(&Moment)) {
    wait::throughout(Duration::from_millis(250), || check(&Moment::of(master)));
}

/// Looks without a pause, and at nothing unsound, until there is something to be seen.
pub(crate) fn until_moment(master: &Master<'_>, what: &str, look: impl Fn(&Moment) -> bool) {
    master.until(what, || {
        let moment = Moment::of(master);
        moment.is_sound();
        look(&moment).then_some(())
    });
}

/// Does something while clients ask without a pause and somebody looks at the workers all the time.
///
/// # Panics
/// An answer was lost, or at some moment something was unsound.
pub(crate) fn unharmed<T>(master: &Master<'_>, work: impl FnOnce() -> T) -> T {
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    let goes_on = AtomicBool::new(true);
    let mut result = None;
    let answered = under_load(port(master), 1, |_| {
        meanwhile(master, |scope| {
            let end = End(&goes_on);
            scope.spawn(|| {
                let look = || Moment::of(master).is_sound();
                wait::as_long_as(|| goes_on.load(Ordering::Relaxed), look);
            });
            result = Some(work());
            drop(end);
        });
    });
    assert!(answered > 0);
    result.unwrap()
}
