//! The environment of a worker (behaviour.md section 2).

use std::ffi::{CString, OsString};
use std::path::Path;

use crate::master::Master;
use crate::master::environment::{Environment, assignments};
use crate::state::{self, Generation, Listener, Slot, State};

impl Master {
    pub(super) fn worker_environment(
        &self,
        slot: Slot,
        connection_fd: Option<i32>,
        deployed: &Environment,
    ) -> Vec<CString> {
        let state = &self.state;
        let announced: Vec<&Listener> = state
            .listeners
            .iter()
            .filter(|listener| listener.bound_by == state::BoundBy::Option)
            .collect();
        let numbers: Vec<String> = announced.iter().map(|l| l.descriptor.to_string()).collect();
        let mut ours: Vec<(OsString, OsString)> = vec![
            ("EINHORN_MASTER_PID".into(), state.master_pid.to_string().into()),
            ("EINHORN_SOCK_PATH".into(), state.config.socket_path.clone().into()),
            ("EINHORN_CHILD_INDEX".into(), slot.0.to_string().into()),
            ("EINHORN_FD_COUNT".into(), announced.len().to_string().into()),
            // An older form of the original that workers may still read.
            ("EINHORN_FDS".into(), numbers.join(" ").into()),
        ];
        for (index, listener) in announced.iter().enumerate() {
            let descriptor = listener.descriptor.to_string();
            let kind = listener.socket_type_name();
            ours.push((format!("EINHORN_FD_{index}").into(), descriptor.into()));
            ours.push((format!("EINHORN_FD_FAMILY_{index}").into(), listener.family.name().into()));
            ours.push((format!("EINHORN_FD_TYPE_{index}").into(), kind.into()));
        }
        if let Some(number) = connection_fd {
            ours.push(("EINHORN_SOCK_FD".into(), number.to_string().into()));
        }
        let mut environment = self.origin.environment_with(deployed);
        environment.extend(assignments(&ours));
        environment
    }
}

/// The variables that a generation adds: those of `--env-file`, and `PWD`.
pub(super) fn deployment_variables(
    state: &State,
    generation: Generation,
    directory: Option<&Path>,
) -> Vec<(OsString, OsString)> {
    let deployment = state.deployments.get(&generation);
    let mut variables = deployment.map(|d| d.environment.clone()).unwrap_or_default();
    if let Some(directory) = directory {
        // Shells trust it, and it still names the directory that the master was started in.
        variables.retain(|(name, _)| name != "PWD");
        variables.push(("PWD".into(), directory.into()));
    }
    variables
}
