//! Workers that finish what they have begun and then go, and clients that count what is lost.

use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{setsockopt, sockopt};

use crate::support::rig::Master;

/// How long a client waits for anything before it counts as lost.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Holds SIGUSR2 back from here on; [`drain`] takes it between two connections.
pub(crate) fn hold() {
    extern "C" fn nothing(_: i32) {}
    SigSet::from(Signal::SIGUSR2).thread_block().unwrap();
    let interrupt = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR2, &interrupt) }.unwrap();
}

/// Answers connections of listener 0, which must not block, with this worker's pid and a word, one
/// after the other, until SIGUSR2.
pub(crate) fn drain(word: &str) {
    // SAFETY: the master has given this descriptor to this process.
    let listener = unsafe { TcpListener::from_raw_fd(given("EINHORN_FD_0")) };
    let answer = format!("{} {word}\n", std::process::id());
    loop {
        let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut ready, None, Some(SigSet::empty())) {
            Err(Errno::EINTR) => return,
            result => drop(result.unwrap()),
        }
        match listener.accept() {
            Ok((client, _)) => drop(serve(client, &answer)),
            // Another worker was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn given(variable: &str) -> i32 {
    std::env::var(variable).unwrap().parse().unwrap()
}

fn serve(mut client: TcpStream, answer: &str) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let mut question = String::new();
    BufReader::new(&client).read_line(&mut question)?;
    client.write_all(answer.as_bytes())
}

/// Sends a question over a connection of its own.
pub(crate) fn begin(port: u16) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect(("127.0.0.1", port))?;
    client.set_read_timeout(Some(TIMEOUT))?;
    client.write_all(b"who?\n")?;
    Ok(client)
}

/// Reads the answer: the pid of the worker, and its word.
pub(crate) fn finish(mut client: TcpStream) -> io::Result<(i32, String)> {
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    // The other end is closed; this one leaves nothing behind, or ports would run out.
    setsockopt(&client, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })?;
    let whole = answer.strip_suffix('\n').and_then(|line| line.split_once(' '));
    let parsed = whole.and_then(|(pid, word)| Some((pid.parse().ok()?, word.to_owned())));
    parsed.ok_or_else(|| Error::other(format!("a lost answer: {answer:?}")))
}

/// Asks once.
pub(crate) fn ask(port: u16) -> io::Result<(i32, String)> {
    finish(begin(port)?)
}

/// The port of the first listener.
pub(crate) fn port(master: &Master<'_>) -> u16 {
    u16::try_from(master.state()[":bound_ports"][0].as_u64().unwrap()).unwrap()
}

/// Clients that ask as fast as they can, one connection a question.
#[derive(Default)]
pub(crate) struct Load {
    is_over: AtomicBool,
    answered: AtomicU64,
    lost: Mutex<Vec<String>>,
}

impl Load {
    /// How many questions were answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    fn ask_on(&self, port: u16) {
        while !self.is_over.load(Ordering::Relaxed) {
            match ask(port) {
                Ok(_) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                Err(error) => self.lost.lock().unwrap().push(error.to_string()),
            }
        }
    }
}

/// Ends the load, whatever ends the work.
struct End<'a>(&'a Load);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Does something while so many clients ask without a pause, and answers how many answers there
/// were.
///
/// # Panics
/// A connection was refused or reset, or an answer did not come or was cut.
pub(crate) fn under_load(port: u16, clients: usize, work: impl FnOnce(&Load)) -> u64 {
    let load = Load::default();
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| load.ask_on(port));
        }
        let _end = End(&load);
        work(&load);
    });
    let lost = load.lost.lock().unwrap();
    assert!(lost.is_empty(), "{} lost of {}: {:?}", lost.len(), load.answered(), &lost[..]);
    load.answered()
}
