//! What a terminal is like.

use std::os::fd::{AsFd, AsRawFd};

/// How large a terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its width in characters.
    pub columns: usize,
    /// Its height in lines.
    pub rows: usize,
}

/// How large the terminal behind a descriptor is; `None` where it is none or does not say.
pub fn size(terminal: impl AsFd) -> Option<Size> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let descriptor = terminal.as_fd().as_raw_fd();
    // SAFETY: the request writes a `winsize` to the address that it is given, which is that of one
    // that lives until the call has returned; see TIOCGWINSZ(2const).
    let outcome = unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, &raw mut size) };
    let size = Size { columns: size.ws_col.into(), rows: size.ws_row.into() };
    Some(size).filter(|size| outcome == 0 && size.columns > 0 && size.rows > 0)
}
