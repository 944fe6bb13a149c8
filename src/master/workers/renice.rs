//! Setting nice levels by the command of `--nice`.

use crate::decide::Level;
use crate::master::Master;
use crate::master::child::Child;
use crate::state::Pid;

impl Master {
    /// Runs the command of `--nice` to set a process's level, if one is configured.
    pub(in crate::master) fn renice(&mut self, level: i32, pid: i32) {
        let Some(words) = &self.state.config.nice.renice_command else { return };
        let arguments = [level.to_string(), "-p".to_owned(), pid.to_string()];
        let command: Vec<_> = words.iter().chain(&arguments).map(Into::into).collect();
        match self.start_helper(&command) {
            Ok(helper) => {
                let what = format!("setting the nice level of {pid}");
                self.children.insert(Pid(helper), Child::Helper(what));
            }
            Err(why) => self.log(Level::Error, &format!("Cannot renice {pid}: {why:#}")),
        }
    }

    /// Runs it for the master, if the master has a level.
    pub(in crate::master) fn renice_master(&mut self) {
        if let Some(level) = self.state.config.nice.master {
            self.renice(level, self.state.master_pid.0);
        }
    }
}
