//! What a worker is given, and nothing else.

crate::tests![];
