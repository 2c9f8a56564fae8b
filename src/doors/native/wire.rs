//! Native frames: a fixed head, then a body. All numbers are little-endian.
//!
//! ```text
//! 0 length u32 (of the body) | 4 version u8 | 5 kind u8 | 6 flags u16 | 8 request u64 | 16 body
//! ```
//!
//! Requests carry a number that the client chooses; the reply carries it back. Replies come in any order: a read
//! does not wait for a write that was sent before it. Within an exactly-once session the numbers of writes must
//! grow, and a write that is sent again keeps its number.

/// Bytes of the head.
pub const HEAD: usize = 16;

/// The only version there is.
pub const VERSION: u8 = 1;

/// The longest body: with its envelope it fits a batch of the log.
pub const BODY_MAX: u32 = (1 << 20) - 1024;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ask {
    /// The first frame of every connection: `Hello`, as plain bytes.
    Hello = 1,
    /// Operations for the log. The body, verbatim, is the command's payload.
    Write = 2,
    /// A query, answered after a quorum check.
    Read = 3,
    /// A query, answered from this node's state, which may lag.
    ReadLocal = 4,
    /// Opens an exactly-once session through the log.
    OpenSession = 5,
    /// Ends it.
    CloseSession = 6,
    /// A watch over a range of keys, from a revision.
    Watch = 7,
    /// Ends the watch whose request number stands in the body.
    CancelWatch = 8,
    /// A lease's holder is alive: its id stands in the body.
    KeepAlive = 9,
    /// Answered at once, by this node alone.
    Ping = 10,
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Say {
    /// Answer to `Hello`.
    Welcome = 64,
    /// The realm's reply or answer, verbatim.
    Reply = 65,
    /// A `Fault` and a text; the request was not carried out, unless the fault is `Unknown`.
    Error = 66,
    /// Events of the watch that `request` opened.
    Event = 67,
    /// The watch that `request` opened has ended; the body says why and from which revision to go on.
    WatchEnded = 68,
    /// Answer to `Ping` and `KeepAlive`.
    Pong = 69,
}

/// Why a request failed at the door. Failures of operations are the realm's and come in `Reply`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Fault {
    /// The body is no valid archive, or holds what no client may ask.
    Malformed = 1,
    /// A kind of frame that this server does not know.
    UnknownKind = 2,
    /// Longer than a command of the log may be.
    TooLong = 3,
    /// It may or may not have been carried out. Ask again within a session, or look.
    Unknown = 4,
    /// No quorum confirmed the read in time; it may be asked again.
    Unconfirmed = 5,
    /// The session has expired or was closed: nothing of it will be carried out any more.
    SessionGone = 6,
    /// Too much under way on this connection; ask again later.
    Busy = 7,
    /// The lease is gone.
    LeaseGone = 8,
}

/// The first frame of a client.
///
/// ```text
/// 0 magic "quorate\0" | 8 session u64 | 16 zero
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The exactly-once session that writes on this connection belong to; 0 for none.
    pub session: u64,
}

/// The answer.
///
/// ```text
/// 0 body_max u32 | 4 zero u32 | 8 zero u64
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The longest body that this server takes.
    pub body_max: u32,
}

const MAGIC: [u8; 8] = *b"quorate\0";

impl Hello {
    pub fn encode(&self) -> [u8; 24] {
        let mut body = [0; 24];
        body[..8].copy_from_slice(&MAGIC);
        body[8..16].copy_from_slice(&self.session.to_le_bytes());
        body
    }

    /// `None`: something else. More bytes than known are a newer client's and ignored.
    pub fn decode(body: &[u8]) -> Option<Hello> {
        let body = body.first_chunk::<24>().filter(|body| body[..8] == MAGIC)?;
        Some(Hello { session: u64::from_le_bytes(body[8..16].try_into().unwrap()) })
    }
}

impl Welcome {
    pub fn encode(&self) -> [u8; 16] {
        let mut body = [0; 16];
        body[..4].copy_from_slice(&self.body_max.to_le_bytes());
        body
    }

    pub fn decode(body: &[u8]) -> Option<Welcome> {
        let body = body.first_chunk::<16>()?;
        Some(Welcome { body_max: u32::from_le_bytes(body[..4].try_into().unwrap()) })
    }
}

impl Ask {
    pub fn from_byte(byte: u8) -> Option<Ask> {
        use Ask::*;
        const ALL: [Ask; 10] =
            [Hello, Write, Read, ReadLocal, OpenSession, CloseSession, Watch, CancelWatch, KeepAlive, Ping];
        ALL.into_iter().find(|ask| *ask as u8 == byte)
    }
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the body.
    pub length: u32,
    pub kind: u8,
    pub flags: u16,
    pub request: u64,
}

/// Why the connection cannot go on: where the next frame begins is not known, or not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("frame version {0}, this build speaks {VERSION}")]
    Version(u8),
    #[error("frame body of {length} bytes, at most {max} are taken; split the batch")]
    TooLong { length: u32, max: u32 },
}

impl Head {
    pub fn encode(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&self.length.to_le_bytes());
        head[4] = VERSION;
        head[5] = self.kind;
        head[6..8].copy_from_slice(&self.flags.to_le_bytes());
        head[8..].copy_from_slice(&self.request.to_le_bytes());
        head
    }

    fn decode(head: &[u8; HEAD], max: u32) -> Result<Head, Malformed> {
        let length = u32::from_le_bytes(head[..4].try_into().unwrap());
        if head[4] != VERSION {
            return Err(Malformed::Version(head[4]));
        }
        if length > max {
            return Err(Malformed::TooLong { length, max }); // Judged before anything is allocated.
        }
        Ok(Head {
            length,
            kind: head[5],
            flags: u16::from_le_bytes([head[6], head[7]]),
            request: u64::from_le_bytes(head[8..].try_into().unwrap()),
        })
    }
}

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front<'a> {
    Frame(Head, &'a [u8]),
    /// Less than a frame: it needs this many bytes in all as far as is known.
    Need(usize),
}

/// Takes one frame off the front. `Err`: hang up.
pub fn take_frame<'a>(input: &mut &'a [u8], max: u32) -> Result<Front<'a>, Malformed> {
    let Some((head, rest)) = input.split_first_chunk::<HEAD>() else { return Ok(Front::Need(HEAD)) };
    let head = Head::decode(head, max)?;
    let Some((body, tail)) = rest.split_at_checked(head.length as usize) else {
        return Ok(Front::Need(HEAD + head.length as usize));
    };
    *input = tail;
    Ok(Front::Frame(head, body))
}

/// Appends a frame.
pub fn put_frame(out: &mut Vec<u8>, kind: u8, request: u64, body: &[u8]) {
    out.extend_from_slice(&Head { length: body.len() as u32, kind, flags: 0, request }.encode());
    out.extend_from_slice(body);
}

/// Appends a frame whose body `write` appends.
pub fn put_frame_with(out: &mut Vec<u8>, kind: u8, request: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&Head { length: 0, kind, flags: 0, request }.encode());
    write(out);
    let length = (out.len() - start - HEAD) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}
