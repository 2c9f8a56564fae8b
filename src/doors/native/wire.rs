//! Native frames: a fixed head, then a body. All numbers are little-endian.
//!
//! ```text
//! 0 length u32 (of the body) | 4 version u8 | 5 kind u8 | 6 flags u16 | 8 request u64 | 16 body
//! ```
//!
//! | `Ask` | body | answered with |
//! |---|---|---|
//! | `Hello` | `Hello` | `Welcome` |
//! | `Write` | `kv::ops::Write`, an archive | `Reply`: one reply for each operation |
//! | `Read`, `ReadLocal` | `kv::ops::Query`, an archive | `Reply` |
//! | `OpenSession` | `core::Open` | `Reply` with the session's id |
//! | `CloseSession` | session u64 | `Reply` |
//! | `Watch` | `kv::ops::History`, an archive; revision 0: from now on | `Reply` without a body, then `Event`s |
//! | `CancelWatch` | request number of the `Watch`, u64 | `WatchEnded` under that number |
//! | `KeepAlive` | lease u64 | `Reply` to a query for that lease |
//! | `Ping` | anything | `Pong` |
//!
//! Any of them may be answered with `Error` instead. Requests carry a number below `REQUEST_MAX` that the client
//! chooses; the reply carries it back. Replies come in any order: a read does not wait for a write that was sent
//! before it. Within an exactly-once session the numbers of writes follow without a gap, from 1 or above, and a
//! write that is sent again keeps its number; other requests need numbers apart from those.

/// Bytes of the head.
pub const HEAD: usize = 16;

/// The only version there is.
pub const VERSION: u8 = 1;

/// The longest body: with its envelope it fits a batch of the log.
pub const BODY_MAX: u32 = (1 << 20) - 1024;

/// Request numbers are below this.
pub const REQUEST_MAX: u64 = 1 << 62;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ask {
    /// The first frame of every connection.
    Hello = 1,
    /// Operations for the log. The body, verbatim, is the command's payload.
    Write = 2,
    /// A query, answered after a quorum check.
    Read = 3,
    /// A query, answered from this node's state, which may lag.
    ReadLocal = 4,
    /// Opens an exactly-once session through the log; the connection's writes belong to it from the reply on.
    OpenSession = 5,
    /// Ends the connection's session.
    CloseSession = 6,
    /// A watch over a range of keys, from a revision.
    Watch = 7,
    CancelWatch = 8,
    /// A lease's holder is alive.
    KeepAlive = 9,
    /// Answered at once, by this node alone.
    Ping = 10,
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Say {
    Welcome = 64,
    /// The realm's replies, verbatim: see `realms::reply`.
    Reply = 65,
    /// `code u16 | text`: the request was not carried out, unless the code is `Fault::Unknown`. Codes below
    /// `FAULTS` are those of `realms::reply::Status`.
    Error = 66,
    /// Events of the watch that `request` opened: groups of `kv::ops`.
    Event = 67,
    /// The watch that `request` opened has ended: `code u16 | zero u16 | zero u32 | revision u64`. Events below
    /// the revision have been sent; a new watch may go on from it. Code 0: it was cancelled.
    WatchEnded = 68,
    Pong = 69,
    /// Lease u64: this connection kept it alive, and it is gone or being expired.
    LeaseGone = 70,
}

/// Codes from here on are the door's own.
pub const FAULTS: u16 = 1024;

/// Why the door failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u16)]
pub enum Fault {
    #[error("the frame is no such request as its kind says")]
    Malformed = FAULTS,
    #[error("this server knows no such kind of request; a newer one may")]
    UnknownKind = FAULTS + 1,
    #[error("it may or may not have been carried out; send it again in its session, or look")]
    Unknown = FAULTS + 2,
    #[error("no quorum confirmed the read in time; ask again")]
    Unconfirmed = FAULTS + 3,
    #[error("too many watches on this connection or server; cancel some")]
    TooManyWatches = FAULTS + 4,
    #[error("the watch's events were not read fast enough; open it again from the revision given")]
    WatchTooSlow = FAULTS + 5,
    #[error("the request's number is taken by a watch, or out of range")]
    Number = FAULTS + 6,
    #[error("this connection has no such session")]
    NoSession = FAULTS + 7,
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

/// The first frame of a client.
///
/// ```text
/// 0 magic "quorate\0" | 8 session u64 | 16 ttl_ms u32 | 20 zero u32
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The exactly-once session that writes on this connection belong to; 0 for none.
    pub session: u64,
    /// As granted when it was opened.
    pub ttl_ms: u32,
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

/// Why the connection cannot go on: where the next frame begins is not known, or not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("frame version {0}, this build speaks {VERSION}")]
    Version(u8),
    #[error("frame body of {length} bytes, at most {max} are taken; split the batch")]
    TooLong { length: u32, max: u32 },
}

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front<'a> {
    Frame(Head, &'a [u8]),
    /// Less than a frame: it needs this many bytes in all as far as is known.
    Need(usize),
}

const MAGIC: [u8; 8] = *b"quorate\0";

impl Ask {
    pub fn from_byte(byte: u8) -> Option<Ask> {
        use Ask::*;
        const ALL: [Ask; 10] =
            [Hello, Write, Read, ReadLocal, OpenSession, CloseSession, Watch, CancelWatch, KeepAlive, Ping];
        ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

impl Say {
    pub fn from_byte(byte: u8) -> Option<Say> {
        use Say::*;
        const ALL: [Say; 7] = [Welcome, Reply, Error, Event, WatchEnded, Pong, LeaseGone];
        ALL.get(usize::from(byte).checked_sub(64)?).copied()
    }
}

impl Fault {
    pub fn from_code(code: u16) -> Option<Fault> {
        use Fault::*;
        const ALL: [Fault; 8] =
            [Malformed, UnknownKind, Unknown, Unconfirmed, TooManyWatches, WatchTooSlow, Number, NoSession];
        ALL.get(usize::from(code.checked_sub(FAULTS)?)).copied()
    }
}

impl Hello {
    pub fn encode(&self) -> [u8; 24] {
        let mut body = [0; 24];
        body[..8].copy_from_slice(&MAGIC);
        body[8..16].copy_from_slice(&self.session.to_le_bytes());
        body[16..20].copy_from_slice(&self.ttl_ms.to_le_bytes());
        body
    }

    /// `None`: something else. More bytes than known are a newer client's and ignored.
    pub fn decode(body: &[u8]) -> Option<Hello> {
        let body = body.first_chunk::<24>().filter(|body| body[..8] == MAGIC)?;
        let session = u64::from_le_bytes(body[8..16].try_into().ok()?);
        Some(Hello { session, ttl_ms: u32::from_le_bytes(body[16..20].try_into().ok()?) })
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
        Some(Welcome { body_max: u32::from_le_bytes(body[..4].try_into().ok()?) })
    }
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
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if head[4] != VERSION {
            return Err(Malformed::Version(head[4]));
        }
        if length > max {
            return Err(Malformed::TooLong { length, max }); // Judged before anything is allocated.
        }
        let mut request = [0; 8];
        request.copy_from_slice(&head[8..]);
        Ok(Head {
            length,
            kind: head[5],
            flags: u16::from_le_bytes([head[6], head[7]]),
            request: u64::from_le_bytes(request),
        })
    }
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

/// A body that is one number.
pub fn number(body: &[u8]) -> Option<u64> {
    body.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_bad_heads_do_not() {
        let mut out = Vec::new();
        put_frame(&mut out, Ask::Write as u8, 7, b"abc");
        put_frame_with(&mut out, Ask::Ping as u8, 8, |_| {});
        let mut rest = &out[..];
        let Ok(Front::Frame(head, body)) = take_frame(&mut rest, 3) else { panic!("no frame") };
        assert_eq!((head.kind, head.request, body), (2, 7, &b"abc"[..]));
        assert!(matches!(take_frame(&mut rest, 0), Ok(Front::Frame(Head { kind: 10, .. }, []))));
        assert_eq!(take_frame(&mut &out[..15], 3), Ok(Front::Need(16)));
        assert_eq!(take_frame(&mut &out[..16], 3), Ok(Front::Need(19)));
        assert_eq!(take_frame(&mut &out[..16], 2), Err(Malformed::TooLong { length: 3, max: 2 }));
        out[4] = 9;
        assert_eq!(take_frame(&mut &out[..], 3), Err(Malformed::Version(9)));
    }

    #[test]
    fn every_number_leads_back() {
        (0..=255).filter_map(Ask::from_byte).enumerate().for_each(|(n, ask)| assert_eq!(ask as usize, n + 1));
        assert_eq!((0..=255).filter_map(Ask::from_byte).count(), 10);
        let says: Vec<u8> = (0..=255).filter(|b| Say::from_byte(*b).is_some_and(|s| s as u8 == *b)).collect();
        assert_eq!(says, [64, 65, 66, 67, 68, 69, 70]);
        let faults = (0..2000).filter(|c| Fault::from_code(*c).is_some_and(|f| f as u16 == *c)).count();
        assert_eq!(faults, 8);
    }

    #[test]
    fn greetings_come_back() {
        let hello = Hello { session: 5, ttl_ms: 9000 };
        assert_eq!(Hello::decode(&hello.encode()), Some(hello));
        assert_eq!(Hello::decode(&[0; 24]), None);
        assert_eq!(Hello::decode(&hello.encode()[..23]), None);
        assert_eq!(Welcome::decode(&Welcome { body_max: 6 }.encode()), Some(Welcome { body_max: 6 }));
    }
}
