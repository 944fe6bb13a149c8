//! An image that was told to go on where another stopped, and its way back to that.

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

/// How this image was told to adopt.
#[derive(Debug)]
pub struct Adoption {
    /// Under which number the state is.
    pub state_fd: RawFd,
    /// Why the image after this one gave the state back, if it did.
    pub rolled_back: Option<String>,
    /// How the process was before this image was executed, if that was pinned, in one word.
    pub pinned: Option<String>,
    /// What this image was started with.
    pub launch: Launch,
    /// The program and its arguments, for the command line of the image to go back to.
    pub program: Vec<OsString>,
}

impl Adoption {
    /// The number of the image to give the state back to, if it can be read.
    pub fn rollback_image(&self) -> Option<RawFd> {
        let bytes = memfd::read_all(self.state_fd, schema::STATE_MAX).ok()?;
        // Whatever ran in our place may have closed it.
        schema::read_header(&bytes).ok()?.rollback.filter(|number| identity(*number).is_ok())
    }

    /// How the process was before this image was executed, if that was pinned.
    ///
    /// # Errors
    /// The word for it is none, in words.
    pub(super) fn pinned_from(&self) -> Result<Option<PinnedFrom>> {
        let parse = |word: &String| {
            PinnedFrom::parse(word).with_context(|| format!("--pinned does not mean {word:?}"))
        };
        self.pinned.as_ref().map(parse).transpose()
    }

    /// Gives the state back to the image before this one, untouched. Returns only when that failed.
    pub fn roll_back(&self, image: Option<RawFd>, why: &str) -> String {
        let Some(image) = image else { return "there is no image to go back to".to_owned() };
        if self.rolled_back.is_some() {
            return "this is the image that was gone back to".to_owned();
        }
        let number = self.state_fd.to_string();
        let why = why.replace('\0', " ");
        let ours = ["einhorn", "--with-state-fd", &number, "--rolled-back", &why, "--"];
        let program = self.program.iter().map(|word| word.as_bytes());
        let words = ours.iter().map(|word| word.as_bytes()).chain(program);
        // None of them can hold a zero byte.
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
            // Better in another directory than not at all.
            (plan.directory, plan.umask, plan.limits) = (None, None, &[]);
            error = exec(&plan);
        }
        format!("going back failed too: {error}")
    }

    /// The environment of the image before this one, which a wrapper may have changed; this one's
    /// where the state cannot be read.
    fn environment_before(&self) -> Vec<CString> {
        let decode = || {
            let bytes = memfd::read_all(self.state_fd, schema::STATE_MAX).ok()?;
            Some(schema::decode(&bytes).ok()?.handover.origin.environment)
        };
        // That may be where a bug was met.
        let before = catch_unwind(AssertUnwindSafe(decode)).ok().flatten();
        assignments(before.as_ref().unwrap_or(&self.launch.environment)).collect()
    }
}
