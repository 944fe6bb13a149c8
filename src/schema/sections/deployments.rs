//! `--chdir` and `--env-file`, and what they resolved to when each generation began.

use std::collections::BTreeMap;

use crate::schema::codec::{Bytes, Secret};
use crate::schema::frozen::frozen;
use crate::schema::section::section;
use crate::state::{self, Generation};

section! {
    struct Deployments: Critical "deployments" {
        chdir: Option<Bytes> = state.config.chdir,
        env_file: Option<Bytes> = state.config.env_file,
        begun: BTreeMap<Generation, Deployment> = state.deployments,
        next: Option<Deployment> = state.next_deployment,
    }
}

frozen! {
    struct Deployment of state::Deployment {
        directory: Option<Bytes>,
        environment: Vec<(Bytes, Secret)>,
        ..state::Deployment::default()
    }
}
