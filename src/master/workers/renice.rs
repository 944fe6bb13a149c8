//! Nice levels that the command of `--nice` sets.

use crate::decide::Level;
use crate::master::Master;
use crate::master::child::Child;
use crate::state::Pid;

impl Master {
    /// Lets the command of `--nice` set a level, if one was given.
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

    /// The same for the master.
    pub(in crate::master) fn renice_master(&mut self) {
        if let Some(level) = self.state.config.nice.master {
            self.renice(level, self.state.master_pid.0);
        }
    }
}
