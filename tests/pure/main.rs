//! Tests that start no process and listen on no socket: they give the same answer everywhere.

/// The fuzz corpus, replayed: what the fuzzers guard holds on every run of the tests.
mod corpus;
/// The rules that the tree itself keeps: floors, fences, sizes, names, documents.
mod tidy;
