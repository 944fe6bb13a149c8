//! Sections of the state: a name, and one small struct that never changes once released.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::schema::codec;
use crate::schema::error::SchemaError;
use crate::schema::handover::Handover;

/// When a section is written, and what a release that does not know it does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Every state has it, and it is critical.
    Base,
    /// Written unless it holds only defaults; a release that does not know it refuses the state,
    /// because it would not behave as it was asked to.
    Critical,
    /// Written unless it holds only defaults; a release that does not know it skips it and logs its
    /// name.
    Other,
}

/// Some facts of a hand-over, frozen. It consists of newtypes of `state`, the standard library and
/// frozen types, so that its encoding stays the same when the facts' own types change.
pub(super) trait Section: Serialize + DeserializeOwned {
    /// Its name in the encoding: lower-case letters, digits and hyphens.
    const NAME: &'static str;

    /// When it is written, and who may skip it.
    const KIND: Kind;

    /// Extracts the section from a hand-over; `None` if it is omitted because it holds only
    /// defaults.
    fn of(handover: &Handover) -> Option<Self>;

    /// Stores its facts in a hand-over.
    ///
    /// # Errors
    /// A fact is invalid, or refers to something that the hand-over does not have.
    fn put(self, handover: &mut Handover) -> Result<(), String>;
}

/// Declares a section whose fields are facts of the hand-over, each with its frozen type and its
/// place in the hand-over. Unless it is a base section, it is omitted if all of them have the
/// values of a blank hand-over.
macro_rules! section {
    (struct $section:ident: $kind:ident $name:literal {
        $($field:ident: $type:ty = $($place:ident).+,)+
    }) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct $section { $($field: $type,)+ }

        const _: () = {
            use $crate::schema::frozen::Frozen;
            use $crate::schema::handover::Handover;
            use $crate::schema::section::{Kind, Section};

            impl Section for $section {
                const NAME: &'static str = $name;
                const KIND: Kind = Kind::$kind;

                fn of(handover: &Handover) -> Option<$section> {
                    let blank = Handover::blank();
                    let is_blank = $(handover.$($place).+ == blank.$($place).+)&&+;
                    (Self::KIND == Kind::Base || !is_blank)
                        .then(|| $section { $($field: Frozen::freeze(&handover.$($place).+),)+ })
                }

                fn put(self, handover: &mut Handover) -> Result<(), String> {
                    $(handover.$($place).+ = Frozen::thaw(self.$field)?;)+
                    Ok(())
                }
            }
        };
    };
}
pub(super) use section;

/// Declares a section that holds one fact per worker, for those workers whose fact is not the
/// default.
macro_rules! column {
    (struct $section:ident: $kind:ident $name:literal { $fact:ident: $type:ty, }) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct $section {
            $fact: std::collections::BTreeMap<$crate::state::Pid, $type>,
        }

        const _: () = {
            use $crate::schema::frozen::Frozen;
            use $crate::schema::handover::Handover;
            use $crate::schema::section::{Kind, Section};

            impl Section for $section {
                const NAME: &'static str = $name;
                const KIND: Kind = Kind::$kind;

                fn of(handover: &Handover) -> Option<$section> {
                    let blank = $crate::state::Worker::default();
                    let workers = handover.state.workers.iter();
                    let set = workers.filter(|(_, worker)| worker.$fact != blank.$fact);
                    let section = $section {
                        $fact: set.map(|(pid, w)| (*pid, Frozen::freeze(&w.$fact))).collect(),
                    };
                    (!section.$fact.is_empty()).then_some(section)
                }

                fn put(self, handover: &mut Handover) -> Result<(), String> {
                    for (pid, fact) in self.$fact {
                        let worker = handover.state.workers.get_mut(&pid);
                        let worker = worker.ok_or_else(|| format!("{pid} is not a worker"))?;
                        worker.$fact = Frozen::thaw(fact)?;
                    }
                    Ok(())
                }
            }
        };
    };
}
pub(super) use column;

/// A row of the section table: the operations on a section, with the type of its struct erased.
pub(super) struct Row {
    /// [`Section::NAME`].
    pub(super) name: &'static str,
    /// Whether a release that does not know it refuses the state.
    pub(super) is_critical: bool,
    /// Encodes its content; `None` if it is omitted.
    pub(super) write: fn(&Handover) -> Result<Option<Vec<u8>>, SchemaError>,
    /// Decodes a content into a hand-over.
    pub(super) read: fn(&[u8], &mut Handover) -> Result<(), SchemaError>,
    /// Formats a content as YAML, under the section's name.
    pub(super) describe: fn(&[u8]) -> Result<String, SchemaError>,
}

impl Row {
    /// The row of a section.
    pub(super) const fn of<S: Section>() -> Row {
        Row {
            name: S::NAME,
            is_critical: matches!(S::KIND, Kind::Base | Kind::Critical),
            write: |handover| {
                let content = S::of(handover).map(|section| codec::write(&section));
                content.transpose().map_err(undecodable::<S>)
            },
            read: |content, handover| {
                let section: S = codec::read(content).map_err(undecodable::<S>)?;
                let inconsistent = |why| SchemaError::Inconsistent(format!("{}: {why}", S::NAME));
                section.put(handover).map_err(inconsistent)
            },
            describe: |content| {
                let section: S = codec::read(content).map_err(undecodable::<S>)?;
                serde_yaml::to_string(&BTreeMap::from([(S::NAME, section)]))
                    .map_err(|error| undecodable::<S>(error.to_string()))
            },
        }
    }
}

fn undecodable<S: Section>(why: String) -> SchemaError {
    SchemaError::Undecodable { section: Some(S::NAME), why }
}
