//! etcd: unary calls, and one watch stream for each connection. No more is under way at a time than fits the first
//! window of a connection, so windows are not counted here.

use std::collections::HashMap;

use super::{Ask, Manner, Said, Talk};
use crate::driver::Malformed;
use crate::driver::etcd::{credentials, token_of};
use crate::driver::http2::{
    PREFACE, WINDOW_FIRST, WINDOW_MAX, frame, grpc_status, put_head, put_settings, put_string,
    put_window_update, setting, take_frame,
};
use crate::driver::protobuf::{Value, fields, put_varint};

const PUT: &str = "/etcdserverpb.KV/Put";
const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
const REFILL_AT: u32 = 1 << 29;

pub struct Etcd {
    manner: Manner,
    greeted: bool,
    /// The call that asks for a token, and what it gave.
    proof: Option<(u32, Vec<u8>)>,
    token: String,
    next_stream: u32,
    calls: HashMap<u32, u32>,
    /// The watch's stream and tag, and the bytes of a message that is not whole yet.
    watch: Option<(u32, u32)>,
    partial: Vec<u8>,
    received: u32,
}

impl Talk for Etcd {
    const ONE_SHOT: bool = false;

    fn new(manner: &Manner) -> Etcd {
        Etcd {
            manner: manner.clone(),
            greeted: false,
            proof: None,
            token: String::new(),
            next_stream: 1,
            calls: HashMap::new(),
            watch: None,
            partial: Vec::new(),
            received: 0,
        }
    }

    fn hello(&mut self, out: &mut Vec<u8>) {
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
        let path = match ask {
            Ask::Make { key, .. } | Ask::Put(key) => {
                put_field(&mut message, 1, key.as_bytes());
                put_field(&mut message, 2, &self.manner.value);
                PUT
            }
            Ask::Drop(key) => {
                put_field(&mut message, 1, key.as_bytes());
                DELETE
            }
            Ask::Watch(key) => {
                let mut create = Vec::new();
                put_field(&mut create, 1, key.as_bytes());
                put_field(&mut message, 1, &create);
                WATCH
            }
            Ask::Count(_) | Ask::Bye => return,
        };
        let last = if path == WATCH { 0 } else { frame::END_STREAM };
        let stream = self.call(path, &message, last, out);
        if path == WATCH {
            self.watch = Some((stream, tag));
        } else {
            self.calls.insert(stream, tag);
        }
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
                    if let Some((stream, answer)) = &mut self.proof
                        && *stream == one.stream
                    {
                        answer.extend_from_slice(one.content()?);
                    }
                    if let Some((stream, tag)) = self.watch
                        && stream == one.stream
                    {
                        self.partial.extend_from_slice(one.content()?);
                        self.hear_watch(tag, said);
                    }
                }
                frame::HEADERS if one.flags & frame::END_STREAM != 0 => {
                    if self.watch.is_some_and(|(stream, _)| stream == one.stream) {
                        return Err(Malformed("the server ended a watch".into()));
                    }
                    let code = grpc_status(one.content()?)?;
                    if let Some((_, answer)) = self.proof.take_if(|(stream, _)| *stream == one.stream) {
                        let token = token_of(&answer).filter(|_| code == 0);
                        let token = token.ok_or_else(|| {
                            Malformed(format!("the server refuses --user with code {code}"))
                        })?;
                        self.token = String::from_utf8_lossy(token).into_owned();
                        said.push(Said::Ready);
                    }
                    if let Some(tag) = self.calls.remove(&one.stream) {
                        said.push(Said::Done { tag, code, value: 0 });
                    }
                }
                frame::RST_STREAM | frame::GOAWAY => {
                    return Err(Malformed("the server ended a stream or the connection".into()));
                }
                _ => {}
            }
        }
        Ok(taken)
    }

    fn beat(&mut self, out: &mut Vec<u8>) {
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
        put_head(out, message.len() + 5, frame::DATA, last, stream);
        out.push(0);
        out.extend_from_slice(&(message.len() as u32).to_be_bytes());
        out.extend_from_slice(message);
        stream
    }

    fn hear_watch(&mut self, tag: u32, said: &mut Vec<Said>) {
        while let Some((head, rest)) = self.partial.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let Some(message) = rest.get(..length) else { return };
            // `created` is field 3, each event is a field 11.
            for (field, value) in fields(message) {
                match (field, value) {
                    (3, Value::Number(1)) => said.push(Said::Done { tag, code: 0, value: 0 }),
                    (11, Value::Bytes(_)) => said.push(Said::Fired),
                    _ => {}
                }
            }
            self.partial.drain(..5 + length);
        }
    }
}

fn put_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
