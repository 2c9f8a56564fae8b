//! etcd's answers, from a constant. Requests are told apart by their message: a put has a value.

use super::Answer;
use crate::driver::http2::{
    PREFACE, WINDOW_FIRST, WINDOW_MAX, frame, put_head, put_settings, put_window_update, setting, take_frame,
};
use crate::driver::protobuf::{Value, fields, put_varint};

/// `:status 200`, `content-type: application/grpc`.
const HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";
const TRAILERS: &[u8] = b"\x00\x0bgrpc-status\x010";
const REFILL_AT: u32 = 1 << 29;

pub struct Etcd {
    greeted: bool,
    asked: bool,
    received: u32,
    put: Vec<u8>,
    range: Vec<u8>,
}

impl Answer for Etcd {
    fn new(value_size: usize) -> Etcd {
        let header = [0x08, 1, 0x10, 2, 0x18, 3, 0x20, 4]; // cluster, member, revision, term
        let mut message = vec![0x0a, header.len() as u8];
        message.extend_from_slice(&header);
        let put = grpc(&message);
        let mut record = b"\x0a\x01k\x10\x02\x18\x03\x20\x01\x2a".to_vec(); // key, create, mod, version, value
        put_varint(&mut record, value_size as u64);
        record.resize(record.len() + value_size, b'v');
        message.push(0x12);
        put_varint(&mut message, record.len() as u64);
        message.extend_from_slice(&record);
        message.extend_from_slice(&[0x20, 1]); // count
        Etcd { greeted: false, asked: false, received: 0, put, range: grpc(&message) }
    }

    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let mut taken = 0;
        if !self.greeted {
            if input.len() < PREFACE.len() {
                return Some(0);
            }
            if !input.starts_with(PREFACE) {
                return None;
            }
            taken = PREFACE.len();
            self.greeted = true;
            put_settings(
                out,
                &[(setting::INITIAL_WINDOW_SIZE, WINDOW_MAX), (setting::HEADER_TABLE_SIZE, 4096)],
            );
            put_window_update(out, 0, WINDOW_MAX - WINDOW_FIRST);
        }
        while let Some(frame) = take_frame(&input[taken..]).ok()? {
            taken += frame::HEAD + frame.body.len();
            match frame.kind {
                frame::DATA => {
                    self.received += frame.body.len() as u32;
                    if self.received > REFILL_AT {
                        put_window_update(out, 0, self.received);
                        self.received = 0;
                    }
                    if frame.flags & frame::END_STREAM != 0 {
                        self.answer(frame.stream, frame.content().ok()?, out);
                    }
                }
                frame::SETTINGS if frame.flags & frame::ACK == 0 => {
                    put_head(out, 0, frame::SETTINGS, frame::ACK, 0)
                }
                frame::PING if frame.flags & frame::ACK == 0 => {
                    put_head(out, frame.body.len(), frame::PING, frame::ACK, 0);
                    out.extend_from_slice(frame.body);
                }
                _ => {}
            }
        }
        Some(taken)
    }

    fn asked(&self) -> bool {
        self.asked
    }
}

impl Etcd {
    fn answer(&mut self, stream: u32, message: &[u8], out: &mut Vec<u8>) {
        self.asked = true;
        // A long value comes in several frames, of which this is the last: it begins with no key, so it is a put's.
        let mut parts = fields(message.get(5..).unwrap_or_default());
        let is_range =
            matches!(parts.next(), Some((1, Value::Bytes(_)))) && !matches!(parts.next(), Some((2, _)));
        let message = if is_range { &self.range } else { &self.put };
        put_head(out, HEAD.len(), frame::HEADERS, frame::END_HEADERS, stream);
        out.extend_from_slice(HEAD);
        for chunk in message.chunks(frame::SIZE_MAX) {
            put_head(out, chunk.len(), frame::DATA, 0, stream);
            out.extend_from_slice(chunk);
        }
        put_head(out, TRAILERS.len(), frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, stream);
        out.extend_from_slice(TRAILERS);
    }
}

fn grpc(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}
