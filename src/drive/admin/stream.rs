//! A connection of the admin door, in the clear or in TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};

use crate::tls;

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<(ServerConnection, TcpStream)>),
}

impl Stream {
    /// With `config`, through the handshake.
    pub async fn accept(stream: TcpStream, config: Option<&Arc<ServerConfig>>) -> io::Result<Stream> {
        let Some(config) = config else { return Ok(Stream::Plain(stream)) };
        let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut both = Box::new((session, stream));
        while both.0.is_handshaking() {
            if !take_in(&mut both).await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Stream::Tls(both))
    }

    /// 0: the other side has ended.
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let both = match self {
            Stream::Plain(stream) => return stream.read(into).await,
            Stream::Tls(both) => both,
        };
        loop {
            match both.0.reader().read(into) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if !take_in(both).await? {
                return Ok(0);
            }
        }
    }

    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let both = match self {
            Stream::Plain(stream) => return stream.write_all(bytes).await,
            Stream::Tls(both) => both,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = both.0.writer().write(rest)?;
            rest = &rest[taken..];
            hand_out(both).await?;
        }
        Ok(())
    }

    /// Says that nothing more comes, so that nobody takes a cut for an end.
    pub async fn finish(&mut self) -> io::Result<()> {
        let Stream::Tls(both) = self else { return Ok(()) };
        both.0.send_close_notify();
        hand_out(both).await
    }
}

/// The next bytes from the socket into the session, and what it says to them. False: there are none any more.
async fn take_in(both: &mut (ServerConnection, TcpStream)) -> io::Result<bool> {
    let mut cipher = vec![0; 16 << 10];
    let count = both.1.read(&mut cipher).await?;
    let mut rest = &cipher[..count];
    while !rest.is_empty() {
        both.0.read_tls(&mut rest)?;
        if let Err(why) = both.0.process_new_packets() {
            hand_out(both).await?; // The alert that tells the other side.
            let why = tls::words(&why);
            tracing::debug!(why, "no TLS with a client of the admin door");
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
    }
    hand_out(both).await?;
    Ok(count > 0)
}

async fn hand_out(both: &mut (ServerConnection, TcpStream)) -> io::Result<()> {
    let mut cipher = Vec::new();
    while both.0.wants_write() {
        both.0.write_tls(&mut cipher)?;
    }
    if cipher.is_empty() { Ok(()) } else { both.1.write_all(&cipher).await }
}
