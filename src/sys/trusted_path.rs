//! A name in a folder that is opened once: everything done with the name happens in that folder,
//! wherever its path leads by then, and never through a symbolic link that another user may have
//! planted.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{UnlinkatFlags, getegid, geteuid, unlinkat};

use crate::sys::clock::realtime_nanos;

/// How many symbolic links one path may lead through: the kernel's own limit; see
/// path_resolution(7).
const LINKS_MAX: u32 = 40;

/// Opens a file without touching it: `O_PATH` on a device or a FIFO has no effect on it.
const PATH_FLAGS: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Opening blocks on no FIFO and acquires no controlling terminal, whatever has the name.
const OPEN_FLAGS: OFlag =
    OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// A name in an open folder.
#[derive(Debug)]
pub struct Entry {
    folder: OwnedFd,
    name: OsString,
    /// Whether no other user can make the path lead to another folder.
    is_path_trusted: bool,
}

impl Entry {
    /// Resolves a path to its final name, following a symbolic link there too, even a dangling one.
    /// Every link on the way must belong to root or this user, in a folder that no other user can
    /// write to.
    ///
    /// # Errors
    /// Those of open(2), and why a link was not followed.
    pub fn followed(path: &Path) -> io::Result<Entry> {
        resolve(path, true)
    }

    /// Like [`Entry::followed`], but does not follow a symbolic link at the end.
    ///
    /// # Errors
    /// Those of [`Entry::followed`].
    pub fn at(path: &Path) -> io::Result<Entry> {
        resolve(path, false)
    }

    /// The path to bind a socket to: `path`, which resolved to this entry, if it cannot lead
    /// elsewhere by now; otherwise one through the open folder, if `/proc` is mounted.
    pub fn path_to_bind(&self, path: &Path) -> PathBuf {
        let by_folder = proc_path(&self.folder);
        match self.is_path_trusted || !by_folder.exists() {
            true => path.to_owned(),
            false => by_folder.join(&self.name),
        }
    }

    /// Opens the folder, for locking it; `None` if that fails.
    pub fn open_folder(&self) -> Option<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.folder, ".", flags, Mode::empty()).ok().map(File::from)
    }

    /// The status of the file, if it exists.
    ///
    /// # Errors
    /// Those of fstatat(2).
    pub fn stat(&self) -> io::Result<Option<FileStat>> {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        if_exists(fstatat(&self.folder, self.name.as_os_str(), flags))
    }

    /// Whether the file is the null device, whatever its name: it keeps no data and cannot be
    /// owned.
    ///
    /// # Errors
    /// Those of fstatat(2).
    pub fn is_null_device(&self) -> io::Result<bool> {
        let null = libc::makedev(1, 3);
        let is_null = |found: FileStat| kind(&found) == SFlag::S_IFCHR && found.st_rdev == null;
        Ok(self.stat()?.is_some_and(is_null))
    }

    /// Opens the file with `O_PATH`; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn open_path(&self) -> io::Result<Option<OwnedFd>> {
        if_exists(openat(&self.folder, self.name.as_os_str(), PATH_FLAGS, Mode::empty()))
    }

    /// Opens a regular file; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of openat(2); the file is not a regular one.
    pub fn open(&self, access: Access) -> io::Result<Option<File>> {
        // Opening a device or a FIFO may have side effects.
        match self.stat()? {
            None => return Ok(None),
            Some(found) if !is_regular(&found) => return Err(not_regular()),
            Some(_) => {}
        }
        let flags = match access {
            Access::Read => OPEN_FLAGS | OFlag::O_RDONLY,
            Access::ReadWrite => OPEN_FLAGS | OFlag::O_RDWR,
        };
        let opened = openat(&self.folder, self.name.as_os_str(), flags, Mode::empty());
        let Some(opened) = if_exists(opened)? else { return Ok(None) };
        // Another file may have taken the name since.
        match is_regular(&fstat(&opened)?) {
            true => Ok(Some(opened.into())),
            false => Err(not_regular()),
        }
    }

    /// Opens a regular file that must exist.
    ///
    /// # Errors
    /// Those of [`Entry::open`]; ENOENT if it does not exist.
    pub fn open_existing(&self, access: Access) -> io::Result<File> {
        self.open(access)?.ok_or_else(|| Errno::ENOENT.into())
    }

    /// Creates a new file for reading and writing; the umask applies to `mode`.
    ///
    /// # Errors
    /// Those of openat(2), such as `AlreadyExists`.
    pub fn create(&self, mode: u32) -> io::Result<File> {
        let flags = OPEN_FLAGS | OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        let mode = Mode::from_bits_truncate(mode);
        Ok(openat(&self.folder, self.name.as_os_str(), flags, mode)?.into())
    }

    /// Replaces the file atomically: a reader sees either the old or the new one. Returns the new
    /// file.
    ///
    /// # Errors
    /// Those of openat(2), renameat(2) and `fill`; nothing has changed then.
    pub fn replace(
        &self,
        mode: u32,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<File> {
        let mut name = self.name.clone();
        // An unpredictable name cannot have been taken in advance.
        name.push(format!(".{}.new", realtime_nanos()));
        let new = Entry { folder: self.folder.try_clone()?, name, ..*self };
        let mut file = new.create(mode)?;
        let filled = fill(&mut file).and_then(|()| {
            Ok(renameat(&new.folder, new.name.as_os_str(), &self.folder, self.name.as_os_str())?)
        });
        match filled {
            Ok(()) => Ok(file),
            Err(error) => {
                // The first error is the one to report.
                let _ = new.remove();
                Err(error)
            }
        }
    }

    /// Removes the file.
    ///
    /// # Errors
    /// Those of unlinkat(2).
    pub fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.folder, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?)
    }
}

/// `None` for ENOENT.
fn if_exists<T>(found: nix::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading.
    Read,
    /// For reading and writing.
    ReadWrite,
}

/// Whether it is a regular file.
pub fn is_regular(found: &FileStat) -> bool {
    kind(found) == SFlag::S_IFREG
}

/// Whether an open file is a socket.
///
/// # Errors
/// Those of fstat(2).
pub fn is_socket_file(opened: impl AsFd) -> io::Result<bool> {
    Ok(kind(&fstat(opened)?) == SFlag::S_IFSOCK)
}

/// Whether an open file belongs to this user and has one link only.
///
/// # Errors
/// Those of fstat(2).
pub fn is_own_with_one_link(opened: impl AsFd) -> io::Result<bool> {
    let found = fstat(opened)?;
    Ok(found.st_uid == geteuid().as_raw() && found.st_nlink == 1)
}

/// Whether only root and this user can write to a file or a folder. A group that has this user's
/// number may too, if the process runs as both: on most systems it is the user's private group.
///
/// # Errors
/// Those of fstat(2).
pub fn is_writable_only_by_us(opened: impl AsFd) -> io::Result<bool> {
    let found = fstat(&opened)?;
    // With an access control list these bits are its mask, which covers all named users and groups.
    let is_group_writable = found.st_mode & 0o020 != 0;
    let own = geteuid().as_raw();
    let is_own_group = own != 0 && own == found.st_gid && own == getegid().as_raw();
    let is_writable_by_all = found.st_mode & 0o002 != 0;
    let is_open = is_writable_by_all || (is_group_writable && !is_own_group);
    Ok(is_trusted(found.st_uid) && !is_open)
}

/// Whether no other user can have put a link into a folder, not even one owned by a trusted user. A
/// read-only file system, such as a volume of Kubernetes, takes no links.
fn are_links_trusted(folder: &OwnedFd) -> io::Result<bool> {
    Ok(is_writable_only_by_us(folder)? || fstatvfs(folder)?.flags().contains(FsFlags::ST_RDONLY))
}

/// Whether a user is root or this one; both may redirect this process anyway.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

fn resolve(path: &Path, follow_last: bool) -> io::Result<Entry> {
    let mut folder = start_folder(path)?;
    let mut rest = components(path);
    let mut links_left = LINKS_MAX;
    let mut is_path_trusted = true;
    while let Some(name) = rest.pop_front() {
        let is_last = rest.is_empty();
        let opened = match open_component(&folder, &name, is_last) {
            Err(Errno::ENOENT) if is_last => return Ok(Entry { folder, name, is_path_trusted }),
            other => other?,
        };
        let found = fstat(&opened)?;
        if kind(&found) == SFlag::S_IFLNK && (!is_last || follow_last) {
            refuse_untrusted_link(&folder, &found, &name)?;
            links_left = links_left.checked_sub(1).ok_or(Errno::ELOOP)?;
            let target = PathBuf::from(readlinkat(&opened, "")?);
            if target.is_absolute() {
                folder = start_folder(&target)?;
            }
            let mut ahead = components(&target);
            ahead.append(&mut rest);
            rest = ahead;
        } else if is_last {
            return Ok(Entry { folder, name, is_path_trusted });
        } else {
            is_path_trusted &= is_writable_only_by_us(&folder)?;
            // A file that is not a folder fails with the next name.
            folder = opened;
        }
    }
    Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"))
}

/// Opens one component with `O_PATH`. One in the middle is tried as a folder first, which triggers
/// automounts; see open(2), `O_PATH`.
fn open_component(folder: &OwnedFd, name: &OsStr, is_last: bool) -> nix::Result<OwnedFd> {
    let open = |flags| openat(folder, name, PATH_FLAGS | flags, Mode::empty());
    match is_last {
        true => open(OFlag::empty()),
        false => match open(OFlag::O_DIRECTORY) {
            Err(Errno::ENOTDIR) => open(OFlag::empty()),
            other => other,
        },
    }
}

/// Refuses a symbolic link that another user may have planted to choose what is read, replaced or
/// removed.
fn refuse_untrusted_link(folder: &OwnedFd, link: &FileStat, name: &OsStr) -> io::Result<()> {
    let (owner, own, name) = (link.st_uid, geteuid(), name.display());
    let why = if !is_trusted(owner) {
        format!("belongs to user {owner}, who is neither root nor user {own}")
    } else if !are_links_trusted(folder)? {
        "is in a folder that others can write to".to_owned()
    } else {
        return Ok(());
    };
    let why = format!("the symbolic link {name} {why}; give a path without it");
    Err(io::Error::new(ErrorKind::PermissionDenied, why))
}

fn start_folder(path: &Path) -> io::Result<OwnedFd> {
    let start = if path.is_absolute() { "/" } else { "." };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(AT_FDCWD, start, flags, Mode::empty())?)
}

fn components(path: &Path) -> VecDeque<OsString> {
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

/// A path to an open file through `/proc`, if that is mounted: what is opened, connected or
/// executed by it cannot be replaced any more.
pub fn proc_path(opened: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd()).into()
}
