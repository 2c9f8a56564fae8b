//! One socket with its two buffers. Nothing here allocates once the buffers have their size.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::ClientConnection;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::access::Tls;

const FIRST_INPUT: usize = 32 << 10;
const LEAST_SPACE: usize = 1 << 10;

#[derive(Debug)]
pub struct Pipe {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    input: Vec<u8>,
    from: usize,
    to: usize,
    /// Bytes to be sent; drivers append to it.
    pub out: Vec<u8>,
    sent: usize,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Filled {
    Some,
    Nothing,
    Closed,
}

impl Pipe {
    pub fn new(stream: TcpStream) -> io::Result<Pipe> {
        Pipe::sized(stream, FIRST_INPUT)
    }

    /// With buffers that begin with `size` bytes: one of many thousands.
    pub fn sized(stream: TcpStream, size: usize) -> io::Result<Pipe> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Pipe {
            stream,
            tls: None,
            input: vec![0; size],
            from: 0,
            to: 0,
            out: Vec::with_capacity(size),
            sent: 0,
            bytes_in: 0,
            bytes_out: 0,
        })
    }

    /// Starts to connect and returns at once; when the socket is writable, `connected` tells how it went.
    pub fn connect(to: SocketAddr, tls: Option<&Tls>) -> io::Result<Pipe> {
        Pipe::connect_sized(to, tls, FIRST_INPUT)
    }

    pub fn connect_sized(to: SocketAddr, tls: Option<&Tls>, size: usize) -> io::Result<Pipe> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        let mut pipe = match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Pipe::sized(TcpStream::from(socket), size)?,
            Err(other) => return Err(other.into()),
        };
        pipe.tls = tls.map(|tls| tls.session(to)).transpose()?.map(Box::new);
        Ok(pipe)
    }

    pub fn connected(&self) -> io::Result<()> {
        sockopt::socket_error(&self.stream)?.map_err(io::Error::from)
    }

    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads once. A full buffer means that more may wait; epoll says so again.
    pub fn fill(&mut self) -> io::Result<Filled> {
        if self.from == self.to {
            self.from = 0;
            self.to = 0;
        } else if self.input.len() - self.to < LEAST_SPACE {
            self.input.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
            if self.input.len() - self.to < LEAST_SPACE {
                self.input.resize(self.input.len() * 2, 0);
            }
        }
        if self.tls.is_some() {
            return self.fill_tls();
        }
        match self.stream.read(&mut self.input[self.to..]) {
            Ok(0) => Ok(Filled::Closed),
            Ok(count) => {
                self.to += count;
                self.bytes_in += count as u64;
                Ok(Filled::Some)
            }
            Err(error) if is_wait(&error) => Ok(Filled::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Takes out all that could be deciphered: epoll knows nothing of what a session holds back.
    fn fill_tls(&mut self) -> io::Result<Filled> {
        let tls = self.tls.as_mut().expect("the caller looked");
        let mut closed = false;
        match tls.read_tls(&mut self.stream) {
            Ok(0) => closed = true,
            Ok(count) => self.bytes_in += count as u64,
            Err(error) if is_wait(&error) => return Ok(Filled::Nothing),
            Err(error) => return Err(error),
        }
        let state = tls.process_new_packets();
        // Handshakes are answered here; what finds no room goes out with the next request.
        while tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                Ok(count) => self.bytes_out += count as u64,
                Err(error) if is_wait(&error) => break,
                Err(_) if state.is_err() => break,
                Err(error) => return Err(error),
            }
        }
        state.map_err(|error| io::Error::other(format!("TLS: {}", quorate::tls::words(&error))))?;
        let before = self.to;
        loop {
            if self.input.len() - self.to < LEAST_SPACE {
                self.input.resize(self.input.len() * 2, 0);
            }
            match tls.reader().read(&mut self.input[self.to..]) {
                Ok(0) => break,
                Ok(count) => self.to += count,
                Err(error) if is_wait(&error) => break,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        if closed && tls.is_handshaking() {
            return Err(io::Error::other("it hung up during the TLS handshake"));
        }
        match self.to > before {
            true => Ok(Filled::Some),
            false if closed => Ok(Filled::Closed),
            false => Ok(Filled::Nothing),
        }
    }

    /// What has arrived and was not consumed, and where answers go.
    pub fn both(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.input[self.from..self.to], &mut self.out)
    }

    pub fn consume(&mut self, count: usize) {
        self.from += count;
        assert!(self.from <= self.to, "a decoder consumed bytes that had not arrived");
    }

    pub fn has_output(&self) -> bool {
        self.sent < self.out.len() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Sends what it can; `false`: the socket is full, wait until it is writable.
    pub fn flush(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(&self.out)?;
            self.out.clear();
            while tls.wants_write() {
                match tls.write_tls(&mut self.stream) {
                    Ok(count) => self.bytes_out += count as u64,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(true);
        }
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.sent += count;
                    self.bytes_out += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(true)
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
