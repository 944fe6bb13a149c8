//! An image that was told to go on where another stopped, and its way back to that.

use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::master::handover::identity;
use crate::master::takeover::Successor;
use crate::schema;
use crate::sys::exec::{Exec, exec};
use crate::sys::memfd;
use crate::sys::signal::Mask;
use crate::sys::spawn::Program;

/// How this image was told to adopt.
#[derive(Debug)]
pub struct Adoption {
    /// Under which number the state is.
    pub state_number: RawFd,
    /// Why the image after this one gave the state back, if it did.
    pub rolled_back: Option<String>,
    /// The first word of this image's command line.
    pub own_name: OsString,
    /// The working directory.
    pub directory: PathBuf,
    /// The signal mask that this image was started with.
    pub mask: Mask,
    /// The environment that this image was started with.
    pub environment: Vec<(OsString, OsString)>,
    /// The program and its arguments, for the command line of the image to go back to.
    pub program: Vec<OsString>,
    /// The descriptors from 3 up that were open before this image opened any.
    pub open_at_start: Vec<RawFd>,
}

impl Adoption {
    /// This image, as one that goes on in a Ruby master's place.
    pub(super) fn successor(&self) -> Successor<'_> {
        Successor {
            own_name: &self.own_name,
            directory: &self.directory,
            environment: &self.environment,
            blocked_signals: self.mask.to_bits(),
            open_at_start: &self.open_at_start,
            state_number: self.state_number,
        }
    }

    /// The number of the image to give the state back to, if it can be read.
    pub fn way_back(&self) -> Option<RawFd> {
        let bytes = memfd::read_all(self.state_number, schema::STATE_MAX).ok()?;
        // Whatever ran in our place may have closed it.
        schema::read_header(&bytes).ok()?.rollback.filter(|number| identity(*number).is_ok())
    }

    /// Gives the state back to the image before this one, untouched. Returns only when that failed.
    pub fn roll_back(&self, image: Option<RawFd>, why: &str) -> String {
        let Some(image) = image else { return "there is no image to go back to".to_owned() };
        if self.rolled_back.is_some() {
            return "this is the image that was gone back to".to_owned();
        }
        let number = self.state_number.to_string();
        let why = why.replace('\0', " ");
        let ours = ["einhorn", "--with-state-fd", &number, "--rolled-back", &why, "--"];
        let words = ours.iter().map(|word| word.as_bytes().to_vec());
        let words = words.chain(self.program.iter().map(|word| word.as_bytes().to_vec()));
        let variable = |(name, value): &(OsString, OsString)| {
            [name.as_bytes(), b"=", value.as_bytes()].concat()
        };
        let error = exec(&Exec {
            program: Program::Descriptor(image),
            arguments: &strings(words),
            environment: &strings(self.environment.iter().map(variable)),
            carried: &self.open_at_start,
            open_files: None,
            wrapper_seconds_max: None,
        });
        format!("going back failed too: {error}")
    }
}

/// Words of a command line or an environment; none of them can hold a zero byte.
fn strings(words: impl Iterator<Item = Vec<u8>>) -> Vec<CString> {
    words.filter_map(|word| CString::new(word).ok()).collect()
}
