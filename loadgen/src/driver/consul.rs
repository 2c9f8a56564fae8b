//! Consul's key-value store over HTTP/1.1 with kept connections. Several requests may be under way on one
//! connection; the server answers them in order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Done, Driver, Kind, Malformed, Op, ReadMode, Rmw, STAMPED, Shape, Verdict, stamp_of};
use crate::access::Access;

const HEAD_MAX: usize = 64 << 10;
const BODY_MAX: usize = 16 << 20;
/// What an agent says that found no leader to hand a request to: none is known, it cannot be reached, it leads no more.
const NO_LEADER: [&[u8]; 4] =
    [b"No cluster leader", b"leader not found", b"failed to get conn", b"is not the leader"];

pub struct Consul {
    shape: Arc<Shape>,
    /// What is under way, oldest first.
    asked: VecDeque<(u32, Kind)>,
    rmws: Vec<Rmw>,
    put_tail: Vec<u8>,
    get_tail: Vec<u8>,
    body: Vec<u8>,
    ready: bool,
}

impl Driver for Consul {
    fn new(shape: &Arc<Shape>, depth: usize) -> Consul {
        let length = shape.value.len();
        let token = token_header(&shape.access);
        let tail = format!(" HTTP/1.1\r\nHost: loadgen\r\n{token}");
        Consul {
            shape: shape.clone(),
            asked: VecDeque::with_capacity(depth),
            rmws: vec![Rmw::default(); depth],
            put_tail: format!("{tail}Content-Length: {length}\r\n\r\n").into_bytes(),
            get_tail: format!("{tail}\r\n").into_bytes(),
            body: Vec::new(),
            ready: false,
        }
    }

    fn roots(_shape: &Shape) -> u64 {
        0
    }

    /// HTTP has no greeting; a question that every agent answers shows that this is one.
    fn hello(&mut self, out: &mut Vec<u8>) {
        self.asked.clear();
        self.ready = false;
        out.extend_from_slice(b"GET /v1/status/leader");
        out.extend_from_slice(&self.get_tail);
    }

    fn ready(&self) -> bool {
        self.ready
    }

    fn encode(&mut self, op: &Op, tag: u32, out: &mut Vec<u8>) {
        self.asked.push_back((tag, op.kind));
        if op.kind == Kind::Rmw {
            self.rmws[tag as usize] = Rmw { key: op.key, stamp: op.stamp, ..Rmw::default() };
        }
        if op.kind.is_read() || op.kind == Kind::Rmw {
            out.extend_from_slice(b"GET /v1/kv/");
            self.shape.push_key(op.key, out);
            if op.kind == Kind::Scan {
                // Consul knows no limit: the hundred keys that begin alike.
                out.truncate(out.len() - self.shape.digits.min(2));
                out.extend_from_slice(b"?recurse");
            }
            out.extend_from_slice(match (op.kind, self.shape.read_mode) {
                (Kind::Scan, ReadMode::Linearizable) => b"&consistent",
                (Kind::Scan, ReadMode::Local) => b"&stale",
                (Kind::Audit, _) | (_, ReadMode::Linearizable) => b"?consistent",
                (_, ReadMode::Local) => b"?stale",
                (_, ReadMode::Leased) => b"",
            });
            out.extend_from_slice(&self.get_tail);
        } else {
            out.extend_from_slice(b"PUT /v1/kv/");
            self.shape.push_key(op.key, out);
            out.extend_from_slice(&self.put_tail);
            self.shape.push_value(op.stamp, out);
        }
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, done: &mut Vec<Done>) -> Result<usize, Malformed> {
        let mut taken = 0;
        while taken < input.len() {
            let rest = &input[taken..];
            let Some(head) = Head::take(rest)? else { break };
            let body = &rest[head.length..];
            let length = match head.body {
                Body::Sized(length) if body.len() < length => break,
                Body::Sized(length) => {
                    self.body.clear();
                    let is_rmw = matches!(self.asked.front(), Some((_, Kind::Rmw)));
                    if self.shape.checked || is_rmw || head.status >= 500 {
                        self.body.extend_from_slice(&body[..length]);
                    }
                    length
                }
                Body::Chunked => {
                    self.body.clear();
                    match take_chunks(body, &mut self.body)? {
                        Some(length) => length,
                        None => break,
                    }
                }
            };
            taken += head.length + length;
            if !self.ready {
                if head.status != 200 {
                    return Err(Malformed(format!(
                        "status {} to /v1/status/leader: no Consul agent",
                        head.status
                    )));
                }
                self.ready = true;
                continue;
            }
            let Some((tag, kind)) = self.asked.pop_front() else {
                return Err(Malformed("an answer that nobody asked for".into()));
            };
            if kind != Kind::Rmw {
                done.push(self.end(tag, kind, head.status));
            } else if head.status != 200 || self.on_rmw(tag, out) {
                let stamp = self.rmws[tag as usize].again;
                done.push(Done { stamp, ..self.end(tag, Kind::Root, head.status) });
            }
            if head.close {
                return Err(Malformed(format!(
                    "the server closes the connection after status {}",
                    head.status
                )));
            }
        }
        Ok(taken)
    }

    fn beat(&mut self, _out: &mut Vec<u8>) {}
}

impl Consul {
    /// The next request of a key that is read and then written; `true`: there is none.
    fn on_rmw(&mut self, tag: u32, out: &mut Vec<u8>) -> bool {
        let rmw = self.rmws[tag as usize];
        if !rmw.writing {
            let index = number_after(&self.body, b"\"ModifyIndex\":").unwrap_or(0);
            out.extend_from_slice(b"PUT /v1/kv/");
            self.shape.push_key(rmw.key, out);
            out.extend_from_slice(format!("?cas={index}").as_bytes());
            out.extend_from_slice(&self.put_tail);
            self.shape.push_value(rmw.stamp, out);
            self.asked.push_back((tag, Kind::Rmw));
            self.rmws[tag as usize].writing = true;
            return false;
        }
        if self.body.starts_with(b"true") {
            return true;
        }
        self.encode(&Op { kind: Kind::Rmw, key: rmw.key, stamp: rmw.stamp }, tag, out);
        self.rmws[tag as usize].again = rmw.again + 1;
        false
    }

    fn end(&self, tag: u32, kind: Kind, status: u16) -> Done {
        let code = i32::from(status);
        let verdict = match status {
            200 => Verdict::Ok,
            404 if kind.is_read() => Verdict::Ok, // Nothing there: an answer.
            500..=599 if NO_LEADER.iter().any(|words| find(&self.body, words).is_some()) => {
                Verdict::Later(code)
            }
            500..=599 => Verdict::Unknown(code),
            _ => Verdict::Failed(code),
        };
        let mut end = Done { tag, verdict, revision: 0, stamp: 0 };
        if status == 200 && self.shape.checked {
            if kind.is_read() {
                end.revision = number_after(&self.body, b"\"ModifyIndex\":").unwrap_or(0);
                end.stamp = stamp_after(&self.body, b"\"Value\":\"").unwrap_or(0);
            } else if self.body.starts_with(b"false") {
                end.verdict = Verdict::Failed(0);
            }
        }
        end
    }
}

pub fn token_header(access: &Access) -> String {
    access.token.as_ref().map(|token| format!("X-Consul-Token: {token}\r\n")).unwrap_or_default()
}

enum Body {
    Sized(usize),
    Chunked,
}

pub struct Head {
    pub status: u16,
    length: usize,
    body: Body,
    close: bool,
    /// `X-Consul-Index`, 0 without one.
    pub index: u64,
}

impl Head {
    fn take(input: &[u8]) -> Result<Option<Head>, Malformed> {
        if !input.starts_with(b"HTTP/1.1 ") && !b"HTTP/1.1 ".starts_with(&input[..input.len().min(9)]) {
            return Err(Malformed("the server does not answer as an HTTP/1.1 server does".into()));
        }
        let Some(end) = find(input, b"\r\n\r\n") else {
            if input.len() > HEAD_MAX {
                return Err(Malformed(format!("an HTTP head longer than {HEAD_MAX} bytes")));
            }
            return Ok(None);
        };
        let status = input.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        let status = status.ok_or_else(|| Malformed("an HTTP answer without a status".into()))?;
        let mut head = Head { status, length: end + 4, body: Body::Sized(0), close: false, index: 0 };
        for line in input[..end].split(|&byte| byte == b'\n').skip(1) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(value) = header(line, b"content-length:") {
                let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                let length = length.filter(|&length| length <= BODY_MAX);
                head.body =
                    Body::Sized(length.ok_or_else(|| Malformed("a content-length that is none".into()))?);
            } else if header(line, b"transfer-encoding:")
                .is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"))
            {
                head.body = Body::Chunked;
            } else if header(line, b"connection:").is_some_and(|value| value.eq_ignore_ascii_case(b"close")) {
                head.close = true;
            } else if let Some(value) = header(line, b"x-consul-index:") {
                head.index = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            }
        }
        Ok(Some(head))
    }

    /// A head whose body is there as well, the length of both, and the body.
    pub fn take_whole(input: &[u8]) -> Result<Option<(Head, usize, Vec<u8>)>, Malformed> {
        let Some(head) = Head::take(input)? else { return Ok(None) };
        let behind = &input[head.length..];
        let mut body = Vec::new();
        let length = match head.body {
            Body::Sized(length) => behind.get(..length).map(|whole| {
                body.extend_from_slice(whole);
                length
            }),
            Body::Chunked => take_chunks(behind, &mut body)?,
        };
        Ok(length.map(|length| {
            let whole = head.length + length;
            (head, whole, body)
        }))
    }
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, value) = line.split_at_checked(name.len())?;
    head.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// Appends a chunked body's bytes; how long it was, once all of it is there.
fn take_chunks(input: &[u8], body: &mut Vec<u8>) -> Result<Option<usize>, Malformed> {
    let broken = || Malformed("a chunked body that does not parse".into());
    let mut at = 0;
    loop {
        let Some(line) = find(&input[at..], b"\r\n") else { return Ok(None) };
        let digits = input[at..at + line].split(|&byte| byte == b';').next().unwrap_or_default();
        let length =
            std::str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let length = length.filter(|&length| length <= BODY_MAX).ok_or_else(broken)?;
        at += line + 2;
        let Some(chunk) = input.get(at..at + length + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err(broken());
        }
        body.extend_from_slice(&chunk[..length]);
        at += length + 2;
        if length == 0 {
            return Ok(Some(at));
        }
    }
}

pub fn find(input: &[u8], what: &[u8]) -> Option<usize> {
    // Heads are short, and their end is near: a plain scan for the first byte is fast enough.
    let mut from = 0;
    while let Some(at) = input[from..].iter().position(|&byte| byte == what[0]) {
        if input[from + at..].starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn number_after(body: &[u8], name: &[u8]) -> Option<u64> {
    let rest = &body[find(body, name)? + name.len()..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

/// The stamp lies in the first eight bytes, so in the first twelve characters of base64.
fn stamp_after(body: &[u8], name: &[u8]) -> Option<u64> {
    let rest = &body[find(body, name)? + name.len()..];
    let (mut bits, mut held, mut value) = (0u32, 0, Vec::with_capacity(STAMPED + 1));
    for &byte in rest.iter().take(12) {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            value.push((bits >> held) as u8);
        }
    }
    Some(stamp_of(&value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Protocol;

    fn driver() -> Consul {
        let shape = Shape {
            protocol: Protocol::Consul,
            prefix: "k".into(),
            digits: 3,
            keys: 100,
            value: vec![b'v'; 10],
            read_mode: ReadMode::Leased,
            checked: true,
            batch: 1,
            access: Access::default(),
        };
        let mut consul = Consul::new(&Arc::new(shape), 4);
        consul.ready = true;
        consul
    }

    #[test]
    fn an_agent_is_told_from_another_http_server() {
        let mut consul = driver();
        consul.hello(&mut Vec::new());
        assert!(!consul.ready());
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        assert!(consul.decode(answer, &mut Vec::new(), &mut Vec::new()).unwrap_err().0.contains("no Consul"));
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\"\"";
        assert!(consul.decode(answer, &mut Vec::new(), &mut Vec::new()).is_ok() && consul.ready());
    }

    #[test]
    fn a_refusal_for_want_of_a_leader_is_no_failure_and_another_500_may_have_happened() {
        for (words, wanted) in [
            ("No cluster leader", Verdict::Later(500)),
            ("rpc error getting client: failed to get conn: dial tcp 127.0.0.1:1", Verdict::Later(500)),
            ("leadership lost while committing log", Verdict::Unknown(500)),
            ("rpc error making call: stream closed", Verdict::Unknown(500)),
        ] {
            let (mut consul, mut done) = (driver(), Vec::new());
            consul.shape = Arc::new(Shape { checked: false, ..(*consul.shape).clone() });
            consul.encode(&Op { kind: Kind::Write, key: 7, stamp: 1 }, 0, &mut Vec::new());
            let length = words.len();
            let answer =
                format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {length}\r\n\r\n{words}");
            consul.decode(answer.as_bytes(), &mut Vec::new(), &mut done).expect("an answer");
            assert_eq!(done[0].verdict, wanted, "{words}");
        }
    }

    #[test]
    fn requests_are_what_the_api_wants() {
        let mut consul = driver();
        let mut out = Vec::new();
        consul.encode(&Op { kind: Kind::Write, key: 7, stamp: 0x4141_4141_4141_4141 }, 0, &mut out);
        consul.encode(&Op { kind: Kind::Audit, key: 7, stamp: 0 }, 1, &mut out);
        let want = "PUT /v1/kv/k007 HTTP/1.1\r\nHost: loadgen\r\nContent-Length: 10\r\n\r\nAAAAAAAAvv\
                    GET /v1/kv/k007?consistent HTTP/1.1\r\nHost: loadgen\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn answers_are_matched_in_order_whole_or_in_chunks() {
        let mut consul = driver();
        let (mut out, mut done) = (Vec::new(), Vec::new());
        for (tag, kind) in [(3, Kind::Write), (1, Kind::Read), (2, Kind::Read), (0, Kind::Write)] {
            consul.encode(&Op { kind, key: 1, stamp: 5 }, tag, &mut out);
        }
        let json = r#"[{"LockIndex":0,"Key":"k001","Flags":0,"Value":"TQAAAAAAAAB2dg==","CreateIndex":9,"ModifyIndex":31}]"#;
        let (first, second) = json.split_at(20);
        let answers = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrue\
             HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n\
             HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n\
             HTTP/1.1 500 Internal Server Error\r\nContent-Length: 17\r\n\r\nNo cluster leader",
            first.len(),
            second.len()
        );
        let bytes = answers.as_bytes();
        for cut in 0..bytes.len() {
            let mut part = driver();
            part.asked = consul.asked.clone();
            assert!(part.decode(&bytes[..cut], &mut out, &mut Vec::new()).is_ok(), "cut at {cut}");
        }
        assert_eq!(consul.decode(bytes, &mut out, &mut done), Ok(bytes.len()));
        let ends: Vec<_> = done.iter().map(|end| (end.tag, end.verdict, end.revision, end.stamp)).collect();
        let want = [
            (3, Verdict::Ok, 0, 0),
            (1, Verdict::Ok, 31, 0x4d),
            (2, Verdict::Ok, 0, 0),
            (0, Verdict::Later(500), 0, 0),
        ];
        assert_eq!(ends, want);
    }

    #[test]
    fn another_protocol_is_refused_in_words() {
        let error = driver().decode(&[0, 0, 0, 4, 1, 2], &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert!(error.0.contains("HTTP/1.1"), "{error}");
    }
}
