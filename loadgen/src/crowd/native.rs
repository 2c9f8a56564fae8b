//! quorate's own protocol: watches stay until they are cancelled; a lock is a key made under a lease if there is none.

use std::collections::HashMap;

use quorate::doors::native::wire::{self, Ask as Kind, BODY_MAX, Front, Hello, Say, Welcome};
use quorate::realms::kv::ops::{
    Compare, Delete, Found, Grant, History, Must, Node, Op, Put, Query, Range, Record, Step, Target, Txn,
    said as flags,
};
use quorate::realms::reply::{Reply, Status};

use super::{Ask, CHANGED, HELD, Manner, NO_TAG, Part, Said, Talk, below};
use crate::driver::Malformed;

/// Watches are numbered apart from other requests, which are numbered by their tags.
const WATCHES: u64 = 1 << 32;

pub struct Native {
    manner: Manner,
    greeted: bool,
    next_watch: u64,
    /// By its number: the tag, and whether it ends with its first event.
    watches: HashMap<u64, (u32, bool)>,
    lease: u64,
    /// Tags of requests whose answer says more than that it came.
    grants: Vec<u32>,
    locks: Vec<u32>,
    guards: Vec<u32>,
}

impl Talk for Native {
    const ONE_SHOT: bool = false;
    const TELLS_ALL: bool = true;

    fn new(manner: &Manner) -> Native {
        Native {
            manner: manner.clone(),
            greeted: false,
            next_watch: WATCHES,
            watches: HashMap::new(),
            lease: 0,
            grants: Vec::new(),
            locks: Vec::new(),
            guards: Vec::new(),
        }
    }

    fn hello(&mut self, out: &mut Vec<u8>) {
        self.greeted = false;
        self.watches.clear();
        (self.grants, self.locks, self.guards) = Default::default();
        wire::put_frame(out, Kind::Hello as u8, 0, &Hello::default().encode());
    }

    fn ask(&mut self, ask: Ask<'_>, tag: u32, out: &mut Vec<u8>) {
        let put =
            |key: &str, lease| Put { key: key.into(), value: self.manner.value.clone(), lease, flags: 0 };
        let mut request = u64::from(tag);
        let (kind, body) = match ask {
            Ask::Open => {
                self.grants.push(tag);
                let ttl_s = u64::from(self.manner.session_ms).div_ceil(1000);
                (Kind::Write, Op::Grant(Grant { lease: 0, ttl_s }).encode())
            }
            Ask::KeepAlive => (Kind::KeepAlive, self.lease.to_le_bytes().to_vec()),
            Ask::Make { key, ephemeral: true } => (Kind::Write, Op::Put(put(key, self.lease)).encode()),
            Ask::Make { key, ephemeral: false } | Ask::Put(key) => {
                (Kind::Write, Op::Put(put(key, 0)).encode())
            }
            Ask::Acquire(key) => {
                let (end, must_be) = (Vec::new(), Must::Equal);
                let free = Compare { key: key.into(), end, must_be, target: Target::Create(0) };
                let then = vec![Step::Put(put(key, self.lease))];
                self.locks.push(tag);
                let node = Node { compares: vec![free], then, otherwise: Vec::new() };
                (Kind::Write, Op::Txn(Txn { nodes: vec![node] }).encode())
            }
            Ask::Drop(key) => {
                let delete = Delete { key: key.into(), ..Delete::default() };
                (Kind::Write, Op::Delete(delete).encode())
            }
            Ask::Watch(key) | Ask::WatchOnce(key) | Ask::WatchBelow { key, .. } => {
                request = self.next_watch;
                self.next_watch += 1;
                let once = matches!(ask, Ask::WatchOnce(_) | Ask::WatchBelow { once: true, .. });
                self.watches.insert(request, (tag, once));
                let (key, end) = match ask {
                    Ask::WatchBelow { .. } => below(key),
                    _ => (key.into(), Vec::new()),
                };
                (Kind::Watch, History { key, end, ..History::default() }.encode())
            }
            Ask::Get { key, revision, stale } => {
                let range = Range { key: key.into(), revision, ..Range::default() };
                (read(stale), Query::Range(range).encode())
            }
            Ask::List { below: key, limit, stale } => {
                let (key, end) = below(key);
                (read(stale), Query::Range(Range { key, end, limit, ..Range::default() }).encode())
            }
            Ask::All(parts) => {
                let step = |part: &Part<'_>| match *part {
                    Part::Get(key) => Step::Range(Range { key: key.into(), ..Range::default() }),
                    Part::Page(key, limit) => {
                        Step::Range(Range { key: key.into(), end: vec![0], limit, ..Range::default() })
                    }
                    Part::Make(key) | Part::Put(key) => Step::Put(put(key, 0)),
                };
                let then = parts.iter().map(step).collect();
                let node = Node { compares: Vec::new(), then, otherwise: Vec::new() };
                (Kind::Write, Op::Txn(Txn { nodes: vec![node] }).encode())
            }
            Ask::Guard { key, revision, put: puts } => {
                self.guards.push(tag);
                let (target, end) = (Target::Mod(revision), Vec::new());
                let same = Compare { key: key.into(), end, must_be: Must::Equal, target };
                let then = match puts {
                    true => Step::Put(put(key, 0)),
                    false => Step::Delete(Delete { key: key.into(), ..Delete::default() }),
                };
                let look = Step::Range(Range { key: key.into(), ..Range::default() });
                let node = Node { compares: vec![same], then: vec![then], otherwise: vec![look] };
                (Kind::Write, Op::Txn(Txn { nodes: vec![node] }).encode())
            }
            // Jobs that need them are refused for this protocol.
            Ask::Register(_) | Ask::Deregister(_) => return,
            Ask::Count(_) | Ask::Bye => (Kind::Ping, Vec::new()),
        };
        wire::put_frame(out, kind as u8, request, &body);
    }

    fn hear(&mut self, input: &[u8], out: &mut Vec<u8>, said: &mut Vec<Said>) -> Result<usize, Malformed> {
        let mut rest = input;
        loop {
            let (head, body) = match wire::take_frame(&mut rest, BODY_MAX) {
                Ok(Front::Need(_)) => return Ok(input.len() - rest.len()),
                Ok(Front::Frame(head, body)) => (head, body),
                Err(malformed) => return Err(Malformed(malformed.to_string())),
            };
            let watch = self.watches.get(&head.request).copied();
            let tag = watch.map_or(head.request as u32, |(tag, _)| tag);
            match Say::from_byte(head.kind) {
                Some(Say::Welcome) if !self.greeted && Welcome::decode(body).is_some() => {
                    self.greeted = true;
                    said.push(Said::Ready);
                }
                Some(Say::Reply) => {
                    let reply = Reply::take(&mut { body })
                        .ok_or_else(|| Malformed("a reply that does not parse".into()))?;
                    let (code, value) = self.on_reply(tag, &reply);
                    said.push(Said::Done { tag, code, value });
                }
                Some(Say::Error) => {
                    let code = body.first_chunk().map_or(-1, |code| i32::from(u16::from_le_bytes(*code)));
                    said.push(Said::Done { tag, code, value: 0 });
                }
                Some(Say::Event) => match watch {
                    Some((_, true)) => {
                        self.watches.remove(&head.request);
                        let number = head.request.to_le_bytes();
                        wire::put_frame(out, Kind::CancelWatch as u8, 0, &number);
                        said.push(Said::Fired);
                    }
                    Some((_, false)) => said.push(Said::Fired),
                    None => {} // It was cancelled, and this was on its way.
                },
                Some(Say::WatchEnded) if watch.is_none() => {}
                Some(Say::WatchEnded) => return Err(Malformed("the server ended a watch".into())),
                Some(Say::Pong | Say::LeaseGone) => {}
                _ => return Err(Malformed("the server does not answer as quorate does".into())),
            }
        }
    }

    fn beat(&mut self, out: &mut Vec<u8>) {
        if self.lease > 0 {
            return self.ask(Ask::KeepAlive, NO_TAG, out);
        }
        wire::put_frame(out, Kind::Ping as u8, 0, &[]);
    }
}

impl Native {
    /// The code, and the revision that goes with it.
    fn on_reply(&mut self, tag: u32, reply: &Reply<'_>) -> (i32, i64) {
        let granted = take(&mut self.grants, tag);
        let locked = take(&mut self.locks, tag);
        let guarded = take(&mut self.guards, tag);
        if reply.status != Status::Ok {
            return (reply.status as i32, 0);
        }
        let failed = reply.flags & flags::SUCCEEDED == 0;
        if guarded && failed {
            let range = Reply::take(&mut { reply.body });
            let record = range.and_then(|range| Record::take(&mut Found::open(range.body)?.bytes));
            return (CHANGED, record.map_or(0, |record| record.modified as i64));
        }
        if granted {
            self.lease = reply.body.first_chunk().map_or(0, |lease| u64::from_le_bytes(*lease));
        }
        (if locked && failed { HELD } else { 0 }, reply.revision as i64)
    }
}

fn read(stale: bool) -> Kind {
    if stale { Kind::ReadLocal } else { Kind::Read }
}

fn take(tags: &mut Vec<u32>, tag: u32) -> bool {
    let at = tags.iter().position(|known| *known == tag);
    at.map(|at| tags.swap_remove(at)).is_some()
}

#[cfg(test)]
mod tests {
    use quorate::realms::kv::ops::{ArchivedOp, Write};
    use quorate::realms::reply;

    use super::*;

    fn frame(say: Say, request: u64, status: Status, flags: u16, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_frame_with(&mut out, say as u8, request, |out| {
            let start = reply::begin(out);
            out.extend_from_slice(body);
            reply::finish(out, start, status, flags, 5);
        });
        out
    }

    #[test]
    fn a_lock_hangs_on_the_lease_and_a_watch_that_fired_is_cancelled() {
        let mut native =
            Native::new(&Manner { value: Vec::new(), session_ms: 4500, access: Default::default() });
        let (mut out, mut said) = (Vec::new(), Vec::new());
        native.ask(Ask::Open, 1, &mut out);
        let granted = frame(Say::Reply, 1, Status::Ok, 0, &[7u64.to_le_bytes(), 5u64.to_le_bytes()].concat());
        native.hear(&granted, &mut out, &mut said).expect("valid");
        out.clear();
        native.ask(Ask::Acquire("lock"), 2, &mut out);
        let write = Write::open(&out[wire::HEAD..]).expect("an archive");
        let ArchivedOp::Txn(txn) = &write.ops[0] else { panic!("no transaction") };
        let quorate::realms::kv::ops::ArchivedStep::Put(put) = &txn.nodes[0].then[0] else {
            panic!("no put")
        };
        assert_eq!((put.lease.to_native(), txn.nodes[0].compares.len()), (7, 1));
        native.ask(Ask::Acquire("lock"), 3, &mut out);
        let both = [
            frame(Say::Reply, 2, Status::Ok, flags::SUCCEEDED, &[]),
            frame(Say::Reply, 3, Status::Ok, 0, &[]),
        ];
        native.hear(&both.concat(), &mut out, &mut said).expect("valid");
        native.ask(Ask::WatchOnce("lock"), 4, &mut out);
        native.hear(&frame(Say::Reply, WATCHES, Status::Ok, 0, &[]), &mut out, &mut said).expect("valid");
        out.clear();
        let event = frame(Say::Event, WATCHES, Status::Ok, 0, &[]);
        native.hear(&[event.clone(), event].concat(), &mut out, &mut said).expect("valid");
        assert_eq!(out[5], Kind::CancelWatch as u8);
        assert_eq!(out.len(), wire::HEAD + 8, "once");
        native
            .hear(&frame(Say::WatchEnded, WATCHES, Status::Ok, 0, &[]), &mut out, &mut said)
            .expect("valid");
        let done = |tag, code| Said::Done { tag, code, value: 5 };
        assert_eq!(said, [done(1, 0), done(2, 0), done(3, HELD), done(4, 0), Said::Fired]);
    }

    #[test]
    fn a_guard_that_does_not_hold_tells_the_revision_there_is() {
        let mut native =
            Native::new(&Manner { value: Vec::new(), session_ms: 4500, access: Default::default() });
        let (mut out, mut said) = (Vec::new(), Vec::new());
        native.ask(Ask::Guard { key: "k", revision: 3, put: true }, 1, &mut out);
        native.ask(Ask::Guard { key: "k", revision: 0, put: false }, 2, &mut out);
        let mut found = [1u64.to_le_bytes().to_vec(), vec![1, 0, 0, 0, 0, 0, 0, 0]].concat();
        [9u64, 2, 1, 0].iter().for_each(|word| found.extend_from_slice(&word.to_le_bytes()));
        found.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, b'k', 0, 0, 0, 0, 0, 0, 0]);
        let mut range = Vec::new();
        let start = reply::begin(&mut range);
        range.extend_from_slice(&found);
        reply::finish(&mut range, start, Status::Ok, 0, 5);
        let answers = [
            frame(Say::Reply, 1, Status::Ok, 0, &range),
            frame(Say::Reply, 2, Status::Ok, flags::SUCCEEDED, &[]),
        ];
        native.hear(&answers.concat(), &mut out, &mut said).expect("valid");
        let want = [Said::Done { tag: 1, code: CHANGED, value: 9 }, Said::Done { tag: 2, code: 0, value: 5 }];
        assert_eq!(said, want);
    }
}
