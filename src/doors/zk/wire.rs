//! Frames, handshake, headers and events of ZooKeeper's protocol. The records of operations are the realm's.

use crate::realms::tree::jute::{self, Reader, Write};

/// Bytes of a frame's body at most, unless the operator says otherwise: the reference's limit.
pub const FRAME_MAX: u32 = 0xf_ffff;

/// The most that an operator may allow: a batch holds it, with what the server writes in front of a request.
pub const FRAME_LIMIT: u32 = (2 << 20) - (16 << 10);

/// Numbers of requests with a meaning of their own.
pub mod xid {
    pub const EVENT: i32 = -1;
    pub const PING: i32 = -2;
    pub const AUTH: i32 = -4;
}

/// Why bytes are no frame. The connection is closed without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes, the limit is {max}")]
pub struct BadLength {
    pub length: i32,
    pub max: u32,
}

/// The body of the first frame and the bytes that it takes. `Ok(None)`: it is not all there.
pub fn take_frame(input: &[u8], max: u32) -> Result<Option<(&[u8], usize)>, BadLength> {
    let Some((head, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*head);
    if length < 0 || length as u32 > max {
        return Err(BadLength { length, max });
    }
    Ok(rest.get(..length as usize).map(|body| (body, 4 + length as usize)))
}

/// Bytes of the first frame, as far as is known.
pub fn frame_size(input: &[u8]) -> usize {
    match input.split_first_chunk::<4>() {
        Some((head, _)) => 4 + i32::from_be_bytes(*head).max(0) as usize,
        None => 4,
    }
}

/// What every request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub xid: i32,
    pub code: i32,
}

impl Head {
    /// The head, and the record behind it.
    pub fn split(body: &[u8]) -> jute::Result<(Head, &[u8])> {
        let mut reader = Reader::new(body);
        let head = Head { xid: reader.i32()?, code: reader.i32()? };
        Ok((head, reader.rest()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    pub protocol: i32,
    pub last_zxid: i64,
    pub timeout_ms: i32,
    pub session: u64,
    pub password: Option<&'a [u8]>,
    /// `None`: an old client, which does not want to read the byte either.
    pub read_only: Option<bool>,
}

impl<'a> Connect<'a> {
    pub fn read(body: &'a [u8]) -> jute::Result<Connect<'a>> {
        let mut reader = Reader::new(body);
        Ok(Connect {
            protocol: reader.i32()?,
            last_zxid: reader.i64()?,
            timeout_ms: reader.i32()?,
            session: reader.i64()? as u64,
            password: reader.bytes()?,
            read_only: if reader.rest().is_empty() { None } else { Some(reader.bool()?) },
        })
    }
}

/// The answer to a handshake. A session that is gone is told by nothing but zeros.
pub fn write_connected(out: &mut Vec<u8>, timeout_ms: i32, session: u64, password: &[u8; 16], flag: bool) {
    framed(out, |out| {
        out.put_i32(0);
        out.put_i32(timeout_ms);
        out.put_i64(session as i64);
        out.put_bytes(password);
        if flag {
            out.put_bool(false);
        }
    });
}

/// Writes a frame's length before what `body` appends.
pub fn framed(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_i32(0);
    body(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A reply whose zxid, error and body the realm wrote.
pub fn write_reply(out: &mut Vec<u8>, xid: i32, rest: &[u8]) {
    out.put_i32(4 + rest.len() as i32);
    out.put_i32(xid);
    out.extend_from_slice(rest);
}

pub fn write_head(out: &mut Vec<u8>, xid: i32, zxid: i64, err: i32) {
    out.put_i32(xid);
    out.put_i64(zxid);
    out.put_i32(err);
}

/// A watch's event; `zxid` is -1 for what a returning client has missed.
pub fn write_event(out: &mut Vec<u8>, zxid: i64, kind: u8, path: &[u8]) {
    const CONNECTED: i32 = 3;
    framed(out, |out| {
        out.put_i32(xid::EVENT);
        out.put_i64(zxid);
        out.put_i32(0);
        out.put_i32(kind.into());
        out.put_i32(CONNECTED);
        out.put_bytes(path);
    });
}

/// The password of a session, as the reference derives it, so that clients of an imported ensemble come back
/// with the one that they have.
pub fn password(session: u64) -> [u8; 16] {
    const MULTIPLIER: u64 = 0x5_deec_e66d;
    const MASK: u64 = (1 << 48) - 1;
    let mut seed = (session ^ 0xb341_5c00 ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for chunk in password.chunks_exact_mut(4) {
        seed = (seed.wrapping_mul(MULTIPLIER).wrapping_add(0xb)) & MASK;
        chunk.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn passwords_are_the_references() {
        assert_eq!(password(0x0100_0000_0000_0001).to_vec(), hex("054cc74a37327db215e702e20c73f005"));
        assert_eq!(password(0x0100_08b3_13e4_0000).to_vec(), hex("5e65edaa93ce63d36cd29b3e94e897e0"));
    }

    #[test]
    fn a_connect_frame_is_read() {
        let bytes = hex("0000002d 00000000 0000000000000000 00007530 0000000000000000
             00000010 00000000000000000000000000000000 00");
        let (body, taken) = take_frame(&bytes, FRAME_MAX).unwrap().unwrap();
        assert_eq!(taken, bytes.len());
        let connect = Connect::read(body).unwrap();
        assert_eq!((connect.timeout_ms, connect.session, connect.read_only), (30_000, 0, Some(false)));
        assert_eq!(Connect::read(&body[..44]).unwrap().read_only, None);
        assert!(Connect::read(&body[..43]).is_err());
    }

    #[test]
    fn lengths_are_judged_before_anything_else() {
        assert_eq!(take_frame(&hex("000f"), FRAME_MAX), Ok(None));
        assert_eq!(take_frame(&hex("0000000201"), FRAME_MAX), Ok(None));
        assert!(take_frame(&hex("00100000"), FRAME_MAX).is_err());
        assert!(take_frame(&hex("ffffffff"), FRAME_MAX).is_err());
    }

    #[test]
    fn a_ping_and_its_reply() {
        let bytes = hex("00000008 fffffffe 0000000b");
        let (body, _) = take_frame(&bytes, FRAME_MAX).unwrap().unwrap();
        assert_eq!(Head::split(body), Ok((Head { xid: xid::PING, code: 11 }, &[][..])));
        let mut out = Vec::new();
        framed(&mut out, |out| write_head(out, xid::PING, 7, 0));
        assert_eq!(out, hex("00000010 fffffffe 0000000000000007 00000000"));
    }
}
