//! One socket with its two buffers. Nothing here allocates once the buffers have their size.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

const FIRST_INPUT: usize = 32 << 10;
const LEAST_SPACE: usize = 1 << 10;

#[derive(Debug)]
pub struct Pipe {
    stream: TcpStream,
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
    pub fn connect(to: SocketAddr) -> io::Result<Pipe> {
        Pipe::connect_sized(to, FIRST_INPUT)
    }

    pub fn connect_sized(to: SocketAddr, size: usize) -> io::Result<Pipe> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Pipe::sized(TcpStream::from(socket), size),
            Err(other) => Err(other.into()),
        }
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
        match self.stream.read(&mut self.input[self.to..]) {
            Ok(0) => Ok(Filled::Closed),
            Ok(count) => {
                self.to += count;
                self.bytes_in += count as u64;
                Ok(Filled::Some)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(Filled::Nothing)
            }
            Err(error) => Err(error),
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
        self.sent < self.out.len()
    }

    /// Sends what it can; `false`: the socket is full, wait until it is writable.
    pub fn flush(&mut self) -> io::Result<bool> {
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
