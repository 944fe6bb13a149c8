//! The workers of docs/worker-contract.md, run as they stand there.

crate::tests![];
