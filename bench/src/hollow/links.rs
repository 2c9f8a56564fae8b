//! Sockets with something to send, and the frames between the nodes.

use quorate::pipeline::ports::{Conn, Net};

/// A connection, client's or node's: what waits to go out, and the beginning of a frame that came in.
#[derive(Default)]
pub struct Link {
    pub out: Vec<u8>,
    pub part: Vec<u8>,
    pub generation: u32,
    sending: bool,
    dirty: bool,
    /// More has gathered while a send was under way.
    behind: bool,
}

/// Connections by slot.
#[derive(Default)]
pub struct Links {
    slots: Vec<Option<Link>>,
    dirty: Vec<Conn>,
    behind: usize,
    spare: Vec<Vec<u8>>,
}

impl Links {
    pub fn open(&mut self, conn: Conn) {
        let slot = conn.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(Link { generation: conn.generation, ..Link::default() });
    }

    /// Output waits behind a send that is under way.
    pub fn awaits_sent(&self) -> bool {
        self.behind > 0
    }

    pub fn close(&mut self, conn: Conn) {
        self.behind -= usize::from(self.at(conn).is_some_and(|link| link.behind));
        self.slots[conn.slot as usize] = None;
    }

    fn at(&mut self, conn: Conn) -> Option<&mut Link> {
        self.slots.get_mut(conn.slot as usize)?.as_mut().filter(|link| link.generation == conn.generation)
    }

    pub fn part(&mut self, conn: Conn) -> Option<&mut Vec<u8>> {
        self.at(conn).map(|link| &mut link.part)
    }

    /// Where this connection's output is appended.
    pub fn out(&mut self, conn: Conn) -> Option<&mut Vec<u8>> {
        let link = self.slots.get_mut(conn.slot as usize)?.as_mut()?;
        if link.generation != conn.generation {
            return None;
        }
        if !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(conn);
            if link.out.capacity() == 0 {
                link.out = self.spare.pop().unwrap_or_default();
            }
        }
        Some(&mut link.out)
    }

    pub fn on_sent(&mut self, conn: Conn, buffer: Vec<u8>) {
        self.spare.push(buffer);
        let Some(link) = self.at(conn) else { return };
        link.sending = false;
        let was_behind = std::mem::take(&mut link.behind);
        if !link.out.is_empty() && !link.dirty {
            link.dirty = true;
            self.dirty.push(conn);
        }
        self.behind -= usize::from(was_behind);
    }

    /// One send per connection, as large as what has gathered.
    pub fn flush(&mut self, net: &mut impl Net) {
        for conn in std::mem::take(&mut self.dirty) {
            let Some(link) = self.at(conn) else { continue };
            link.dirty = false;
            if !link.sending && !link.out.is_empty() {
                link.sending = true;
                net.send(conn, std::mem::take(&mut link.out));
            } else if !link.out.is_empty() && !std::mem::replace(&mut link.behind, true) {
                self.behind += 1;
            }
        }
    }
}

/// What a node says to another: `length u32 | say u32 | number u64 | payload`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Say {
    /// To the leader: who dials.
    Hello = 1,
    /// To the leader: so many commands of the sender's clients.
    Forward = 2,
    /// To the leader: all up to this index is on my disk.
    Durable = 3,
    /// To the leader: reads came in. It answers with the same number; both together are a quorum.
    Ask = 4,
    /// From the leader, and its answer: reads came in there.
    Probe = 5,
    /// From the leader: the answer to `Ask`.
    Read = 6,
    /// From the leader: a batch; the number is how far all is decided.
    Append = 7,
    /// From the leader: how far all is decided.
    Decided = 8,
}

const ALL: [Say; 8] =
    [Say::Hello, Say::Forward, Say::Durable, Say::Ask, Say::Probe, Say::Read, Say::Append, Say::Decided];
const HEAD: usize = 16;

pub fn put(out: &mut Vec<u8>, say: Say, number: u64, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&(say as u32).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(payload);
}

pub fn take<'a>(input: &mut &'a [u8]) -> Option<(Say, u64, &'a [u8])> {
    let (head, rest) = input.split_first_chunk::<HEAD>()?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (payload, tail) = rest.split_at_checked(word(0) as usize)?;
    *input = tail;
    Some((ALL[word(4) as usize - 1], u64::from(word(8)) | u64::from(word(12)) << 32, payload))
}
