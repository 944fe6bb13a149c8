//! What is logged, and readers that are gone, full or asleep.

crate::tests![];
