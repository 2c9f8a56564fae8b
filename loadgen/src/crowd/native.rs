//! quorate's own protocol: watches stay until they are cancelled.

use quorate::doors::native::wire::{self, Ask as Kind, BODY_MAX, Front, Hello, Say, Welcome};
use quorate::realms::kv::ops::{Delete, History, Op, Put};
use quorate::realms::reply::{Reply, Status};

use super::{Ask, Manner, Said, Talk};
use crate::driver::Malformed;

/// Watches are numbered apart from other requests, which are numbered by their tags.
const WATCHES: u64 = 1 << 32;

pub struct Native {
    value: Vec<u8>,
    greeted: bool,
    watches: u64,
}

impl Talk for Native {
    const ONE_SHOT: bool = false;

    fn new(manner: &Manner) -> Native {
        Native { value: manner.value.clone(), greeted: false, watches: 0 }
    }

    fn hello(&mut self, out: &mut Vec<u8>) {
        wire::put_frame(out, Kind::Hello as u8, 0, &Hello::default().encode());
    }

    fn ask(&mut self, ask: Ask<'_>, tag: u32, out: &mut Vec<u8>) {
        let (kind, request, body) = match ask {
            Ask::Make { key, .. } | Ask::Put(key) => {
                let put = Put { key: key.into(), value: self.value.clone(), ..Put::default() };
                (Kind::Write, u64::from(tag), Op::Put(put).encode())
            }
            Ask::Drop(key) => {
                let delete = Delete { key: key.into(), ..Delete::default() };
                (Kind::Write, u64::from(tag), Op::Delete(delete).encode())
            }
            Ask::Watch(key) => {
                self.watches += 1;
                let history = History { key: key.into(), ..History::default() };
                (Kind::Watch, WATCHES + u64::from(tag), history.encode())
            }
            Ask::Count(_) | Ask::Bye => (Kind::Ping, u64::from(tag), Vec::new()),
        };
        wire::put_frame(out, kind as u8, request, &body);
    }

    fn hear(&mut self, input: &[u8], _out: &mut Vec<u8>, said: &mut Vec<Said>) -> Result<usize, Malformed> {
        let mut rest = input;
        loop {
            let (head, body) = match wire::take_frame(&mut rest, BODY_MAX) {
                Ok(Front::Need(_)) => return Ok(input.len() - rest.len()),
                Ok(Front::Frame(head, body)) => (head, body),
                Err(malformed) => return Err(Malformed(malformed.to_string())),
            };
            let tag = head.request as u32;
            match Say::from_byte(head.kind) {
                Some(Say::Welcome) if !self.greeted && Welcome::decode(body).is_some() => {
                    self.greeted = true;
                    said.push(Said::Ready);
                }
                Some(Say::Reply) => {
                    let reply = Reply::take(&mut { body })
                        .ok_or_else(|| Malformed("a reply that does not parse".into()))?;
                    let code = if reply.status == Status::Ok { 0 } else { reply.status as i32 };
                    said.push(Said::Done { tag, code, value: 0 });
                }
                Some(Say::Error) => {
                    let code = body.first_chunk().map_or(-1, |code| i32::from(u16::from_le_bytes(*code)));
                    said.push(Said::Done { tag, code, value: 0 });
                }
                Some(Say::Event) => said.push(Said::Fired),
                Some(Say::WatchEnded) => return Err(Malformed("the server ended a watch".into())),
                Some(Say::Pong | Say::LeaseGone) => {}
                _ => return Err(Malformed("the server does not answer as quorate does".into())),
            }
        }
    }

    fn beat(&mut self, out: &mut Vec<u8>) {
        wire::put_frame(out, Kind::Ping as u8, 0, &[]);
    }
}
