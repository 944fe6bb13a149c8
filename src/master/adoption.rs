//! An image that was told to go on where another stopped, and its way back to that.

use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

use crate::master::handover::identity;
use crate::master::launch::Launch;
use crate::schema;
use crate::sys::exec::{Exec, exec};
use crate::sys::memfd;
use crate::sys::spawn::Program;

/// How this image was told to adopt.
#[derive(Debug)]
pub struct Adoption {
    /// Under which number the state is.
    pub state_number: RawFd,
    /// Why the image after this one gave the state back, if it did.
    pub rolled_back: Option<String>,
    /// What this image was started with.
    pub launch: Launch,
    /// The program and its arguments, for the command line of the image to go back to.
    pub program: Vec<OsString>,
}

impl Adoption {
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
            environment: &strings(self.launch.environment.iter().map(variable)),
            carried: &self.launch.open_at_start,
            directory: None,
            umask: None,
            limits: &[],
            stranger: None,
        });
        format!("going back failed too: {error}")
    }
}

/// Words of a command line or an environment; none of them can hold a zero byte.
fn strings(words: impl Iterator<Item = Vec<u8>>) -> Vec<CString> {
    words.filter_map(|word| CString::new(word).ok()).collect()
}
