//! States that cannot be honoured, each refused by the name of its field.

use einhorn::ruby::{Facts, Original, Parentage};

use super::{capture, later};
use crate::corpus::ruby_state::facts;

/// Why a document is refused, on a machine that is then made worse.
fn refusal(document: &str, spoil: impl FnOnce(&mut Facts)) -> String {
    let refused = Original::read(document.as_bytes()).and_then(|original| {
        let whole = Original::read(capture("manual").as_bytes()).unwrap();
        let mut facts = facts(&original, later(&whole, 1));
        spoil(&mut facts);
        original.take_over(&facts).map(|_| ())
    });
    refused.unwrap_err()
}

#[test]
fn fields_that_are_wrong_are_named() {
    let whole = capture("manual");
    for (from, to, why) in [
        (":state:", ":stage:", "the state lacks `:state:`"),
        (":persistent_descriptors:", ":descriptors:", "the state lacks `:persistent_descriptors:`"),
        (
            ":number: 2",
            ":number: two",
            "`:state: :config: :number:` must be a whole number, not a string",
        ),
        (":number: 2", ":number: 0", "`:state: :config: :number:` must be from 1 to 10000, not 0"),
        (":seconds: 1", ":seconds: .nan", "`:state: :config: :seconds:` must be 0 or more"),
        (":acked: true", ":acked: 1", "`:state: :children: 11994 :acked:` must be true or false"),
        (":index: 0", ":index: -1", "`:state: :children: 11994 :index:` must be from 0"),
        (":type: :worker", ":type: :drone", "`:state: :children: 11994 :type:` must be :worker"),
        (
            "hash: {}",
            "hash: {NOPE: true}",
            "`:state: :children: 11994 :signaled:` has no signal \"NOPE\"",
        ),
        ("11994:", "x:", "`:state: :children:` must have pids for keys, not x"),
        ("11994:", "-1:", "`:state: :children:` must have pids for keys, not -1"),
        ("11994:", "11995:", "`:state: :children:` has 11995 twice"),
        (":verbosity: 1", ":verbosity: 3", "`:state: :verbosity:` must be from 0 to 2"),
        (
            ":type: :manual",
            ":type: :magic",
            "`:state: :ack_mode: :type:` must be :manual or :timer",
        ),
        (":type: :manual", ":type: :timer", "`:state: :ack_mode:` lacks `:timeout:`"),
        ("- 7\n  :bound", "- 7\n  - 6\n  :bound", "`:state:` has 1 addresses in `:bind:` and 2"),
        ("- 7\n  :bound", "- 2\n  :bound", "`:state: :bind_fds: 0` must be from 3"),
        (
            "- 45271\n    - - r",
            "- 70000\n    - - r",
            "`:state: :bind: 0 1` must be from 0 to 65535",
        ),
        ("    - - r", "    - r", "`:state: :bind: 0 2` must be a list"),
        ("\"/srv/web/current/bin/worker\"", "\"a\\0b\"", "`:state: :orig_cmd: 0` has a NUL in it"),
        (":cmd:\n  - \"/srv/web/current/bin/worker\"", ":cmd: []", "`:state: :cmd:` is empty"),
        (":respawn: true", ":respawn: true\n  :respawn: true", "`:state:` has `:respawn:` twice"),
        (":server: 8", ":server: nine", "`:persistent_descriptors: 0 :server:` must be a whole"),
        (":class: Einhorn::Event::CommandServer", ":class: 7", "0 :class:` must be a string"),
        (
            "- :class: Einhorn::Event::CommandServer\n  :server: 8\n",
            "",
            "`:persistent_descriptors:` has no command server, or is cut short",
        ),
        (
            ":socket: 9",
            ":socket: 8",
            "`:persistent_descriptors: 1 :socket:` is descriptor 8, which",
        ),
        (":socket: 9", ":socket: 7", "7, which `:state: :bind_fds: 0` has too"),
    ] {
        let document = whole.replacen(from, to, 1);
        assert_ne!(document, whole, "{from:?} is not there");
        let refused = refusal(&document, |_| ());
        assert!(refused.contains(why), "{to:?}: {refused}");
    }
}

#[test]
fn a_document_that_is_cut_short_is_refused_wherever_it_ends() {
    let whole = capture("partial-line");
    let last = whole.find("- :class: Einhorn::Event::Connection").unwrap();
    for end in 0..last {
        assert!(Original::read(&whole.as_bytes()[..end]).is_err(), "cut at {end}");
    }
    // From here on whole lines may be missing without a trace; half ones may not.
    for end in last..whole.len() {
        let part = &whole.as_bytes()[..end];
        assert!(part.ends_with(b"\n") || Original::read(part).is_err(), "cut at {end}");
    }
}

#[test]
fn descriptors_that_are_something_else_are_named() {
    type Spoil = fn(&mut Facts);
    let cases: [(Spoil, &str); 8] = [
        (|f| drop(f.found.remove(&7)), "`:state: :bind_fds: 0` 7 is not open"),
        (|f| f.found.get_mut(&7).unwrap().socket = None, "7 is no listening stream socket"),
        (|f| f.found.get_mut(&7).unwrap().identity.is_listening = false, "7 is no listening"),
        (
            |f| f.found.get_mut(&7).unwrap().socket.as_mut().unwrap().port = Some(1),
            "7 is bound to something else than 127.0.0.1:45271",
        ),
        (
            |f| f.found.get_mut(&8).unwrap().socket.as_mut().unwrap().is_stream = false,
            "8 is no listening UNIX stream socket",
        ),
        (|f| f.found.get_mut(&8).unwrap().identity.is_listening = false, "8 is no listening UNIX"),
        (
            |f| f.found.get_mut(&9).unwrap().identity.is_listening = true,
            "`:persistent_descriptors: 1 :socket:` 9 is no UNIX stream connection",
        ),
        (|f| drop(f.found.remove(&9)), "9 is not open"),
    ];
    for (spoil, why) in cases {
        let refused = refusal(&capture("manual"), spoil);
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn the_state_of_another_master_is_refused() {
    let refused = refusal(&capture("manual"), |facts| {
        facts.parentage.values_mut().for_each(|whose| *whose = Parentage::Foreign);
    });
    assert!(refused.contains("`:state: :children: 11994` is no child of the master"), "{refused}");
}

#[test]
fn processes_that_cannot_be_children_are_refused() {
    for (pid, to) in [("11994", "1"), ("11996", "1"), ("11994", "900"), ("11996", "900")] {
        let refused = refusal(&capture("manual").replace(pid, to), |_| ());
        assert!(refused.contains(&format!("`:state: :children: {to}` is no child")), "{refused}");
    }
}

#[test]
fn large_states_cost_little() {
    let whole = capture("manual");
    let child = |pid: u32| {
        format!("    {pid}:\n      :type: :worker\n      :version: 0\n      :index: {pid}\n")
    };
    let many: String = (20_000..32_000).map(child).collect();
    let crowded = whole.replacen("    11994:", &format!("{many}    11994:"), 1);
    assert!(Original::read(crowded.as_bytes()).is_ok());
    let huge = format!("{whole}- {}\n", "x".repeat(100 * 1024 * 1024));
    assert!(refusal(&huge, |_| ()).contains("the limit is"));
}
