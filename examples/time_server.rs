//! A server to try einhorn with: tells the time over HTTP, and who tells it.
//!
//! ```text
//! cargo build --release --bins --examples
//! target/release/einhorn -n 4 -b 127.0.0.1:2345 target/release/examples/time_server
//! curl http://127.0.0.1:2345/
//! ```
//!
//! SIGUSR2 drains it: it accepts nothing more, finishes the connections at hand and exits with 0.
//! `--ack` makes it say when it is up, for `einhorn -m manual`.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, process, thread};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::SIGUSR2;
use time::OffsetDateTime;

/// How long a request may take to arrive; `nc` sends none, and is answered all the same.
const REQUEST_TIME_MAX: Duration = Duration::from_millis(500);

/// How much of a request is read; none is as long.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

fn main() -> ExitCode {
    if let Err(failure) = run() {
        // If nobody reads it, nobody is told.
        let _ = writeln!(io::stderr(), "time_server: {failure}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run() -> Result<(), Box<dyn Error>> {
    let Ok(descriptor) = env::var("EINHORN_FD_0") else {
        return Err("start me like this: einhorn -n 4 -b 127.0.0.1:2345 time_server".into());
    };
    let descriptor = descriptor.parse()?;
    // SAFETY: einhorn has given this descriptor to this process, and nothing else here uses it.
    let listener = unsafe { TcpListener::from_raw_fd(descriptor) };
    // The socket is shared: another worker may be faster to take what `poll` has announced.
    listener.set_nonblocking(true)?;

    let (wake, drain) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGUSR2, drain)?;

    // Last, when everything is ready: now einhorn may tell an older worker to go.
    if env::args().nth(1).as_deref() == Some("--ack") {
        acknowledge()?;
    }
    serve(&listener, &wake)?;
    Ok(())
}

/// Tells the master that this worker is up.
fn acknowledge() -> Result<(), Box<dyn Error>> {
    let mut master = UnixStream::connect(env::var("EINHORN_SOCK_PATH")?)?;
    writeln!(master, r#"{{"command": "worker:ack", "pid": {}}}"#, process::id())?;
    Ok(())
}

/// Answers connections, each in a thread, until `wake` can be read; then waits for the threads.
fn serve(listener: &TcpListener, wake: &UnixStream) -> io::Result<()> {
    thread::scope(|threads| {
        loop {
            let mut ready = [listener.as_fd(), wake.as_fd()]
                .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
            match poll(&mut ready, PollTimeout::NONE) {
                // The signal itself may interrupt; `wake` tells.
                Err(nix::Error::EINTR) => continue,
                other => other?,
            };
            if ready[1].any().unwrap_or(false) {
                return Ok(());
            }
            match listener.accept() {
                // What goes wrong with one client is not told to anybody.
                Ok((client, _)) => drop(threads.spawn(move || answer(client))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    })
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    read_request(&mut client)?;
    let now = OffsetDateTime::now_utc();
    let (hour, minute, second) = now.to_hms();
    let given = |name| env::var(name).unwrap_or_default();
    let body = format!(
        "{date} {hour:02}:{minute:02}:{second:02} UTC, says worker {index} (pid {pid}) of master \
         {master}\n",
        date = now.date(),
        index = given("EINHORN_CHILD_INDEX"),
        pid = process::id(),
        master = given("EINHORN_MASTER_PID"),
    );
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    client.write_all((head + &body).as_bytes())
}

/// Reads up to the empty line that ends a request without a body, or as much as comes in time.
fn read_request(client: &mut TcpStream) -> io::Result<()> {
    let deadline = Instant::now() + REQUEST_TIME_MAX;
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        client.set_read_timeout(Some(left))?;
        match client.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => request.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
