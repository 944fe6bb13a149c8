//! Releases of einhorn to upgrade to: the one under test, the one after it, and files of every
//! kind of unfitness.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use einhorn::client::Client;

use crate::support::rig::{Master, Rig};
use crate::support::{wait, worker};

/// The release under test.
pub(crate) const THIS: &str = env!("CARGO_BIN_EXE_einhorn");

/// The release after it: a build with the feature `next`, which also fails on demand. Built once,
/// in a folder of its own, so that the release under test stays what it is.
pub(crate) fn next() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let profiles = Path::new(THIS).parent().and_then(Path::parent).unwrap();
        let target = profiles.join("next");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--offline", "--bin", "einhorn", "--features", "next"]);
        build.arg("--target-dir").arg(&target).current_dir(env!("CARGO_MANIFEST_DIR"));
        let built = build.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        target.join("debug/einhorn")
    })
}

/// Puts a file in place under a name, whole at once, as `mv` does.
///
/// It is copied by a process of its own: what this one has open for writing, a process that
/// another test forks meanwhile may have open too, and such a file cannot be executed (ETXTBSY).
pub(crate) fn place(rig: &Rig, source: &Path, name: &str) -> PathBuf {
    let mut install = rig.command("sh");
    let script = "install -m 755 \"$1\" \"$2.draft\" && mv -f \"$2.draft\" \"$2\"";
    install.args(["-c", script, "sh"]).arg(source).arg(name);
    assert!(install.status().unwrap().success());
    rig.path(name)
}

/// Puts a script in place, in which `EINHORN` stands for the release under test.
pub(crate) fn script(rig: &Rig, name: &str, text: &str) -> PathBuf {
    let source = rig.path(&format!("{name}.source"));
    fs::write(&source, text.replace("EINHORN", THIS)).unwrap();
    let placed = place(rig, &source, name);
    fs::remove_file(source).unwrap();
    placed
}

/// A master that was started under the name `m` in the rig's folder.
pub(crate) fn start_placed<'a>(rig: &'a Rig, options: &[&str], steps: &[&str]) -> Master<'a> {
    place(rig, Path::new(THIS), "m");
    let mut command = rig.command(rig.path("m"));
    command.args(options).arg(std::env::current_exe().unwrap()).arg(worker::FLAG).args(steps);
    rig.launch(command)
}

/// A master with the re-exec command `name` in the rig's folder, and workers that are up at once.
pub(crate) fn start_wrapped<'a>(rig: &'a Rig, name: &str, options: &[&str]) -> Master<'a> {
    let name = rig.path(name).display().to_string();
    let ours = ["-m", "0", "--reexec-as", &name];
    rig.launch(rig.einhorn(&[&ours, options, &["sleep", "1000"]].concat()))
}

/// Sends a command and leaves its answers for later.
pub(crate) fn ask(rig: &Rig, command: &str) -> Client {
    let mut client = Client::connect(&rig.socket()).unwrap();
    client.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    client.send_line(&format!("{{\"command\": \"{command}\", \"args\": [], \"id\": 1}}")).unwrap();
    client
}

/// Every message up to the last one; nothing but it follows within the conversation.
pub(crate) fn answers(rig: &Rig, client: &mut Client) -> Vec<String> {
    let mut messages = Vec::new();
    loop {
        let reply = client.next_reply().unwrap_or_else(|error| panic!("{error}\n{}", rig.log()));
        messages.push(reply.message);
        if !reply.wait {
            return messages;
        }
    }
}

/// How often this master has become another image.
pub(crate) fn reexec_count(rig: &Rig) -> usize {
    rig.log().matches("Re-executed: from").count()
}
