//! The table of transcripts.

use super::settings::CONFIG;

/// The master that a line is sent to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum To {
    /// Manual ACKs, three workers: 1000 and 1002 are up, 1001 is not.
    Manual,
    /// The same over the connection that `-g` gave to 1001.
    Given,
    /// Timer ACKs, two workers, none up.
    Timer,
    /// One worker is wanted, and none runs yet.
    Empty,
    /// `Manual` after `die`.
    Stopping,
}

/// A line, and what comes of it: replies (with the id), signals and closes, what is logged above
/// the debug level, and what the master knows now and did not before.
pub(super) type Transcript = (To, &'static str, &'static [&'static str]);

/// Every transcript.
pub(super) const TABLES: &[&[Transcript]] =
    &[WORKER_MESSAGES, TARGET, VERBOSITY, SIGNALS, CONFIG, CONVERSATION];

/// What workers say: no reply.
const WORKER_MESSAGES: &[Transcript] = &[
    (
        To::Manual,
        "{command: worker:ack, pid: 1001, id: 9}",
        &["info: Up to 3 / 3 manual ACKs", "close", "now 1001 acked"],
    ),
    (
        To::Given,
        "{command: worker:ack, pid: '1001'}",
        &["info: Up to 3 / 3 manual ACKs", "now 1001 acked"],
    ),
    (
        To::Manual,
        "{command: worker:ack, pid: 1000}",
        &["error: Ignoring an ACK for 1000, which was ACKed before", "close"],
    ),
    (
        To::Manual,
        "{command: worker:ack, pid: 77}",
        &["error: Ignoring an ACK for 77, which is no worker of mine", "close"],
    ),
    (
        To::Manual,
        "{command: worker:ack, pid: me}",
        &["error: Ignoring a worker:ack without a valid pid (me)", "close"],
    ),
    (
        To::Timer,
        "{command: worker:ack, pid: 1000}",
        &["error: Ignoring an ACK for 1000: ACKs are given by timer here", "close"],
    ),
    (
        To::Manual,
        "{command: worker:ping, pid: 1001, request_id: r-5}",
        &["close", "now 1001 pinged with Some(Text(\"r-5\"))"],
    ),
    (To::Given, "{command: worker:ping, pid: 1001}", &["now 1001 pinged with None"]),
    (
        To::Manual,
        "{command: worker:ping, pid: 77}",
        &["error: Ignoring a ping of 77, which is no worker of mine", "close"],
    ),
    (
        To::Given,
        "{command: worker:ping}",
        &["error: Ignoring a worker:ping without a valid pid (no pid)"],
    ),
];

/// The number of workers.
const TARGET: &[Transcript] = &[
    (
        To::Manual,
        "{command: inc, id: 1}",
        &[
            "info: Incrementing number of workers from 3 -> 4",
            "reply 1: Incrementing number of workers from 3 -> 4",
            "now number 4",
        ],
    ),
    (
        To::Manual,
        "{command: dec, id: x}",
        &[
            "info: Decrementing number of workers from 3 -> 2",
            "reply x: Decrementing number of workers from 3 -> 2",
            "now number 2",
        ],
    ),
    (
        To::Empty,
        "{command: dec}",
        &["reply: Can't decrease number of workers (already at 1). Run kill 900 if you really \
           want to stop einhorn."],
    ),
    (
        To::Manual,
        "{command: set_workers, args: ['7'], id: 1}",
        &[
            "info: Altering worker count, 3 -> 7. Will spin up additional workers.",
            "reply 1: Altering worker count, 3 -> 7. Will spin up additional workers.",
            "now number 7",
        ],
    ),
    (
        To::Manual,
        "{command: set_workers, args: [1]}",
        &[
            "info: Altering worker count, 3 -> 1. Will gracefully terminate workers.",
            "reply: Altering worker count, 3 -> 1. Will gracefully terminate workers.",
            "now number 1",
        ],
    ),
    (
        To::Manual,
        "{command: set_workers, args: ['3']}",
        &[
            "info: Altering worker count, 3 -> 3. Nothing to do.",
            "reply: Altering worker count, 3 -> 3. Nothing to do.",
        ],
    ),
    (
        To::Manual,
        "{command: set_workers, args: ['10000']}",
        &[
            "info: Altering worker count, 3 -> 10000. Will spin up additional workers.",
            "reply: Altering worker count, 3 -> 10000. Will spin up additional workers.",
            "now number 10000",
        ],
    ),
    (
        To::Manual,
        "{command: set_workers, args: ['10001']}",
        &["reply: Can't run 10001 workers: the most is 10000"],
    ),
    (
        To::Manual,
        "{command: set_workers, args: ['0']}",
        &["reply: set_workers needs a whole number from 1 to 10000, not \"0\""],
    ),
    (
        To::Manual,
        "{command: set_workers, id: 1}",
        &["reply 1: set_workers needs a whole number from 1 to 10000, not \"\""],
    ),
    (
        To::Manual,
        "{command: set_workers, args: ['3', '4']}",
        &["reply: set_workers needs a whole number from 1 to 10000, not \"3 4\""],
    ),
    (
        To::Stopping,
        "{command: inc}",
        &["reply: Can't change the number of workers: the master is going down"],
    ),
    (
        To::Stopping,
        "{command: dec}",
        &["reply: Can't change the number of workers: the master is going down"],
    ),
    (
        To::Stopping,
        "{command: set_workers, args: ['9']}",
        &["reply: Can't change the number of workers: the master is going down"],
    ),
];

/// How much is logged.
const VERBOSITY: &[Transcript] = &[
    (
        To::Manual,
        "{command: louder, id: 1}",
        &[
            "info: Verbosity set to 0 (debug)",
            "reply 1: Verbosity set to 0 (debug)",
            "now verbosity 0",
        ],
    ),
    (
        To::Manual,
        "{command: quieter, id: 1}",
        &[
            "info: Verbosity set to 2 (errors only)",
            "reply 1: Verbosity set to 2 (errors only)",
            "now verbosity 2",
        ],
    ),
    (
        To::Stopping,
        "{command: quieter}",
        &[
            "info: Verbosity is already at 2 (errors only)",
            "reply: Verbosity is already at 2 (errors only)",
        ],
    ),
];

/// Signals to all workers, and the end.
const SIGNALS: &[Transcript] = &[
    (
        To::Manual,
        "{command: signal, args: [sighup], id: 1}",
        &[
            "HUP 1000",
            "HUP 1001",
            "HUP 1002",
            "info: Successfully sent HUPs to 3 processes: [1000, 1001, 1002]",
            "reply 1: Successfully sent HUPs to 3 processes: [1000, 1001, 1002]",
        ],
    ),
    (
        To::Empty,
        "{command: signal, args: [Usr1, SIGWINCH]}",
        &[
            "info: Successfully sent USR1s to 0 processes: []",
            "info: Successfully sent WINCHs to 0 processes: []",
            "reply: Successfully sent USR1s to 0 processes: []\\n\
             Successfully sent WINCHs to 0 processes: []",
        ],
    ),
    (
        To::Manual,
        "{command: signal, id: 1}",
        &["reply 1: signal needs the name of a signal, such as: signal HUP"],
    ),
    (
        To::Manual,
        "{command: signal, args: [HUP, SIGNAL]}",
        &["reply: Invalid signal: \"SIGNAL\". Known: HUP INT QUIT ILL TRAP ABRT BUS FPE KILL \
           USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ \
           VTALRM PROF WINCH IO PWR SYS"],
    ),
    (
        To::Manual,
        "{command: die, id: 1}",
        &[
            "info: Sending USR2 to [1000, 1001, 1002]",
            "USR2 1000",
            "USR2 1001",
            "USR2 1002",
            "info: Einhorn is going down! Successfully sent USR2s to 3 processes: \
             [1000, 1001, 1002]",
            "reply 1: Einhorn is going down! Successfully sent USR2s to 3 processes: \
             [1000, 1001, 1002]",
            "now stopping",
            "now 1000 told {Usr2}",
            "now 1001 told {Usr2}",
            "now 1002 told {Usr2}",
        ],
    ),
    (
        To::Stopping,
        "{command: die, args: [term]}",
        &[
            "info: Sending TERM to [1000, 1001, 1002]",
            "TERM 1000",
            "TERM 1001",
            "TERM 1002",
            "info: Einhorn is going down! Successfully sent TERMs to 3 processes: \
             [1000, 1001, 1002]",
            "reply: Einhorn is going down! Successfully sent TERMs to 3 processes: \
             [1000, 1001, 1002]",
            "now 1000 told {Usr2, Term}",
            "now 1001 told {Usr2, Term}",
            "now 1002 told {Usr2, Term}",
        ],
    ),
    (
        To::Empty,
        "{command: die, args: [SIGINT]}",
        &[
            "info: Sending INT to []",
            "info: Einhorn is going down! Successfully sent INTs to 0 processes: []",
            "reply: Einhorn is going down! Successfully sent INTs to 0 processes: []",
            "now stopping",
        ],
    ),
    (
        To::Manual,
        "{command: die, args: [TERM, KILL]}",
        &["reply: die takes one signal at most, such as: die TERM, or --next"],
    ),
];

/// Greetings, upgrades, and mistakes.
const CONVERSATION: &[Transcript] = &[
    (
        To::Manual,
        "{command: ehlo, user: '', id: 1}",
        &["reply 1: Welcome, ! You are speaking to Einhorn Master Process 900 (web), einhorn \
           VERSION\\n"],
    ),
    (
        To::Empty,
        "{command: ehlo}",
        &["reply: Welcome, stranger! You are speaking to Einhorn Master Process 900, einhorn \
           VERSION\\n"],
    ),
    (To::Manual, "{command: status, id: 1}", &["reply 1: (Table)"]),
    (To::Stopping, "{command: status, args: [--json]}", &["reply: (Json)"]),
    (
        To::Manual,
        "{command: status, args: [--json, all], id: 1}",
        &["reply 1: status takes no argument but --json, and was given \"all\""],
    ),
    (To::Empty, "{command: metrics, id: 1, args: []}", &["reply 1: (Metrics)"]),
    (
        To::Manual,
        "{command: metrics, args: [--json]}",
        &["reply: metrics takes no argument, and was given \"--json\""],
    ),
    (
        To::Manual,
        "{command: upgrade, id: 1}",
        &["more 1: Upgrading, as commanded", "asks a candidate"],
    ),
    (
        To::Manual,
        "{command: upgrade_fleet}",
        &["more: Upgrading, as commanded", "asks a candidate"],
    ),
    (
        To::Manual,
        "{command: reload, id: x}",
        &["more x: Reloading, as commanded", "asks a candidate"],
    ),
    (To::Manual, "{command: abort, id: 1}", &["reply 1: There is no upgrade to abort"]),
    (To::Manual, "{command: wait, id: 1}", &["reply 1: There was no upgrade to wait for"]),
    (
        To::Stopping,
        "{command: upgrade, id: 1}",
        &["reply 1: Not upgrading: the master is going down"],
    ),
    (To::Manual, "{command: inc, args: 4, id: 1}", &["reply 1: Args must be a list, not a number"]),
    (
        To::Manual,
        "{command: signal, args: [[HUP]]}",
        &["reply: Each argument must be a string, not a list"],
    ),
    (
        To::Manual,
        "{id: 1.5}",
        &["reply 1.5: No \"command\" parameter provided; not sure what you want me to do."],
    ),
    (
        To::Manual,
        "- inc",
        &["reply: Could not parse command: expected a mapping with \"command\", got a list"],
    ),
];
