//! Real servers of other languages, under load.

crate::tests![];
