//! The exec of the next image.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};

use crate::master::Master;
use crate::master::upgrade::candidate::Candidate;
use crate::sys::descriptor;
use crate::sys::exec::{Exec, exec};
use crate::sys::limit::Limit;
use crate::sys::signal::ForeignImage;

/// What the next image inherits.
pub struct ExecRequest<'a> {
    /// The encoded state.
    pub state: &'a OwnedFd,
    /// Descriptors to carry over, besides that of the state.
    pub carried: Vec<RawFd>,
    /// The limit of open files to set; unchanged if `None`.
    pub open_files: Option<Limit>,
    /// Set if the image does not handle signals from its first statement on.
    pub foreign_image: Option<ForeignImage>,
}

impl Master {
    /// Execs the candidate; returns only if that failed.
    ///
    /// # Errors
    /// Why it failed or was not tried; nothing has changed.
    pub(in crate::master) fn execute(
        &self,
        candidate: &Candidate,
        request: ExecRequest<'_>,
    ) -> Result<Infallible> {
        let ExecRequest { state, mut carried, open_files, foreign_image } = request;
        carried.push(state.as_raw_fd());
        let path = candidate.path().context("its path")?;
        let program = candidate.program(&path);
        if let Some(pinned) = candidate.pinned() {
            let error = pinned
                .execute(program, state.as_raw_fd(), carried)
                .context("the settings to restore")?;
            return Err(candidate.explain(&error));
        }
        let limits: Vec<Limit> = open_files.into_iter().collect();
        let config = &self.state.config;
        let arguments =
            candidate.arguments(state.as_raw_fd(), &[], config).context("its arguments")?;
        let environment = self.origin.environment_without(&config.drop_env_vars);
        let next = self.state.next_deployment.as_ref();
        let directory = next.and_then(|next| next.directory.as_deref());
        let directory = directory.map(descriptor::open_path).transpose();
        let directory = directory.context("its directory")?;
        let error = exec(&Exec {
            program,
            arguments: &arguments,
            environment: &environment,
            carried: &carried,
            directory: directory.as_ref().map(AsFd::as_fd),
            umask: None,
            limits: &limits,
            foreign_image,
        });
        Err(candidate.explain(&error))
    }
}
