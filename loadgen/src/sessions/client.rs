//! One session on a blocking socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::clock::{Clock, MILLI};
use crate::driver::zk::{PING, XID_PING};

const PING_REPLY: usize = 20;
const FRAME_MAX: usize = 1 << 20;

pub struct Client {
    socket: TcpStream,
    pings: usize,
}

fn greeting(timeout_ms: i32) -> Vec<u8> {
    let mut out = Vec::with_capacity(49);
    out.extend_from_slice(&45i32.to_be_bytes());
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(&timeout_ms.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&16i32.to_be_bytes());
    out.extend_from_slice(&[0; 17]);
    out
}

/// So many sessions over these servers, in waves: the servers answer a wave's handshakes together.
pub fn join(servers: &[SocketAddr], count: usize, timeout_ms: i32, wave: usize) -> io::Result<Vec<Client>> {
    let mut crowd: Vec<Client> = Vec::with_capacity(count);
    let (clock, mut next) = (Clock::start(), 0);
    let third = timeout_ms as u64 * MILLI / 3;
    let mut turn = third;
    while crowd.len() < count {
        let start = crowd.len();
        for n in start..count.min(start + wave) {
            crowd.push(Client::dial(servers[n % servers.len()], timeout_ms)?);
        }
        crowd[start..].iter_mut().try_for_each(Client::greeted)?;
        // Whoever came first must live until the last has come.
        if clock.now() > turn {
            (turn, next) = (clock.now() + third, 0);
        }
        let due = crowd.len().min(next + 2 * wave);
        for client in crowd.get_mut(next..due).into_iter().flatten().filter(|_| turn > third) {
            client.take_pings()?;
            client.ping()?;
        }
        next = due;
    }
    Ok(crowd)
}

impl Client {
    fn dial(server: SocketAddr, timeout_ms: i32) -> io::Result<Client> {
        let at = |e: io::Error| io::Error::new(e.kind(), format!("{server}: {e}"));
        let mut socket = TcpStream::connect(server).map_err(at)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        socket.write_all(&greeting(timeout_ms)).map_err(at)?;
        Ok(Client { socket, pings: 0 })
    }

    fn greeted(&mut self) -> io::Result<()> {
        let body = self.frame()?;
        if i32::from_be_bytes(body[4..8].try_into().expect("four bytes")) <= 0 {
            return Err(io::Error::other("the server refused a new session"));
        }
        Ok(())
    }

    fn frame(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.socket.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head) as usize;
        if length > FRAME_MAX {
            return Err(io::Error::other(format!("a frame of {length} bytes")));
        }
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body)?;
        if body.len() < 16 {
            return Err(io::Error::other("a frame without a head"));
        }
        Ok(body)
    }

    pub fn ping(&mut self) -> io::Result<()> {
        let mut out = [0; 12];
        out[..4].copy_from_slice(&8u32.to_be_bytes());
        out[4..8].copy_from_slice(&XID_PING.to_be_bytes());
        out[8..].copy_from_slice(&PING.to_be_bytes());
        self.pings += 1;
        self.socket.write_all(&out)
    }

    /// Takes the replies to pings that have come; how many.
    pub fn take_pings(&mut self) -> io::Result<u64> {
        let mut bytes = [0; PING_REPLY * 4];
        let mut taken = 0;
        while self.pings > 0 {
            let want = PING_REPLY * self.pings.min(4);
            self.socket.read_exact(&mut bytes[..want])?;
            self.pings -= want / PING_REPLY;
            taken += (want / PING_REPLY) as u64;
        }
        Ok(taken)
    }
}
