//! Signals around the exec: none is lost, none is fatal, whenever it arrives.

use std::io::Read;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::support::before_and_after::Snapshot;
use crate::support::releases::{answers, ask, reexec_count, script, start_wrapped};
use crate::support::rig::{Master, Rig, prepare, send};
use crate::support::{proc, wait};

crate::tests![
    signals_that_go_on_are_harmless_at_any_moment,
    signals_that_stop_are_not_forgotten_at_any_moment,
    a_storm_of_hups_ends_with_the_newest_code,
    a_hup_that_waits_is_not_lost_to_a_reload,
    workers_that_end_at_any_moment_are_replaced,
    after_failures_of_every_kind_signals_work_as_before,
    a_closed_log_and_a_failed_exec_harm_nothing,
    an_ignored_sigchld_stays_cured_after_upgrades,
];

/// From how long before the exec until how long after it a signal is sent.
const BEFORE: Duration = Duration::from_millis(10);
const AFTER: Duration = Duration::from_millis(50);

/// Upgrades with a signal: those that go on by one master, the others by one each.
const HARMLESS_ROUNDS: u32 = 300;
const STOP_ROUNDS: u32 = 200;

/// Numbers that only look random: xorshift, from a seed that is printed.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let given = std::env::var("EINHORN_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = given.unwrap_or_else(clock).max(1);
        println!("EINHORN_TEST_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    /// A moment around the exec of an upgrade that is asked for now.
    fn moment(&mut self, to_exec: Duration) -> Instant {
        let span = u64::try_from((BEFORE + AFTER).as_micros()).unwrap();
        let offset = Duration::from_micros(self.below(span));
        Instant::now() + (to_exec + offset).saturating_sub(BEFORE)
    }
}

/// How long it is from the question to the exec, by a few upgrades.
fn time_to_exec(master: &Master<'_>) -> Duration {
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let answer = master.say("reload", &[]);
            assert!(answer.starts_with("Reload done"), "{answer}");
            begun.elapsed()
        })
        .collect();
    times.sort();
    // What follows the exec takes about a quarter.
    times[2] * 3 / 4
}

fn signals_that_go_on_are_harmless_at_any_moment() {
    let mut random = Random::new();
    let rig = Rig::new();
    let mut master = rig.launch(rig.einhorn(&["-n", "2", "-m", "0", "sleep", "1000"]));
    master.settled(2);
    let to_exec = time_to_exec(&master);
    let signals = [
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGALRM,
        Signal::SIGWINCH,
        Signal::SIGPIPE,
        Signal::SIGCONT,
    ];
    let before = Snapshot::of(&master);
    let mut is_upgraded = false;
    for round in 0..HARMLESS_ROUNDS {
        let signal = random.pick(&signals);
        is_upgraded |= signal == Signal::SIGHUP;
        let mut client = ask(&rig, "reload");
        wait::moment(random.moment(to_exec));
        master.signal(signal);
        let last = answers(&rig, &mut client).pop().unwrap();
        assert!(last.starts_with("Reload done"), "{signal} in round {round}: {last}");
    }
    master.settled(2);
    assert!(reexec_count(&rig) >= usize::try_from(HARMLESS_ROUNDS).unwrap());
    let told = rig.log().matches("Received SIGHUP").count();
    assert!(told > 0 || !is_upgraded);
    // A HUP may wait for its turn; then its roll-out ends.
    let look = || (!master.state()[":upgrading"].as_bool().unwrap()).then_some(());
    master.until("no upgrade is under way", look);
    master.settled(2);
    let after = Snapshot::of(&master);
    before.assert_kept_but_for_workers(&after);
    master.signal(Signal::SIGTERM);
    assert_eq!(master.ended().code(), Some(0));
}

fn signals_that_stop_are_not_forgotten_at_any_moment() {
    let mut random = Random::new();
    let mut to_exec = None;
    for round in 0..STOP_ROUNDS {
        let rig = Rig::new();
        let options = ["-n", "2", "-m", "0", "sleep", "1000"];
        // SIGQUIT would have every worker leave a core file.
        let mut master = rig.launch(rig.shell("ulimit -c 0; exec \"$@\"", &options));
        // Measured once in a while: the machine is not always as busy.
        if round % 20 == 0 {
            to_exec = None;
        }
        let to_exec = *to_exec.get_or_insert_with(|| time_to_exec(&master));
        let signals = [Signal::SIGTERM, Signal::SIGUSR2, Signal::SIGINT, Signal::SIGQUIT];
        let signal = random.pick(&signals);
        let _client = ask(&rig, "upgrade");
        wait::moment(random.moment(to_exec));
        master.signal(signal);
        let code = Some(i32::from(signal == Signal::SIGQUIT));
        assert_eq!(master.ended().code(), code, "{signal} in round {round}\n{}", rig.log());
        let look = || rig.processes().is_empty().then_some(());
        wait::until_some("no worker is left", look, || format!("{signal} {}", rig.log()));
    }
}

fn a_storm_of_hups_ends_with_the_newest_code() {
    let rig = Rig::new();
    // A worker of the old code, then one of the new.
    script(&rig, "server", "#!/bin/sh\nexec sleep 1001\n");
    let master = rig.launch(rig.einhorn(&["-n", "4", "-m", "0", "./server"]));
    master.settled(4);
    let begun = Instant::now();
    for count in 1..=200u32 {
        if count == 199 {
            script(&rig, "server", "#!/bin/sh\nexec sleep 1002\n");
        }
        master.signal(Signal::SIGHUP);
        wait::moment(begun + Duration::from_millis(10) * count);
        if count % 10 == 0 {
            assert!(master.workers().len() <= 8, "{}", rig.log());
        }
    }
    master.until("all workers run the newest code", || {
        let workers = master.workers();
        let is_new = |pid: i32| proc::command_line(pid) == "sleep 1002";
        let live = || workers.iter().all(|w| !proc::has_ended(w.pid));
        (workers.len() == 4 && live() && workers.iter().all(|w| is_new(w.pid))).then_some(())
    });
    // At most one a second, the first at once.
    let most = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    assert!((1..=most).contains(&reexec_count(&rig)), "{}", rig.log());
}

fn a_hup_that_waits_is_not_lost_to_a_reload() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-n", "2", "-m", "0", "sleep", "1000"]));
    let old = master.settled(2);
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    master.signal(Signal::SIGHUP);
    master.until_logged("Received SIGHUP");
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    master.until("all workers are new", || {
        let workers = master.workers();
        let is_new = |pid: i32| !old.contains(&pid);
        (workers.len() == 2 && workers.iter().all(|w| is_new(w.pid))).then_some(())
    });
}

fn workers_that_end_at_any_moment_are_replaced() {
    let mut random = Random::new();
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-n", "6", "-m", "0", "sleep", "1000"]));
    master.settled(6);
    let to_exec = time_to_exec(&master);
    let mut killed = 0;
    for _ in 0..40 {
        let workers = master.settled(6);
        let mut client = ask(&rig, "reload");
        let mut moments: Vec<Instant> = (0..3).map(|_| random.moment(to_exec)).collect();
        moments.sort();
        for (worker, at) in workers.iter().zip(moments) {
            wait::moment(at);
            send(*worker, Signal::SIGKILL);
            killed += 1;
        }
        assert!(answers(&rig, &mut client).pop().unwrap().starts_with("Reload done"));
        // Told, a worker is not in the list any more.
        master.until_logged_times(killed, "Exited worker");
    }
    master.settled(6);
    // Each is told once, with its status.
    let log = rig.log();
    assert_eq!(log.matches("Exited worker").count(), killed, "{log}");
    assert_eq!(log.matches("killed by SIGKILL").count(), killed, "{log}");
    assert_eq!(proc::children(master.pid()).len(), 6);
}

/// Reloads that fail ten times in one way; then every signal works.
fn fails_ten_times(name: &str, text: &str, mode: &str) {
    let rig = Rig::new();
    let good = "#!/bin/sh\nexec EINHORN \"$@\"\n";
    script(&rig, "wrapper", good);
    let mut master = start_wrapped(&rig, "wrapper", &["-n", "2"]);
    let old = master.settled(2);
    let before = Snapshot::of(&master);
    for _ in 0..10 {
        script(&rig, "wrapper", text);
        let answer = master.say("reload", &[]);
        assert!(answer.starts_with(mode), "{name}: {answer}");
        before.assert_kept(&master);
    }
    script(&rig, "wrapper", good);
    master.signal(Signal::SIGHUP);
    master.until("all workers are new", || {
        let workers = master.workers();
        (workers.len() == 2 && workers.iter().all(|w| !old.contains(&w.pid))).then_some(())
    });
    master.signal(Signal::SIGTERM);
    assert_eq!(master.ended().code(), Some(0), "{name}");
}

fn after_failures_of_every_kind_signals_work_as_before() {
    let refused = "Not upgrading";
    let failed = "Could not upgrade, and went on as before";
    fails_ten_times("exit", "#!/bin/sh\nexit 3\n", refused);
    fails_ten_times("killed", "#!/bin/sh\nkill -KILL $$\n", refused);
    fails_ten_times("no script", "nothing\n", refused);
    fails_ten_times("no exec", "#!/bin/sh\nEINHORN \"$@\"\n", refused);
    // Fit to be checked, and then gone or unfit to be executed.
    fails_ten_times("gone", "#!/bin/sh\nrm \"$0\"\nexec EINHORN \"$@\"\n", failed);
    fails_ten_times("mode", "#!/bin/sh\nchmod 0 \"$0\"\nexec EINHORN \"$@\"\n", failed);
}

fn a_closed_log_and_a_failed_exec_harm_nothing() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\nrm \"$0\"\nexec EINHORN \"$@\"\n");
    let wrapper = rig.path("wrapper").display().to_string();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let options = ["-n", "2", "-m", "0", "--reexec-as", &wrapper, "sleep", "1000"];
    let mut command = rig.shell("exec \"$@\" 2>&1", &options);
    command.stdout(writer);
    let mut master = rig.launch(command);
    master.settled(2);
    // Something was logged; nobody reads from here on.
    assert!(reader.read(&mut [0; 64]).unwrap() > 0);
    drop(reader);
    let answer = master.say("reload", &[]);
    assert!(answer.starts_with("Could not upgrade"), "{answer}");
    for _ in 0..20 {
        master.signal(Signal::SIGUSR1);
        master.settled(2);
    }
    script(&rig, "wrapper", "#!/bin/sh\nexec EINHORN \"$@\"\n");
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    master.signal(Signal::SIGTERM);
    assert_eq!(master.ended().code(), Some(0));
}

fn an_ignored_sigchld_stays_cured_after_upgrades() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\ntrap '' CHLD\nexec EINHORN \"$@\"\n");
    let wrapper = rig.path("wrapper").display().to_string();
    let mut command = rig.einhorn(&["-n", "2", "-m", "0", "--reexec-as", &wrapper]);
    command.args(["sleep", "1000"]);
    prepare(&mut command, || {
        // SAFETY: ignoring a signal runs no code.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
        Ok(())
    });
    let master = rig.launch(command);
    for count in 1..=3 {
        let workers = master.settled(2);
        assert!(master.say("reload", &[]).starts_with("Reload done"));
        send(workers[0], Signal::SIGKILL);
        master.until_logged_times(count, "killed by SIGKILL");
    }
    let sets = proc::signal_set(master.settled(2)[0], "SigIgn");
    assert_eq!(sets & 1 << (Signal::SIGCHLD as u64 - 1), 0);
}
