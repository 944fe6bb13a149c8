//! A pseudo-terminal.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// Makes one: the side that a person sits at, and the side that a program gets.
pub(crate) fn open() -> (File, File) {
    let mut name = [0; 64];
    // SAFETY: the descriptor is new and becomes the file's own; ptsname_r writes a string within
    // the array, whose length it is given.
    let (person, name) = unsafe {
        let number = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(number >= 0, "{}", std::io::Error::last_os_error());
        let person = File::from_raw_fd(number);
        assert_eq!(libc::grantpt(number), 0);
        assert_eq!(libc::unlockpt(number), 0);
        assert_eq!(libc::ptsname_r(number, name.as_mut_ptr(), name.len()), 0);
        (person, CStr::from_ptr(name.as_ptr()).to_str().unwrap().to_owned())
    };
    let mut options = File::options();
    let program = options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(name).unwrap();
    (person, program)
}
