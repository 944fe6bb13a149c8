//! Rolling back: an image that cannot adopt the state returns it to the previous image.

use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};

use crate::master::descriptors::identity;
use crate::master::environment::assignments;
use crate::master::launch::Launch;
use crate::preflight::PinnedFrom;
use crate::schema;
use crate::sys::descriptor::borrow;
use crate::sys::exec::{Exec, exec};
use crate::sys::limit::Limit;
use crate::sys::memfd;
use crate::sys::spawn::Program;

/// The options with which this image was told to adopt a state.
#[derive(Debug)]
pub struct Adoption {
    /// The descriptor of the state.
    pub state_fd: RawFd,
    /// Why the next image rolled back to this one, if it did.
    pub rolled_back: Option<String>,
    /// The process's settings before this image was executed, if that was pinned, as one word.
    pub pinned: Option<String>,
    /// What this image was started with.
    pub launch: Launch,
    /// The workers' program and its arguments, for the command line of a roll-back.
    pub program: Vec<OsString>,
}

impl Adoption {
    /// The descriptor of the image to roll back to, if the state can be read and it is open.
    pub fn rollback_image(&self) -> Option<RawFd> {
        let bytes = memfd::read_all(self.state_fd, schema::STATE_MAX).ok()?;
        // A wrapper may have closed it.
        schema::read_header(&bytes).ok()?.rollback.filter(|number| identity(*number).is_ok())
    }

    /// The process's settings before this image was executed, if that was pinned.
    ///
    /// # Errors
    /// The word of `--pinned` is invalid.
    pub(super) fn pinned_from(&self) -> Result<Option<PinnedFrom>> {
        let parse = |word: &String| {
            PinnedFrom::parse(word).with_context(|| format!("--pinned does not mean {word:?}"))
        };
        self.pinned.as_ref().map(parse).transpose()
    }

    /// Execs the previous image with the untouched state. Returns only if that failed, and why.
    pub fn roll_back(&self, image: Option<RawFd>, why: &str) -> String {
        let Some(image) = image else { return "there is no image to roll back to".to_owned() };
        if self.rolled_back.is_some() {
            return "this image was itself rolled back to".to_owned();
        }
        let number = self.state_fd.to_string();
        let why = why.replace('\0', " ");
        let ours = ["einhorn", "--with-state-fd", &number, "--rolled-back", &why, "--"];
        let program = self.program.iter().map(|word| word.as_bytes());
        let words = ours.iter().map(|word| word.as_bytes()).chain(program);
        // None of them can contain a NUL.
        let arguments: Vec<CString> = words.filter_map(|word| CString::new(word).ok()).collect();
        let before = self.pinned_from().ok().flatten();
        let directory = before.as_ref().map(|before| before.directory);
        let limits = before.iter().flat_map(|before| &before.limits).map(|limit| &limit.before);
        let limits = limits.filter_map(|limit| Limit::named(&limit.name, limit.soft, limit.hard));
        let open = self.launch.open_at_start.iter().copied();
        let mut plan = Exec {
            program: Program::Descriptor(image),
            arguments: &arguments,
            environment: &self.environment_before(),
            carried: &open.filter(|number| Some(*number) != directory).collect::<Vec<_>>(),
            directory: directory.map(borrow),
            umask: before.as_ref().map(|before| before.umask),
            limits: &limits.collect::<Vec<_>>(),
            foreign_image: None,
        };
        let mut error = exec(&plan);
        if before.is_some() {
            // Retry without the settings: better in another directory than not at all.
            (plan.directory, plan.umask, plan.limits) = (None, None, &[]);
            error = exec(&plan);
        }
        format!("rolling back failed too: {error}")
    }

    /// The environment of the previous image, which a wrapper may have changed; this one's if the
    /// state cannot be read.
    fn environment_before(&self) -> Vec<CString> {
        let decode = || {
            let bytes = memfd::read_all(self.state_fd, schema::STATE_MAX).ok()?;
            Some(schema::decode(&bytes).ok()?.handover.origin.environment)
        };
        // Decoding may be what panicked in the first place.
        let before = catch_unwind(AssertUnwindSafe(decode)).ok().flatten();
        assignments(before.as_ref().unwrap_or(&self.launch.environment)).collect()
    }
}
