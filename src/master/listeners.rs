//! Binding listeners.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::cli::HostFamily;
use crate::master::created_files::CreatedFiles;
use crate::master::folder_lock::lock_folder;
use crate::master::unix_socket::{bind_unix, explain_path_error, replace_stale_socket};
use crate::state::{Address, Bind, BoundBy, Family, Listener};
use crate::sys::socket::{self, InetOptions};
use crate::sys::trusted_path::Entry;
use crate::sys::user;

/// Binds listeners. If the start-up fails, they are closed and their files removed.
#[derive(Debug)]
pub struct Binder<'a> {
    /// The address family that host names are resolved to; any if `None`.
    pub host_family: Option<HostFamily>,
    /// listen(2)'s backlog.
    pub backlog: u32,
    /// Collects the socket files.
    pub created: &'a mut CreatedFiles,
}

impl Binder<'_> {
    /// Binds one listener.
    ///
    /// # Errors
    /// Why it failed, with the address and what to do about it.
    pub fn bind(&mut self, bind: &Bind, bound_by: BoundBy) -> Result<(Listener, OwnedFd)> {
        let (socket, family) = match &bind.address {
            Address::Tcp { host, port } => self.bind_inet(bind, host, *port, false)?,
            Address::Udp { host, port } => self.bind_inet(bind, host, *port, true)?,
            Address::Unix { path, mode, owner, group } => {
                let owners = Owners::look_up(owner.as_deref(), group.as_deref())
                    .with_context(|| format!("cannot bind {}", bind.address))?;
                let socket = self.bind_unix(path, *mode, &owners).with_context(|| {
                    format!("cannot bind {}; choose another path with -b", bind.address)
                })?;
                (socket, Family::Unix)
            }
        };
        if bind.options.nonblocking {
            socket::set_nonblocking(socket.as_fd())?;
        }
        let port = match family {
            Family::Unix => None,
            Family::Inet | Family::Inet6 => socket::port(&socket)?,
        };
        let descriptor = socket.as_raw_fd();
        Ok((Listener { bind: bind.clone(), bound_by, descriptor, family, port }, socket))
    }

    fn bind_inet(
        &self,
        bind: &Bind,
        host: &str,
        port: u16,
        datagrams: bool,
    ) -> Result<(OwnedFd, Family)> {
        let address = self.resolve(host, port)?;
        let options = InetOptions {
            // On TCP this only spares a restart from waiting for connections in TIME_WAIT; on UDP
            // it lets other processes share the address.
            reuse_address: bind.options.reuse_address || !datagrams,
            v6only: bind.options.v6only,
            datagrams,
        };
        if options.v6only && address.is_ipv4() {
            bail!("cannot bind {}: v6only is for IPv6, and this is {}", bind.address, address.ip());
        }
        let attempt = || -> io::Result<OwnedFd> {
            let socket = socket::bind_inet(address, options)?;
            if !datagrams {
                socket::start_listening(&socket, self.backlog)?;
            }
            Ok(socket)
        };
        let socket = attempt().map_err(|error| {
            anyhow!("cannot bind {}: {}", bind.address, explain_bind_error(&error, port))
        })?;
        Ok((socket, if address.is_ipv4() { Family::Inet } else { Family::Inet6 }))
    }

    fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr> {
        let mut addresses = (host, port)
            .to_socket_addrs()
            .map_err(|error| anyhow!("cannot find the address of {host:?}: {error}"))?;
        let is_literal = host.parse::<std::net::IpAddr>().is_ok();
        let wanted = |address: &SocketAddr| match self.host_family {
            Some(HostFamily::Inet) => is_literal || address.is_ipv4(),
            Some(HostFamily::Inet6) => is_literal || address.is_ipv6(),
            None => true,
        };
        addresses.find(wanted).ok_or_else(|| {
            let option = if self.host_family == Some(HostFamily::Inet) { "-4" } else { "-6" };
            anyhow!("{host:?} has no address that fits {option}")
        })
    }

    fn bind_unix(&mut self, path: &Path, mode: Option<u32>, owners: &Owners) -> Result<OwnedFd> {
        let failed = |error: io::Error| anyhow!("{}", explain_path_error(&error));
        let entry = Entry::at(path).map_err(failed)?;
        let _folder = lock_folder(&entry);
        replace_stale_socket(path, &entry)?;
        // Before listen(2) no client can connect, whatever the mode is.
        let made = bind_unix(path, &entry, mode.unwrap_or(0o666), self.created);
        let (socket, file) = made.map_err(failed)?;
        if let Some(mode) = mode {
            socket::set_mode(&file, path, mode)
                .context("cannot change the mode of the socket file")?;
        }
        socket::chown(&file, path, owners.user, owners.group)
            .context("cannot change the owner of the socket file")?;
        socket::start_listening(&socket, self.backlog)?;
        Ok(socket)
    }
}

/// The owners of a socket file; `None` leaves one as it is.
struct Owners {
    user: Option<u32>,
    group: Option<u32>,
}

impl Owners {
    fn look_up(owner: Option<&str>, group: Option<&str>) -> Result<Owners> {
        let find = |name: Option<&str>, find: fn(&str) -> io::Result<Option<u32>>, kind: &str| {
            name.map(|name| find(name)?.ok_or_else(|| anyhow!("there is no {kind} {name:?}")))
                .transpose()
        };
        Ok(Owners {
            user: find(owner, user::user_id, "user")?,
            group: find(group, user::group_id, "group")?,
        })
    }
}

/// Explains an error of binding an internet socket, with a hint what to do.
fn explain_bind_error(error: &io::Error, port: u16) -> String {
    let hint = match error.kind() {
        ErrorKind::AddrInUse => {
            "; stop what listens there (`ss -lntup` shows it) or choose another"
        }
        ErrorKind::AddrNotAvailable => "; no interface of this machine has this address",
        ErrorKind::PermissionDenied if port < 1024 => {
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
        }
        _ => "",
    };
    format!("{error}{hint}")
}
