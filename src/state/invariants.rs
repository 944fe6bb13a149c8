//! Every invariant of the state.

use std::fmt;

use crate::state::{
    CanaryCheck, EndedUpgrade, FAILURES_KEPT, LAST_WORDS_MAX, Pid, Rollout, RolloutKind,
    RolloutStage, Slot, State, Verbosity, WORKERS_MAX, WaitsFor, Worker,
};

impl State {
    /// Checks every invariant.
    ///
    /// # Errors
    /// A description of the first one that does not hold.
    pub fn check(&self) -> Result<(), String> {
        let mut slots: Vec<Slot> = self.workers.values().map(|worker| worker.slot).collect();
        slots.extend(self.ordered.keys());
        slots.sort_unstable();
        let are_unique = slots.windows(2).all(|pair| pair[0] != pair[1]);
        ensure(are_unique, "two workers share a slot")?;
        let is_possible = (1..=WORKERS_MAX).contains(&self.config.target);
        ensure(is_possible, "the target number of workers is out of bounds")?;
        ensure(self.processor_count >= 1, "there is no processor")?;
        ensure(self.max_unacked() >= 1, "no worker may be unacked")?;
        let are_missing = self.cold_start_count <= self.missing_count();
        ensure(are_missing, "more workers are left to start than are missing")?;
        ensure(!self.config.command.is_empty(), "the command is empty")?;
        let is_level = self.config.verbosity <= Verbosity::ERROR;
        ensure(is_level, "the verbosity is out of bounds")?;
        let is_given = self.generation <= self.newest_generation;
        ensure(is_given, "the current generation is above the newest one")?;
        let from = self.rollout.as_ref().map(|rollout| rollout.from);
        let is_after = from.is_none_or(|from| from <= self.generation);
        ensure(is_after, "a roll-out would restore a later generation")?;
        let is_upgrading =
            self.reexec.is_some() || self.rollout.is_some() || self.ending_upgrade.is_some();
        let is_both = self.stopping.is_some() && is_upgrading;
        ensure(!is_both, "an upgrade is in progress although the master is stopping")?;
        let is_known = self.warned_generation <= Some(self.newest_generation);
        ensure(is_known, "the generation last warned of is above the newest one")?;
        self.check_workers()?;
        self.check_leftovers()?;
        self.check_rollouts()?;
        self.check_clients()
    }

    fn check_workers(&self) -> Result<(), String> {
        for (pid, worker) in &self.workers {
            self.check_worker("worker", *pid, worker)?;
        }
        let newest = self.ordered.values().max();
        let is_given = newest.is_none_or(|generation| *generation <= self.newest_generation);
        ensure(is_given, "a worker above the newest generation is ordered")
    }

    fn check_leftovers(&self) -> Result<(), String> {
        for (group, leftover) in &self.leftovers {
            let whose = "leftovers of worker";
            self.check_worker(whose, *group, &leftover.worker)?;
            let is_reaped = !self.workers.contains_key(group);
            let ensure = |holds, what| ensure(holds, format_args!("{whose} {group}: {what}"));
            ensure(is_reaped, "it was not reaped")?;
            ensure(leftover.count >= 1, "there are none")?;
        }
        Ok(())
    }

    /// Checks what holds of a worker, whether it was reaped or not.
    fn check_worker(&self, whose: &str, pid: Pid, worker: &Worker) -> Result<(), String> {
        let ensure = |holds, what| ensure(holds, format_args!("{whose} {pid}: {what}"));
        ensure(pid.0 > 1, "its pid cannot be a worker's")?;
        ensure(pid != self.master_pid, "its pid is the master's")?;
        let is_known = worker.generation <= self.newest_generation;
        ensure(is_known, "its generation is too high")?;
        let is_sent = !worker.signaled.is_empty()
            || worker.stop_progress.is_some()
            || worker.stop_signal.is_some();
        let has_time = worker.is_stopping() || !is_sent;
        ensure(has_time, "it was asked to stop, but has no time for it")
    }

    /// Checks the invariants of roll-outs and deployments.
    fn check_rollouts(&self) -> Result<(), String> {
        let is_some_allowed = self.config.rollout.failures_max.is_none_or(|max| max >= 1);
        ensure(is_some_allowed, "`--upgrade-max-failures` is 0")?;
        if let Some(rollout) = &self.rollout {
            self.check_rollout(rollout)?;
        }
        let ending = self.ending_upgrade.as_ref().map(|ending| &ending.ended);
        let is_both = self.rollout.is_some() && ending.is_some();
        ensure(!is_both, "a roll-out is in progress although one is ending")?;
        let last = self.last_upgrade.as_ref().map(|ended| ("last", ended));
        let ending = ending.map(|ended| ("ending", ended));
        for (which, EndedUpgrade { generation, failures, .. }) in last.into_iter().chain(ending) {
            let is_known = *generation <= self.newest_generation;
            let ensure = |holds, what| ensure(holds, format_args!("the {which} upgrade{what}"));
            ensure(is_known, "'s generation is above the newest one")?;
            let are_few = failures.len() <= FAILURES_KEPT;
            ensure(are_few, " lists too many failures")?;
        }
        if let Some(ending) = &self.ending_upgrade {
            let told = u32::try_from(ending.ended.failures.len());
            let are_counted = told.is_ok_and(|told| told <= ending.failure_count);
            ensure(are_counted, "the ending upgrade lists more failures than it counts")?;
        }
        let told = self.rollout.iter().flat_map(|rollout| &rollout.failures);
        let ended = last.into_iter().chain(ending).flat_map(|(_, ended)| &ended.failures);
        let mut words = told.chain(ended).filter_map(|failure| failure.last_words.as_ref());
        let are_short = words.all(|words| words.len() <= LAST_WORDS_MAX);
        ensure(are_short, "the last output of a failed worker is too long")?;
        self.check_deployments()
    }

    fn check_rollout(&self, rollout: &Rollout) -> Result<(), String> {
        let told = rollout.failures.len();
        let are_counted = u32::try_from(told).is_ok_and(|told| told <= rollout.failure_count);
        ensure(are_counted, "a roll-out lists more failures than it counts")?;
        ensure(told <= FAILURES_KEPT, "a roll-out lists too many failures")?;
        let RolloutStage::Canary { check } = rollout.stage else { return Ok(()) };
        ensure(rollout.kind == RolloutKind::Smooth, "a fleet upgrade has a canary")?;
        let Some(CanaryCheck { process: Some(process), .. }) = check else { return Ok(()) };
        let is_other = process.0 > 1 && process != self.master_pid;
        ensure(
            is_other && !self.workers.contains_key(&process),
            format_args!("the pid of the canary's check, {process}, is another process's"),
        )
    }

    /// Checks that each deployment belongs to a known generation and to an option that is set.
    fn check_deployments(&self) -> Result<(), String> {
        let newest = self.deployments.keys().max();
        let is_given = newest.is_none_or(|generation| *generation <= self.newest_generation);
        ensure(is_given, "a deployment's generation is above the newest one")?;
        let deployments = || self.deployments.values().chain(&self.next_deployment);
        let workers = self.workers.values().filter_map(|worker| worker.directory.as_ref());
        let deployed = deployments().filter_map(|deployment| deployment.directory.as_ref());
        let directory = workers.chain(deployed).next();
        let is_asked = self.config.chdir.is_some() || directory.is_none();
        ensure(is_asked, "a directory is set without `--chdir`")?;
        let has_variables = deployments().any(|deployment| !deployment.environment.is_empty());
        let is_asked = self.config.env_file.is_some() || !has_variables;
        ensure(is_asked, "variables are set without `--env-file`")
    }

    fn check_clients(&self) -> Result<(), String> {
        for waiter in &self.waiters {
            let is_known = self.connections.contains_key(&waiter.connection);
            ensure(is_known, "a waiting client has no connection")?;
            let WaitsFor::Drained { before } = waiter.waits_for else { continue };
            ensure(
                before <= self.newest_generation,
                "a client waits for workers before a generation above the newest one",
            )?;
        }
        for (id, connection) in &self.connections {
            let owner = connection.given_to.and_then(|pid| self.workers.get(&pid));
            ensure(
                owner.is_none_or(|owner| owner.connection == Some(*id)),
                format_args!("connection {} is given to a worker that has a different one", id.0),
            )?;
        }
        Ok(())
    }
}

fn ensure(holds: bool, what: impl fmt::Display) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_string()) }
}
