//! The workers of docs/worker-contract.md, run as they stand there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::http;
use crate::support::rig::{Rig, has};

crate::tests![
    the_rust_worker_holds_the_contract,
    the_python_worker_holds_the_contract,
    the_ruby_worker_holds_the_contract,
    the_go_worker_holds_the_contract,
    the_node_worker_holds_the_contract,
    the_shell_worker_holds_the_contract,
    the_bundled_time_server_answers_whoever_comes_and_drains,
];

fn the_rust_worker_holds_the_contract() {
    // Kept between runs, so that only the first one compiles its dependencies.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("worker-contract");
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), block("toml")).unwrap();
    fs::write(folder.join("src/main.rs"), block("rust")).unwrap();
    // The releases that this crate has chosen, so that nothing is fetched.
    fs::copy(root("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--target-dir", "target"]).current_dir(&folder);
    build(cargo);
    let program = folder.join("target/debug/worker");
    serves_and_drains(&Rig::new(), &[program.to_str().unwrap()]);
}

fn the_python_worker_holds_the_contract() {
    if has("python3") {
        let rig = Rig::new();
        fs::write(rig.path("worker.py"), block("python")).unwrap();
        serves_and_drains(&rig, &["python3", "worker.py"]);
    }
}

fn the_ruby_worker_holds_the_contract() {
    if has("ruby") {
        let rig = Rig::new();
        fs::write(rig.path("worker.rb"), block("ruby")).unwrap();
        serves_and_drains(&rig, &["ruby", "worker.rb"]);
    }
}

fn the_go_worker_holds_the_contract() {
    if has("go") {
        let rig = Rig::new();
        fs::write(rig.path("worker.go"), block("go")).unwrap();
        let mut go = rig.command("go");
        // Kept between runs, like Rust's.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache");
        go.args(["build", "worker.go"]).env("GOCACHE", cache);
        build(go);
        serves_and_drains(&rig, &["./worker"]);
    }
}

fn the_node_worker_holds_the_contract() {
    if has("node") {
        let rig = Rig::new();
        fs::write(rig.path("worker.mjs"), block("javascript")).unwrap();
        serves_and_drains(&rig, &["node", "worker.mjs"]);
    }
}

fn the_shell_worker_holds_the_contract() {
    if !has("bash") {
        return;
    }
    let rig = Rig::new();
    fs::write(rig.path("worker.sh"), block("bash")).unwrap();
    let mut master =
        rig.launch(rig.einhorn(&["-m", "manual", "-n", "2", "-g", "bash", "worker.sh"]));
    master.settled(2);
    for index in [0, 1] {
        let work = rig.path(&format!("last-run-of-worker-{index}"));
        let is_done = || fs::read_to_string(&work).is_ok_and(|work| !work.is_empty());
        master.until("the job is done", || is_done().then_some(()));
        fs::remove_file(&work).unwrap();
        master.until("the job is done again", || is_done().then_some(()));
    }
    master.say("die", &[]);
    assert!(master.ended().success());
    assert_eq!(rig.log().matches(": exit status 0").count(), 2, "{}", rig.log());
}

fn the_bundled_time_server_answers_whoever_comes_and_drains() {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().nth(3).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--example", "time_server", "--target-dir"]).arg(target);
    cargo.current_dir(root(""));
    build(cargo);
    let rig = Rig::new();
    let mut einhorn = rig.einhorn(&["-m", "manual", "-n", "2", "-b", "127.0.0.1:0"]);
    einhorn.arg(target.join("debug/examples/time_server")).arg("--ack");
    let mut master = rig.launch(einhorn);
    let pids = master.settled(2);
    let is_told = |time: &str| pids.iter().any(|pid| time.contains(&format!("(pid {pid})")));
    let time = http::get(master.port(0)).unwrap();
    assert!(is_told(&time), "{time}");
    let half = http::begin(master.port(0)).unwrap();
    let time = http::body(half).unwrap();
    assert!(is_told(&time), "{time}");
    master.say("die", &[]);
    assert!(master.ended().success());
    assert_eq!(rig.log().matches(": exit status 0").count(), 2, "{}", rig.log());
}

/// Runs two of a worker until they are up, has one of them answer, and tells both to go while one
/// has half a request: it gets the other half and answers it.
fn serves_and_drains(rig: &Rig, worker: &[&str]) {
    let mut einhorn = rig.einhorn(&["-m", "manual", "-n", "2", "-b", "127.0.0.1:0"]);
    einhorn.args(worker);
    let mut master = rig.launch(einhorn);
    let greetings: Vec<String> =
        master.settled(2).iter().map(|pid| format!("hello from {pid}\n")).collect();
    let greets = |answer: std::io::Result<String>| match answer {
        Ok(answer) => assert!(greetings.contains(&answer), "{answer:?}"),
        Err(error) => panic!("{error}\n{}", rig.log()),
    };
    greets(http::get(master.port(0)));

    let client = http::begin(master.port(0)).unwrap();
    master.until("it is accepted", || http::is_accepted(&client).then_some(()));
    master.say("die", &[]);
    master.until_logged("Exited worker");
    greets(http::finish(client));
    assert!(master.ended().success());
    assert_eq!(rig.log().matches(": exit status 0").count(), 2, "{}", rig.log());
}

/// The code block of a language on the page.
fn block(language: &str) -> String {
    let page = fs::read_to_string(root("docs/worker-contract.md")).unwrap();
    let mut blocks = page.split("\n```").filter_map(|block| {
        let (tag, code) = block.split_once('\n')?;
        (tag == language).then(|| format!("{code}\n"))
    });
    let found = blocks.next().unwrap_or_else(|| panic!("the page has no {language}"));
    assert_eq!(blocks.next(), None, "which {language}?");
    found
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn build(mut compiler: Command) {
    let output = compiler.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler:?}: {said}");
}
