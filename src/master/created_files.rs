//! Files that a start has made, and removes again if it fails.

use crate::master::folder_lock::lock_folder;
use crate::sys::file::OwnedFile;
use crate::sys::trusted_path::Entry;

/// Files created by a start-up, removed again unless it succeeds.
#[derive(Debug, Default)]
pub struct CreatedFiles(Vec<OwnedFile>);

impl CreatedFiles {
    /// Adds a file that was just created.
    pub fn add(&mut self, file: OwnedFile) {
        self.0.push(file);
    }

    /// Keeps the files, since the start-up succeeded, and returns them.
    pub fn keep(mut self) -> Vec<OwnedFile> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for CreatedFiles {
    fn drop(&mut self) {
        for file in self.0.iter().rev() {
            let _folder = Entry::at(file.path()).ok().and_then(|entry| lock_folder(&entry));
            // The start-up's own error is the one to report.
            let _ = file.remove();
        }
    }
}
