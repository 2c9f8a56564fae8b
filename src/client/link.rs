//! One connection to one server: bytes out, frames in, each with a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::doors::native::wire::{self, Ask, Front, Head, Hello, Say, Welcome};
use crate::tls::Socket;

pub(super) struct Link {
    socket: Socket,
    out: Vec<u8>,
    inbox: Vec<u8>,
    /// Bytes of `inbox` that have been taken.
    taken: usize,
    /// When the server last said anything.
    pub(super) heard: Instant,
    /// The longest request body that the server takes.
    pub(super) body_max: usize,
}

/// Output that is sent without being asked to.
const FLUSH: usize = 64 << 10;

/// How long one attempt to write may block before what has come is read: a server whose replies nobody reads
/// stops reading itself, and both would wait for ever.
const WRITE_SLICE: Duration = Duration::from_millis(1);

impl Link {
    /// `session`: the exactly-once session to go on with and its time to live; 0 for none.
    pub(super) fn connect(
        server: &str,
        tls: Option<&Arc<ClientConfig>>,
        session: (u64, u32),
        timeout: Duration,
    ) -> io::Result<Link> {
        let deadline = Instant::now() + timeout;
        let mut last = io::Error::new(ErrorKind::NotFound, format!("{server} names no address"));
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
        for address in server.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => return Link::greet(Socket::new(stream, host, tls)?, session, deadline),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn greet(socket: Socket, (session, ttl_ms): (u64, u32), deadline: Instant) -> io::Result<Link> {
        socket.stream().set_nodelay(true)?;
        socket.stream().set_write_timeout(Some(WRITE_SLICE))?;
        let heard = Instant::now();
        let mut link = Link { socket, out: Vec::new(), inbox: Vec::new(), taken: 0, heard, body_max: 0 };
        let hello = Hello { session, ttl_ms };
        wire::put_frame(&mut link.out, Ask::Hello as u8, 0, &hello.encode());
        link.flush()?;
        loop {
            let mut welcome = None;
            if let Some((head, body)) = link.next_frame()? {
                if head.kind == Say::Welcome as u8 {
                    welcome = Welcome::decode(body);
                }
                let welcome = welcome.ok_or_else(|| strange("no welcome: is this a native door?"))?;
                link.body_max = welcome.body_max as usize;
                return Ok(link);
            }
            if !link.receive(deadline)? {
                return Err(io::Error::new(ErrorKind::TimedOut, "no welcome in time"));
            }
        }
    }

    /// Gathers a frame; what has gathered goes out with `flush`, or when it is much.
    pub(super) fn put(&mut self, frame: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(frame);
        if self.out.len() >= FLUSH { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            if sent == self.out.len() && !self.socket.holds_back() {
                break Ok(());
            }
            let wrote = match sent == self.out.len() {
                true => self.socket.push().map(|()| 0),
                false => self.socket.write(&self.out[sent..]),
            };
            match wrote {
                Ok(0) if sent < self.out.len() => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if is_wait(&error) => {
                    if let Err(error) = self.receive(Instant::now() + WRITE_SLICE) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.out.drain(..sent);
        result
    }

    /// Waits for some bytes. False: none came until the deadline.
    pub(super) fn receive(&mut self, deadline: Instant) -> io::Result<bool> {
        if self.taken > 0 {
            self.inbox.drain(..self.taken);
            self.taken = 0;
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(50));
            self.socket.stream().set_read_timeout(Some(left))?;
            let start = self.inbox.len();
            self.inbox.resize(start + FLUSH, 0);
            let result = self.socket.read(&mut self.inbox[start..]);
            self.inbox.truncate(start + *result.as_ref().unwrap_or(&0));
            match result {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    self.heard = Instant::now();
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_wait(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next frame that has come whole.
    pub(super) fn next_frame(&mut self) -> io::Result<Option<(Head, &[u8])>> {
        let all = self.inbox.len();
        let mut rest = &self.inbox[self.taken..];
        match wire::take_frame(&mut rest, u32::MAX) {
            Ok(Front::Need(_)) => Ok(None),
            Ok(Front::Frame(head, body)) => {
                self.taken = all - rest.len();
                Ok(Some((head, body)))
            }
            Err(_) => Err(strange("a frame of another version")),
        }
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn strange(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
