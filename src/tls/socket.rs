//! A blocking socket, in the clear or in TLS: what the client and the tools speak through.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// Reads and writes like the socket below it, time-outs included: what did not come through stays where it is,
/// and goes on with the next call.
pub enum Socket {
    Plain(TcpStream),
    Tls(Box<(ClientConnection, TcpStream)>),
}

impl Socket {
    /// With `tls`, the server must prove that it is `host`.
    pub fn new(stream: TcpStream, host: &str, tls: Option<&Arc<ClientConfig>>) -> io::Result<Socket> {
        let Some(config) = tls else { return Ok(Socket::Plain(stream)) };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        Ok(Socket::Tls(Box::new((session, stream))))
    }

    pub fn stream(&self) -> &TcpStream {
        match self {
            Socket::Plain(stream) => stream,
            Socket::Tls(both) => &both.1,
        }
    }

    /// Bytes that were taken and are not on their way.
    pub fn holds_back(&self) -> bool {
        matches!(self, Socket::Tls(both) if both.0.wants_write())
    }

    /// Hands what is held back to the kernel.
    pub fn push(&mut self) -> io::Result<()> {
        let Socket::Tls(both) = self else { return Ok(()) };
        let (session, stream) = &mut **both;
        while session.wants_write() {
            if session.write_tls(stream)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (session, stream) = match self {
            Socket::Plain(stream) => return stream.read(into),
            Socket::Tls(both) => &mut **both,
        };
        loop {
            match session.reader().read(into) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // A server that dies says no goodbye; frames say by themselves where they end.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            // What cannot go out now must not keep from reading: the other side may wait for that.
            while session.wants_write() {
                match session.write_tls(stream) {
                    Ok(_) => {}
                    Err(e) if is_wait(&e) => break,
                    Err(e) => return Err(e),
                }
            }
            if session.read_tls(stream)? == 0 && session.is_handshaking() {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "it hung up during the TLS handshake"));
            }
            if let Err(why) = session.process_new_packets() {
                let _ = session.write_tls(stream); // The alert that tells the other side.
                return Err(io::Error::new(ErrorKind::InvalidData, super::words(&why)));
            }
        }
    }
}

impl Write for Socket {
    /// Takes nothing while anything is held back.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push()?;
        let taken = match self {
            Socket::Plain(stream) => return stream.write(bytes),
            Socket::Tls(both) => both.0.writer().write(bytes)?,
        };
        match self.push() {
            Err(e) if !is_wait(&e) => Err(e),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push()
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
