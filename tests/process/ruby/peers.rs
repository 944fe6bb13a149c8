//! Ruby on one side of the command socket: the original's shell and this master, and this shell and
//! the original's master, each played in the bytes that Psych reads and writes.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use einhorn::protocol::Reply;
use nix::sys::signal::{SigHandler, Signal, signal};
use serde_json::{Value, json};

use crate::support::last_line::is_done;
use crate::support::rig::{Rig, has, prepare, send};
use crate::support::wait;
use crate::workers::client_libraries::peer;

crate::tests![
    the_originals_shell_speaks_to_this_master,
    this_shell_speaks_to_an_original_master,
    a_master_of_the_first_releases_is_understood,
    an_upgrade_that_an_original_master_refuses_can_be_left,
    an_original_master_that_goes_away_in_an_upgrade_is_told,
    every_message_comes_back_from_psych,
];

fn the_originals_shell_speaks_to_this_master() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let master = rig.start(&["-c", "100%", "-d", "einhorn.sock", "-m", "0"], &["wait"]);
    let mut shell = rig.command("ruby");
    shell.args(["--disable=gems", "-Eutf-8", &peer("shell.rb"), "einhorn.sock"]);
    shell.args(["inc", "config ':signal_timeout: 5'", "signal sigwinch CONT", "'100%\nü'"]);
    shell.args(["state", "upgrade"]);
    let output = shell.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", rig.log());
    let said: Vec<(String, Value, Value)> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |message: &str, id: Value| (message.to_owned(), id, Value::Null);
    assert!(
        said[0].0.starts_with("Welcome, 100% gdb! You are speaking to Einhorn Master Process ")
    );
    assert_eq!((&said[0].1, &said[0].2), (&Value::Null, &Value::Null));
    assert_eq!(said[1], line("Incrementing number of workers from 1 -> 2", json!(1)));
    assert_eq!(said[2], line("Changed signal_timeout to 5", json!(2)));
    assert!(said[3].0.contains("Successfully sent WINCHs to ") && said[3].0.contains("\nSuccess"));
    assert!(said[4].0.starts_with("Unrecognized command: \"100%\\nü\"\n\n"), "{}", said[4].0);
    assert!(said[5].0.starts_with("---\n:state:\n") && said[5].0.contains("\"100%\""));
    assert_eq!(said[6], ("Upgrading, as commanded".to_owned(), json!(6), json!(true)));
    let last = said.last().unwrap();
    assert!(is_done(&last.0) && last.1 == 6 && last.2.is_null(), "{last:?}");
    assert!(said[7..said.len() - 1].iter().all(|it| it.1 == 6 && it.2 == true), "{said:?}");
    master.settled(2);
}

/// An original master, and what is said to it.
struct Original<'a> {
    rig: &'a Rig,
    child: Child,
    heard: BufReader<ChildStdout>,
}

impl Drop for Original<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Original<'_> {
    fn start<'a>(rig: &'a Rig, upgrade: &str) -> Original<'a> {
        let mut ruby = rig.command("ruby");
        ruby.args(["--disable=gems", "-Eutf-8", &peer("master.rb"), "einhorn.sock", upgrade]);
        let mut child = ruby.stdout(Stdio::piped()).spawn().unwrap();
        let heard = BufReader::new(child.stdout.take().unwrap());
        let listens = || einhorn::client::Client::connect(&rig.socket()).ok().map(drop);
        wait::until_some("the original listens", listens, || rig.log());
        Original { rig, child, heard }
    }

    /// The next request.
    fn heard(&mut self) -> Value {
        let mut line = String::new();
        self.heard.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// `einhornsh`, its output in the file `out`.
    fn shell(&self, arguments: &[&str]) -> Child {
        let mut shell: Command = self.rig.command(env!("CARGO_BIN_EXE_einhornsh"));
        shell.args(arguments).stdout(File::create(self.rig.path("out")).unwrap());
        // A test that runs in the background of a script has it ignored.
        prepare(&mut shell, || {
            // SAFETY: the default of a signal runs no code.
            unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }?;
            Ok(())
        });
        shell.stderr(Stdio::piped()).spawn().unwrap()
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(self.rig.path("out")).unwrap()
    }

    /// Runs commands; answers the exit status, what was printed and what was complained of.
    fn run(&self, commands: &str) -> (Option<i32>, String, String) {
        let output = self.shell(&["--execute", commands]).wait_with_output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), self.printed(), complaint)
    }
}

const UPGRADE: &str = "\
Upgrading smoothly, as commanded
Reloading einhorn master (/usr/bin/einhorn)...
Starting smooth upgrade from version 0...
===> Launched 13 (index: 1)
";

const UPGRADED: &str = "\
===> Exited worker 12
Upgraded successfully to version 1 (Einhorn 1.1.1).
Upgrade done
";

const HELP: &str = "\
You are speaking to the Einhorn command socket. You can run the following commands:

dec: Decrement the number of Einhorn child processes
inc: And so on: 100%

";

const STATE: &str = "\
---
:state:
  :children:
    12:
      :type: :worker
      :version: 0
      :acked: true
      :index: 0
  :config:
    :number: 2
    :backlog: 100
    :seconds: 1
  :orig_cmd:
  - web
  - 100%
  - 'yes'
  - |-
    a
    b
";

fn this_shell_speaks_to_an_original_master() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let mut original = Original::start(&rig, "fine");
    let inc = "Incrementing number of workers from 1 -> 2\n";
    let dec = "Can't decrease number of workers (already at 1).  Run kill 7 if you really want to \
               kill einhorn.\n";
    let signal = "Successfully sent HUPs to 1 processes: [12]\nSuccessfully sent USR1s to 0: []\n";
    let upgrade = [UPGRADE, UPGRADED].concat();
    for (id, (line, request, printed)) in [
        ("help", json!({"command": "help", "args": []}), HELP),
        ("inc", json!({"command": "inc", "args": []}), inc),
        ("dec", json!({"command": "dec", "args": []}), dec),
        (
            "signal HUP '100% \u{85}ü\u{7f}'",
            json!({"command": "signal", "args": ["HUP", "100% \u{85}ü\u{7f}"]}),
            signal,
        ),
        ("louder", json!({"command": "louder", "args": []}), "0\n"),
        ("set_workers 2", json!({"command": "set_workers", "args": ["2"]}), "\n"),
        ("upgrade", json!({"command": "upgrade", "args": []}), &upgrade),
    ]
    .into_iter()
    .enumerate()
    {
        let told = original.run(line);
        assert_eq!(told, (Some(0), printed.to_owned(), String::new()), "{id}: {line}");
        let mut request = request;
        request["id"] = json!(1);
        request["events"] = json!(true);
        assert_eq!(original.heard(), request);
    }
    let (code, state, _) = original.run("state");
    assert_eq!(code, Some(0));
    assert!(state.starts_with(STATE), "{state}");
    let all = original.run("inc; upgrade; dec");
    assert_eq!(all, (Some(0), [inc, &upgrade, dec].concat(), String::new()));
}

fn a_master_of_the_first_releases_is_understood() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let original = Original::start(&rig, "old");
    let (code, printed, complaint) = original.run("inc; upgrade; inc");
    let inc = "Incrementing number of workers from 1 -> 2\n";
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    assert_eq!(printed, [inc, UPGRADE, UPGRADED, inc].concat());
}

/// The original tells nobody that it refused, and so the client waits until it is told to leave.
fn an_upgrade_that_an_original_master_refuses_can_be_left() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let original = Original::start(&rig, "refused");
    let mut shell = original.shell(&["-e", "upgrade"]);
    let first = UPGRADE.lines().next().unwrap();
    let seen = || (original.printed() == format!("{first}\n")).then_some(());
    wait::until_some("the first message is printed", seen, || original.printed());
    assert_eq!(shell.try_wait().unwrap(), None);
    send(i32::try_from(shell.id()).unwrap(), Signal::SIGINT);
    let left = || shell.try_wait().unwrap();
    let status = wait::until_some("it leaves", left, || original.printed());
    assert_eq!(status.signal(), Some(Signal::SIGINT as i32));
}

fn an_original_master_that_goes_away_in_an_upgrade_is_told() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let original = Original::start(&rig, "gone");
    let (code, printed, complaint) = original.run("upgrade; inc");
    assert_eq!((code, printed.as_str()), (Some(1), UPGRADE));
    let lost = "einhornsh: lost the connection before the reply was complete: the master closed";
    assert!(complaint.starts_with(lost), "{complaint}");
}

/// What Psych writes in another style: quoted, folded, in blocks, with marks of indentation.
const MESSAGES: [&str; 24] = [
    "",
    " ",
    "\n",
    "a\n",
    "a\n\n",
    "\n\na",
    "  indented\n and less\n",
    "a\nb",
    "a: b",
    "- a",
    "# a",
    "a # b",
    "yes",
    "5",
    "0x1f",
    "1_000",
    ":symbol",
    "!tag",
    "'quoted' \"twice\" \\n",
    "100%0A%25\n%",
    "tab\tbell\u{7}\r\n",
    "ü 日本 👩‍🚀\u{85}\u{2028}",
    "a long line, longer than the eighty columns at which Psych begins to fold what it writes as \
     a plain scalar",
    "trailing \nspaces  \n",
];

fn every_message_comes_back_from_psych() {
    if !has("ruby") {
        return;
    }
    let script = "JSON.parse(STDIN.read).each { |m| puts YAML.dump({'message' => m, \
                  'request_id' => 1, 'wait' => true}).gsub(/[%\n]/, '%' => '%25', \
                  \"\\n\" => '%0A') }";
    let mut ruby = Command::new("ruby");
    ruby.args(["--disable=gems", "-Eutf-8", "-rjson", "-ryaml", "-e", script]);
    let mut ruby = ruby.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let messages = serde_json::to_string(&MESSAGES).unwrap();
    ruby.stdin.take().unwrap().write_all(messages.as_bytes()).unwrap();
    let output = ruby.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), MESSAGES.len());
    for (line, message) in lines.lines().zip(MESSAGES) {
        let reply = Reply::parse(line).unwrap_or_else(|why| panic!("{line}: {why}"));
        assert_eq!((reply.message.as_str(), reply.wait), (message, true), "{line}");
    }
}
