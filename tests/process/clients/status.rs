//! What is told of master, workers and listeners, as the kernel has it; and the metrics file.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use einhorn::status::{Health, Status, Unit};
use nix::sys::signal::Signal;

use crate::support::background::meanwhile;
use crate::support::rig::{Master, Rig, names};
use crate::support::{proc, wait};
use crate::workers::client_libraries::python_with;

crate::tests![
    memory_ages_and_restarts_are_told,
    what_waits_in_a_listener_is_counted,
    the_age_of_the_master_goes_on_across_a_reload,
    metrics_are_told_on_the_command_socket,
    a_parser_of_others_reads_the_metrics,
    the_metrics_file_is_whole_at_any_moment_and_goes_with_the_master,
    the_metrics_file_is_kept_calmly,
    a_metrics_file_that_cannot_be_written_harms_nothing,
    what_has_the_place_of_a_file_in_the_making_hinders_nobody,
];

/// The kernel knows the start of a process to a tick of its clock.
const TICK: Duration = Duration::from_millis(10);

/// How often a master may have to wait while it wakes once and writes a file.
const WAKES_MAX: u32 = 10;

fn status(master: &Master<'_>) -> Status {
    serde_json::from_str(&master.say("status", &["--json"])).unwrap()
}

fn memory_ages_and_restarts_are_told() {
    let begun = Instant::now();
    let rig = Rig::new();
    let master = rig.start(&["-n", "2", "-m", "0"], &["wait"]);
    let mut pids = master.settled(2);
    for restarts in 0..3 {
        let told = status(&master);
        assert_eq!((told.health, told.master.acked), (Health::Ok, 2), "{told:?}");
        assert_eq!(told.master.pid, master.pid());
        let age = Duration::from_millis(told.master.uptime_ms.unwrap());
        assert!(age <= begun.elapsed() + TICK, "{told:?}");
        let told_pids: BTreeSet<i32> = told.workers.iter().map(|worker| worker.pid).collect();
        assert_eq!(told_pids, pids.iter().copied().collect());
        for worker in &told.workers {
            let resident = worker.memory_bytes.unwrap();
            assert!(resident > 0 && resident <= proc::memory(worker.pid), "{worker:?}");
            assert!(worker.age_ms < told.master.uptime_ms.unwrap() + 10, "{worker:?}");
            assert!(worker.time_to_ack_ms.unwrap() <= worker.age_ms, "{worker:?}");
        }
        assert!(told.master.memory_bytes.unwrap() <= proc::memory(master.pid()));
        let slots: Vec<_> = told.workers.iter().map(|it| (it.slot, it.restarts)).collect();
        assert_eq!(slots, [(0, restarts), (1, 0)]);
        pids = master.replaced(&[told.workers[0].pid], 2);
    }
    // Those that go because they were told to are no restarts.
    assert!(master.say("dec", &[]).contains("2 -> 1"));
    master.settled(1);
    assert!(master.say("inc", &[]).contains("1 -> 2"));
    master.settled(2);
    let told = status(&master);
    assert_eq!((told.workers[0].restarts, told.workers[1].restarts), (3, 0));
    // The new worker may not have set up its handler yet, which is warned of.
    let is_well = || Some(master.say("status", &[])).filter(|it| it.starts_with("ok\n\nMASTER "));
    let shown = master.until("all is well", is_well);
    assert!(shown.lines().any(|line| line.starts_with("   1 ") && line.contains(" up ")));
}

fn what_waits_in_a_listener_is_counted() {
    let rig = Rig::new();
    let unix = format!("unix:{}", rig.path("w").display());
    let binds =
        ["-b", "127.0.0.1:0", "-b", "[::1]:0", "-b", &unix, "-b", "udp:127.0.0.1:0", "-l", "5"];
    let options = [&binds[..], &["-m", "0", "sleep", "1000"]].concat();
    let master = rig.launch(rig.einhorn(&options));
    let queues = || -> Vec<_> {
        let told = status(&master);
        assert_eq!(told.listeners[0].address, format!("127.0.0.1:{}", master.port(0)));
        told.listeners.iter().map(|listener| listener.queue.unwrap()).collect()
    };
    let mut waiting = Vec::new();
    // One more than the limit is let in.
    for depth in 0..=6 {
        for queue in &queues()[..3] {
            assert_eq!((queue.depth, queue.limit, queue.unit), (depth, 5, Unit::Connections));
        }
        if depth == 3 {
            // They wait for whoever accepts them.
            master.replaced(&master.settled(1), 1);
        }
        if depth <= 5 {
            waiting.push((
                TcpStream::connect(("127.0.0.1", master.port(0))).unwrap(),
                TcpStream::connect(("::1", master.port(1))).unwrap(),
                UnixStream::connect(rig.path("w")).unwrap(),
            ));
        }
    }
    let told = queues()[3];
    assert_eq!((told.depth, told.unit), (0, Unit::Bytes));
    assert!(told.limit > 1000, "{told:?}");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(&[0; 1000], ("127.0.0.1", master.port(3))).unwrap();
    master.until("the datagram is counted", || (queues()[3].depth >= 1000).then_some(()));
}

fn the_age_of_the_master_goes_on_across_a_reload() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-m", "0", "sleep", "1000"]));
    let before = status(&master);
    let begun = proc::stat(master.pid()).unwrap();
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    let after = status(&master);
    assert_eq!(begun.pid, after.master.pid);
    assert!(after.master.uptime_ms >= before.master.uptime_ms, "{before:?} {after:?}");
    assert_eq!((before.master.reexecs, after.master.reexecs), (0, 1));
    assert_eq!(after.workers[0].started_on_ms, before.workers[0].started_on_ms);
}

/// The value of a sample by its name and labels.
fn sample<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
}

fn metrics_are_told_on_the_command_socket() {
    let rig = Rig::new();
    let options = ["-n", "3", "-b", "127.0.0.1:0", "-m", "0", "-c", "we\"b", "sleep", "1000"];
    let master = rig.launch_at(rig.einhorn(&options), rig.path("einhorn-we\"b.sock"));
    master.settled(3);
    let text = master.say("metrics", &[]);
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    assert_eq!(sample(&text, "einhorn_workers{state=\"up\"}"), Some("3"), "{text}");
    assert_eq!(sample(&text, "einhorn_healthy"), Some("1"));
    assert!(text.contains("name=\"we\\\"b\",pid="), "{text}");
    let memory = sample(&text, "einhorn_worker_resident_memory_bytes{slot=\"2\"}");
    assert!(memory.unwrap().parse::<u64>().unwrap() > 0, "{text}");
    assert!(!rig.path("einhorn.prom").exists());
}

fn a_parser_of_others_reads_the_metrics() {
    let Some(python) = python_with("prometheus_client.openmetrics.parser") else { return };
    let rig = Rig::new();
    let options = ["-n", "2", "-b", "127.0.0.1:0", "-b", "udp:[::1]:0", "sleep", "1000"];
    let master = rig.launch(rig.einhorn(&options));
    let text = master.say("metrics", &[]);
    fs::write(rig.path("metrics"), &text).unwrap();
    let parse = "import sys; from prometheus_client.openmetrics import parser; \
                 families = parser.text_string_to_metric_families(open(sys.argv[1]).read()); \
                 print(sum(len(family.samples) for family in families))";
    let mut command = rig.command(python);
    let output = command.args(["-c", parse, "metrics"]).output().unwrap();
    let sample_count = text.lines().filter(|line| !line.starts_with('#')).count();
    let read = String::from_utf8_lossy(&output.stdout);
    assert_eq!(read.trim(), sample_count.to_string(), "{output:?}\n{text}");
}

fn is_whole(text: &str) -> bool {
    text.starts_with("# TYPE einhorn_info gauge\n") && text.ends_with("\n# EOF\n")
}

fn the_metrics_file_is_whole_at_any_moment_and_goes_with_the_master() {
    let rig = Rig::new();
    let path = rig.path("einhorn.prom");
    let arguments = ["-n", "2", "-m", "0", "--metrics-file", "einhorn.prom", "sleep", "1000"];
    let mut master = rig.launch(rig.shell("umask 077; exec \"$@\"", &arguments));
    let read = || fs::read_to_string(&path).ok();
    master.until("the file is there", read);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let is_over = AtomicBool::new(false);
    meanwhile(&master, |scope| {
        let reader = scope.spawn(|| {
            let mut versions = BTreeSet::new();
            while !is_over.load(Ordering::Relaxed) && !proc::has_ended(master.pid()) {
                let text = fs::read_to_string(&path).expect("it is there all the while");
                assert!(is_whole(&text), "{text:?}");
                versions.insert(text);
            }
            versions.len()
        });
        for restarts in ["1", "2"] {
            master.settled(2);
            let first = master.workers().into_iter().find(|worker| worker.index == 0).unwrap();
            master.replaced(&[first.pid], 2);
            let name = "einhorn_worker_restarts_total{slot=\"0\"}";
            master.until("the restart is told", || {
                (reader.is_finished() || sample(&read()?, name)? == restarts).then_some(())
            });
            assert!(master.say("reload", &[]).starts_with("Reload done"));
        }
        let name = "einhorn_reexecs_total";
        master.until("the reload is told", || {
            (reader.is_finished() || sample(&read()?, name)? == "2").then_some(())
        });
        is_over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() >= 3);
    });
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    assert_eq!(names(Path::new(&rig.path(""))), ["einhorn.lock", "einhorn.sock.lock", "log"]);
}

fn the_metrics_file_is_kept_calmly() {
    let rig = Rig::new();
    let options = ["-n", "1", "-m", "0", "--metrics-file", "m", "sleep", "1000"];
    let master = rig.launch(rig.einhorn(&options));
    master.settled(1);
    proc::until_idle(master.pid());
    let written_on = || fs::metadata(rig.path("m")).unwrap().modified().unwrap();
    let until_written = || {
        let before = written_on();
        master.until("it is written again", || (written_on() > before).then_some(()));
        let wakes = proc::status(master.pid(), "voluntary_ctxt_switches");
        (written_on(), wakes.parse::<u32>().unwrap())
    };
    // The first time because something has happened.
    let before = until_written();
    // Then because queues and memory change without a word: that alone wakes the master.
    let after = until_written();
    assert!(after.0.duration_since(before.0).unwrap() > Duration::from_secs(10));
    assert!(after.1 - before.1 <= WAKES_MAX, "{before:?} {after:?}");
}

fn a_metrics_file_that_cannot_be_written_harms_nothing() {
    let rig = Rig::new();
    let folder = rig.path("later");
    let file = folder.join("m");
    let options = ["-m", "0", "--metrics-file", file.to_str().unwrap(), "sleep", "1000"];
    let master = rig.launch(rig.einhorn(&options));
    let shown = file.display();
    master.until_logged(&format!("ERROR: Cannot write the metrics file {shown}: No such file"));
    let worker = master.settled(1);
    fs::create_dir(&folder).unwrap();
    symlink("/dev/null", &file).unwrap();
    let worker = master.replaced(&worker, 1);
    wait::throughout(Duration::from_millis(1500), || {
        assert!(file.is_symlink());
        assert_eq!(names(&folder), ["m"]);
    });
    // Once, until it works.
    assert_eq!(rig.log().matches("Cannot write the metrics file").count(), 1, "{}", rig.log());
    fs::remove_file(&file).unwrap();
    master.replaced(&worker, 1);
    master.until_logged(&format!("INFO: The metrics file {shown} is written again"));
    assert!(is_whole(&fs::read_to_string(&file).unwrap()));
}

fn what_has_the_place_of_a_file_in_the_making_hinders_nobody() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["--metrics-file", "prom", "sleep", "1000"]));
    let written = || fs::metadata(rig.path("prom")).ok().map(|found| found.ino());
    let first = master.until("the metrics are written", written);
    fs::create_dir(rig.path(&format!("prom.{}.new", master.pid()))).unwrap();
    master.say("inc", &[]);
    master.until("they are written again", || (written()? != first).then_some(()));
    assert!(!rig.log().contains("ERROR"), "{}", rig.log());
}
