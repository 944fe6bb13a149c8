//! What `--chdir` and `--env-file` resolve to: looked up when a generation begins, and kept for its
//! workers as long as the directory exists.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::cli::parse_variables;
use crate::master::environment::is_own_variable;
use crate::master::program::explain;
use crate::state::{Config, Deployment, Generation, State, VARIABLES_MAX};
use crate::sys::trusted_path::{self, Access, Entry};
use crate::sys::user;

/// The largest env file in bytes. execve(2) takes some megabytes of arguments and environment
/// together; a file of a few hundred lines has a few kilobytes.
const ENV_FILE_MAX: u64 = 256 * 1024;

const _: () = assert!(ENV_FILE_MAX <= VARIABLES_MAX as u64, "an env file must fit the state");

/// Resolves both options now; `None` if neither is set.
///
/// # Errors
/// What is missing or cannot be read.
pub fn resolve(config: &Config) -> Result<Option<Deployment>> {
    if config.chdir.is_none() && config.env_file.is_none() {
        return Ok(None);
    }
    let directory =
        config.chdir.as_deref().map(|path| release_directory(path, config)).transpose()?;
    let environment = config.env_file.as_deref().map(read_variables).transpose()?;
    Ok(Some(Deployment { directory, environment: environment.unwrap_or_default() }))
}

/// Resolves the options for the upgrade in progress. A reload starts no new code: it reads the env
/// file again, but stays in the current directory.
///
/// # Errors
/// Those of [`resolve`].
pub fn resolve_for_upgrade(state: &State) -> Result<Option<Deployment>> {
    if state.reexec.is_some_and(|reexec| reexec.kind.rollout().is_some()) {
        return resolve(&state.config);
    }
    let stays = Config { chdir: None, ..state.config.clone() };
    let next = resolve(&stays)?.unwrap_or_default();
    let directory = worker_directory(state, state.generation).unwrap_or_default();
    let is_deployed = state.config.chdir.is_some() || state.config.env_file.is_some();
    Ok(is_deployed.then_some(Deployment { directory, ..next }))
}

/// The directory that `--chdir` resolves to now; it must contain the program.
fn release_directory(path: &Path, config: &Config) -> Result<PathBuf> {
    let directory = resolve_directory(path)?;
    let program = Path::new(&config.command[0]);
    // An absolute program was found by the start, or the master would not run.
    if program.is_relative() {
        verify_executable(&directory.join(program))?;
    }
    Ok(directory)
}

fn resolve_directory(path: &Path) -> Result<PathBuf> {
    let directory = fs::canonicalize(path)
        .with_context(|| format!("--chdir: there is no release directory {}", path.display()))?;
    match directory.is_dir() {
        true => Ok(directory),
        false => Err(anyhow!("--chdir: {} is not a directory", path.display())),
    }
}

/// Verifies that a program can be executed, as far as its permissions tell.
///
/// # Errors
/// Why it cannot, with its path.
pub fn verify_executable(program: &Path) -> Result<()> {
    let found = fs::metadata(program).map_err(|error| explain(program, &error))?;
    match found.is_file() && found.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(explain(program, &io::ErrorKind::PermissionDenied.into())),
    }
}

fn read_variables(path: &Path) -> Result<Vec<(OsString, OsString)>> {
    try_read_variables(path).with_context(|| format!("--env-file {}", path.display()))
}

fn try_read_variables(path: &Path) -> Result<Vec<(OsString, OsString)>> {
    let mut text = String::new();
    if let Some(file) = open_variables(path)? {
        file.take(ENV_FILE_MAX + 1).read_to_string(&mut text)?;
    }
    if text.len() as u64 > ENV_FILE_MAX {
        bail!("it has more than {ENV_FILE_MAX} bytes");
    }
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    for (name, value) in parse_variables(&text).map_err(Error::msg)? {
        if value.contains('\0') {
            bail!("{name} has a NUL in its value");
        }
        if is_own_variable(OsStr::new(&name)) {
            bail!("{name} is set by einhorn itself");
        }
        // The last assignment to a name wins.
        variables.retain(|(known, _)| *known != *name);
        variables.push((name.into(), value.into()));
    }
    Ok(variables)
}

/// Opens an env file; `None` for `/dev/null`. A user who can change it decides what this user runs:
/// `LD_PRELOAD` is a variable too.
fn open_variables(path: &Path) -> Result<Option<File>> {
    let entry = Entry::followed(path)?;
    if entry.is_null_device()? {
        return Ok(None);
    }
    let file = entry.open_existing(Access::Read)?;
    let found = file.metadata()?;
    match trusted_path::is_writable_only_by_us(&file)? {
        true => Ok(Some(file)),
        false => bail!(
            "it belongs to user {} (mode {:04o}), and only root and user {} may be able to change \
             it: chown it, chmod go-w",
            found.uid(),
            found.mode() & 0o7777,
            user::effective_id()
        ),
    }
}

/// The directory to start a worker of a generation in: the one that the generation began in, or, if
/// that is gone, what `--chdir` resolves to now. A generation still being rolled out has no such
/// fallback: it must run what the upgrade reports.
///
/// # Errors
/// Neither exists, or the generation needs its own.
pub fn worker_directory(state: &State, generation: Generation) -> Result<Option<PathBuf>> {
    let Some(chdir) = &state.config.chdir else { return Ok(None) };
    match state.directory_of(generation) {
        Some(directory) if may_exist(directory) => Ok(Some(directory.to_owned())),
        Some(gone) if state.rollout.is_some() && generation == state.generation => {
            Err(anyhow!("--chdir: the release directory {} is gone", gone.display()))
        }
        _ => resolve_directory(chdir).map(Some),
    }
}

/// Whether the directory that a generation began in is gone.
pub fn is_gone(state: &State, generation: Generation) -> bool {
    state.directory_of(generation).is_some_and(|directory| !may_exist(directory))
}

/// Whether a directory exists or may exist: an unresponsive file system has not lost it.
fn may_exist(directory: &Path) -> bool {
    match fs::metadata(directory) {
        Ok(found) => found.is_dir(),
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &[u8]) -> Result<Vec<(String, String)>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let path = file.path().display().to_string();
        let pairs =
            read_variables(file.path()).map_err(|why| format!("{why:#}").replace(&path, "FILE"))?;
        let text = |word: OsString| word.into_string().unwrap();
        Ok(pairs.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    #[test]
    fn the_last_assignment_to_a_name_wins() {
        let expected = [("B", "2"), ("A", "3")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(read(b"A=1\nB=2\nA=3\n").unwrap(), expected);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("env");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(
            format!("{:#}", read_variables(&pipe).unwrap_err())
                .contains("it is not a regular file")
        );
        assert_eq!(read_variables(Path::new("/dev/null")).unwrap(), []);
    }

    #[test]
    fn invalid_variables_are_refused() {
        assert!(read(b"A=1\nSECRET opensesame\n").unwrap_err().contains("FILE: line 2 is no"));
        assert!(read(b"A='\0'\n").unwrap_err().contains("a NUL"));
        assert!(read(b"A=\xff\n").unwrap_err().contains("UTF-8"));
        assert!(read(b"EINHORN_FD_0=3\n").unwrap_err().contains("by einhorn itself"));
        assert!(read(&vec![b'#'; 300_000]).unwrap_err().contains("more than 262144 bytes"));
    }
}
