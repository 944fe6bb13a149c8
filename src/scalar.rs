//! A scalar that a client chose and wants back unchanged.
//!
//! Request ids are "any scalar" (behaviour.md section 7); an integer must come back as an integer
//! and the string `5` as a string.

use std::fmt;

/// A YAML scalar as a client sent it.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// Any integer that JSON or YAML can write in 128 bits.
    Integer(i128),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(String),
}

impl fmt::Display for Scalar {
    /// The words a person would use for it: a string without its quotes.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(value) => write!(out, "{value}"),
            Scalar::Integer(value) => write!(out, "{value}"),
            Scalar::Float(value) => write!(out, "{value:?}"),
            Scalar::Text(value) => out.write_str(value),
        }
    }
}
