//! A client of workers that speak HTTP: one request a connection.

use std::io::{self, Error, Read, Write};
use std::net::TcpStream;

use crate::support::wait;

const BEGINNING: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n";
const END: &str = "Connection: close\r\n\r\n";

/// Asks once; answers the body.
pub(crate) fn get(port: u16) -> io::Result<String> {
    let mut client = connect(port)?;
    client.write_all([BEGINNING, END].concat().as_bytes())?;
    body(client)
}

/// Sends half a request.
pub(crate) fn begin(port: u16) -> io::Result<TcpStream> {
    let mut client = connect(port)?;
    client.write_all(BEGINNING.as_bytes())?;
    Ok(client)
}

/// Sends the other half; answers the body.
pub(crate) fn finish(mut client: TcpStream) -> io::Result<String> {
    client.write_all(END.as_bytes())?;
    body(client)
}

/// Whether a worker has accepted a connection: as long as it waits in the listener, the kernel
/// lists the server's end of it without an inode.
pub(crate) fn is_accepted(client: &TcpStream) -> bool {
    let (near, far) = (client.local_addr().unwrap().port(), client.peer_addr().unwrap().port());
    let ends = [format!("0100007F:{far:04X}"), format!("0100007F:{near:04X}")];
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1..3] == ends && fields[9] != "0"
    })
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let client = TcpStream::connect(("127.0.0.1", port))?;
    client.set_read_timeout(Some(wait::PATIENCE))?;
    client.set_nodelay(true)?;
    Ok(client)
}

/// The body of what is answered to whatever was sent.
pub(crate) fn body(mut client: TcpStream) -> io::Result<String> {
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.") && head.contains(" 200 OK") => {
            Ok(body.to_owned())
        }
        _ => Err(Error::other(format!("no answer, but {answer:?}"))),
    }
}
