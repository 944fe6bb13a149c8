//! The program that the master may become, and its command line for a preflight or a hand-over
//! (docs/handover.md).

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow};

use crate::master::program::{explain, find_program};
use crate::master::upgrade::image::{Image, fingerprint, is_script};
use crate::master::upgrade::pin::Pinned;
use crate::schema::Origin;
use crate::state::Config;
use crate::sys::descriptor;
use crate::sys::spawn::Program;

/// A program, and the arguments that come before our own options.
#[derive(Debug)]
pub struct Candidate {
    path: PathBuf,
    words: Vec<OsString>,
    /// The open file, for a program that is executed by its inode: what was checked is what runs,
    /// even if the name has changed by then.
    image: Option<Image>,
    /// How it was executed, where it is to be executed again like that.
    pinned: Option<Pinned>,
}

/// What kind of image to hand over to.
#[derive(Clone, Copy, Debug)]
pub enum NextImage {
    /// A release of this einhorn.
    Einhorn,
    /// A Ruby Einhorn.
    Ruby,
}

impl Candidate {
    /// Finds the program to become: `--reexec-as`, or our own path as it was typed, looked up
    /// again. It is executed in `directory`, which a relative `--reexec-as` refers to.
    ///
    /// # Errors
    /// What is missing or cannot be executed.
    pub fn find(config: &Config, origin: &Origin, directory: Option<&Path>) -> Result<Candidate> {
        if let Some(name) = config.reexec_as.first() {
            let path = find_program(name, origin.path()).context("--reexec-as")?;
            return Ok(Candidate {
                path: directory.unwrap_or(Path::new("")).join(path),
                words: config.reexec_as.clone(),
                image: None,
                pinned: None,
            });
        }
        let path = origin.own_path.clone();
        let failed = |error: io::Error| explain(&path, &error);
        let metadata = fs::metadata(&path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(explain(&path, &io::ErrorKind::PermissionDenied.into()));
        }
        let image = match is_script(&path) {
            true => None,
            false => {
                let file = descriptor::open_path(&path).map_err(failed)?;
                let fingerprint = fingerprint(&file).map_err(failed)?;
                Some(Image { file, fingerprint })
            }
        };
        Ok(Candidate { path, words: vec![origin.own_name.clone()], image, pinned: None })
    }

    /// The program to execute; `path` comes from [`Candidate::path`].
    pub fn program<'a>(&'a self, path: &'a CString) -> Program<'a> {
        match &self.image {
            Some(image) => Program::Descriptor(image.file.as_raw_fd()),
            None => Program::Path(path),
        }
    }

    /// Replaces it by the program that the candidate actually ran, and how it was executed.
    pub fn pin(&mut self, file: OwnedFd, pinned: Pinned) {
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        self.path = fs::read_link(link).unwrap_or_else(|_| self.path.clone());
        self.image = Some(Image { file, fingerprint: pinned.fingerprint() });
        self.pinned = Some(pinned);
    }

    /// How it was executed, where it is to be executed again like that.
    pub fn pinned(&self) -> Option<&Pinned> {
        self.pinned.as_ref()
    }

    /// Its path, for [`Candidate::program`].
    pub fn path(&self) -> io::Result<CString> {
        Ok(CString::new(self.path.as_os_str().as_bytes())?)
    }

    /// Whether a wrapper script runs before the next image does.
    pub fn is_wrapper(&self) -> bool {
        self.image.is_none()
    }

    /// Its command line: our options first, where wrapper scripts expect them.
    ///
    /// # Errors
    /// An argument that contains a NUL.
    pub fn arguments(
        &self,
        state_fd: RawFd,
        options: &[&str],
        config: &Config,
    ) -> io::Result<Vec<CString>> {
        let number = state_fd.to_string();
        let ours = options.iter().copied().chain(["--with-state-fd", &number, "--"]);
        let words = self.words.iter().map(OsString::as_os_str);
        let words = words.chain(ours.map(OsStr::new));
        let words = words.chain(config.original_command.iter().map(OsString::as_os_str));
        Ok(words.map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?)
    }

    /// Verifies that the file has not changed since it was checked: a file written in place keeps
    /// its inode.
    ///
    /// # Errors
    /// What has changed.
    pub fn verify_unchanged(&self) -> Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        match fingerprint(&image.file) {
            Ok(now) if now == image.fingerprint => Ok(()),
            Ok(_) => Err(anyhow!(
                "{} was written to after it was checked; install releases with `mv`",
                self.path.display()
            )),
            Err(error) => Err(anyhow!("{}: {error}", self.path.display())),
        }
    }

    /// Explains an error of executing it.
    pub fn explain(&self, error: &io::Error) -> Error {
        explain(&self.path, error)
    }
}
