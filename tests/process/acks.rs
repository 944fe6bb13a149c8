//! When a worker counts as up, and what is ignored.

crate::tests![];
