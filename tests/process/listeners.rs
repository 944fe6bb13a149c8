//! Addresses of every kind, and connections that wait in them.

crate::tests![];
