//! One session on a blocking socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::clock::{Clock, MILLI};
use crate::driver::zk::{CREATE, DELETE, EXISTS, PING, SET_DATA, SYNC, XID_NOTICE, XID_PING};

/// Where a Stat has the number of children.
const NUM_CHILDREN: usize = 56;
const PING_REPLY: usize = 20;
const FRAME_MAX: usize = 1 << 20;

pub struct Client {
    socket: TcpStream,
    timeout_ms: i32,
    xid: i32,
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
        Ok(Client { socket, timeout_ms: 0, xid: 0, pings: 0 })
    }

    fn greeted(&mut self) -> io::Result<()> {
        let body = self.frame()?;
        self.timeout_ms = i32::from_be_bytes(body[4..8].try_into().expect("four bytes"));
        if self.timeout_ms <= 0 {
            return Err(io::Error::other("the server refused a new session"));
        }
        Ok(())
    }

    pub fn open(server: SocketAddr, timeout_ms: i32) -> io::Result<Client> {
        let mut client = Client::dial(server, timeout_ms)?;
        client.greeted()?;
        Ok(client)
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms
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

    fn send(&mut self, code: i32, record: &[u8]) -> io::Result<()> {
        self.xid += 1;
        let mut out = Vec::with_capacity(12 + record.len());
        out.extend_from_slice(&(8 + record.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(record);
        self.socket.write_all(&out)
    }

    /// The next reply's error and body.
    pub fn hear_reply(&mut self) -> io::Result<(i32, Vec<u8>)> {
        let mut body = self.frame()?;
        let err = i32::from_be_bytes(body[12..16].try_into().expect("four bytes"));
        Ok((err, body.split_off(16)))
    }

    /// True: the frame that came is an event.
    pub fn hear_event(&mut self) -> io::Result<bool> {
        Ok(self.frame()?[..4] == XID_NOTICE.to_be_bytes())
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

    fn call(&mut self, code: i32, record: &[u8]) -> io::Result<Vec<u8>> {
        self.send(code, record)?;
        match self.hear_reply()? {
            (0, body) => Ok(body),
            (err, _) => Err(io::Error::other(format!("operation {code} failed with {err}"))),
        }
    }

    pub fn ask_create(&mut self, path: &str, flags: i32) -> io::Result<()> {
        self.send(CREATE, &created(path, flags))
    }

    pub fn create(&mut self, path: &str, flags: i32) -> io::Result<()> {
        self.call(CREATE, &created(path, flags)).map(drop)
    }

    pub fn set(&mut self, path: &str) -> io::Result<()> {
        let record = [named(path), vec![0, 0, 0, 1, b'x'], (-1i32).to_be_bytes().to_vec()].concat();
        self.call(SET_DATA, &record).map(drop)
    }

    pub fn delete(&mut self, path: &str) -> io::Result<()> {
        self.call(DELETE, &[named(path), (-1i32).to_be_bytes().to_vec()].concat()).map(drop)
    }

    pub fn sync(&mut self, path: &str) -> io::Result<()> {
        self.call(SYNC, &named(path)).map(drop)
    }

    pub fn ask_exists(&mut self, path: &str) -> io::Result<()> {
        self.send(EXISTS, &[named(path), vec![1]].concat())
    }

    /// How many children it has, as its Stat says.
    pub fn children(&mut self, path: &str) -> io::Result<u32> {
        let body = self.call(EXISTS, &[named(path), vec![0]].concat())?;
        let count = body.get(NUM_CHILDREN..).and_then(|rest| rest.first_chunk::<4>());
        Ok(u32::from_be_bytes(*count.ok_or_else(|| io::Error::other("a short reply"))?))
    }
}

fn named(path: &str) -> Vec<u8> {
    [&(path.len() as u32).to_be_bytes()[..], path.as_bytes()].concat()
}

fn created(path: &str, flags: i32) -> Vec<u8> {
    const OPEN: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";
    [&named(path)[..], &[0, 0, 0, 1, b'x'], OPEN, &flags.to_be_bytes()].concat()
}
