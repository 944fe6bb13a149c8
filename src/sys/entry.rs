//! A name in a folder that was opened once: what is made, read, replaced or removed under the name
//! happens in that folder, wherever its path leads by then, and never through a symbolic link that
//! somebody else may have planted.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{UnlinkatFlags, getegid, geteuid, unlinkat};

/// How many symbolic links one path may lead through: as many as the kernel follows; see
/// path_resolution(7).
const LINKS_MAX: u32 = 40;

/// What is looked at and not touched: opening a device or a FIFO so does nothing to it.
const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Whatever has the name, nobody is waited for and no terminal is taken.
const AT_ONCE: OFlag =
    OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// A name in an open folder.
#[derive(Debug)]
pub struct Entry {
    folder: OwnedFd,
    name: OsString,
}

/// What to do with a symbolic link that has the last name of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Followed,
    Left,
}

impl Entry {
    /// Finds the name that a path means in the end. A symbolic link there is followed, also to
    /// nothing yet, if root or this user owns it and nobody else can write to its folder.
    ///
    /// # Errors
    /// Those of open(2); a link is not followed, and why.
    pub fn followed(path: &Path) -> io::Result<Entry> {
        find(path, Last::Followed)
    }

    /// Finds the name at the end of a path, and takes a symbolic link there for what it is.
    ///
    /// # Errors
    /// Those of open(2) for the folder.
    pub fn at(path: &Path) -> io::Result<Entry> {
        find(path, Last::Left)
    }

    /// The folder, open for locking it. `None` where that is not allowed.
    pub fn open_folder(&self) -> Option<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.folder, ".", flags, Mode::empty()).ok().map(File::from)
    }

    /// What has the name, if anything has.
    ///
    /// # Errors
    /// Those of fstatat(2).
    pub fn stat(&self) -> io::Result<Option<FileStat>> {
        match fstatat(&self.folder, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What has the name, opened to be looked at and not touched; `None` when nothing has.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn look(&self) -> io::Result<Option<OwnedFd>> {
        match openat(&self.folder, self.name.as_os_str(), LOOK, Mode::empty()) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens the regular file of the name; `None` when nothing has the name.
    ///
    /// # Errors
    /// Those of openat(2); something else has the name.
    pub fn open(&self, access: Access) -> io::Result<Option<File>> {
        // A device or a FIFO is not opened for nothing: that alone may do something.
        match self.stat()? {
            None => return Ok(None),
            Some(found) if !is_regular(&found) => return Err(not_regular()),
            Some(_) => {}
        }
        let access = match access {
            Access::Read => OFlag::O_RDONLY,
            Access::ReadWrite => OFlag::O_RDWR,
        };
        let opened =
            match openat(&self.folder, self.name.as_os_str(), AT_ONCE | access, Mode::empty()) {
                Err(Errno::ENOENT) => return Ok(None),
                other => other?,
            };
        // Something else may have taken the name since.
        match is_regular(&fstat(&opened)?) {
            true => Ok(Some(opened.into())),
            false => Err(not_regular()),
        }
    }

    /// Opens the regular file of the name, which must be there.
    ///
    /// # Errors
    /// Those of [`Entry::open`]; nothing has the name.
    pub fn open_there(&self, access: Access) -> io::Result<File> {
        self.open(access)?.ok_or_else(|| Errno::ENOENT.into())
    }

    /// Makes a file that was not there, for reading and writing; the umask is taken off `mode`.
    ///
    /// # Errors
    /// Those of openat(2), `AlreadyExists` among them.
    pub fn create(&self, mode: u32) -> io::Result<File> {
        let flags = AT_ONCE | OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        let mode = Mode::from_bits_truncate(mode);
        Ok(openat(&self.folder, self.name.as_os_str(), flags, mode)?.into())
    }

    /// Puts a new file in the place of what has the name, whole or not at all: a reader sees the
    /// one or the other. Returns the new file.
    ///
    /// # Errors
    /// Those of openat(2) and renameat(2), and of `fill`; nothing has changed then.
    pub fn replace(
        &self,
        pid: i32,
        mode: u32,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<File> {
        let new = self.beside(&format!(".{pid}.new"))?;
        // Left by a process of this pid that died just here; a failure shows in the next call.
        let _ = new.remove();
        let mut file = new.create(mode)?;
        let filled = fill(&mut file).and_then(|()| {
            Ok(renameat(&new.folder, new.name.as_os_str(), &self.folder, self.name.as_os_str())?)
        });
        match filled {
            Ok(()) => Ok(file),
            Err(error) => {
                // What went wrong before is the one to report.
                let _ = new.remove();
                Err(error)
            }
        }
    }

    /// Removes what has the name.
    ///
    /// # Errors
    /// Those of unlinkat(2).
    pub fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?)
    }

    fn beside(&self, suffix: &str) -> io::Result<Entry> {
        let mut name = self.name.clone();
        name.push(suffix);
        Ok(Entry { folder: self.folder.try_clone()?, name })
    }
}

/// What an open file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To be read.
    Read,
    /// To be read and written.
    ReadWrite,
}

/// Whether it is a regular file.
pub fn is_regular(found: &FileStat) -> bool {
    kind(found) == SFlag::S_IFREG
}

/// Whether it is a socket.
pub fn is_socket(found: &FileStat) -> bool {
    kind(found) == SFlag::S_IFSOCK
}

/// Whether an open file is a socket.
///
/// # Errors
/// Those of fstat(2).
pub fn has_socket(opened: impl AsFd) -> io::Result<bool> {
    Ok(is_socket(&fstat(opened)?))
}

/// Whether it is `/dev/null`, whatever its name: nothing is kept there, and nothing is anybody's.
pub fn is_null_device(found: &FileStat) -> bool {
    kind(found) == SFlag::S_IFCHR && found.st_rdev == libc::makedev(1, 3)
}

/// Whether only root and this user can change a file or a folder: neither its owner nor others can,
/// nor a group but the one that this process runs as, which on most systems is the user's own.
/// Nobody can where the file system is mounted read-only.
///
/// # Errors
/// Those of fstat(2) and fstatvfs(3).
pub fn is_ours_alone(opened: impl AsFd) -> io::Result<bool> {
    let found = fstat(&opened)?;
    let is_group_writable = found.st_mode & 0o020 != 0 && found.st_gid != getegid().as_raw();
    let is_writable_by_all = found.st_mode & 0o002 != 0;
    if is_trusted(found.st_uid) && !is_group_writable && !is_writable_by_all {
        return Ok(true);
    }
    Ok(fstatvfs(&opened)?.flags().contains(FsFlags::ST_RDONLY))
}

/// Whether a user is root or this one, who may lead this process anywhere.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

fn find(path: &Path, last: Last) -> io::Result<Entry> {
    let mut folder = start_of(path)?;
    let mut rest = parts(path);
    let mut links_left = LINKS_MAX;
    while let Some(name) = rest.pop_front() {
        let is_last = rest.is_empty();
        let opened = match openat(&folder, name.as_os_str(), LOOK, Mode::empty()) {
            Err(Errno::ENOENT) if is_last => return Ok(Entry { folder, name }),
            other => other?,
        };
        let found = fstat(&opened)?;
        if kind(&found) == SFlag::S_IFLNK && (!is_last || last == Last::Followed) {
            refuse_planted(&folder, &found, &name, is_last)?;
            links_left = links_left.checked_sub(1).ok_or(Errno::ELOOP)?;
            let target = PathBuf::from(readlinkat(&opened, "")?);
            if target.is_absolute() {
                folder = start_of(&target)?;
            }
            let mut ahead = parts(&target);
            ahead.append(&mut rest);
            rest = ahead;
        } else if is_last {
            return Ok(Entry { folder, name });
        } else {
            // What is no folder fails with the next name.
            folder = opened;
        }
    }
    Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"))
}

/// Refuses a symbolic link that somebody else may have planted. In the middle of a path the rule of
/// the kernel holds, whatever `fs.protected_symlinks` is set to; see proc(5). At its end, where the
/// file that the link leads to would be read or replaced, more is asked.
fn refuse_planted(
    folder: &OwnedFd,
    link: &FileStat,
    name: &OsStr,
    is_last: bool,
) -> io::Result<()> {
    let around = fstat(folder)?;
    let (owner, own) = (link.st_uid, geteuid().as_raw());
    let is_shared = around.st_mode & 0o1002 == 0o1002;
    let why = match is_last {
        false if is_shared && owner != own && owner != around.st_uid => {
            format!("of user {owner} is in a folder that everybody can write to")
        }
        false => return Ok(()),
        true if !is_trusted(owner) => format!("belongs to user {owner}, neither root nor {own}"),
        true if !is_ours_alone(folder)? => "is in a folder that others can write to".to_owned(),
        true => return Ok(()),
    };
    let name = name.display();
    Err(io::Error::new(ErrorKind::PermissionDenied, format!("the symbolic link {name} {why}")))
}

/// The folder that a path begins in.
fn start_of(path: &Path) -> io::Result<OwnedFd> {
    let start = if path.is_absolute() { "/" } else { "." };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(AT_FDCWD, start, flags, Mode::empty())?)
}

/// The names that a path goes through.
fn parts(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        part => Some(part.as_os_str().to_owned()),
    };
    path.components().filter_map(name).collect()
}

fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT)
}

fn not_regular() -> io::Error {
    io::Error::other("it is not a regular file; it was left alone")
}

/// A path by which the kernel finds an open file again, where `/proc` is mounted: what the file is
/// opened, connected or executed by cannot be exchanged any more.
pub fn proc_path(opened: impl AsFd) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(OsStr::from_bytes(opened.as_fd().as_raw_fd().to_string().as_bytes()))
}
