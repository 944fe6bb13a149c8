//! Workers that use the libraries of others: each checks what its library checks, says that it is
//! up in its bytes, serves, and drains.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::http;
use crate::support::last_line::is_done;
use crate::support::rig::{Master, Rig, has, is_missing};

crate::tests![
    rubys_worker_library_acks_and_pings_in_all_its_ways,
    go_workers_find_their_listeners,
    baseplates_functions_work,
    baseplate_serve_runs_is_upgraded_and_drains,
];

/// A file beside this one, for what a program of another language does.
pub(crate) fn peer(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/peers");
    folder.join(name).display().to_string()
}

/// A master with manual ACKs and two workers that listen, once both are up.
fn start<'a>(rig: &'a Rig, options: &[&str], worker: &[&str]) -> Master<'a> {
    let mut einhorn = rig.einhorn(&["-m", "manual", "-n", "2", "-b", "127.0.0.1:0"]);
    einhorn.args(options).args(worker);
    let master = rig.launch(einhorn);
    master.settled(2);
    master
}

/// One of the workers answers.
fn is_served(rig: &Rig, master: &Master<'_>) {
    let answer = http::get(master.port(0));
    let answer = answer.unwrap_or_else(|error| panic!("{error}\n{}", rig.log()));
    let greetings = master.settled(2).into_iter().map(|pid| format!("hello from {pid}\n"));
    assert!(greetings.into_iter().any(|greeting| greeting == answer), "{answer}");
}

/// All leave by themselves when they are told to drain.
fn drains(rig: &Rig, mut master: Master<'_>) {
    master.say("die", &[]);
    assert!(master.ended().success());
    let log = rig.log();
    assert_eq!(log.matches(": exit status 0").count(), log.matches("Exited").count(), "{log}");
}

fn rubys_worker_library_acks_and_pings_in_all_its_ways() {
    if !has("ruby") {
        return;
    }
    for (how, pings) in [("env", &[][..]), ("direct", &[]), ("fd", &[]), ("kept", &["r-1", "7"])] {
        let rig = Rig::new();
        let worker = ["ruby", "--disable=gems", &peer("worker.rb"), how];
        let master = start(&rig, &["-g"], &[&worker[..], pings].concat());
        is_served(&rig, &master);
        if let Some(last) = pings.last() {
            let last_ping = |worker: &serde_yaml::Value| worker[":pinged_request_id"] == **last;
            master.until("both have pinged", || {
                let state = master.state();
                let workers = state[":children"].as_mapping().unwrap();
                workers.values().all(last_ping).then_some(())
            });
        }
        drains(&rig, master);
    }
}

fn go_workers_find_their_listeners() {
    if !has("go") {
        return;
    }
    let rig = Rig::new();
    let mut go = rig.command("go");
    // Kept between runs.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache");
    go.args(["build", "-o", "worker", &peer("worker.go")]).env("GOCACHE", cache);
    assert!(go.status().unwrap().success());
    let program = rig.path("worker").display().to_string();
    for style in ["goji", "go-einhorn"] {
        let rig = Rig::new();
        let master = start(&rig, &["-b", "127.0.0.1:0,n"], &[&program, style]);
        is_served(&rig, &master);
        assert!(http::get(master.port(1)).unwrap().starts_with("hello from "));
        drains(&rig, master);
    }
}

/// The Python that has a module: the one that `EINHORN_TEST_BASEPLATE` names, as CI does, or that
/// of the machine. Says so when there is none.
pub(crate) fn python_with(module: &str) -> Option<PathBuf> {
    let python = std::env::var_os("EINHORN_TEST_BASEPLATE").unwrap_or_else(|| "python3".into());
    let asked = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    match asked.is_ok_and(|output| output.status.success()) {
        true => Some(python.into()),
        false => {
            is_missing(&format!("a Python with {module}"));
            None
        }
    }
}

fn baseplate() -> Option<PathBuf> {
    python_with("baseplate.server.einhorn")
}

fn baseplates_functions_work() {
    let Some(python) = baseplate() else { return };
    let rig = Rig::new();
    let unix = format!("unix:{}", rig.path("listener").display());
    let options = ["-g", "-b", &unix];
    let master = start(&rig, &options, &[python.to_str().unwrap(), &peer("worker.py")]);
    is_served(&rig, &master);
    drains(&rig, master);
}

fn baseplate_serve_runs_is_upgraded_and_drains() {
    let Some(python) = baseplate() else { return };
    let rig = Rig::new();
    for file in ["app.py", "app.ini"] {
        std::fs::copy(peer(file), rig.path(file)).unwrap();
    }
    // What the script `baseplate-serve` does, which need not be in PATH.
    let serve = "from gevent.monkey import patch_all; patch_all(); \
                 from baseplate.server import load_app_and_run_server as run; run()";
    let master = start(&rig, &[], &[python.to_str().unwrap(), "-c", serve, "app.ini"]);
    let old = master.settled(2);
    is_served(&rig, &master);
    let last = master.say("upgrade", &[]);
    assert!(is_done(&last), "{last}\n{}", rig.log());
    master.until("the old ones are gone", || {
        let workers = master.workers();
        workers.iter().all(|worker| !old.contains(&worker.pid)).then_some(())
    });
    is_served(&rig, &master);
    drains(&rig, master);
}
