//! A pseudo-terminal, and the program that runs in it.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;

use crate::support::rig::prepare;
use crate::support::wait;

/// The side that a person sits at.
pub(crate) struct Terminal {
    person: File,
    /// Everything that the program wrote.
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs a program in a terminal of 80 columns and 24 rows.
    pub(crate) fn of(command: Command) -> (Terminal, Child) {
        Terminal::with_size(command, 80, 24)
    }

    pub(crate) fn with_size(mut command: Command, columns: u16, rows: u16) -> (Terminal, Child) {
        let (person, program) = open();
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the request reads a `winsize` from the address that it is given.
        let outcome = unsafe { libc::ioctl(person.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(outcome, 0);
        command.stdin(program.try_clone().unwrap()).stdout(program.try_clone().unwrap());
        let child = command.stderr(program).spawn().unwrap();
        let screen = watch(person.try_clone().unwrap());
        (Terminal { person, screen }, child)
    }

    /// Has a program begin as the leader of a session whose controlling terminal is this one, its
    /// standard input and output.
    pub(crate) fn attach(command: &mut Command) -> Terminal {
        let (person, program) = open();
        command.stdin(program.try_clone().unwrap()).stdout(program);
        prepare(command, || {
            nix::unistd::setsid()?;
            // SAFETY: the request takes a number. Standard output is the terminal.
            Errno::result(unsafe { libc::ioctl(1, libc::TIOCSCTTY, 0) })?;
            Ok(())
        });
        let screen = watch(person.try_clone().unwrap());
        Terminal { person, screen }
    }

    /// The side that a program gets, once more.
    pub(crate) fn program(&self) -> File {
        program_of(&self.person)
    }

    /// Has the kernel stop whoever writes to it from the background, as `stty tostop` does.
    pub(crate) fn stop_writers(&self) {
        let descriptor = self.person.as_raw_fd();
        // SAFETY: an all-zero termios is a valid one, which the first call writes to and the
        // second reads.
        let outcomes = unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            let got = libc::tcgetattr(descriptor, &raw mut settings);
            settings.c_lflag |= libc::TOSTOP;
            [got, libc::tcsetattr(descriptor, libc::TCSANOW, &raw const settings)]
        };
        assert_eq!(outcomes, [0, 0]);
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        self.person.write_all(text.as_bytes()).unwrap();
    }

    /// Everything that was shown, control sequences included.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    pub(crate) fn until_shown(&self, text: &str) {
        let look = || self.shown().contains(text).then_some(());
        wait::until_some(&format!("{text:?} is shown"), look, || self.shown());
    }

    /// Waits for the program to leave.
    pub(crate) fn ended(&self, child: &mut Child) -> ExitStatus {
        wait::until_some("it leaves", || child.try_wait().unwrap(), || self.shown())
    }
}

/// Collects what a terminal shows, until its program closes it.
fn watch(mut person: File) -> Arc<Mutex<Vec<u8>>> {
    let screen = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&screen);
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        // The end of a terminal is an error.
        while let Ok(count @ 1..) = person.read(&mut chunk) {
            shared.lock().unwrap().extend_from_slice(&chunk[..count]);
        }
    });
    screen
}

/// Types a character into a terminal as if the person had (TIOCSTI).
///
/// # Errors
/// Those of ioctl(2): EPERM for all but root where it is not the caller's own.
pub(crate) fn type_into(terminal: impl AsFd, character: u8) -> io::Result<()> {
    let descriptor = terminal.as_fd().as_raw_fd();
    // SAFETY: the request reads the one character at the address that it is given.
    Errno::result(unsafe { libc::ioctl(descriptor, libc::TIOCSTI, &raw const character) })?;
    Ok(())
}

/// Makes one: the side that a person sits at, and the side that a program gets.
pub(crate) fn open() -> (File, File) {
    // SAFETY: the descriptor is new and becomes the file's own.
    let person = unsafe {
        let number = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(number >= 0, "{}", std::io::Error::last_os_error());
        let person = File::from_raw_fd(number);
        assert_eq!(libc::grantpt(number), 0);
        assert_eq!(libc::unlockpt(number), 0);
        person
    };
    let program = program_of(&person);
    (person, program)
}

/// Opens the side that a program gets.
fn program_of(person: &File) -> File {
    let mut name = [0; 64];
    // SAFETY: ptsname_r writes a string within the array, whose length it is given.
    let name = unsafe {
        assert_eq!(libc::ptsname_r(person.as_raw_fd(), name.as_mut_ptr(), name.len()), 0);
        CStr::from_ptr(name.as_ptr()).to_str().unwrap().to_owned()
    };
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(name).unwrap()
}
