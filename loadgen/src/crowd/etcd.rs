//! etcd: unary calls, and on each connection one stream for watches and one for a lease. No more is under way at a time than fits the first
//! window of a connection, so windows are not counted here.

use std::collections::{HashMap, VecDeque};

use super::{Ask, CHANGED, HELD, Manner, NO_TAG, Part, Said, Talk, below};
use crate::driver::Malformed;
use crate::driver::etcd::{credentials, token_of};
use crate::driver::http2::{
    Frame, PREFACE, WINDOW_FIRST, WINDOW_MAX, frame, grpc_status, put_head, put_settings, put_string,
    put_window_update, setting, take_frame,
};
use crate::driver::protobuf::{Value, fields, number_in, put_field, put_varint, within};

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
const TXN: &str = "/etcdserverpb.KV/Txn";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
const REFILL_AT: u32 = 1 << 29;
/// gRPC's code, and what a lease that has expired is told.
const NOT_FOUND: i32 = 5;

/// What is behind a call's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Grant,
    Lock,
    Guard,
}

struct Call {
    tag: u32,
    kind: Kind,
    answer: Vec<u8>,
}

/// A stream that both sides keep open: its number, the bytes of a message that is not whole yet, and whose answers
/// are owed, oldest first.
#[derive(Default)]
struct Flow {
    stream: u32,
    partial: Vec<u8>,
    asked: VecDeque<(u32, bool)>,
}

pub struct Etcd {
    manner: Manner,
    greeted: bool,
    /// The call that asks for a token, and what it gave.
    proof: Option<(u32, Vec<u8>)>,
    token: String,
    next_stream: u32,
    calls: HashMap<u32, Call>,
    watch: Flow,
    /// Watches by the server's number, and whether they end with their first event.
    watches: HashMap<u64, bool>,
    keeper: Flow,
    lease: u64,
    received: u32,
}

impl Talk for Etcd {
    const ONE_SHOT: bool = false;
    const TELLS_ALL: bool = true;

    fn new(manner: &Manner) -> Etcd {
        Etcd {
            manner: manner.clone(),
            greeted: false,
            proof: None,
            token: String::new(),
            next_stream: 1,
            calls: HashMap::new(),
            watch: Flow::default(),
            watches: HashMap::new(),
            keeper: Flow::default(),
            lease: 0,
            received: 0,
        }
    }

    fn hello(&mut self, out: &mut Vec<u8>) {
        let lease = self.lease;
        *self = Etcd { lease, ..Etcd::new(&self.manner) };
        out.extend_from_slice(PREFACE);
        let settings = [
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, WINDOW_MAX),
        ];
        put_settings(out, &settings);
        put_window_update(out, 0, WINDOW_MAX - WINDOW_FIRST);
    }

    fn ask(&mut self, ask: Ask<'_>, tag: u32, out: &mut Vec<u8>) {
        let mut message = Vec::new();
        let (path, kind) = match ask {
            Ask::Open => {
                message.push(0x08); // TTL
                put_varint(&mut message, u64::from(self.manner.session_ms).div_ceil(1000));
                (GRANT, Kind::Grant)
            }
            Ask::KeepAlive => {
                message.push(0x08); // ID
                put_varint(&mut message, self.lease);
                self.keeper.asked.push_back((tag, false));
                return self.flow(KEEP_ALIVE, &message, out);
            }
            Ask::Make { key, ephemeral: true } => {
                self.put_put(&mut message, key, self.lease);
                (PUT, Kind::Plain)
            }
            Ask::Make { key, ephemeral: false } | Ask::Put(key) => {
                self.put_put(&mut message, key, 0);
                (PUT, Kind::Plain)
            }
            Ask::Acquire(key) => {
                let mut compare = vec![0x10, 1]; // The target is the revision of creation, and it must equal
                put_field(&mut compare, 3, key.as_bytes());
                compare.extend_from_slice(&[0x28, 0]); // zero.
                put_field(&mut message, 1, &compare);
                let (mut put, mut step) = (Vec::new(), Vec::new());
                self.put_put(&mut put, key, self.lease);
                put_field(&mut step, 2, &put);
                put_field(&mut message, 2, &step);
                (TXN, Kind::Lock)
            }
            Ask::Drop(key) => {
                put_field(&mut message, 1, key.as_bytes());
                (DELETE, Kind::Plain)
            }
            Ask::Watch(key) | Ask::WatchOnce(key) | Ask::WatchBelow { key, .. } => {
                let mut create = Vec::new();
                if matches!(ask, Ask::WatchBelow { .. }) {
                    let (from, end) = below(key);
                    put_field(&mut create, 1, &from);
                    put_field(&mut create, 2, &end);
                } else {
                    put_field(&mut create, 1, key.as_bytes());
                }
                put_field(&mut message, 1, &create);
                let once = matches!(ask, Ask::WatchOnce(_) | Ask::WatchBelow { once: true, .. });
                self.watch.asked.push_back((tag, once));
                return self.flow(WATCH, &message, out);
            }
            Ask::Get { key, revision, stale } => {
                put_range(&mut message, key.as_bytes(), &[], 0, revision, stale);
                (RANGE, Kind::Plain)
            }
            Ask::List { below: key, limit, stale } => {
                let (from, end) = below(key);
                put_range(&mut message, &from, &end, limit, 0, stale);
                (RANGE, Kind::Plain)
            }
            Ask::All(parts) => {
                parts.iter().for_each(|part| put_field(&mut message, 2, &self.step(part)));
                (TXN, Kind::Plain)
            }
            Ask::Guard { key, revision, put } => {
                let mut compare = vec![0x10, 2]; // The target is the revision of the last change, and it must equal
                put_field(&mut compare, 3, key.as_bytes());
                compare.push(0x30); // this.
                put_varint(&mut compare, revision);
                let mut delete = Vec::new();
                let then = match put {
                    true => self.step(&Part::Put(key)),
                    false => {
                        let mut range = Vec::new();
                        put_field(&mut range, 1, key.as_bytes());
                        put_field(&mut delete, 3, &range);
                        delete
                    }
                };
                put_field(&mut message, 1, &compare);
                put_field(&mut message, 2, &then);
                put_field(&mut message, 3, &self.step(&Part::Get(key)));
                (TXN, Kind::Guard)
            }
            // Jobs that need the others are refused for this protocol.
            Ask::Register(_) | Ask::Deregister(_) | Ask::Count(_) | Ask::Bye => return,
        };
        let stream = self.call(path, &message, frame::END_STREAM, out);
        self.calls.insert(stream, Call { tag, kind, answer: Vec::new() });
    }

    fn hear(&mut self, input: &[u8], out: &mut Vec<u8>, said: &mut Vec<Said>) -> Result<usize, Malformed> {
        let mut taken = 0;
        while let Some(one) = take_frame(&input[taken..])? {
            taken += frame::HEAD + one.body.len();
            match one.kind {
                frame::SETTINGS if one.flags & frame::ACK == 0 => {
                    put_head(out, 0, frame::SETTINGS, frame::ACK, 0);
                    match self.manner.access.user.clone() {
                        _ if self.greeted => {}
                        Some((name, password)) => {
                            let message = credentials(&name, &password);
                            let stream = self.call(AUTHENTICATE, &message, frame::END_STREAM, out);
                            self.proof = Some((stream, Vec::new()));
                        }
                        None => said.push(Said::Ready),
                    }
                    self.greeted = true;
                }
                frame::PING if one.flags & frame::ACK == 0 => {
                    put_head(out, one.body.len(), frame::PING, frame::ACK, 0);
                    out.extend_from_slice(one.body);
                }
                frame::DATA => {
                    self.received += one.body.len() as u32;
                    if self.received >= REFILL_AT {
                        put_window_update(out, 0, self.received);
                        self.received = 0;
                    }
                    self.hear_data(&one, out, said)?;
                }
                frame::HEADERS if one.flags & frame::END_STREAM != 0 => self.hear_end(&one, said)?,
                frame::RST_STREAM | frame::GOAWAY => {
                    return Err(Malformed("the server ended a stream or the connection".into()));
                }
                _ => {}
            }
        }
        Ok(taken)
    }

    fn beat(&mut self, out: &mut Vec<u8>) {
        if self.lease > 0 {
            return self.ask(Ask::KeepAlive, NO_TAG, out);
        }
        put_head(out, 8, frame::PING, 0, 0);
        out.extend_from_slice(b"loadgen.");
    }
}

impl Etcd {
    /// Opens a stream with one message; `last`: whether it is the only one.
    fn call(&mut self, path: &str, message: &[u8], last: u8, out: &mut Vec<u8>) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        // :method POST, :scheme http or https
        let mut block = vec![0x83, if self.manner.access.tls.is_some() { 0x87 } else { 0x86 }];
        for (name, value) in [
            (&[0x04][..], path),
            (&[0x01], "loadgen"),
            (&[0x0f, 0x10], "application/grpc"),
            (b"\x00\x02te", "trailers"),
            (b"\x00\x05token", &self.token),
        ] {
            if !value.is_empty() {
                block.extend_from_slice(name);
                put_string(&mut block, value.as_bytes());
            }
        }
        put_head(out, block.len(), frame::HEADERS, frame::END_HEADERS, stream);
        out.extend_from_slice(&block);
        put_message(message, last, stream, out);
        stream
    }

    /// Sends a message on the stream that is kept for such; opens it with the first.
    fn flow(&mut self, path: &str, message: &[u8], out: &mut Vec<u8>) {
        let stream = if path == WATCH { self.watch.stream } else { self.keeper.stream };
        if stream > 0 {
            return put_message(message, 0, stream, out);
        }
        let stream = self.call(path, message, 0, out);
        if path == WATCH { self.watch.stream = stream } else { self.keeper.stream = stream }
    }

    /// A request within a transaction.
    fn step(&self, part: &Part<'_>) -> Vec<u8> {
        let (mut inner, mut step) = (Vec::new(), Vec::new());
        let field = match *part {
            Part::Get(key) => {
                put_range(&mut inner, key.as_bytes(), &[], 0, 0, false);
                1
            }
            Part::Page(key, limit) => {
                put_range(&mut inner, key.as_bytes(), &[0], limit, 0, false);
                1
            }
            Part::Make(key) | Part::Put(key) => {
                self.put_put(&mut inner, key, 0);
                2
            }
        };
        put_field(&mut step, field, &inner);
        step
    }

    fn put_put(&self, message: &mut Vec<u8>, key: &str, lease: u64) {
        put_field(message, 1, key.as_bytes());
        put_field(message, 2, &self.manner.value);
        if lease > 0 {
            message.push(0x18);
            put_varint(message, lease);
        }
    }

    fn hear_data(
        &mut self,
        one: &Frame<'_>,
        out: &mut Vec<u8>,
        said: &mut Vec<Said>,
    ) -> Result<(), Malformed> {
        let content = one.content()?;
        if let Some((stream, answer)) = &mut self.proof
            && *stream == one.stream
        {
            answer.extend_from_slice(content);
        } else if one.stream == self.watch.stream {
            self.watch.partial.extend_from_slice(content);
            while let Some(message) = take_message(&mut self.watch.partial) {
                self.hear_watch(&message, out, said);
            }
        } else if one.stream == self.keeper.stream {
            self.keeper.partial.extend_from_slice(content);
            while let Some(message) = take_message(&mut self.keeper.partial) {
                let ttl = number_in(&message, 3);
                if let Some((tag, _)) = self.keeper.asked.pop_front() {
                    said.push(Said::Done { tag, code: if ttl > 0 { 0 } else { NOT_FOUND }, value: 0 });
                }
            }
        } else if let Some(call) = self.calls.get_mut(&one.stream)
            && call.kind != Kind::Plain
        {
            call.answer.extend_from_slice(content);
        }
        Ok(())
    }

    /// The trailers of a call.
    fn hear_end(&mut self, one: &Frame<'_>, said: &mut Vec<Said>) -> Result<(), Malformed> {
        if one.stream == self.watch.stream || one.stream == self.keeper.stream {
            return Err(Malformed("the server ended a stream of watches or leases".into()));
        }
        let mut code = grpc_status(one.content()?)?;
        if let Some((_, answer)) = self.proof.take_if(|(stream, _)| *stream == one.stream) {
            let token = token_of(&answer).filter(|_| code == 0);
            let token =
                token.ok_or_else(|| Malformed(format!("the server refuses --user with code {code}")))?;
            self.token = String::from_utf8_lossy(token).into_owned();
            said.push(Said::Ready);
        }
        let Some(call) = self.calls.remove(&one.stream) else { return Ok(()) };
        let message = call.answer.get(5..).unwrap_or_default();
        let number = |wanted| number_in(message, wanted);
        let mut value = 0;
        match call.kind {
            Kind::Guard if code == 0 => {
                value = if number(2) == 0 { there_is(message) } else { header_revision(message) } as i64;
                code = if number(2) == 0 { CHANGED } else { 0 };
            }
            Kind::Grant => self.lease = number(2),
            Kind::Lock if code == 0 && number(2) == 0 => code = HELD,
            _ => {}
        }
        said.push(Said::Done { tag: call.tag, code, value });
        Ok(())
    }

    /// `watch_id` is field 2, `created` 3, `canceled` 4, each event is a field 11.
    fn hear_watch(&mut self, message: &[u8], out: &mut Vec<u8>, said: &mut Vec<Said>) {
        let (mut id, mut created, mut events) = (0, false, 0);
        for (field, value) in fields(message) {
            match (field, value) {
                (2, value) => id = value.number(),
                (3, Value::Number(1)) => created = true,
                (11, Value::Bytes(_)) => events += 1,
                _ => {}
            }
        }
        if created && let Some((tag, once)) = self.watch.asked.pop_front() {
            self.watches.insert(id, once);
            said.push(Said::Done { tag, code: 0, value: 0 });
        }
        if events == 0 {
            return;
        }
        match self.watches.get(&id) {
            Some(true) => {
                self.watches.remove(&id);
                let (mut cancel, mut message) = (vec![0x08], Vec::new());
                put_varint(&mut cancel, id);
                put_field(&mut message, 2, &cancel);
                put_message(&message, 0, self.watch.stream, out);
                said.push(Said::Fired);
            }
            Some(false) => said.extend((0..events).map(|_| Said::Fired)),
            None => {} // It was cancelled, and this was on its way.
        }
    }
}

/// A range request; what is zero or empty is left out.
fn put_range(out: &mut Vec<u8>, key: &[u8], end: &[u8], limit: u32, revision: u64, stale: bool) {
    put_field(out, 1, key);
    if !end.is_empty() {
        put_field(out, 2, end);
    }
    for (head, number) in [(0x18, u64::from(limit)), (0x20, revision), (0x38, u64::from(stale))] {
        if number > 0 {
            out.push(head);
            put_varint(out, number);
        }
    }
}

fn header_revision(answer: &[u8]) -> u64 {
    number_in(within(answer, 1), 3)
}

/// The revision of the key that a failed guard has read: of its first response the range, of that the record.
fn there_is(answer: &[u8]) -> u64 {
    number_in(within(within(within(answer, 3), 1), 2), 3)
}

fn put_message(message: &[u8], last: u8, stream: u32, out: &mut Vec<u8>) {
    put_head(out, message.len() + 5, frame::DATA, last, stream);
    out.push(0);
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
}

/// The first whole message of a stream.
fn take_message(partial: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (head, rest) = partial.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let message = rest.get(..length)?.to_vec();
    partial.drain(..5 + length);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(stream: u32, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(message, 0, stream, &mut out);
        out
    }

    fn trailers(stream: u32) -> Vec<u8> {
        let block = b"\x00\x0bgrpc-status\x010";
        let mut out = Vec::new();
        put_head(&mut out, block.len(), frame::HEADERS, frame::END_HEADERS | frame::END_STREAM, stream);
        out.extend_from_slice(block);
        out
    }

    #[test]
    fn a_guard_that_does_not_hold_tells_the_revision_there_is() {
        let mut etcd = Etcd::new(&Manner { value: b"v".to_vec(), session_ms: 9, access: Default::default() });
        let (mut out, mut said) = (Vec::new(), Vec::new());
        etcd.hello(&mut out);
        etcd.ask(Ask::Guard { key: "k", revision: 7, put: true }, 1, &mut out);
        etcd.ask(Ask::Guard { key: "k", revision: 9, put: false }, 2, &mut out);
        // header {revision 20}, no success, a range's response with a record changed at 9
        let failed = [0x0a, 2, 0x18, 20, 0x1a, 6, 0x0a, 4, 0x12, 2, 0x18, 9];
        let held = [0x0a, 2, 0x18, 21, 0x10, 1];
        let input = [message(1, &failed), trailers(1), message(3, &held), trailers(3)].concat();
        etcd.hear(&input, &mut out, &mut said).expect("valid");
        let want =
            [Said::Done { tag: 1, code: CHANGED, value: 9 }, Said::Done { tag: 2, code: 0, value: 21 }];
        assert_eq!(said, want);
    }

    #[test]
    fn locks_leases_and_watches_are_told_apart_by_their_streams() {
        let mut etcd =
            Etcd::new(&Manner { value: b"v".to_vec(), session_ms: 9000, access: Default::default() });
        let (mut out, mut said) = (Vec::new(), Vec::new());
        let hear = |etcd: &mut Etcd, input: Vec<Vec<u8>>, said: &mut Vec<Said>| {
            let mut out = Vec::new();
            etcd.hear(&input.concat(), &mut out, said).expect("valid");
            out
        };
        etcd.hello(&mut out);
        etcd.ask(Ask::Open, 1, &mut out);
        assert!(out.ends_with(&[0, 0, 0, 0, 2, 0x08, 9]), "a lease of nine seconds");
        hear(&mut etcd, vec![message(1, &[0x10, 0x2a, 0x18, 9]), trailers(1)], &mut said);
        assert_eq!(etcd.lease, 42);
        out.clear();
        etcd.ask(Ask::Acquire("k"), 2, &mut out);
        let put = [0x0a, 1, b'k', 0x12, 1, b'v', 0x18, 42];
        assert!(out.ends_with(&[&[0x12, 10, 0x12, 8][..], &put].concat()), "{out:?}");
        etcd.ask(Ask::Acquire("k"), 3, &mut out);
        let answers = vec![message(3, &[0x10, 1]), trailers(3), message(5, &[]), trailers(5)];
        hear(&mut etcd, answers, &mut said);

        etcd.ask(Ask::KeepAlive, 4, &mut out);
        etcd.ask(Ask::WatchOnce("k"), 5, &mut out);
        etcd.ask(Ask::Watch("k"), 6, &mut out);
        assert_eq!((etcd.keeper.stream, etcd.watch.stream), (7, 9));
        let answers = vec![
            message(7, &[0x10, 42, 0x18, 9]),
            message(9, &[0x18, 1]),          // created, number 0
            message(9, &[0x10, 1, 0x18, 1]), // created, number 1
        ];
        hear(&mut etcd, answers, &mut said);
        let done = |tag, code| Said::Done { tag, code, value: 0 };
        assert_eq!(said, [done(1, 0), done(2, 0), done(3, HELD), done(4, 0), done(5, 0), done(6, 0)]);
        said.clear();
        // An event for each; the first watch is cancelled, and what comes for it later is nobody's.
        let events =
            vec![message(9, &[0x5a, 0]), message(9, &[0x5a, 0]), message(9, &[0x10, 1, 0x5a, 0, 0x5a, 0])];
        let out = hear(&mut etcd, events, &mut said);
        assert_eq!(said, [Said::Fired; 3]);
        assert!(out.ends_with(&[0, 0, 0, 0, 4, 0x12, 2, 0x08, 0]), "{out:?}");
    }
}
