//! Replacing what the previous image lacked or what was removed since: locks and command socket.

use std::io::ErrorKind;
use std::os::fd::AsFd;

use crate::decide::Level;
use crate::master::Master;
use crate::master::command_socket::bind_command_socket;
use crate::master::created_files::CreatedFiles;
use crate::master::locks;
use crate::master::source::Source;
use crate::sys::file::OwnedFile;
use crate::sys::poll::Interest;
use crate::sys::socket;

impl Master {
    /// Takes the locks if the previous image had none: a Ruby master holds its lock only while it
    /// starts. If that fails, the master runs without: other masters are not kept out, which is
    /// better than no master. The next image tries again.
    pub(super) fn restore_locks(&mut self) {
        let config = self.state.config.clone();
        // A lock file created here stays, as one created by a start does.
        let mut made = CreatedFiles::default();
        if self.resources.socket_lock.is_none() {
            match locks::take_lock(&config.socket_lock(), None, &mut made) {
                Ok(lock) => self.resources.socket_lock = lock,
                Err(error) => self.log(
                    Level::Error,
                    &format!("Running without the lock of the command socket: {error:#}"),
                ),
            }
        }
        if self.resources.lock.is_none() && config.is_lockfile_named {
            let held = self.resources.socket_lock.as_ref();
            let held = held.and_then(|lock| OwnedFile::of(&config.socket_lock(), lock).ok());
            match locks::take_lock(&config.lockfile, held.as_ref(), &mut made) {
                Ok(lock) => self.resources.lock = lock,
                Err(error) => {
                    self.log(Level::Error, &format!("Running without the lock file: {error:#}"))
                }
            }
        }
        made.keep();
    }

    /// Binds the command socket again if its file was removed; connections stay open.
    pub(super) fn restore_command_socket(&mut self) {
        let path = self.state.config.socket_path.clone();
        // Only ENOENT means removed; a file system that does not answer has lost nothing.
        if !path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            return;
        }
        let mut created = CreatedFiles::default();
        let bound = bind_command_socket(&path, &mut created).and_then(|socket| {
            socket::set_nonblocking(socket.as_fd())?;
            self.wakeups.poll.add(&socket, Source::CommandSocket, Interest::READ)?;
            Ok(socket)
        });
        match bound {
            Ok(socket) => {
                // Clients that connected before the file was removed are still served.
                while let Ok(Some(stream)) = socket::accept(&self.clients.command_socket) {
                    self.admit(stream);
                }
                let _ = self.wakeups.poll.remove(&self.clients.command_socket);
                self.clients.command_socket = socket;
                self.resources.files.retain(|file| file.path() != path);
                self.resources.files.extend(created.keep());
                self.log(Level::Info, &format!("Bound {} anew: it was removed", path.display()));
            }
            Err(error) => {
                self.log(Level::Error, &format!("The command socket was removed: {error:#}"));
            }
        }
    }
}
