//! einhornsh.

crate::tests![];
