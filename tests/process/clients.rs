//! Many, slow, flooding and half-open clients.

crate::tests![];
