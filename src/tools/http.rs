//! Requests to an admin door.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::tls::Socket;

/// Where it is, by what name, and what to trust and show there.
#[derive(Clone)]
pub struct Door {
    pub at: SocketAddr,
    pub host: String,
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Door {
    pub fn plain(at: SocketAddr) -> Door {
        Door { at, host: at.ip().to_string(), tls: None }
    }
}

/// The longest answer that is held in memory.
const BODY_MAX: u64 = 64 << 20;

/// Status code and body.
pub fn ask(door: &Door, method: &str, target: &str, patience: Duration) -> io::Result<(u16, String)> {
    let (code, _, body) = open(door, method, target, patience)?;
    let mut text = String::new();
    body.take(BODY_MAX).read_to_string(&mut text)?;
    Ok((code, text))
}

/// Status code, the length announced, and the body to be read.
pub fn open(
    door: &Door,
    method: &str,
    target: &str,
    patience: Duration,
) -> io::Result<(u16, Option<u64>, impl Read)> {
    let at = door.at;
    let stream = TcpStream::connect_timeout(&at, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut stream = Socket::new(stream, &door.host, door.tls.as_ref())?;
    // In one piece: whoever answers to the first bytes and hangs up is heard all the same.
    let request = format!("{method} {target} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 64 << 10 {
        if (&mut stream).take(8 << 10).read_until(b'\n', &mut head)? == 0 {
            break;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let code = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    let code = code.ok_or_else(|| io::Error::other("whoever listens there does not speak HTTP"))?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, text)| text.trim().parse().ok());
    Ok((code, length, stream))
}
