//! Terminals.

use std::os::fd::{AsFd, AsRawFd};

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its width in characters.
    pub columns: usize,
    /// Its height in lines.
    pub rows: usize,
}

/// The size of the terminal that a descriptor refers to; `None` if it is not a terminal or does not
/// say.
pub fn size(terminal: impl AsFd) -> Option<Size> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let descriptor = terminal.as_fd().as_raw_fd();
    // SAFETY: the kernel writes one `winsize` to `size`, which lives through the call; see
    // TIOCGWINSZ(2const).
    let outcome = unsafe { libc::ioctl(descriptor, libc::TIOCGWINSZ, &raw mut size) };
    let size = Size { columns: size.ws_col.into(), rows: size.ws_row.into() };
    Some(size).filter(|size| outcome == 0 && size.columns > 0 && size.rows > 0)
}
