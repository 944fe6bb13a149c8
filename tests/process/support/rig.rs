//! A folder of its own for each test, masters in it, and the end of everything they started.

use std::fs::File;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use einhorn::client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{wait, worker};

/// Marks every process of a rig, so that none outlives it.
const TOKEN: &str = "EINHORN_TEST_TOKEN";

/// A folder and whatever is started in it.
pub(crate) struct Rig {
    folder: TempDir,
    token: String,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let token = format!("{}-{count}", std::process::id());
        Rig { folder: tempfile::Builder::new().prefix("einhorn-").tempdir().unwrap(), token }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new, empty folder in the folder.
    pub(crate) fn subfolder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Any program, marked as this rig's, in its folder; TMPDIR is the folder too.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env(TOKEN, &self.token);
        command.env("TMPDIR", self.folder.path()).stdin(Stdio::null());
        command
    }

    /// `einhorn` with these arguments.
    pub(crate) fn einhorn(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_einhorn"));
        command.args(arguments);
        command
    }

    /// A shell with a script in which `"$@"` is `einhorn` with these arguments.
    pub(crate) fn shell(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = self.command("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_einhorn")]).args(arguments);
        command
    }

    /// A master with these options and the test program as its worker.
    pub(crate) fn start(&self, options: &[&str], steps: &[&str]) -> Master<'_> {
        let mut command = self.einhorn(options);
        command.arg(std::env::current_exe().unwrap()).arg(worker::FLAG).args(steps);
        self.launch(command)
    }

    /// A master from a command made ready, once its command socket answers. Its log is the file
    /// `log` unless the command says otherwise.
    pub(crate) fn launch(&self, command: Command) -> Master<'_> {
        self.launch_at(command, self.socket())
    }

    /// The same with another command socket.
    pub(crate) fn launch_at(&self, command: Command, socket: PathBuf) -> Master<'_> {
        self.answering(self.begin(command), socket)
    }

    /// A process that was started, once it answers as a master.
    pub(crate) fn answering(&self, child: Child, socket: PathBuf) -> Master<'_> {
        let mut master = Master { rig: self, child, socket };
        let mut running = true;
        wait::until_some(
            "the master answers",
            || {
                running = running && master.child.try_wait().unwrap().is_none();
                (!running || answers(&master.socket, master.pid())).then_some(())
            },
            || self.log(),
        );
        assert!(running, "the master left at once\n{}", self.log());
        master
    }

    /// The same without waiting for anything, for masters that are not meant to come up, or whose
    /// process is another.
    pub(crate) fn begin(&self, mut command: Command) -> Child {
        let log = self.path("log");
        command.stderr(File::options().create(true).append(true).open(log).unwrap());
        command.spawn().unwrap()
    }

    /// The command socket of a master without a name.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("einhorn.sock")
    }

    /// What the master has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until no process of this rig is left.
    pub(crate) fn until_empty(&self) {
        let look = || self.processes().is_empty().then_some(());
        wait::until_some("no process is left", look, || {
            format!("{:?}\n{}", self.processes(), self.log())
        });
    }

    /// The pids of live processes of this rig: they carry its mark or are in its folder. Only the
    /// folder tells it of one that is just being executed.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mark = format!("{TOKEN}={}\0", self.token).into_bytes();
        let folder = std::fs::canonicalize(self.folder.path()).unwrap();
        let is_marked = |pid: i32| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|bytes| bytes.windows(mark.len()).any(|window| window == mark))
        };
        let is_inside = |pid: i32| {
            std::fs::read_link(format!("/proc/{pid}/cwd"))
                .is_ok_and(|path| path.starts_with(&folder))
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| is_inside(*pid) || is_marked(*pid))
            .map(Pid::from_raw)
            .collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left {
                // It may have ended meanwhile.
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}

/// A worker, as the state dump tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) pid: i32,
    pub(crate) acked: bool,
    pub(crate) index: u64,
    pub(crate) is_stopping: bool,
}

/// A running master; killed when dropped, with everything else of its rig.
pub(crate) struct Master<'a> {
    rig: &'a Rig,
    child: Child,
    socket: PathBuf,
}

impl Master<'_> {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Its command socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends the master a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// The last message to a command.
    pub(crate) fn say(&self, command: &str, args: &[&str]) -> String {
        let mut client = Client::connect(&self.socket).unwrap();
        client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let replies = client.request(command, args).unwrap();
        let replies: Result<Vec<_>, _> = replies.collect();
        replies
            .unwrap_or_else(|error| panic!("{command}: {error}\n{}", self.rig.log()))
            .pop()
            .unwrap()
            .message
    }

    /// Waits until it has dealt with the end of every connection that was given up before: it
    /// closes one that has nothing to say after all those.
    pub(crate) fn until_left_alone(&self) {
        let mut silent = UnixStream::connect(&self.socket).unwrap();
        silent.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        silent.shutdown(Shutdown::Write).unwrap();
        assert_eq!(silent.read(&mut [0]).unwrap(), 0, "{}", self.rig.log());
    }

    /// The state dump, loaded.
    pub(crate) fn state(&self) -> serde_yaml::Value {
        let dump: serde_yaml::Value = serde_yaml::from_str(&self.say("state", &[])).unwrap();
        dump[":state"].clone()
    }

    /// The port that a listener is bound to.
    pub(crate) fn port(&self, listener: usize) -> u16 {
        let port = self.state()[":bound_ports"][listener].as_u64().unwrap();
        u16::try_from(port).unwrap()
    }

    /// The workers, by the state dump.
    pub(crate) fn workers(&self) -> Vec<Facts> {
        let state = self.state();
        let children = state[":children"].as_mapping().unwrap();
        let facts = |(pid, worker): (&serde_yaml::Value, &serde_yaml::Value)| {
            let serde_yaml::Value::Tagged(set) = &worker[":signaled"] else { panic!("no set") };
            Facts {
                pid: i32::try_from(pid.as_i64().unwrap()).unwrap(),
                acked: worker[":acked"].as_bool().unwrap(),
                index: worker[":index"].as_u64().unwrap(),
                is_stopping: !set.value["hash"].as_mapping().unwrap().is_empty(),
            }
        };
        children.iter().map(facts).collect()
    }

    /// Waits until this many workers live and all are ACKed; answers their pids.
    pub(crate) fn settled(&self, count: usize) -> Vec<i32> {
        self.until(&format!("{count} workers are up"), || {
            let workers = self.workers();
            let up = workers.iter().all(|worker| worker.acked && !worker.is_stopping);
            (up && workers.len() == count).then(|| workers.iter().map(|w| w.pid).collect())
        })
    }

    /// Kills workers and waits until so many are up, none of them; answers their pids.
    pub(crate) fn replaced(&self, killed: &[i32], count: usize) -> Vec<i32> {
        for pid in killed {
            send(*pid, Signal::SIGKILL);
        }
        let is_killed = |worker: &Facts| killed.contains(&worker.pid);
        self.until("they are reaped", || (!self.workers().iter().any(is_killed)).then_some(()));
        self.settled(count)
    }

    /// Waits until `look` finds something; fails with the master's log.
    pub(crate) fn until<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        wait::until_some(what, look, || self.rig.log())
    }

    /// Waits until the log contains a text.
    pub(crate) fn until_logged(&self, text: &str) {
        self.until_logged_times(1, text);
    }

    /// Waits until the log contains a text so many times, or more often.
    pub(crate) fn until_logged_times(&self, count: usize, text: &str) {
        self.until(&format!("{text:?} is logged {count} times"), || {
            (self.rig.log().matches(text).count() >= count).then_some(())
        });
    }

    /// Waits for the master to leave.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let Master { rig, child, .. } = self;
        wait::until_some("the master leaves", || child.try_wait().unwrap(), || rig.log())
    }
}

impl Drop for Master<'_> {
    fn drop(&mut self) {
        // Before the rig kills the workers, or it would start new ones.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the master of this pid answers at a command socket.
fn answers(socket: &Path, pid: i32) -> bool {
    let Ok(mut client) = Client::connect(socket) else { return false };
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let greeting = client.greet("test").ok().and_then(|mut replies| replies.next()?.ok());
    greeting.is_some_and(|reply| reply.message.contains(&pid.to_string()))
}

/// Sends a process a signal.
pub(crate) fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Has a program begin life as `prepare` leaves the process that executes it, as launchers do.
pub(crate) fn prepare(command: &mut Command, prepare: fn() -> io::Result<()>) {
    // SAFETY: a plain function captures nothing, and those of the tests make system calls only,
    // which is what is allowed between fork and exec.
    unsafe { command.pre_exec(prepare) };
}

/// Whether a program is there for a test that needs it; says so when it is not. CI asks for all.
///
/// # Panics
/// It is missing and `EINHORN_TEST_REQUIRE=all` is set.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        is_missing(program);
    }
    found
}

/// Says that a test is skipped for want of something.
///
/// # Panics
/// `EINHORN_TEST_REQUIRE=all` is set.
pub(crate) fn is_missing(what: &str) {
    let is_required = std::env::var("EINHORN_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!is_required, "{what} is required (EINHORN_TEST_REQUIRE) and missing");
    println!("skipped: {what} is not installed");
}

/// The files of a folder, by name.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
