//! The state dump, as Ruby loads it: strings come back as strings, whatever they look like.

use crate::support::rig::{Rig, has};
use crate::support::ruby::evaluate;

crate::tests![ruby_loads_every_string_as_it_was, ruby_loads_symbols_sets_and_times,];

/// What a Ruby expression says of the dump's state, which is `s` there.
fn in_ruby(rig: &Rig, dump: &str, expression: &str) -> String {
    evaluate(rig, dump, &format!("s = d.fetch(:state); {expression}"))
}

/// Strings that YAML takes for something else where they are written carelessly.
const STRANGE: [&str; 40] = [
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "true",
    "null",
    "~",
    "",
    " ",
    "1",
    "1_000",
    "0x1f",
    "0o17",
    "017",
    "1e3",
    ".5",
    ".inf",
    ".nan",
    "12:30:45",
    "2026-11-20",
    "2026-11-20 20:20:31.5 +00:00",
    ":x",
    ":'x'",
    "a: b",
    "a #b",
    "- a",
    "? a",
    "[a]",
    "{a: b}",
    "!ruby/object:Set",
    "&a",
    "*a",
    "|",
    "%",
    "%0A%25",
    "@",
    "`",
    "---",
];

/// Strings with characters that are hard to write.
const HARD: [&str; 10] = [
    "a\nb\n",
    "\t",
    "\r\n",
    "\"'\\",
    "\u{1b}[31m\u{7f}",
    "\u{85}\u{a0}\u{2028}\u{2029}",
    "\u{feff}",
    "ü\u{301}",
    "日本",
    "👩‍🚀",
];

fn ruby_loads_every_string_as_it_was() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let words = [&["sleep", "1000"], &STRANGE[..], &HARD].concat();
    // A script, because sleep(1) does not take the words.
    let program = ["sh", "-c", "exec sleep 1000", "sh"];
    let arguments = [&["-c", "1_000", "-d", "einhorn.sock"], &program[..], &words].concat();
    let master = rig.launch(rig.einhorn(&arguments));
    let dump = master.say("state", &[]);
    let loaded = in_ruby(&rig, &dump, "JSON.generate([s[:orig_cmd], s[:cmd].drop(1)])");
    let expected = [&program[..], &words].concat();
    let [original, current]: [Vec<String>; 2] = serde_json::from_str(&loaded).unwrap();
    assert_eq!(original, expected);
    assert_eq!(current, expected[1..]);
    assert_eq!(in_ruby(&rig, &dump, "s[:cmd_name].inspect"), "\"1_000\"");
    // Ours is one reader of many, and loads them too.
    let words = master.state()[":orig_cmd"].clone();
    let words = words.as_sequence().unwrap().iter().map(|word| word.as_str().unwrap());
    assert!(words.eq(expected));
}

fn ruby_loads_symbols_sets_and_times() {
    if !has("ruby") {
        return;
    }
    let rig = Rig::new();
    let options = ["-n", "2", "-b", "127.0.0.1:0,r", "-b", "unix:u", "-t", "2.5", "-m", "manual"];
    let steps = ["ignore=SIGUSR2", "ack", "wait", "srv:127.0.0.1:0"];
    let master = rig.start(&options, &steps);
    let workers = master.settled(2);
    master.say("dec", &[]);
    master.until("one is told to go", || {
        master.workers().iter().any(|worker| worker.is_stopping).then_some(())
    });
    let dump = master.say("state", &[]);
    let about = |expression: &str| in_ruby(&rig, &dump, expression);
    assert_eq!(about("s[:children].keys.sort"), format!("{workers:?}"));
    let told = "s[:children].values.map { |c| c[:signaled].class }.uniq";
    assert_eq!(about(told), "[Set]");
    let told = "s[:children].values.map { |c| c[:signaled].to_a }.sort.inspect";
    assert_eq!(about(told), "[[], [\"USR2\"]]");
    let times = "s[:children].values.map { |c| (Time.now - c[:spinup_time]).between?(-1, 60) }";
    assert_eq!(about(times), "[true, true]");
    assert_eq!(about("s[:children].values.map { |c| c[:type] }.inspect"), "[:worker, :worker]");
    assert_eq!(about("s[:bind].inspect"), "[[\"127.0.0.1\", 0, [\"r\"]], [\"unix:u\", nil, []]]");
    assert_eq!(about("s[:sockets].keys.inspect"), "[[\"127.0.0.1\", 0, []]]");
    assert_eq!(about("s[:signal_timeout].inspect"), "2.5");
    assert_eq!(about("s[:bound_ports].first.class"), "Integer");
    assert_eq!(about("s[:respawn].inspect"), "true");
}
