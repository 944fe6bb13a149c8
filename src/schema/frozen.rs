//! Frozen types: the stable types in which facts are written, and the conversions both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::schema::codec::{Bytes, Secret, Text};
use crate::state::{ConnectionId, Generation, Monotonic, Pid, Realtime, Slot, Verbosity};

/// A type that never changes once released, which carries a fact whose own type may change.
pub(super) trait Frozen<Fact>: Sized {
    /// Converts a fact to its frozen type.
    fn freeze(fact: &Fact) -> Self;

    /// Converts back to the fact.
    ///
    /// # Errors
    /// The value is not a valid fact.
    fn thaw(self) -> Result<Fact, String>;
}

/// Declares frozen types, each with the type whose facts it carries, field by field. The expression
/// after `..` supplies fields that the frozen type does not carry. Variants of an enum keep their
/// names; a field in parentheses has a name only in the frozen type.
macro_rules! frozen {
    (struct $name:ident of $fact:ty {
        $($field:ident: $type:ty,)+
        $(.. $rest:expr)?
    } $($more:tt)*) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(in crate::schema) struct $name { $($field: $type,)+ }

        const _: () = {
            use $crate::schema::frozen::Frozen;
            type Fact = $fact;

            impl Frozen<Fact> for $name {
                fn freeze(fact: &Fact) -> $name {
                    $name { $($field: Frozen::freeze(&fact.$field),)+ }
                }

                // The base is unused as long as the frozen type carries all fields.
                #[allow(clippy::needless_update)]
                fn thaw(self) -> Result<Fact, String> {
                    Ok(Fact { $($field: Frozen::thaw(self.$field)?,)+ $(.. $rest)? })
                }
            }
        };

        $crate::schema::frozen::frozen! { $($more)* }
    };
    (enum $name:ident of $fact:ty {
        $($variant:ident $(($only:ident: $inner:ty))? $({ $($field:ident: $type:ty),* })?,)+
    } $($more:tt)*) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(in crate::schema) enum $name {
            $($variant $({ $only: $inner })? $({ $($field: $type),* })?,)+
        }

        const _: () = {
            use $crate::schema::frozen::Frozen;
            type Fact = $fact;

            impl Frozen<Fact> for $name {
                fn freeze(fact: &Fact) -> $name {
                    match fact {
                        $(Fact::$variant $(($only))? $({ $($field),* })? => $name::$variant {
                            $($only: Frozen::freeze($only),)?
                            $($($field: Frozen::freeze($field),)*)?
                        },)+
                    }
                }

                fn thaw(self) -> Result<Fact, String> {
                    Ok(match self {
                        $($name::$variant { $($only)? $($($field),*)? } => Fact::$variant
                            $((Frozen::thaw($only)?))?
                            $({ $($field: Frozen::thaw($field)?),* })?,)+
                    })
                }
            }
        };

        $crate::schema::frozen::frozen! { $($more)* }
    };
    () => {};
}
pub(super) use frozen;

/// Declares types that are written as they are.
macro_rules! plain {
    ($($type:ty),*) => {
        $(impl Frozen<$type> for $type {
            fn freeze(fact: &$type) -> $type {
                *fact
            }

            fn thaw(self) -> Result<$type, String> {
                Ok(self)
            }
        })*
    };
}

plain!(bool, u16, u32, u64, i32, i128, f64, Duration);
plain!(ConnectionId, Generation, Monotonic, Pid, Realtime, Slot, Verbosity);

/// Declares byte types, each with the conversions from and to a fact.
macro_rules! bytes {
    ($($frozen:ident of $fact:ty: $freeze:expr, $thaw:expr;)*) => {
        $(impl Frozen<$fact> for $frozen {
            fn freeze(fact: &$fact) -> $frozen {
                $frozen($freeze(fact))
            }

            fn thaw(self) -> Result<$fact, String> {
                Ok($thaw(self.0))
            }
        })*
    };
}

bytes! {
    Text of String: String::clone, String::from;
    Bytes of Vec<u8>: Vec::clone, Vec::from;
    Bytes of OsString: |word: &OsString| word.as_bytes().to_vec(), OsString::from_vec;
    Secret of OsString: Bytes::freeze, |bytes: Bytes| OsString::from_vec(bytes.0);
    Bytes of PathBuf: |path: &PathBuf| path.as_os_str().as_bytes().to_vec(),
        |bytes| PathBuf::from(OsString::from_vec(bytes));
}

impl<Fact, F: Frozen<Fact>> Frozen<Option<Fact>> for Option<F> {
    fn freeze(fact: &Option<Fact>) -> Option<F> {
        fact.as_ref().map(F::freeze)
    }

    fn thaw(self) -> Result<Option<Fact>, String> {
        self.map(F::thaw).transpose()
    }
}

impl<Fact, F: Frozen<Fact>> Frozen<Vec<Fact>> for Vec<F> {
    fn freeze(facts: &Vec<Fact>) -> Vec<F> {
        facts.iter().map(F::freeze).collect()
    }

    fn thaw(self) -> Result<Vec<Fact>, String> {
        self.into_iter().map(F::thaw).collect()
    }
}

impl<Fact: Ord, F: Frozen<Fact>> Frozen<BTreeSet<Fact>> for Vec<F> {
    fn freeze(facts: &BTreeSet<Fact>) -> Vec<F> {
        facts.iter().map(F::freeze).collect()
    }

    fn thaw(self) -> Result<BTreeSet<Fact>, String> {
        self.into_iter().map(F::thaw).collect()
    }
}

impl<Key: Ord + Copy, Fact, F: Frozen<Fact>> Frozen<BTreeMap<Key, Fact>> for BTreeMap<Key, F> {
    fn freeze(facts: &BTreeMap<Key, Fact>) -> BTreeMap<Key, F> {
        facts.iter().map(|(key, fact)| (*key, F::freeze(fact))).collect()
    }

    fn thaw(self) -> Result<BTreeMap<Key, Fact>, String> {
        self.into_iter().map(|(key, frozen)| Ok((key, frozen.thaw()?))).collect()
    }
}

impl<A, B, F: Frozen<A>, G: Frozen<B>> Frozen<(A, B)> for (F, G) {
    fn freeze((a, b): &(A, B)) -> (F, G) {
        (F::freeze(a), G::freeze(b))
    }

    fn thaw(self) -> Result<(A, B), String> {
        Ok((self.0.thaw()?, self.1.thaw()?))
    }
}
