//! What the tests are made of.

pub(crate) mod background; // work on the side while a test goes on
pub(crate) mod before_and_after; // what an upgrade leaves as it was
#[path = "../../captures/mod.rs"]
pub(crate) mod captures; // what a Ruby Einhorn handed to itself, and the same of ours
pub(crate) mod deploys; // releases side by side, and a symlink to the newest
pub(crate) mod descriptor_limit; // room for many connections at once
pub(crate) mod einhornsh; // commands asked by the real einhornsh, and what it told
pub(crate) mod failed_starts; // starts that must fail, and that nothing is left of them
pub(crate) mod fake_master; // a master that the test plays: it answers by a script
pub(crate) mod fake_ruby_master; // a stand-in for a Ruby master that hands over
pub(crate) mod http; // a client of workers that speak it
pub(crate) mod jobs; // scripts that a worker runs as this or that user
#[path = "../../pure/json_schema.rs"]
pub(crate) mod json_schema; // JSON documents against their schemas
pub(crate) mod last_line; // of an upgrade that is done
pub(crate) mod load; // workers that drain, and clients that count what is lost
pub(crate) mod ordinary_user; // an ordinary user, whoever runs the tests
pub(crate) mod other_release; // a symlink that leads now to one build of einhorn and now to another
pub(crate) mod proc; // what the kernel says of a process
pub(crate) mod releases; // other releases, and files of every kind of unfitness
pub(crate) mod rig; // a folder, masters in it, and their end
pub(crate) mod ruby; // Ruby as a reader of YAML, and as a master
pub(crate) mod signal_notes; // the signals that workers get, as they note them down
pub(crate) mod state_dump; // what the state dump says of the workers at one moment
pub(crate) mod terminal; // a pseudo-terminal
pub(crate) mod wait; // the one place that waits
pub(crate) mod wire; // a raw connection to the command socket
pub(crate) mod worker; // what the test program does as a worker
