//! Scripts that a worker runs as this or that user, over the connection that `-g` gave it.

use std::cell::Cell;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::rig::Master;
use crate::support::worker::{given_connection, until};

/// The jobs of one worker, which has the step `jobs=FOLDER`.
pub(crate) struct Jobs {
    folder: PathBuf,
    count: Cell<usize>,
}

impl Jobs {
    /// Those that are asked for in an empty folder.
    pub(crate) fn in_folder(folder: &Path) -> Jobs {
        Jobs { folder: folder.to_owned(), count: Cell::new(0) }
    }

    /// Has the worker run a shell script, whose standard input and output are its connection, as a
    /// user. Answers what the script has put into the file `answer`, once it has ended.
    pub(crate) fn run(&self, master: &Master<'_>, user: u32, script: &str) -> String {
        let number = self.count.replace(self.count.get() + 1);
        let (asked, unfinished) = (self.folder.join(number.to_string()), self.folder.join("next"));
        fs::write(&unfinished, format!("{user}\n{script}")).unwrap();
        fs::rename(unfinished, &asked).unwrap();
        let done = asked.with_extension("done");
        master.until("the job is done", || fs::read_to_string(&done).ok())
    }

    /// The same for a line, and the line that the master replies.
    pub(crate) fn ask(&self, master: &Master<'_>, user: u32, line: &str) -> String {
        let script = format!("{}; read -r reply; echo \"$reply\" > answer", write(line));
        self.run(master, user, &script)
    }
}

/// The command by which a shell writes a text, and then the end of the line.
pub(crate) fn write(text: &str) -> String {
    format!("printf '%s\\n' '{text}'")
}

/// The worker's side.
pub(super) fn jobs(folder: &Path) {
    let connection = given_connection();
    let end = || Stdio::from(OwnedFd::from(connection.try_clone().unwrap()));
    for number in 0.. {
        let asked = folder.join(number.to_string());
        until(&asked);
        let job = fs::read_to_string(&asked).unwrap();
        let (user, script) = job.split_once('\n').unwrap();
        let user: u32 = user.parse().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).current_dir(folder).stdin(end()).stdout(end());
        let status = shell.uid(user).gid(user).status().unwrap();
        assert!(status.success(), "{status}: {script}");
        let answer = folder.join("answer");
        let text = fs::read_to_string(&answer).unwrap_or_default();
        let _ = fs::remove_file(answer);
        let unfinished = folder.join("unfinished");
        fs::write(&unfinished, text).unwrap();
        fs::rename(unfinished, asked.with_extension("done")).unwrap();
    }
}
