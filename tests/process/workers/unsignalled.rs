//! Workers of another user, under a master that may not signal them.

use einhorn::outcome::Outcome;
use einhorn::status::WarningKind;
use nix::sys::signal::Signal;

use crate::support::einhornsh::{status, tell};
use crate::support::ordinary_user::needs_root;
use crate::support::rig::{Rig, has, send};
use crate::support::{proc, wait};

crate::tests![a_signal_that_cannot_be_sent_does_not_count_as_sent,];

fn a_signal_that_cannot_be_sent_does_not_count_as_sent() {
    if !needs_root() || !has("setpriv") {
        return;
    }
    let rig = Rig::new();
    let einhorn = rig.einhorn(&["-m", "0.1", "--stop", "TERM/0.2/INT"]);
    let mut command = rig.command("setpriv");
    command.args(["--bounding-set", "-kill", "--inh-caps", "-kill"]).arg(einhorn.get_program());
    command.args(einhorn.get_args());
    command.args(["setpriv", "--reuid", "65534", "--clear-groups", "sleep", "1000"]);
    let mut master = rig.launch(command);
    let worker = master.settled(1)[0];
    let drop_root = || (proc::status(worker, "Uid").starts_with("65534")).then_some(());
    wait::until_some("it is another user's", drop_root, || rig.log());

    let told = tell(&rig, "upgrade");
    told.ended(Outcome::Done, "Upgrade done: 1 worker of generation 1");
    let why = "1 old worker cannot be sent TERM: Operation not permitted";
    assert!(told.end.message.contains(why), "{}", told.end.message);
    // The schedule goes on, and the first signal is told of no more than once.
    let warned = || {
        let warnings = status(&rig).0.warnings.into_iter();
        let mut warnings = warnings.filter(|it| it.kind == WarningKind::NotSignalled);
        warnings.next().filter(|warning| warning.message.contains("cannot be sent INT"))
    };
    wait::until_some("it is warned of", warned, || rig.log());
    assert_eq!(rig.log().matches(&format!("Cannot send TERM to worker {worker}")).count(), 1);
    assert!(!proc::has_ended(worker));

    // It goes once somebody may signal it; the one that serves is left behind by name.
    send(worker, Signal::SIGKILL);
    let is_alone = || (status(&rig).0.workers.len() == 1).then_some(());
    wait::until_some("the old one is gone", is_alone, || rig.log());
    let serving = status(&rig).0.workers[0].pid;
    master.signal(Signal::SIGTERM);
    assert_eq!(master.ended().code(), Some(1), "{}", rig.log());
    let why = "Leaving behind 1 worker that cannot be sent INT (Operation not permitted";
    assert!(rig.log().contains(why), "{}", rig.log());
    assert!(!proc::has_ended(serving));
    send(serving, Signal::SIGKILL);
    rig.until_empty();
}
