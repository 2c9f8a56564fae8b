//! ZooKeeper: sessions, ephemerals, one-shot watches. Replies come in the order of the requests.

use std::collections::VecDeque;

use super::{Ask, Manner, Part, Said, Talk};
use crate::driver::Malformed;
use crate::driver::zk::{
    CLOSE, CREATE, DELETE, EPHEMERAL, EXISTS, GET_CHILDREN, GET_DATA, MULTI, MULTI_READ, PERSISTENT, PING,
    SET_DATA, XID_AUTH, XID_NOTICE, XID_PING, begin, end, i32_at, i64_at, put_acl, put_auth, put_bytes,
    put_i32, put_i64, take_frame,
};

/// `numChildren` within a Stat.
const CHILDREN_AT: usize = 56;

pub struct Zk {
    manner: Manner,
    greeted: bool,
    asked: VecDeque<(u32, i32)>,
    /// Pings under way, with their tags where somebody waits for them.
    pings: VecDeque<Option<u32>>,
    session: i64,
    password: [u8; 16],
}

impl Talk for Zk {
    const ONE_SHOT: bool = true;
    const TELLS_ALL: bool = false;

    fn new(manner: &Manner) -> Zk {
        Zk {
            manner: manner.clone(),
            greeted: false,
            asked: VecDeque::new(),
            pings: VecDeque::new(),
            session: 0,
            password: [0; 16],
        }
    }

    fn hello(&mut self, out: &mut Vec<u8>) {
        self.greeted = false;
        self.asked.clear();
        self.pings.clear();
        put_i32(out, 45);
        put_i32(out, 0);
        put_i64(out, 0);
        put_i32(out, self.manner.session_ms as i32);
        put_i64(out, self.session);
        put_bytes(out, &self.password);
        out.push(0);
        put_auth(out, &self.manner.access);
    }

    fn ask(&mut self, ask: Ask<'_>, tag: u32, out: &mut Vec<u8>) {
        let kind = match ask {
            // The session is the connection's own.
            Ask::Open | Ask::KeepAlive => return self.ping(Some(tag), out),
            Ask::Make { .. } | Ask::Acquire(_) => CREATE,
            Ask::Put(_) => SET_DATA,
            Ask::Drop(_) => DELETE,
            Ask::Watch(_) | Ask::Get { .. } => GET_DATA,
            Ask::WatchBelow { .. } | Ask::List { .. } => GET_CHILDREN,
            Ask::All(parts) if parts.iter().all(|part| matches!(part, Part::Get(_))) => MULTI_READ,
            Ask::All(_) => MULTI,
            // Jobs that need them are refused for this protocol.
            Ask::Guard { .. } | Ask::Register(_) | Ask::Deregister(_) => return,
            Ask::Count(_) | Ask::WatchOnce(_) => EXISTS,
            Ask::Bye => CLOSE,
        };
        self.asked.push_back((tag, kind));
        let frame = begin(out, tag as i32, kind);
        match ask {
            Ask::Acquire(key) => {
                put_bytes(out, key.as_bytes());
                put_bytes(out, &self.manner.value);
                put_acl(out, &self.manner.access, EPHEMERAL);
            }
            Ask::Make { key, ephemeral } => {
                put_bytes(out, key.as_bytes());
                put_bytes(out, &self.manner.value);
                put_acl(out, &self.manner.access, if ephemeral { EPHEMERAL } else { PERSISTENT });
            }
            Ask::Put(key) => {
                put_bytes(out, key.as_bytes());
                put_bytes(out, &self.manner.value);
                put_i32(out, -1);
            }
            Ask::Drop(key) => {
                put_bytes(out, key.as_bytes());
                put_i32(out, -1);
            }
            Ask::Watch(key) | Ask::WatchOnce(key) | Ask::Count(key) => {
                put_bytes(out, key.as_bytes());
                out.push(u8::from(matches!(ask, Ask::Watch(_) | Ask::WatchOnce(_))));
            }
            Ask::Get { key, .. } | Ask::List { below: key, .. } | Ask::WatchBelow { key, .. } => {
                put_bytes(out, key.as_bytes());
                out.push(u8::from(matches!(ask, Ask::WatchBelow { .. })));
            }
            Ask::All(parts) => {
                parts.iter().for_each(|part| self.put_part(part, out));
                put_head(-1, true, out);
            }
            _ => {}
        }
        end(out, frame);
    }

    fn hear(&mut self, input: &[u8], _out: &mut Vec<u8>, said: &mut Vec<Said>) -> Result<usize, Malformed> {
        let mut taken = 0;
        while let Some(frame) = take_frame(&input[taken..])? {
            taken += 4 + frame.len();
            if !self.greeted {
                if frame.len() < 36 || i32_at(frame, 4) <= 0 {
                    return Err(Malformed(NO_SESSION.into()));
                }
                self.session = i64_at(frame, 8);
                self.password.copy_from_slice(&frame[20..36]);
                self.greeted = true;
                if self.manner.access.user.is_none() {
                    said.push(Said::Ready);
                }
                continue;
            }
            if frame.len() < 16 {
                return Err(Malformed(format!("a reply of {} bytes, the header alone has 16", frame.len())));
            }
            match i32_at(frame, 0) {
                XID_PING => {
                    if let Some(tag) = self.pings.pop_front().flatten() {
                        said.push(Said::Done { tag, code: 0, value: 0 });
                    }
                }
                XID_NOTICE => said.push(Said::Fired),
                XID_AUTH if i32_at(frame, 12) == 0 => said.push(Said::Ready),
                XID_AUTH => return Err(Malformed("the server refuses --user: authentication failed".into())),
                _ => {
                    let stray = || Malformed("a reply that nobody asked for".into());
                    let (tag, kind) = self.asked.pop_front().ok_or_else(stray)?;
                    let (mut code, body) = (i32_at(frame, 12), &frame[16..]);
                    if code == 0 && kind == MULTI {
                        code = first_error(body);
                    }
                    let counted = kind == EXISTS && body.len() >= CHILDREN_AT + 4;
                    let value = if counted { i64::from(i32_at(body, CHILDREN_AT)) } else { 0 };
                    said.push(Said::Done { tag, code, value });
                }
            }
        }
        Ok(taken)
    }

    fn beat(&mut self, out: &mut Vec<u8>) {
        self.ping(None, out);
    }
}

/// Also what a session that has expired in the meantime is told.
pub const NO_SESSION: &str = "the server does not grant a session";

/// What stands before each part of a multi, and before its end.
fn put_head(kind: i32, last: bool, out: &mut Vec<u8>) {
    put_i32(out, kind);
    out.push(u8::from(last));
    put_i32(out, -1);
}

/// Of a multi that failed every part is an error; the ones before the culprit have code 0.
fn first_error(body: &[u8]) -> i32 {
    const RESULT: usize = 4 + 1 + 4 + 4;
    let errors = body.chunks_exact(RESULT).take_while(|part| i32_at(part, 0) == -1);
    errors.map(|part| i32_at(part, RESULT - 4)).find(|code| *code != 0).unwrap_or(0)
}

impl Zk {
    fn put_part(&self, part: &Part<'_>, out: &mut Vec<u8>) {
        let (kind, key) = match *part {
            Part::Get(key) | Part::Page(key, _) => (GET_DATA, key),
            Part::Make(key) => (CREATE, key),
            Part::Put(key) => (SET_DATA, key),
        };
        put_head(kind, false, out);
        put_bytes(out, key.as_bytes());
        match kind {
            GET_DATA => out.push(0),
            CREATE => {
                put_bytes(out, &self.manner.value);
                put_acl(out, &self.manner.access, PERSISTENT);
            }
            _ => {
                put_bytes(out, &self.manner.value);
                put_i32(out, -1);
            }
        }
    }

    fn ping(&mut self, tag: Option<u32>, out: &mut Vec<u8>) {
        self.pings.push_back(tag);
        let frame = begin(out, XID_PING, PING);
        end(out, frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(xid: i32, err: i32, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_i32(&mut out, 16 + body.len() as i32);
        put_i32(&mut out, xid);
        put_i64(&mut out, 9);
        put_i32(&mut out, err);
        out.extend_from_slice(body);
        out
    }

    #[test]
    fn a_multi_fails_with_the_code_of_its_culprit() {
        let part = |code: i32| {
            let mut out = Vec::new();
            put_head(-1, false, &mut out);
            put_i32(&mut out, code);
            out
        };
        let mut end = Vec::new();
        put_head(-1, true, &mut end);
        assert_eq!(first_error(&[part(0), part(-110), part(-2), end.clone()].concat()), -110);
        let mut made = Vec::new();
        put_head(SET_DATA, false, &mut made);
        made.extend_from_slice(&[0; 68]);
        assert_eq!(first_error(&[made, end].concat()), 0);
    }

    #[test]
    fn answers_notices_and_counts_are_told_apart() {
        let mut zk = Zk::new(&Manner { value: vec![b'v'; 3], session_ms: 9000, access: Default::default() });
        let (mut out, mut said) = (Vec::new(), Vec::new());
        zk.hello(&mut out);
        let mut input = Vec::new();
        put_i32(&mut input, 37);
        input.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0x23, 0x28]);
        input.resize(input.len() + 29, 0);
        assert_eq!(zk.hear(&input, &mut out, &mut said).expect("valid"), input.len());
        zk.ask(Ask::Watch("/a"), 7, &mut out);
        zk.ask(Ask::Count("/a"), 8, &mut out);
        let mut stat = [0; 68];
        stat[CHILDREN_AT + 3] = 5;
        let input = [frame(XID_NOTICE, 0, &[0; 8]), frame(7, -101, &[]), frame(8, 0, &stat)].concat();
        zk.hear(&input, &mut out, &mut said).expect("valid");
        let want = [
            Said::Ready,
            Said::Fired,
            Said::Done { tag: 7, code: -101, value: 0 },
            Said::Done { tag: 8, code: 0, value: 5 },
        ];
        assert_eq!(said, want);
    }
}
