//! `--stop`.

use std::time::Duration;

use crate::schema::codec::Text;
use crate::schema::frozen::{Frozen, frozen};
use crate::schema::section::section;
use crate::state::{self, StopSchedule};

section! {
    struct Stop: Critical "stop" {
        schedule: Option<Vec<StopStep>> = state.config.stop,
    }
}

frozen! {
    struct StopStep of state::StopStep {
        signal: Text,
        lasts: Option<Duration>,
    }
}

impl Frozen<StopSchedule> for Vec<StopStep> {
    fn freeze(schedule: &StopSchedule) -> Vec<StopStep> {
        schedule.steps().iter().map(StopStep::freeze).collect()
    }

    fn thaw(self) -> Result<StopSchedule, String> {
        let steps = self.into_iter().map(StopStep::thaw).collect::<Result<_, String>>()?;
        StopSchedule::from_steps(steps).map_err(|why| format!("`stop` {why}"))
    }
}
