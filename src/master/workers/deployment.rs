//! What `--chdir` and `--env-file` mean: looked up when a generation begins, and held to as long as
//! it can be.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::cli::parse_variables;
use crate::master::environment::is_ours;
use crate::master::program::explain;
use crate::state::{Config, Deployment, Generation, State, VARIABLES_MAX};
use crate::sys::trusted_path::{self, Access, Entry};
use crate::sys::user;

/// The longest file of variables in bytes. What execve(2) takes of arguments and environment
/// together is some megabytes; a file of a few hundred lines has a few kilobytes.
const ENV_FILE_MAX: u64 = 256 * 1024;

const _: () = assert!(ENV_FILE_MAX <= VARIABLES_MAX as u64, "what is read must travel");

/// Looks up what the options mean now; `None` without either of them.
///
/// # Errors
/// What is missing or cannot be read, in words.
pub fn resolve(config: &Config) -> Result<Option<Deployment>> {
    if config.chdir.is_none() && config.env_file.is_none() {
        return Ok(None);
    }
    let directory = config.chdir.as_deref().map(|path| release(path, config)).transpose()?;
    let environment = config.env_file.as_deref().map(read_variables).transpose()?;
    Ok(Some(Deployment { directory, environment: environment.unwrap_or_default() }))
}

/// The same for the upgrade that is under way. A reload begins no code: it takes the environment
/// anew, and stays where the code is that it has.
///
/// # Errors
/// The same.
pub fn next(state: &State) -> Result<Option<Deployment>> {
    if state.reexec.is_some_and(|reexec| reexec.kind.rollout().is_some()) {
        return resolve(&state.config);
    }
    let stays = Config { chdir: None, ..state.config.clone() };
    let next = resolve(&stays)?.unwrap_or_default();
    let directory = place(state, state.generation).unwrap_or_default();
    let is_deployed = state.config.chdir.is_some() || state.config.env_file.is_some();
    Ok(is_deployed.then_some(Deployment { directory, ..next }))
}

/// The directory that `--chdir` means now, with the program in it.
fn release(path: &Path, config: &Config) -> Result<PathBuf> {
    let directory = follow(path)?;
    let program = Path::new(&config.command[0]);
    // The program of the first start was found by then, or the master was not started.
    if program.is_relative() {
        executable(&directory.join(program))?;
    }
    Ok(directory)
}

fn follow(path: &Path) -> Result<PathBuf> {
    let directory = fs::canonicalize(path)
        .with_context(|| format!("--chdir: there is no release directory {}", path.display()))?;
    match directory.is_dir() {
        true => Ok(directory),
        false => Err(anyhow!("--chdir: {} is no directory", path.display())),
    }
}

/// Whether a program can be executed, as far as its permissions tell.
///
/// # Errors
/// What keeps it from that, with its path.
pub fn executable(program: &Path) -> Result<()> {
    let found = fs::metadata(program).map_err(|error| explain(program, &error))?;
    match found.is_file() && found.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(explain(program, &io::ErrorKind::PermissionDenied.into())),
    }
}

/// The variables of a file, in its order.
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
        if is_ours(OsStr::new(&name)) {
            bail!("{name} is set by einhorn itself");
        }
        // Of a name that stands twice the last value holds.
        variables.retain(|(known, _)| *known != *name);
        variables.push((name.into(), value.into()));
    }
    Ok(variables)
}

/// Opens a file of variables; `None` for `/dev/null`. Whoever can change it decides what this user
/// runs: `LD_PRELOAD` is a variable too.
fn open_variables(path: &Path) -> Result<Option<File>> {
    let entry = Entry::followed(path)?;
    if entry.is_null_device()? {
        return Ok(None);
    }
    let file = entry.open_there(Access::Read)?;
    let found = file.metadata()?;
    match trusted_path::is_ours_alone(&file)? {
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

/// Where a worker of a generation is started: where that has begun, or, if that is gone, where
/// `--chdir` leads now. A generation that still has to take over has no such choice: what the
/// upgrade was about is what it reports.
///
/// # Errors
/// Neither is there, or the first of them was needed.
pub fn place(state: &State, generation: Generation) -> Result<Option<PathBuf>> {
    let Some(chdir) = &state.config.chdir else { return Ok(None) };
    match state.directory_of(generation) {
        Some(directory) if is_there(directory) => Ok(Some(directory.to_owned())),
        Some(gone) if state.rollout.is_some() && generation == state.generation => {
            Err(anyhow!("--chdir: the release directory {} is gone", gone.display()))
        }
        _ => follow(chdir).map(Some),
    }
}

/// Whether the directory in which a generation began is no longer there.
pub fn is_gone(state: &State, generation: Generation) -> bool {
    state.directory_of(generation).is_some_and(|directory| !is_there(directory))
}

/// Whether a directory is there, or may be: a file system that does not answer has not lost it.
fn is_there(directory: &Path) -> bool {
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
    fn of_a_name_that_stands_twice_the_last_value_holds() {
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
    fn what_cannot_be_a_variable_is_refused() {
        assert!(read(b"A=1\nSECRET opensesame\n").unwrap_err().contains("FILE: line 2 is no"));
        assert!(read(b"A='\0'\n").unwrap_err().contains("a NUL"));
        assert!(read(b"A=\xff\n").unwrap_err().contains("UTF-8"));
        assert!(read(b"EINHORN_FD_0=3\n").unwrap_err().contains("by einhorn itself"));
        assert!(read(&vec![b'#'; 300_000]).unwrap_err().contains("more than 262144 bytes"));
    }
}
