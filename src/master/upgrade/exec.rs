//! The exec by which another image goes on where this one stops.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use crate::master::Master;
use crate::master::upgrade::candidate::Candidate;
use crate::sys::descriptor;
use crate::sys::exec::{Exec, exec};
use crate::sys::limit::{Limit, OpenFiles};
use crate::sys::signal::Stranger;

/// What the next image gets.
pub struct Estate<'a> {
    /// The state, written down.
    pub state: &'a OwnedFd,
    /// The descriptors, that of the state left aside.
    pub carried: Vec<RawFd>,
    /// The limit of open files.
    pub open_files: Option<OpenFiles>,
    /// What it is, if it does not take signals over at once.
    pub stranger: Option<Stranger>,
}

impl Master {
    /// Becomes the candidate. Answers why that failed; nothing has changed then.
    ///
    /// # Errors
    /// What kept it from being tried, in words.
    pub(in crate::master) fn execute(
        &self,
        candidate: &Candidate,
        estate: Estate<'_>,
    ) -> Result<String, String> {
        let Estate { state, mut carried, open_files, stranger } = estate;
        carried.push(state.as_raw_fd());
        let path = candidate.path().map_err(|error| failed("its path", &error))?;
        let program = candidate.program(&path);
        if let Some(pinned) = candidate.pinned() {
            let error = pinned
                .execute(program, state.as_raw_fd(), carried)
                .map_err(|error| failed("what would be put back", &error))?;
            return Ok(candidate.explain(&error));
        }
        let limits: Vec<Limit> = open_files.into_iter().map(Limit::from).collect();
        let config = &self.state.config;
        let arguments = candidate
            .arguments(state.as_raw_fd(), &[], config)
            .map_err(|error| failed("its arguments", &error))?;
        let environment = self.origin.environment_without(&config.drop_env_vars);
        let next = self.state.next_deployment.as_ref();
        let directory = next.and_then(|next| next.directory.as_deref());
        let directory = directory.map(descriptor::open_path).transpose();
        let directory = directory.map_err(|error| failed("its directory", &error))?;
        let error = exec(&Exec {
            program,
            arguments: &arguments,
            environment: &environment,
            carried: &carried,
            directory: directory.as_ref().map(AsFd::as_fd),
            umask: None,
            limits: &limits,
            stranger,
        });
        Ok(candidate.explain(&error))
    }
}

/// What failed, and why.
pub fn failed(what: &str, error: &io::Error) -> String {
    format!("{what}: {error}")
}
