//! A scalar that a client sends and gets back unchanged.
//!
//! Request ids are "any scalar" (behaviour.md section 7); an integer must come back as an integer
//! and the string `5` as a string.

use std::fmt;

/// A YAML scalar as a client sent it.
#[derive(Clone, Debug)]
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

impl PartialEq for Scalar {
    /// Compares representations: a NaN equals itself, and the two zeros differ.
    fn eq(&self, other: &Scalar) -> bool {
        match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => a == b,
            (Scalar::Integer(a), Scalar::Integer(b)) => a == b,
            (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits(),
            (Scalar::Text(a), Scalar::Text(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Scalar {
    /// Writes a string without quotes.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(value) => write!(out, "{value}"),
            Scalar::Integer(value) => write!(out, "{value}"),
            Scalar::Float(value) => write!(out, "{value:?}"),
            Scalar::Text(value) => out.write_str(value),
        }
    }
}
