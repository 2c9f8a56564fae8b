//! Conversations as text: what a client says, what goes into the log, what comes back. `TALKS=write` writes down
//! what happens now; the difference is then to be read like code.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::world::World;
use crate::base::Nanos;
use crate::client::said;
use crate::doors::Bounds;
use crate::doors::native::wire::{self, Ask, Hello, Say};
use crate::pipeline::parcel::EdgeOut;
use crate::pipeline::ports::Conn;
use crate::realms::core::Open;
use crate::realms::kv::ops::{self, Delete, Grant, Group, History, Op, Put, Query, Range, Record, flag};
use crate::realms::reply::Reply;

struct Stage {
    world: World,
    conns: BTreeMap<String, Conn>,
    asked: BTreeMap<(String, u64), Vec<Op>>,
    held: bool,
}

#[test]
fn talks_go_as_written() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doors/native/talks");
    let mut talks: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    talks.sort();
    assert!(talks.len() >= 4);
    for path in talks {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut stage = Stage {
            world: World::new(Bounds::default()),
            conns: BTreeMap::new(),
            asked: BTreeMap::new(),
            held: false,
        };
        let mut now = String::new();
        // Lines of what happened are dropped and made anew.
        for line in text.lines().filter(|line| !line.starts_with("  ")) {
            now += line;
            now += "\n";
            if let Some(command) = line.strip_prefix("> ") {
                now += &stage.run(command);
            }
        }
        if std::env::var_os("TALKS").is_some_and(|how| how == "write") {
            std::fs::write(&path, now).unwrap();
        } else {
            assert_eq!(now, text, "{} goes otherwise; TALKS=write writes it down", path.display());
        }
    }
}

impl Stage {
    fn run(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["hold"] => self.held = true,
            ["go"] => self.held = false,
            ["wait", ms] => self.world.now = self.world.now.plus(Nanos::from_millis(ms.parse().unwrap())),
            ["unknown", below] => self.world.say(EdgeOut::Unknown { below: below.parse().unwrap() }),
            ["jump", ref rest @ ..] => {
                let ops = rest.split(|word| *word == ";").map(op).collect();
                self.world.jump(&ops::Write { ops }.encode());
            }
            ["gone", lease] => self.world.say(EdgeOut::Gone(vec![(1, lease.parse().unwrap())])),
            [who, "connects"] => {
                let conn = self.world.connect(self.conns.len() as u32);
                self.conns.insert(who.into(), conn);
            }
            [who, "goes"] => self.world.end(self.conns[who]),
            [who, "raw", hex] => {
                let bytes: Vec<u8> = (0..hex.len() / 2)
                    .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
                    .collect();
                self.world.bytes(self.conns[who], &bytes);
            }
            [who, what, request, ref rest @ ..] => self.ask(who, what, request.parse().unwrap(), rest),
            _ => panic!("what is {command:?}?"),
        }
        if self.held {
            while self.world.turn() {}
        } else {
            self.world.settle();
        }
        self.tell()
    }

    fn ask(&mut self, who: &str, what: &str, request: u64, rest: &[&str]) {
        let number = |at: usize| rest.get(at).map_or(0, |word| word.parse::<u64>().unwrap());
        let text = |at: usize| rest.get(at).map_or(Vec::new(), |word| bytes(word));
        let (ask, body) = match what {
            "hello" => (Ask::Hello, Hello { session: number(0), ttl_ms: number(1) as u32 }.encode().to_vec()),
            "write" => {
                let ops: Vec<Op> = rest.split(|word| *word == ";").map(op).collect();
                self.asked.insert((who.into(), request), ops.clone());
                (Ask::Write, ops::Write { ops }.encode())
            }
            "get" | "get-local" => {
                let query = Query::Range(Range { key: text(0), end: text(1), ..Range::default() });
                (if what == "get" { Ask::Read } else { Ask::ReadLocal }, query.encode())
            }
            "open" => {
                let open = Open { window: number(0) as u16, ttl_ms: number(1) as u32 };
                (Ask::OpenSession, open.encode().to_vec())
            }
            "close" => (Ask::CloseSession, number(0).to_le_bytes().to_vec()),
            "watch" => {
                let flags = if rest.contains(&"before") { flag::BEFORE } else { 0 };
                let history =
                    History { key: text(0), end: text(1), revision: number(2), flags, ..History::default() };
                (Ask::Watch, rkyv::to_bytes::<rkyv::rancor::Failure>(&history).unwrap().into_vec())
            }
            "cancel" => (Ask::CancelWatch, number(0).to_le_bytes().to_vec()),
            "keep-alive" => (Ask::KeepAlive, number(0).to_le_bytes().to_vec()),
            "ping" => (Ask::Ping, Vec::new()),
            _ => panic!("nobody knows how to {what}"),
        };
        let mut frame = Vec::new();
        wire::put_frame(&mut frame, ask as u8, request, &body);
        self.world.bytes(self.conns[who], &frame);
    }

    fn tell(&mut self) -> String {
        let mut out = String::new();
        for line in self.world.logged.drain(..) {
            writeln!(out, "  {line}").unwrap();
        }
        for (realm, id) in self.world.touched.drain(..) {
            writeln!(out, "  touch realm {realm} id {id}").unwrap();
        }
        for (name, conn) in self.conns.clone() {
            for (head, body) in self.world.frames(conn) {
                let said = self.frame(&name, head.request, Say::from_byte(head.kind), &body);
                writeln!(out, "  {name} < {} {said}", head.request).unwrap();
            }
            if self.world.net.closed.contains(&conn) {
                self.world.net.closed.retain(|other| *other != conn);
                writeln!(out, "  {name} is hung up on").unwrap();
            }
        }
        out
    }

    fn frame(&self, name: &str, request: u64, say: Option<Say>, body: &[u8]) -> String {
        let code = || u16::from_le_bytes([body[0], body[1]]);
        match say {
            Some(Say::Welcome) => "welcome".into(),
            Some(Say::Pong) => "pong".into(),
            Some(Say::Error) => format!("error {}: {}", code(), String::from_utf8_lossy(&body[2..])),
            Some(Say::LeaseGone) => format!("lease {} is gone", wire::number(body).unwrap()),
            Some(Say::WatchEnded) => {
                format!("watch ended: code {}, go on from {}", code(), wire::number(&body[8..]).unwrap())
            }
            Some(Say::Event) => {
                let groups = Group::all(body).map(|group| {
                    let events: Vec<String> = Record::all(group.bytes).map(record).collect();
                    format!("revision {}: {}", group.revision, events.join(", "))
                });
                format!("event {}", groups.collect::<Vec<_>>().join("; "))
            }
            Some(Say::Reply) => match self.asked.get(&(name.to_owned(), request)) {
                Some(ops) => match said::outcomes(ops, body) {
                    Ok(outcomes) => format!("{outcomes:?}"),
                    Err(error) => format!("{error}"),
                },
                None => {
                    let reply = Reply::take(&mut &body[..]).unwrap();
                    let records = reply.body.get(16..).unwrap_or_default();
                    let records: Vec<String> = Record::all(records).map(record).collect();
                    format!("{:?} revision {} {}", reply.status, reply.revision, records.join(", "))
                }
            },
            None => "something unknown".into(),
        }
    }
}

fn record(r: Record<'_>) -> String {
    let (key, value) = (String::from_utf8_lossy(r.key), String::from_utf8_lossy(r.value));
    let before = if r.flags & ops::BEFORE != 0 { "before " } else { "" };
    if r.is_deletion() {
        format!("{before}delete {key}")
    } else {
        format!("{before}{key}={value}@{}", r.modified)
    }
}

fn bytes(word: &str) -> Vec<u8> {
    match word {
        "-" => Vec::new(),
        "0" => vec![0],
        _ => word.as_bytes().to_vec(),
    }
}

fn op(words: &[&str]) -> Op {
    let number = |word: &str| word.parse::<u64>().unwrap();
    match *words {
        ["put", key, value] => Op::Put(Put { key: bytes(key), value: bytes(value), ..Put::default() }),
        ["put", key, value, "lease", lease] => {
            Op::Put(Put { key: bytes(key), value: bytes(value), lease: number(lease), flags: 0 })
        }
        ["delete", key] => Op::Delete(Delete { key: bytes(key), ..Delete::default() }),
        ["delete", key, end] => Op::Delete(Delete { key: bytes(key), end: bytes(end), flags: 0 }),
        ["grant", lease, ttl_s] => Op::Grant(Grant { lease: number(lease), ttl_s: number(ttl_s) }),
        ["revoke", lease] => Op::Revoke { lease: number(lease) },
        ["compact", revision] => Op::Compact { revision: number(revision) },
        _ => panic!("no such operation: {words:?}"),
    }
}
