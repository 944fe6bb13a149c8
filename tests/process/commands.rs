//! The command socket as clients see it.

crate::tests![];
