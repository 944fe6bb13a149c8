//! Finding programs, and explaining why one cannot be executed.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow};

/// Finds a program: a name with a slash is a path, any other is searched for in PATH.
///
/// # Errors
/// No program of this name in PATH.
pub fn find_program(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    // The default of execvp(3) when PATH is unset.
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    let is_program = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).map(|folder| folder.join(name)).find(is_program).with_context(
        || format!("there is no program {name:?} in PATH ({}); give its path", path.display()),
    )
}

/// Explains why a program could not be executed, with its path; the errno of execve(2) alone says
/// too little.
pub fn explain(program: &Path, error: &io::Error) -> Error {
    const EXEC_FORMAT_ERROR: i32 = 8;
    let metadata = fs::metadata(program);
    let hint = match (error.kind(), &metadata) {
        (ErrorKind::NotFound, Ok(_)) => ": the interpreter that it names is missing",
        (ErrorKind::PermissionDenied, Ok(found)) if found.is_dir() => ": it is a directory",
        (ErrorKind::PermissionDenied, Ok(found)) if found.permissions().mode() & 0o111 == 0 => {
            ": it is not executable (chmod +x)"
        }
        (ErrorKind::PermissionDenied, Ok(_)) => {
            ": it or its interpreter may not be executed here (noexec mount, permissions)"
        }
        _ if error.raw_os_error() == Some(EXEC_FORMAT_ERROR) => {
            ": it is neither a program for this machine nor a script with a #! line"
        }
        _ => "",
    };
    anyhow!("cannot execute {}: {error}{hint}", program.display())
}
