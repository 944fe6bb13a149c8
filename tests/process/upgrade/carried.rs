//! What travels across the exec besides workers: listeners with their queues, locks, standard
//! descriptors, limits, and the tie to workers that die with their master.

use std::io::{Read, Write};
use std::net::TcpStream;

use einhorn::client::Client;
use nix::sys::signal::Signal;

use crate::support::before_and_after::Snapshot;
use crate::support::releases::{ask, reexec_count, script, start_wrapped};
use crate::support::rig::{Rig, send};
use crate::support::{ordinary_user, proc, wait};

crate::tests![
    connections_that_wait_in_a_listener_are_answered_after_upgrades,
    no_second_master_gets_in_during_upgrades,
    a_variable_is_dropped_from_when_config_says_so,
    closed_standard_descriptors_stay_harmless,
    too_few_descriptors_for_the_next_image_harm_nothing,
    descriptors_that_a_wrapper_loses_after_its_check_cost_the_master_only,
    workers_that_die_with_their_master_outlive_its_upgrades,
    checks_change_nothing_that_is_shared,
    a_wrapper_may_raise_the_limit_of_files_as_far_as_it_goes,
    a_wrapper_that_drops_the_user_is_refused,
];

fn connections_that_wait_in_a_listener_are_answered_after_upgrades() {
    let rig = Rig::new();
    let go = rig.path("go").display().to_string();
    let steps = ["ack", &format!("until={go}"), "serve"];
    let master = rig.start(&["-n", "1", "-m", "manual", "-b", "127.0.0.1:0"], &steps);
    let worker = master.settled(1)[0];
    let port = master.state()[":bound_ports"][0].as_u64().unwrap();
    let port = u16::try_from(port).unwrap();
    let connect = |_| TcpStream::connect(("127.0.0.1", port)).unwrap();
    let waiting: Vec<TcpStream> = (0..100).map(connect).collect();
    for _ in 0..5 {
        assert!(master.say("reload", &[]).starts_with("Reload done"));
    }
    std::fs::write(rig.path("go"), "").unwrap();
    for mut stream in waiting {
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, format!("{worker}\n"));
    }
}

fn no_second_master_gets_in_during_upgrades() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-m", "0", "sleep", "1000"]));
    let workers = master.settled(1);
    std::thread::scope(|scope| {
        let upgrades = scope.spawn(|| {
            for _ in 0..50 {
                assert!(master.say("reload", &[]).starts_with("Reload done"));
            }
        });
        let mut tries = 0;
        while !upgrades.is_finished() || tries == 0 {
            let second = rig.einhorn(&["-m", "0", "sleep", "1000"]).output().unwrap();
            let said = String::from_utf8_lossy(&second.stderr);
            assert_eq!(second.status.code(), Some(1), "{said}");
            tries += 1;
        }
    });
    assert_eq!(master.settled(1), workers);
}

fn a_variable_is_dropped_from_when_config_says_so() {
    let rig = Rig::new();
    let mut command = rig.einhorn(&["--drop", "FIRST", "sleep", "1000"]);
    command.env("FIRST", "1").env("SECOND", "2");
    let master = rig.launch(command);
    let has = |entry| proc::environment(master.pid()).iter().any(|known| known == entry);
    assert!(has("FIRST=1") && has("SECOND=2"));
    let said = master.say("config", &[":drop_environment_variables: [SECOND]"]);
    assert_eq!(said, "Changed drop_environment_variables to [SECOND]");
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    assert!(has("FIRST=1") && !has("SECOND=2"));
}

fn closed_standard_descriptors_stay_harmless() {
    let rig = Rig::new();
    let options = ["-n", "2", "-m", "0", "-b", "127.0.0.1:0", "sleep", "1000"];
    let master = rig.launch(rig.shell("exec \"$@\" <&- >&- 2>&-", &options));
    let workers = master.settled(2);
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    let before = Snapshot::of(&master);
    for _ in 0..3 {
        assert!(master.say("reload", &[]).starts_with("Reload done"));
    }
    before.assert_kept(&master);
    for number in 0..3 {
        let target = &proc::descriptors(master.pid())[&number];
        assert_eq!(target.display().to_string(), "/dev/null");
    }
    assert_eq!(master.settled(2), workers);
}

fn too_few_descriptors_for_the_next_image_harm_nothing() {
    for lowered in ["ulimit -S -n 64", "ulimit -n 64"] {
        let rig = Rig::new();
        let wrapper = format!("#!/bin/sh\n{lowered}\nexec EINHORN \"$@\"\n");
        script(&rig, "wrapper", &wrapper);
        let mut master = start_wrapped(&rig, "wrapper", &["-n", "2"]);
        let workers = master.settled(2);
        let connect = |_| {
            let mut client = Client::connect(&rig.socket()).unwrap();
            client.greet("test").unwrap().next().unwrap().unwrap();
            client
        };
        let mut clients: Vec<Client> = (0..150).map(connect).collect();
        let answer = master.say("reload", &[]);
        let is_ended = answer.starts_with("Reload done") || answer.starts_with("Not upgrading");
        assert!(is_ended || answer.starts_with("Rolled back"), "{answer}");
        for client in &mut clients {
            client.greet("test").unwrap().next().unwrap().unwrap();
        }
        drop(clients);
        // Below the lowered limit nothing is opened until they are gone.
        master.until("their connections are closed", || {
            (proc::descriptors(master.pid()).len() < 30).then_some(())
        });
        assert_eq!(master.settled(2), workers);
        script(&rig, "wrapper", "#!/bin/sh\nexec EINHORN \"$@\"\n");
        assert!(master.say("reload", &[]).starts_with("Reload done"));
        master.signal(Signal::SIGTERM);
        assert!(master.ended().success());
    }
}

fn descriptors_that_a_wrapper_loses_after_its_check_cost_the_master_only() {
    let rig = Rig::new();
    let text = "#!/bin/sh\n[ \"$1\" = --upgrade-check ] || \
                exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-\nexec EINHORN \"$@\"\n";
    script(&rig, "wrapper", text);
    let mut master = start_wrapped(&rig, "wrapper", &["-n", "2", "-b", "127.0.0.1:0"]);
    let workers = master.settled(2);
    let _client = ask(&rig, "reload");
    assert_eq!(master.ended().code(), Some(78), "{}", rig.log());
    assert!(rig.log().contains("cannot adopt the state"), "{}", rig.log());
    assert!(workers.iter().all(|worker| !proc::has_ended(*worker)));
}

fn workers_that_die_with_their_master_outlive_its_upgrades() {
    let rig = Rig::new();
    let master = rig.launch(rig.einhorn(&["-k", "-n", "4", "-m", "0", "sleep", "1000"]));
    let workers = master.settled(4);
    for _ in 0..20 {
        assert!(master.say("reload", &[]).starts_with("Reload done"));
    }
    assert_eq!(master.settled(4), workers);
    assert!(!rig.log().contains("Exited worker"), "{}", rig.log());
    send(master.pid(), Signal::SIGKILL);
    let look = || workers.iter().all(|worker| proc::has_ended(*worker)).then_some(());
    wait::until_some("all are gone", look, || format!("{workers:?}"));
}

fn checks_change_nothing_that_is_shared() {
    let rig = Rig::new();
    // Checked, and then not executed: what is shared shows the checks alone.
    let text = "#!/bin/sh\nEINHORN \"$@\"; exit 3\n";
    script(&rig, "wrapper", text);
    let master = start_wrapped(&rig, "wrapper", &["-n", "2", "-b", "127.0.0.1:0"]);
    master.settled(2);
    let flags = || {
        let facts = proc::descriptors(master.pid()).into_keys().filter_map(|number| {
            std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", master.pid())).ok()
        });
        let keep = |text: String| text.lines().take(2).map(str::to_owned).collect::<Vec<_>>();
        facts.map(keep).collect::<Vec<_>>()
    };
    let mut half = std::os::unix::net::UnixStream::connect(rig.socket()).unwrap();
    half.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    half.write_all(b"{\"command\": \"pi").unwrap();
    let before = Snapshot::of(&master);
    let were = flags();
    for _ in 0..20 {
        let answer = master.say("reload", &[]);
        assert!(answer.starts_with("Not upgrading"), "{answer}");
    }
    before.assert_kept(&master);
    assert_eq!(flags()[3..], were[3..]);
    half.write_all(b"ng\", \"args\": [], \"id\": 1}\n").unwrap();
    assert!(half.read(&mut [0; 100]).unwrap() > 0);
    assert_eq!(reexec_count(&rig), 0);
}

fn a_wrapper_may_raise_the_limit_of_files_as_far_as_it_goes() {
    let rig = Rig::new();
    script(&rig, "wrapper", "#!/bin/sh\nulimit -S -n \"$(ulimit -H -n)\"\nexec EINHORN \"$@\"\n");
    let wrapper = rig.path("wrapper").display().to_string();
    let options = ["-n", "1", "-m", "0", "--reexec-as", &wrapper, "sleep", "1000"];
    let master = rig.launch(rig.shell("ulimit -S -n 1000; exec \"$@\"", &options));
    let first = master.settled(1)[0];
    assert_eq!(proc::open_files(first).0, 1000);
    assert!(master.say("reload", &[]).starts_with("Reload done"));
    send(first, Signal::SIGKILL);
    let second = master.until("another worker", || {
        master.workers().iter().map(|worker| worker.pid).find(|pid| *pid != first)
    });
    assert_eq!(proc::open_files(second).0, proc::open_files(master.pid()).1);
}

fn a_wrapper_that_drops_the_user_is_refused() {
    if !ordinary_user::is_root() {
        return println!("skipped: only root can drop the user");
    }
    let rig = Rig::new();
    let text = "#!/bin/sh\nexec setpriv --reuid 65534 --clear-groups EINHORN \"$@\"\n";
    script(&rig, "wrapper", text);
    let wrapper = rig.path("wrapper").display().to_string();
    let options = ["-n", "1", "-m", "0", "--reexec-as", &wrapper, "sleep", "1000"];
    let master = rig.launch(rig.einhorn(&options));
    let refused = master.say("reload", &[]);
    assert!(refused.starts_with("Not upgrading: "), "{refused}");
    master.settled(1);
}
