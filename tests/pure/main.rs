//! Tests that start no process and listen on no socket: they give the same answer everywhere.

/// What a Ruby Einhorn handed to itself, and the hand-overs of ours that say the same.
#[path = "../captures/mod.rs"]
mod captures;
/// What each command of the command socket answers and does: one table of transcripts.
mod commands;
/// The fuzz corpus, replayed: what the fuzzers guard holds on every run of the tests.
mod corpus;
/// Signals that cannot be sent, an example for each rule.
mod delivery;
/// What programs are told of a command, by its schema.
mod events;
/// The master that the tests of `decide` begin with.
mod example;
/// Handing back to a Ruby Einhorn.
mod handback;
/// JSON documents against their schemas.
mod json_schema;
/// Workers that are killed instead of draining, an example for each rule.
mod killed;
/// What failed workers said last, in the words of the roll-out that they failed in.
mod last_words;
/// What workers leave running, an example for each rule.
mod leftovers;
/// Long options, abbreviated as Ruby's OptionParser allows.
mod options;
/// The rules of keeping N alive (behaviour.md section 4), an example each.
mod pool;
/// The rules of upgrades that end (docs/decisions/0010-upgrades-that-end.md), an example each.
mod rollout;
/// The state of a Ruby master: its captures, and what is refused.
mod ruby;
/// The schema of the state: golden files, refused files, and what holds of every state.
mod schema;
/// `decide` in random worlds, from seeds, with its invariants checked after every event.
mod simulate;
/// How the master is, in each of its shapes.
mod status;
/// The schedule of `--stop`, an example for each rule.
mod stop;
/// Workers that a signal has suspended, an example for each rule.
mod suspended;
/// The rules that the tree itself keeps: floors, fences, sizes, names, documents.
mod tidy;
/// The rules of upgrades (behaviour.md sections 5 and 6), an example each.
mod upgrade;
