//! What another user of the machine plants in the way of a master of root: nothing of root's is
//! touched, and nobody waits. Whatever `fs.protected_symlinks` is set to; CI runs them with both.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::failed_starts::refused;
use crate::support::ordinary_user::{self, NOBODY, needs_root};
use crate::support::rig::{Rig, has, send};
use crate::support::{wait, worker};

crate::tests![
    links_that_others_plant_lead_no_file_of_a_master_astray,
    links_that_others_exchange_meanwhile_lead_no_file_of_a_master_astray,
    links_on_the_way_are_followed_where_nobody_else_can_plant_them,
    folders_that_others_exchange_meanwhile_get_no_file_of_a_master,
    locks_that_others_take_keep_no_master_away,
    socket_files_that_are_exchanged_meanwhile_change_no_other_file,
    a_private_listener_is_not_given_away_for_another,
    what_is_no_file_is_neither_waited_for_nor_written_to,
    variables_that_others_can_change_are_refused,
    the_metrics_file_is_never_open_to_others,
];

/// How many masters are started under one attack.
fn rounds() -> usize {
    if std::env::var_os("EINHORN_TEST_LONG").is_some() { 200 } else { 20 }
}

/// A file of root's that is to stay as it is, and how it is.
struct Victim {
    path: PathBuf,
    face: (u64, u32, u32, u32, Vec<u8>),
}

impl Victim {
    fn new(rig: &Rig) -> Victim {
        let path = rig.subfolder("private").join("precious");
        fs::write(&path, "A=1\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let face = Victim::face(&path);
        Victim { path, face }
    }

    fn face(path: &Path) -> (u64, u32, u32, u32, Vec<u8>) {
        let found = fs::symlink_metadata(path).unwrap();
        (found.ino(), found.mode(), found.uid(), found.gid(), fs::read(path).unwrap())
    }

    fn assert_untouched(&self) {
        assert_eq!(Victim::face(&self.path), self.face);
        let folder = fs::read_dir(self.path.parent().unwrap()).unwrap();
        assert_eq!(folder.count(), 1, "nothing was made beside it");
    }
}

/// A folder that everybody can write to, and where everybody has only what is his, as `/tmp`.
fn sticky(rig: &Rig, name: &str) -> PathBuf {
    let folder = rig.subfolder(name);
    fs::set_permissions(&folder, Permissions::from_mode(0o1777)).unwrap();
    folder
}

/// Makes a link of the other user's.
fn plant(target: &Path, link: &Path) {
    symlink(target, link).unwrap();
    std::os::unix::fs::lchown(link, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// Lets the other user exchange two names for each other without a pause until it is stopped.
struct Attack(Child);

impl Attack {
    fn begin(rig: &Rig, one: &Path, other: &Path) -> Attack {
        let program = std::env::current_exe().unwrap();
        let words = format!("exchange={}:{}", one.display(), other.display());
        let arguments = [worker::FLAG, &words];
        let mut command = ordinary_user::command(rig, program.to_str().unwrap(), &arguments);
        let ready = one.with_file_name("attacked");
        let attack = Attack(command.stderr(Stdio::null()).spawn().unwrap());
        let is_begun = || fs::remove_file(&ready).ok();
        wait::until_some("the attack has begun", is_begun, String::new);
        attack
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a master of root with its files in a folder, and lets it end as soon as it runs; whether
/// it starts at all is not the question.
fn start_and_end(rig: &Rig, folder: &Path, options: &[&str]) {
    let command = rig.einhorn(&[options, &["-m", "0", "sleep", "1000"]].concat());
    launch_and_end(rig, folder, command);
}

fn launch_and_end(rig: &Rig, folder: &Path, mut command: Command) {
    let log = fs::File::create(rig.path("log")).unwrap();
    let mut master = command.env("TMPDIR", folder).stderr(log).spawn().unwrap();
    let pid = i32::try_from(master.id()).unwrap();
    let mut is_told = false;
    let look = || {
        let ended = master.try_wait().unwrap();
        if ended.is_none() && !is_told && rig.log().contains("Launched") {
            send(pid, Signal::SIGTERM);
            is_told = true;
        }
        ended
    };
    wait::until_some("the master ends", look, || rig.log());
}

/// Every file that a master makes, with the option that names it.
const FILES: [(&str, &str); 6] = [
    ("einhorn.pid", ""),
    ("einhorn.lock", ""),
    ("einhorn.sock", ""),
    ("einhorn.sock.lock", ""),
    ("metrics", "--metrics-file"),
    ("listener", "-b"),
];

fn options(folder: &Path, file: &str, option: &str) -> Vec<String> {
    let path = folder.join(file).display().to_string();
    match option {
        "" => Vec::new(),
        "-b" => vec!["-b".to_owned(), format!("unix:{path},owner={NOBODY},mode=0666")],
        option => vec![option.to_owned(), path],
    }
}

fn links_that_others_plant_lead_no_file_of_a_master_astray() {
    if !needs_root() {
        return;
    }
    for (file, option) in FILES {
        for target in ["precious", "not-there-yet"] {
            let rig = Rig::new();
            let victim = Victim::new(&rig);
            let folder = sticky(&rig, "shared");
            plant(&victim.path.with_file_name(target), &folder.join(file));
            let options = options(&folder, file, option);
            start_and_end(&rig, &folder, &options.iter().map(String::as_str).collect::<Vec<_>>());
            victim.assert_untouched();
            assert!(folder.join(file).is_symlink(), "{file} is left alone");
        }
    }
    // Files that nobody has named keep no master away.
    for file in ["einhorn.pid", "einhorn.lock"] {
        let rig = Rig::new();
        let victim = Victim::new(&rig);
        let folder = sticky(&rig, "shared");
        plant(&victim.path, &folder.join(file));
        let mut command = rig.einhorn(&["sleep", "1000"]);
        command.env("TMPDIR", &folder);
        let master = rig.launch_at(command, folder.join("einhorn.sock"));
        let told =
            format!("the symbolic link {file} belongs to user {NOBODY}, who is neither root");
        master.until_logged(&told);
        let default = if file == "einhorn.pid" { "pid" } else { "lock" };
        assert!(
            rig.log().contains(&format!("without the default {default} file")),
            "{}",
            rig.log()
        );
    }
}

fn links_that_others_exchange_meanwhile_lead_no_file_of_a_master_astray() {
    if !needs_root() {
        return;
    }
    for (file, option) in &FILES[..5] {
        let rig = Rig::new();
        let victim = Victim::new(&rig);
        let folder = sticky(&rig, "shared");
        let (name, decoy) = (folder.join(file), folder.join("decoy"));
        let options = options(&folder, file, option);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        for _ in 0..rounds() {
            plant(&victim.path, &decoy);
            fs::write(&name, "1\n").unwrap();
            chown(&name, Some(NOBODY), Some(NOBODY)).unwrap();
            let attack = Attack::begin(&rig, &name, &decoy);
            start_and_end(&rig, &folder, &options);
            drop(attack);
            victim.assert_untouched();
            for name in [&name, &decoy] {
                let _ = fs::remove_file(name);
            }
        }
    }
}

fn links_on_the_way_are_followed_where_nobody_else_can_plant_them() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let victim = Victim::new(&rig);
    let private = victim.path.parent().unwrap();
    let shared = sticky(&rig, "shared");
    plant(private, &shared.join("theirs"));
    symlink(private, shared.join("ours")).unwrap();
    let home = rig.subfolder("home");
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    plant(private, &home.join("theirs"));
    let belongs = format!("the symbolic link theirs belongs to user {NOBODY}");
    for (link, told) in [
        ("shared/theirs", belongs.as_str()),
        ("shared/ours", "the symbolic link ours is in a folder that others can write to"),
        ("home/theirs", &belongs),
    ] {
        for option in ["-e", "-f", "-d", "--env-file"] {
            let path = format!("{link}/precious");
            let command = rig.einhorn(&[option, &path, "sleep", "9"]);
            refused(&rig, command).assert_says(1, &[&path, told, "give a path without it"]);
        }
        let bind = format!("unix:{link}/precious");
        refused(&rig, rig.einhorn(&["-b", &bind, "sleep", "9"])).assert_says(1, &[&bind, told]);
        victim.assert_untouched();
    }
    // One that nobody else can have made is followed, as `/var/run` is.
    rig.subfolder("run");
    let ours = rig.subfolder("ours");
    symlink("../run", ours.join("link")).unwrap();
    let _master = rig.launch(rig.einhorn(&["-e", "ours/link/pid", "sleep", "1000"]));
    assert!(rig.path("run/pid").is_file());
}

fn folders_that_others_exchange_meanwhile_get_no_file_of_a_master() {
    if !needs_root() {
        return;
    }
    for option in ["-d", "-b"] {
        let rig = Rig::new();
        let victim = Victim::new(&rig);
        let shared = sticky(&rig, "shared");
        let theirs = shared.join("run");
        fs::create_dir(&theirs).unwrap();
        chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
        plant(victim.path.parent().unwrap(), &shared.join("link"));
        let options = options(&theirs, "socket", option);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let _attack = Attack::begin(&rig, &theirs, &shared.join("link"));
        for _ in 0..rounds() {
            start_and_end(&rig, &rig.path(""), &options);
            victim.assert_untouched();
        }
    }
}

fn locks_that_others_take_keep_no_master_away() {
    if !needs_root() || !has("flock") {
        return;
    }
    let rig = Rig::new();
    let named = ["-e", "pid", "-f", "lock", "sleep", "1000"];
    let mut first = rig.launch(rig.einhorn(&named));
    // Whoever can read a file can lock it, in one way or the other.
    let arguments = ["-x", "pid", "-c", "exec sleep 1000"];
    let mut others = ordinary_user::command(&rig, "/usr/bin/flock", &arguments).spawn().unwrap();
    let is_held = || {
        let open = fs::File::open(rig.path("pid")).unwrap();
        open.try_lock().is_err().then_some(())
    };
    first.until("the pid file is locked", is_held);
    let workers = first.settled(1);
    first.signal(Signal::SIGKILL);
    first.ended();
    send(workers[0], Signal::SIGKILL);
    drop(rig.launch(rig.einhorn(&named)));
    let _ = others.kill();
    others.wait().unwrap();
    // A lock of somebody else's is none: its owner could take it away.
    let shared = sticky(&rig, "shared");
    fs::write(shared.join("lock"), "").unwrap();
    chown(shared.join("lock"), Some(NOBODY), Some(NOBODY)).unwrap();
    let command = rig.einhorn(&["-d", "sock", "-f", "shared/lock", "sleep", "9"]);
    refused(&rig, command).assert_says(1, &["shared/lock belongs to user", "remove it", "-f"]);
}

fn socket_files_that_are_exchanged_meanwhile_change_no_other_file() {
    if !needs_root() || !has("setpriv") {
        return;
    }
    // A root that may not ask the kernel for the file of its socket, as in most containers, has to
    // look closely.
    let bounded = ["setpriv", "--bounding-set", "-net_admin"];
    for (launcher, file, option) in
        [(&[][..], "listener", "-b"), (&bounded, "listener", "-b"), (&[], "socket", "-d")]
    {
        let rig = Rig::new();
        let victim = Victim::new(&rig);
        let folder = rig.subfolder("theirs");
        chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        let decoy = folder.join("decoy");
        let options = options(&folder, file, option);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        for _ in 0..rounds() {
            plant(&victim.path, &decoy);
            let attack = Attack::begin(&rig, &folder.join(file), &decoy);
            let einhorn = [env!("CARGO_BIN_EXE_einhorn")];
            let words = [launcher, &einhorn, &options, &["-m", "0", "sleep", "1000"]].concat();
            let mut command = rig.command(words[0]);
            command.args(&words[1..]);
            launch_and_end(&rig, &rig.path(""), command);
            drop(attack);
            victim.assert_untouched();
            for name in [folder.join(file), decoy.clone()] {
                let _ = fs::remove_file(name);
            }
        }
    }
}

fn a_private_listener_is_not_given_away_for_another() {
    if !needs_root() || !has("setpriv") {
        return;
    }
    let rig = Rig::new();
    let folder = rig.subfolder("theirs");
    chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    let [private, public] = ["private", "public"].map(|name| folder.join(name));
    let binds = [
        format!("unix:{},mode=0600", private.display()),
        format!("unix:{},mode=0666,owner={NOBODY}", public.display()),
    ];
    for _ in 0..rounds() {
        let mut command = rig.command("setpriv");
        command.args(["--bounding-set", "-net_admin", env!("CARGO_BIN_EXE_einhorn")]);
        command.args(["-b", &binds[0], "-b", &binds[1], "-m", "0", "sleep", "1000"]);
        let attack = Attack::begin(&rig, &private, &public);
        fs::write(rig.path("log"), "").unwrap();
        let mut master = rig.begin(command);
        let look = || {
            let ended = master.try_wait().unwrap().is_some();
            (ended || rig.log().contains("Launched")).then_some(ended)
        };
        let has_ended = wait::until_some("it runs or is refused", look, || rig.log());
        drop(attack);
        if !has_ended {
            let face = |path| {
                let found = fs::symlink_metadata(path).unwrap();
                (found.uid(), found.mode() & 0o777)
            };
            let mut faces = [face(&private), face(&public)];
            faces.sort_unstable();
            assert_eq!(faces, [(0, 0o600), (NOBODY, 0o666)], "{}", rig.log());
            send(i32::try_from(master.id()).unwrap(), Signal::SIGTERM);
            master.wait().unwrap();
        }
        for name in [&private, &public] {
            let _ = fs::remove_file(name);
        }
    }
}

fn what_is_no_file_is_neither_waited_for_nor_written_to() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let folder = sticky(&rig, "shared");
    let fifo = folder.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("/dev/full", rig.path("device")).unwrap();
    for (option, file) in [
        ("-e", "shared/fifo"),
        ("-f", "shared/fifo"),
        ("--env-file", "shared/fifo"),
        ("-e", "device"),
        ("-f", "device"),
        ("--env-file", "device"),
    ] {
        let command = rig.einhorn(&[option, file, "sleep", "9"]);
        refused(&rig, command).assert_says(1, &[file, "it is not a regular file"]);
    }
    // Nor is a folder that is none.
    let command = rig.einhorn(&["-d", "shared/fifo/sock", "-e", "p", "-f", "l", "sleep", "9"]);
    refused(&rig, command).assert_says(1, &["shared/fifo/sock", "Not a directory"]);
}

fn variables_that_others_can_change_are_refused() {
    if !needs_root() {
        return;
    }
    let rig = Rig::new();
    let victim = Victim::new(&rig);
    let file = rig.path("variables");
    fs::write(&file, "A=1\n").unwrap();
    let told = "only root and user 0 may be able to change it";
    let attempt = |path: &str, told: &str| {
        refused(&rig, rig.einhorn(&["--env-file", path, "sleep", "9"]))
            .assert_says(1, &[path, told]);
    };
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    attempt("variables", told);
    fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
    chown(&file, None, Some(NOBODY)).unwrap();
    attempt("variables", told);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    chown(&file, Some(NOBODY), None).unwrap();
    attempt("variables", told);
    // What root alone may read is not given to the workers of a user who leads there.
    let folder = sticky(&rig, "shared");
    plant(&victim.path, &folder.join("link"));
    attempt("shared/link", "the symbolic link link belongs to user");
    chown(&file, Some(0), Some(0)).unwrap();
    symlink("variables", rig.path("ours")).unwrap();
    let master = rig.launch(rig.einhorn(&["--env-file", "ours", "sleep", "1000"]));
    assert_eq!(crate::master::listeners::variable(master.settled(1)[0], "A"), "1");
}

fn the_metrics_file_is_never_open_to_others() {
    if !has("strace") {
        return;
    }
    let rig = Rig::new();
    let script = "umask 0; exec strace -D -qq -e trace=openat -o trace \"$@\"";
    let master = rig.launch(rig.shell(script, &["--metrics-file", "prom", "sleep", "1000"]));
    let trace = || fs::read_to_string(rig.path("trace")).unwrap_or_default();
    let made = master.until("it is traced", || {
        let made = trace().lines().find(|line| line.contains("\"prom.")).map(str::to_owned);
        made.filter(|line| line.contains(") = "))
    });
    assert!(made.contains("O_EXCL") && made.contains("0644"), "{made}");
    let mode = fs::metadata(rig.path("prom")).unwrap().mode() & 0o7777;
    assert_eq!(mode, 0o644, "whatever the umask");
}
