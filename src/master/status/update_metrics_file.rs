//! Keeping the file of `--metrics-file` up to date.

use crate::decide::{Level, ReportKind};
use crate::master::Master;
use crate::master::now::now;
use crate::master::status::metrics_file::replace;
use crate::state::Monotonic;

impl Master {
    /// When the metrics file is due to be written again; `None` without one.
    pub(in crate::master) fn metrics_due_at(&self) -> Option<Monotonic> {
        self.state.config.metrics_file.as_ref().map(|_| self.metrics_file.due_at())
    }

    /// Writes the metrics file if it is due. Blocks on nothing but the file system.
    pub(in crate::master) fn update_metrics_file(&mut self) {
        let Some(path) = self.state.config.metrics_file.clone() else { return };
        let now = now().monotonic;
        if self.metrics_file.due_at() > now {
            return;
        }
        self.metrics_file.tried_at = Some(now);
        self.inspect_unhandled();
        self.metrics_file.is_stale = false;
        let text = self.report(ReportKind::Metrics);
        let written = replace(&path, &text);
        let had_failed = std::mem::replace(&mut self.metrics_file.has_failed, written.is_err());
        let shown = path.display();
        match written {
            Err(error) if !had_failed => {
                self.log(Level::Error, &format!("Cannot write the metrics file {shown}: {error}"));
            }
            Err(_) => {}
            Ok(file) => {
                if had_failed {
                    self.log(Level::Info, &format!("The metrics file {shown} is written again"));
                }
                self.resources.files.retain(|known| known.path() != path);
                self.resources.files.push(file);
            }
        }
    }
}
