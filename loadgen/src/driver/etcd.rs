//! etcd's client protocol: unary gRPC calls over HTTP/2, as many streams at a time as the depth allows.
//!
//! It asks the server not to keep a header table, so that answers refer to nothing.

use std::sync::Arc;

use super::head::{Field, Heads};
use super::http2::{
    Frame, NO_STATUS, PREFACE, WINDOW_FIRST, WINDOW_MAX, frame, grpc_status, put_head, put_settings,
    put_window_update, setting, take_frame,
};
use super::protobuf::{Value, fields, number_in, put_field, put_varint};
use super::{Done, Driver, Kind, Malformed, Op, Protocol, ReadMode, Rmw, Shape, Verdict, codes, stamp_of};

/// Of what the server sent us, before we say that it may send more.
const REFILL_AT: u32 = 1 << 29;

/// gRPC codes after which a write may have happened all the same.
const CANCELLED: i32 = 1;
const UNKNOWN: i32 = 2;
const DEADLINE_EXCEEDED: i32 = 4;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;
/// One outstanding call.
#[derive(Clone, Default)]
struct Call {
    kind: Option<Kind>,
    /// The message so far; kept for a history, or where it decides on what follows.
    message: Vec<u8>,
    rmw: Rmw,
}

/// The call that proves who we are has no tag of the loop's.
const NO_TAG: u32 = u32::MAX;
pub struct Etcd {
    shape: Arc<Shape>,
    calls: Vec<Call>,
    /// Stream (halved) modulo the length → stream and tag.
    streams: Vec<(u32, u32)>,
    next_stream: u32,
    heads: Heads,
    ready: bool,
    /// The answer that carries it, so far.
    welcome: Vec<u8>,
    /// Bytes that we may still send.
    window: i64,
    stream_window: u32,
    received: u32,
    /// Requests that wait for the window: bytes, and how many of them count.
    waiting: std::collections::VecDeque<(Vec<u8>, usize)>,
    message: Vec<u8>,
    /// The trailers that said success last time: the same bytes say it again.
    success: Vec<u8>,
}

impl Driver for Etcd {
    fn new(shape: &Arc<Shape>, depth: usize) -> Etcd {
        Etcd {
            shape: shape.clone(),
            calls: vec![Call::default(); depth],
            streams: vec![(0, 0); (depth * 4).next_power_of_two()],
            next_stream: 1,
            heads: Heads::new(shape.access.tls.is_some()),
            ready: false,
            welcome: Vec::new(),
            window: i64::from(WINDOW_FIRST),
            stream_window: WINDOW_FIRST,
            received: 0,
            waiting: Default::default(),
            message: Vec::with_capacity(shape.value.len() + shape.key_len() + 32),
            success: Vec::new(),
        }
    }

    fn roots(_shape: &Shape) -> u64 {
        0
    }

    fn hello(&mut self, out: &mut Vec<u8>) {
        self.calls.iter_mut().for_each(|call| call.kind = None);
        self.streams.fill((0, 0));
        self.next_stream = 1;
        self.heads = Heads::new(self.shape.access.tls.is_some());
        self.ready = false;
        self.welcome.clear();
        self.window = i64::from(WINDOW_FIRST);
        self.received = 0;
        self.waiting.clear();
        out.extend_from_slice(PREFACE);
        let settings = [
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, WINDOW_MAX),
        ];
        put_settings(out, &settings);
        put_window_update(out, 0, WINDOW_MAX - WINDOW_FIRST);
    }

    fn ready(&self) -> bool {
        self.ready
    }

    fn encode(&mut self, op: &Op, tag: u32, out: &mut Vec<u8>) {
        let stream = self.open_stream(tag);
        let call = &mut self.calls[tag as usize];
        call.kind = Some(op.kind);
        call.message.clear();
        call.rmw = Rmw { key: op.key, stamp: op.stamp, ..Rmw::default() };
        self.write_message(op);
        self.heads.write(if op.kind.is_read() || op.kind == Kind::Rmw { Field::Range } else { Field::Put });
        self.send(stream, out);
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, done: &mut Vec<Done>) -> Result<usize, Malformed> {
        let mut taken = 0;
        while let Some(frame) = take_frame(&input[taken..])? {
            taken += frame::HEAD + frame.body.len();
            self.on_frame(&frame, out, done)?;
        }
        Ok(taken)
    }

    fn beat(&mut self, out: &mut Vec<u8>) {
        put_head(out, 8, frame::PING, 0, 0);
        out.extend_from_slice(b"loadgen.");
    }
}

impl Etcd {
    /// The next stream whose place is free. Places are four times as many as calls, so few are passed over.
    fn open_stream(&mut self, tag: u32) -> u32 {
        loop {
            let stream = self.next_stream;
            self.next_stream += 2;
            let at = (stream >> 1) as usize & (self.streams.len() - 1);
            if self.streams[at].0 == 0 {
                self.streams[at] = (stream, tag);
                return stream;
            }
        }
    }

    fn call_of(&self, stream: u32) -> Option<(usize, u32)> {
        let at = (stream >> 1) as usize & (self.streams.len() - 1);
        (stream != 0 && self.streams[at].0 == stream).then_some((at, self.streams[at].1))
    }

    /// Sends block and message, or has them wait for the window.
    fn send(&mut self, stream: u32, out: &mut Vec<u8>) {
        let counted = self.message.len();
        // Header blocks must reach the server in the order in which they were made: whoever waits makes all wait.
        if self.waiting.is_empty() && self.window >= counted as i64 {
            self.window -= counted as i64;
            put_request(out, stream, self.heads.block(), &self.message);
        } else {
            let mut bytes = Vec::with_capacity(counted + 128);
            put_request(&mut bytes, stream, self.heads.block(), &self.message);
            self.waiting.push_back((bytes, counted));
        }
    }

    /// The next request of a key that is read and then written; `true`: there is none.
    fn on_rmw(&mut self, tag: u32, out: &mut Vec<u8>) -> bool {
        let call = &mut self.calls[tag as usize];
        let mut rmw = call.rmw;
        let answer = std::mem::take(&mut call.message);
        let answer = answer.get(5..).unwrap_or_default();
        if rmw.writing {
            let succeeded = fields(answer).any(|(field, value)| field == 2 && value.number() == 1);
            if succeeded {
                return true;
            }
            let again = rmw.again + 1;
            self.encode(&Op { kind: Kind::Rmw, key: rmw.key, stamp: rmw.stamp }, tag, out);
            self.calls[tag as usize].rmw.again = again;
            return false;
        }
        rmw.writing = true;
        call.kind = Some(Kind::Rmw);
        call.rmw = rmw;
        let (revision, _) = read_answer(Kind::Read, answer);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        self.shape.push_key(rmw.key, &mut key);
        self.shape.push_value(rmw.stamp, &mut value);
        let mut compare = vec![0x10, 2]; // The target is the revision of the last change, and it must equal this.
        put_field(&mut compare, 3, &key);
        compare.push(0x30);
        put_varint(&mut compare, revision);
        let (mut put, mut step, mut message) = (Vec::new(), Vec::new(), vec![0; 5]);
        put_field(&mut put, 1, &key);
        put_field(&mut put, 2, &value);
        put_field(&mut step, 2, &put);
        put_field(&mut message, 1, &compare);
        put_field(&mut message, 2, &step);
        let length = (message.len() - 5) as u32;
        message[1..5].copy_from_slice(&length.to_be_bytes());
        self.message = message;
        let stream = self.open_stream(tag);
        self.heads.write(Field::Txn);
        self.send(stream, out);
        false
    }

    fn write_message(&mut self, op: &Op) {
        let message = &mut self.message;
        message.clear();
        message.extend_from_slice(&[0; 5]);
        message.push(0x0a); // key
        put_varint(message, self.shape.key_len() as u64);
        self.shape.push_key(op.key, message);
        if !op.kind.is_read() && op.kind != Kind::Rmw {
            message.push(0x12); // value
            put_varint(message, self.shape.value.len() as u64);
            self.shape.push_value(op.stamp, message);
        } else {
            if op.kind == Kind::Scan {
                message.extend_from_slice(&[0x12, 1, 0, 0x18]); // no end, and a limit
                put_varint(message, op.stamp);
            }
            if op.kind != Kind::Audit && self.shape.read_mode == ReadMode::Local {
                message.extend_from_slice(&[0x38, 1]); // serializable
            }
        }
        let length = (message.len() - 5) as u32;
        message[1..5].copy_from_slice(&length.to_be_bytes());
    }

    /// Asks for a token. Requests follow when it is there.
    fn prove(&mut self, name: &str, password: &str, out: &mut Vec<u8>) {
        let stream = self.open_stream(NO_TAG);
        self.heads.write(Field::Authenticate);
        let message = credentials(name, password);
        let mut framed = vec![0];
        framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
        framed.extend_from_slice(&message);
        self.window -= framed.len() as i64;
        put_request(out, stream, self.heads.block(), &framed);
    }

    fn on_proven(&mut self, code: i32) -> Result<(), Malformed> {
        if code != 0 {
            let word = codes::word(Protocol::Etcd, code).unwrap_or_default();
            return Err(Malformed(format!("the server refuses --user with code {code} ({word})")));
        }
        let token = token_of(&self.welcome).ok_or_else(|| Malformed("a token that does not parse".into()))?;
        self.heads.prove(token);
        self.ready = true;
        Ok(())
    }

    fn on_frame(
        &mut self,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
        done: &mut Vec<Done>,
    ) -> Result<(), Malformed> {
        match frame.kind {
            frame::DATA => self.on_data(frame, out),
            frame::HEADERS => self.on_headers(frame, out, done),
            frame::RST_STREAM => {
                let code = frame.word(0)? as i32;
                self.end(frame.stream, Verdict::Unknown(code), out, done);
                Ok(())
            }
            frame::SETTINGS => self.on_settings(frame, out),
            frame::PING if frame.flags & frame::ACK == 0 => {
                put_head(out, frame.body.len(), frame::PING, frame::ACK, 0);
                out.extend_from_slice(frame.body);
                Ok(())
            }
            frame::GOAWAY => {
                let text = String::from_utf8_lossy(frame.body.get(8..).unwrap_or_default()).into_owned();
                Err(Malformed(format!("the server ends the connection, code {} {text}", frame.word(4)?)))
            }
            frame::WINDOW_UPDATE if frame.stream == 0 => {
                self.window += i64::from(frame.word(0)?);
                while let Some((_, counted)) = self.waiting.front()
                    && self.window >= *counted as i64
                {
                    let (bytes, counted) = self.waiting.pop_front().expect("looked at above");
                    self.window -= counted as i64;
                    out.extend_from_slice(&bytes);
                }
                Ok(())
            }
            frame::CONTINUATION => {
                Err(Malformed("header blocks in several frames are not understood".into()))
            }
            _ => Ok(()),
        }
    }

    fn on_settings(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if frame.flags & frame::ACK != 0 {
            return Ok(());
        }
        for entry in frame.body.chunks_exact(6) {
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            match u16::from_be_bytes([entry[0], entry[1]]) {
                setting::INITIAL_WINDOW_SIZE => self.stream_window = value,
                setting::HEADER_TABLE_SIZE => self.heads.on_table(value),
                _ => {}
            }
        }
        let largest = self.shape.value.len() + self.shape.key_len() + 32;
        if largest > self.stream_window as usize {
            return Err(Malformed(format!(
                "a request of {largest} bytes does not fit the server's stream window of {}; take smaller values",
                self.stream_window
            )));
        }
        put_head(out, 0, frame::SETTINGS, frame::ACK, 0);
        match self.shape.access.user.clone() {
            Some((name, password)) if !self.ready => self.prove(&name, &password, out),
            _ => self.ready = true,
        }
        Ok(())
    }

    fn on_data(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.received += frame.body.len() as u32;
        if self.received >= REFILL_AT {
            put_window_update(out, 0, self.received);
            self.received = 0;
        }
        match self.call_of(frame.stream) {
            Some((_, NO_TAG)) => self.welcome.extend_from_slice(frame.content()?),
            Some((_, tag)) if self.shape.checked || self.calls[tag as usize].kind == Some(Kind::Rmw) => {
                self.calls[tag as usize].message.extend_from_slice(frame.content()?);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_headers(
        &mut self,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
        done: &mut Vec<Done>,
    ) -> Result<(), Malformed> {
        if frame.flags & frame::END_HEADERS == 0 {
            return Err(Malformed("header blocks in several frames are not understood".into()));
        }
        if frame.flags & frame::END_STREAM == 0 {
            return Ok(()); // The head of the answer; the trailers tell how it went.
        }
        let block = frame.content()?;
        let code = if block == self.success { 0 } else { grpc_status(block)? };
        if code == 0 && self.success.is_empty() {
            self.success.extend_from_slice(block);
        }
        if let Some((at, NO_TAG)) = self.call_of(frame.stream) {
            self.streams[at] = (0, 0);
            return self.on_proven(code);
        }
        let verdict = match code {
            0 => Verdict::Ok,
            CANCELLED | UNKNOWN | DEADLINE_EXCEEDED | INTERNAL | UNAVAILABLE | NO_STATUS => {
                Verdict::Unknown(code)
            }
            other => Verdict::Failed(other),
        };
        self.end(frame.stream, verdict, out, done);
        Ok(())
    }

    fn end(&mut self, stream: u32, verdict: Verdict, out: &mut Vec<u8>, done: &mut Vec<Done>) {
        let Some((at, tag)) = self.call_of(stream) else { return };
        self.streams[at] = (0, 0);
        let call = &mut self.calls[tag as usize];
        let Some(kind) = call.kind.take() else { return };
        let mut end = Done { tag, verdict, revision: 0, stamp: call.rmw.again };
        if verdict == Verdict::Ok && kind == Kind::Rmw {
            if !self.on_rmw(tag, out) {
                return;
            }
        } else if verdict == Verdict::Ok && self.shape.checked {
            (end.revision, end.stamp) = read_answer(kind, call.message.get(5..).unwrap_or_default());
        }
        done.push(end);
    }
}

/// The message that asks for a token.
pub fn credentials(name: &str, password: &str) -> Vec<u8> {
    let mut message = Vec::new();
    for (field, text) in [(0x0a, name), (0x12, password)] {
        message.push(field);
        put_varint(&mut message, text.len() as u64);
        message.extend_from_slice(text.as_bytes());
    }
    message
}

/// The token in the answer, behind its five bytes of head.
pub fn token_of(answer: &[u8]) -> Option<&[u8]> {
    fields(answer.get(5..)?).find_map(|(field, value)| match value {
        Value::Bytes(token) if field == 2 => Some(token),
        _ => None,
    })
}

/// The revision written or of what was read, and the stamp read.
fn read_answer(kind: Kind, message: &[u8]) -> (u64, u64) {
    let (mut revision, mut stamp) = (0, 0);
    for (field, value) in fields(message) {
        match (field, value) {
            (1, Value::Bytes(header)) if !kind.is_read() => revision = number_in(header, 3),
            (2, Value::Bytes(record)) if kind.is_read() => {
                for (field, value) in fields(record) {
                    match (field, value) {
                        (3, value) => revision = value.number(),
                        (5, Value::Bytes(bytes)) => stamp = stamp_of(bytes),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    (revision, stamp)
}

fn put_request(out: &mut Vec<u8>, stream: u32, block: &[u8], message: &[u8]) {
    put_head(out, block.len(), frame::HEADERS, frame::END_HEADERS, stream);
    out.extend_from_slice(block);
    let mut chunks = message.chunks(frame::SIZE_MAX).peekable();
    while let Some(chunk) = chunks.next() {
        let flags = if chunks.peek().is_none() { frame::END_STREAM } else { 0 };
        put_head(out, chunk.len(), frame::DATA, flags, stream);
        out.extend_from_slice(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::driver::http2::GRPC_STATUS_HUFFMAN;

    fn driver() -> Etcd {
        let shape = Shape {
            protocol: Protocol::Etcd,
            prefix: "k".into(),
            digits: 7,
            keys: 100,
            value: vec![b'v'; 16],
            read_mode: ReadMode::Linearizable,
            checked: true,
            batch: 1,
            access: Access::default(),
        };
        let mut etcd = Etcd::new(&Arc::new(shape), 4);
        let mut out = Vec::new();
        etcd.hello(&mut out);
        let mut settings = Vec::new();
        put_settings(&mut settings, &[(setting::INITIAL_WINDOW_SIZE, WINDOW_FIRST)]);
        assert_eq!(etcd.decode(&settings, &mut out, &mut Vec::new()), Ok(settings.len()));
        assert!(etcd.ready());
        etcd
    }

    /// What etcd 3.7.3 sent for a put: head, message, trailers with `grpc-status: 0` and an empty `grpc-message`.
    fn trailers(stream: u32, block: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_head(&mut out, block.len(), frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, stream);
        out.extend_from_slice(block);
        out
    }

    #[test]
    fn later_requests_name_their_headers_by_number() {
        let mut etcd = driver();
        let put = Op { kind: Kind::Write, key: 1, stamp: 9 };
        let mut first = Vec::new();
        etcd.encode(&put, 0, &mut first);
        let mut second = Vec::new();
        etcd.encode(&put, 1, &mut second);
        let block = take_frame(&second).unwrap().unwrap();
        // Newest first: te 62, content-type 63, authority 64, path 65.
        assert_eq!((block.stream, block.body), (3, &[0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe][..]));
        let mut third = Vec::new();
        etcd.encode(&Op { kind: Kind::Read, key: 1, stamp: 0 }, 2, &mut third);
        etcd.encode(&put, 3, &mut third);
        let frames: Vec<_> = std::iter::successors(take_frame(&third).unwrap(), |_| None).collect();
        assert!(frames[0].body.ends_with(&[0xc1, 0xc0, 0xbf]), "the range's path pushed them down by one");
    }

    #[test]
    fn an_answer_completes_with_its_revision() {
        let mut etcd = driver();
        let (mut out, mut done) = (Vec::new(), Vec::new());
        etcd.encode(&Op { kind: Kind::Write, key: 1, stamp: 9 }, 2, &mut out);
        etcd.encode(&Op { kind: Kind::Read, key: 1, stamp: 0 }, 1, &mut out);
        let header = [0x08, 1, 0x18, 0x85, 0x01]; // cluster 1, revision 133
        let mut put = vec![0, 0, 0, 0, 7, 0x0a, 5];
        put.extend_from_slice(&header);
        let mut record = vec![0x18, 7, 0x2a, 16]; // mod_revision 7, value
        record.extend_from_slice(&77u64.to_le_bytes());
        record.extend_from_slice(&[b'v'; 8]);
        let mut range = vec![0, 0, 0, 0, 0, 0x0a, 5];
        range.extend_from_slice(&header);
        range.extend_from_slice(&[0x12, record.len() as u8]);
        range.extend_from_slice(&record);
        let mut input = Vec::new();
        for (stream, message) in [(1, &put), (3, &range)] {
            put_head(&mut input, 1, frame::HEADERS, frame::END_HEADERS, stream);
            input.push(0x88);
            put_head(&mut input, message.len(), frame::DATA, 0, stream);
            input.extend_from_slice(message);
        }
        let ok = [&[0x40, 0x88][..], &GRPC_STATUS_HUFFMAN, &[1], b"0"].concat();
        input.extend(trailers(3, &ok));
        input.extend(trailers(1, &ok));
        assert_eq!(etcd.decode(&input, &mut out, &mut done), Ok(input.len()));
        let ends: Vec<_> = done.iter().map(|end| (end.tag, end.verdict, end.revision, end.stamp)).collect();
        assert_eq!(ends, [(1, Verdict::Ok, 7, 77), (2, Verdict::Ok, 133, 0)]);
    }

    #[test]
    fn a_full_window_holds_requests_back_until_it_opens() {
        let mut etcd = driver();
        let put = Op { kind: Kind::Write, key: 1, stamp: 9 };
        etcd.window = 20;
        let mut out = Vec::new();
        etcd.encode(&put, 0, &mut out);
        assert!(out.is_empty());
        let mut update = Vec::new();
        put_window_update(&mut update, 0, 1000);
        etcd.decode(&update, &mut out, &mut Vec::new()).unwrap();
        assert_eq!(take_frame(&out).unwrap().unwrap().stream, 1);
    }

    #[test]
    fn another_protocol_is_refused_in_words() {
        let error =
            driver().decode(b"HTTP/1.1 400 Bad Request\r\n", &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert!(error.0.contains("not HTTP/2"), "{error}");
    }
}
