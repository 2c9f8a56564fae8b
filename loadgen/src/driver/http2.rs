//! HTTP/2 as gRPC's client needs it: frames, and of header compression only the search for `grpc-status`. Who uses it
//! asks the server not to keep a header table.

use super::Malformed;
use super::protobuf::{put_varint, take_varint};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub mod frame {
    pub const HEAD: usize = 9;
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 32;
    /// The longest frame that a peer takes unless it says otherwise.
    pub const SIZE_MAX: usize = 16_384;
}

pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
}

pub const WINDOW_MAX: u32 = (1 << 31) - 1;
pub const WINDOW_FIRST: u32 = 65_535;
/// No `grpc-status` came; not a gRPC code.
pub const NO_STATUS: i32 = -1;

/// "grpc-status" in HPACK's Huffman code (RFC 7541, appendix B).
pub const GRPC_STATUS_HUFFMAN: [u8; 8] = [0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f];
const GRPC_STATUS: &[u8] = b"grpc-status";

/// The value of `grpc-status` in a header block that uses no dynamic table.
pub fn grpc_status(mut block: &[u8]) -> Result<i32, Malformed> {
    let broken = || Malformed("a header block that does not parse".into());
    let mut code = NO_STATUS;
    while let Some(&first) = block.first() {
        if first & 0x80 != 0 {
            take_int(&mut block, 7).ok_or_else(broken)?; // Indexed: a static entry.
            continue;
        }
        if first & 0xe0 == 0x20 {
            take_int(&mut block, 5).ok_or_else(broken)?; // The table's size, which is 0.
            continue;
        }
        let prefix = if first & 0x40 != 0 { 6 } else { 4 };
        let name = take_int(&mut block, prefix).ok_or_else(broken)?;
        let named = if name == 0 {
            let (huffman, bytes) = take_string(&mut block).ok_or_else(broken)?;
            bytes == if huffman { &GRPC_STATUS_HUFFMAN[..] } else { GRPC_STATUS }
        } else {
            false
        };
        let (huffman, value) = take_string(&mut block).ok_or_else(broken)?;
        if named {
            code = if huffman {
                huffman_digit(value)
            } else {
                std::str::from_utf8(value).ok().and_then(|text| text.parse().ok())
            }
            .ok_or_else(broken)?;
        }
    }
    Ok(code)
}

/// One digit in Huffman code; two are never shorter than without it.
fn huffman_digit(value: &[u8]) -> Option<i32> {
    let byte = *value.first().filter(|_| value.len() == 1)?;
    match (byte >> 3, byte >> 2) {
        (digit @ 0..=2, _) => Some(i32::from(digit)),
        (_, digit @ 0x19..=0x1f) => Some(i32::from(digit) - 0x19 + 3),
        _ => None,
    }
}

fn take_int(input: &mut &[u8], prefix: u32) -> Option<usize> {
    let (&first, rest) = input.split_first()?;
    *input = rest;
    let mask = (1usize << prefix) - 1;
    let small = first as usize & mask;
    if small < mask {
        return Some(small);
    }
    let more = take_varint(input)?;
    usize::try_from(more).ok()?.checked_add(mask)
}

fn take_string<'a>(input: &mut &'a [u8]) -> Option<(bool, &'a [u8])> {
    let huffman = input.first()? & 0x80 != 0;
    let length = take_int(input, 7)?;
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some((huffman, bytes))
}

/// A string of a header block, without Huffman's code.
pub fn put_string(block: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        block.push(text.len() as u8);
    } else {
        block.push(127);
        put_varint(block, text.len() as u64 - 127);
    }
    block.extend_from_slice(text);
}

#[derive(Debug)]
pub struct Frame<'a> {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub body: &'a [u8],
}

impl Frame<'_> {
    pub fn word(&self, at: usize) -> Result<u32, Malformed> {
        let bytes = self.body.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_be_bytes).ok_or_else(|| Malformed("an HTTP/2 frame is too short".into()))
    }

    /// The body without padding and priority.
    pub fn content(&self) -> Result<&[u8], Malformed> {
        let broken = || Malformed("an HTTP/2 frame's padding is longer than the frame".into());
        let mut body = self.body;
        if self.flags & frame::PADDED != 0 {
            let (&pad, rest) = body.split_first().ok_or_else(broken)?;
            body = rest.get(..rest.len().checked_sub(pad as usize).ok_or_else(broken)?).ok_or_else(broken)?;
        }
        if self.kind == frame::HEADERS && self.flags & frame::PRIORITY != 0 {
            body = body.get(5..).ok_or_else(broken)?;
        }
        Ok(body)
    }
}

pub fn take_frame(input: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
    let Some((head, rest)) = input.split_first_chunk::<{ frame::HEAD }>() else { return Ok(None) };
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    if length > frame::SIZE_MAX {
        return Err(Malformed(format!("a frame of {length} bytes: this is not HTTP/2")));
    }
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WINDOW_MAX;
    let body = rest.get(..length);
    Ok(body.map(|body| Frame { kind: head[3], flags: head[4], stream, body }))
}

pub fn put_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    let length = (length as u32).to_be_bytes();
    let stream = stream.to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags]);
    out.extend_from_slice(&stream);
}

pub fn put_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    put_head(out, settings.len() * 6, frame::SETTINGS, 0, 0);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub fn put_window_update(out: &mut Vec<u8>, stream: u32, more: u32) {
    put_head(out, 4, frame::WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&more.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_plain_and_in_huffman_code() {
        let plain = [&[0, 11], GRPC_STATUS, &[2], b"14"].concat();
        assert_eq!(grpc_status(&plain), Ok(14));
        let coded = [&[0x20, 0x40, 0x88][..], &GRPC_STATUS_HUFFMAN, &[1], b"0"].concat();
        assert_eq!(grpc_status(&coded), Ok(0));
        let digit = [&[0x40, 0x88][..], &GRPC_STATUS_HUFFMAN, &[0x81, 0x1e << 2 | 3]].concat();
        assert_eq!(grpc_status(&digit), Ok(8));
        assert_eq!(grpc_status(&[0x88]), Ok(NO_STATUS));
        assert!(grpc_status(&[0, 11, 1]).is_err());
    }
}
