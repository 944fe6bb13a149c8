//! Files, second masters, bad input: nothing is left behind.

crate::tests![];
