//! ZooKeeper's client protocol: length-prefixed jute frames, pipelined, replies matched by xid.

use std::sync::Arc;

use super::{Done, Driver, Kind, Malformed, Op, ReadMode, Rmw, Shape, Verdict, stamp_of};
use crate::access::Access;

pub const CREATE: i32 = 1;
pub const DELETE: i32 = 2;
pub const EXISTS: i32 = 3;
pub const GET_DATA: i32 = 4;
pub const SET_DATA: i32 = 5;
pub const SYNC: i32 = 9;
pub const PING: i32 = 11;
pub const CREATE2: i32 = 15;
pub const GET_CHILDREN: i32 = 8;
pub const MULTI: i32 = 14;
pub const MULTI_READ: i32 = 22;
const AUTH: i32 = 100;
pub const CLOSE: i32 = -11;

pub const XID_NOTICE: i32 = -1;
pub const XID_PING: i32 = -2;
pub const XID_AUTH: i32 = -4;
/// The xid of the `sync` that goes before a linearizable read: the read's own with this bit.
const SYNC_BIT: i32 = 1 << 30;
/// All requests of a scan have its xid with this bit.
const SCAN_BIT: i32 = 1 << 29;

const CONNECTION_LOSS: i32 = -4;
const OPERATION_TIMEOUT: i32 = -7;
const NO_NODE: i32 = -101;
const BAD_VERSION: i32 = -103;
const NODE_EXISTS: i32 = -110;

const FRAME_MAX: usize = 64 << 20;
const SESSION_MS: i32 = 30_000;
pub const PERSISTENT: i32 = 0;
pub const EPHEMERAL: i32 = 1;
const STAT: usize = 68;
/// Of the data, within a Stat.
const VERSION_AT: usize = 32;

pub struct Zk {
    shape: Arc<Shape>,
    kinds: Vec<Kind>,
    rmws: Vec<Rmw>,
    /// Answers that a scan still waits for.
    scans: Vec<u32>,
    /// Reads whose `sync` failed before their own answer came.
    unsynced: Vec<i32>,
    greeted: bool,
    ready: bool,
    session: i64,
    password: [u8; 16],
    last_zxid: i64,
}

impl Driver for Zk {
    fn new(shape: &Arc<Shape>, depth: usize) -> Zk {
        assert!(depth < SCAN_BIT as usize);
        Zk {
            shape: shape.clone(),
            kinds: vec![Kind::Read; depth],
            rmws: vec![Rmw::default(); depth],
            scans: vec![0; depth],
            unsynced: Vec::new(),
            greeted: false,
            ready: false,
            session: 0,
            password: [0; 16],
            last_zxid: 0,
        }
    }

    /// One node for each directory above the keys.
    fn roots(shape: &Shape) -> u64 {
        shape.prefix.bytes().skip(1).filter(|&byte| byte == b'/').count() as u64
    }

    fn hello(&mut self, out: &mut Vec<u8>) {
        (self.greeted, self.ready) = (false, false);
        self.unsynced.clear();
        put_i32(out, 45);
        put_i32(out, 0);
        put_i64(out, self.last_zxid);
        put_i32(out, SESSION_MS);
        put_i64(out, self.session);
        put_bytes(out, &self.password);
        out.push(0);
        put_auth(out, &self.shape.access);
    }

    fn ready(&self) -> bool {
        self.ready
    }

    fn encode(&mut self, op: &Op, tag: u32, out: &mut Vec<u8>) {
        let xid = tag as i32;
        self.kinds[tag as usize] = op.kind;
        let frame = match op.kind {
            Kind::Root => {
                let frame = begin(out, xid, CREATE);
                put_bytes(out, nth_parent(&self.shape.prefix, op.key));
                put_bytes(out, b"");
                put_acl(out, &self.shape.access, PERSISTENT);
                frame
            }
            Kind::Create => {
                let frame = begin(out, xid, CREATE2);
                self.put_path(op.key, out);
                self.put_value(op.stamp, out);
                put_acl(out, &self.shape.access, PERSISTENT);
                frame
            }
            Kind::Write => {
                let frame = begin(out, xid, SET_DATA);
                self.put_path(op.key, out);
                self.put_value(op.stamp, out);
                put_i32(out, -1);
                frame
            }
            Kind::Read | Kind::Audit => {
                if op.kind == Kind::Audit || self.shape.read_mode == ReadMode::Linearizable {
                    let sync = begin(out, xid | SYNC_BIT, SYNC);
                    self.put_path(op.key, out);
                    end(out, sync);
                }
                let frame = begin(out, xid, GET_DATA);
                self.put_path(op.key, out);
                out.push(0);
                frame
            }
            // Neighbouring keys are known by name: the list of children is what a client without that has to ask.
            Kind::Scan => {
                let xid = xid | SCAN_BIT;
                self.scans[tag as usize] = op.stamp as u32 + 1;
                for nth in 0..op.stamp {
                    let frame = self.begin_look((op.key + nth) % self.shape.keys, xid, out);
                    end(out, frame);
                }
                let frame = begin(out, xid, GET_CHILDREN);
                let nth = Zk::roots(&self.shape) - 1;
                put_bytes(out, nth_parent(&self.shape.prefix, nth));
                out.push(0);
                frame
            }
            Kind::Rmw => {
                self.rmws[tag as usize] = Rmw { key: op.key, stamp: op.stamp, ..Rmw::default() };
                self.begin_look(op.key, xid, out)
            }
        };
        end(out, frame);
    }

    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, done: &mut Vec<Done>) -> Result<usize, Malformed> {
        let mut taken = 0;
        while let Some(frame) = take_frame(&input[taken..])? {
            taken += 4 + frame.len();
            if self.greeted {
                self.on_reply(frame, out, done)?;
            } else {
                self.on_connect(frame)?;
            }
        }
        Ok(taken)
    }

    fn beat(&mut self, out: &mut Vec<u8>) {
        let frame = begin(out, XID_PING, PING);
        end(out, frame);
    }
}

impl Zk {
    fn put_path(&self, key: u64, out: &mut Vec<u8>) {
        put_i32(out, self.shape.key_len() as i32);
        self.shape.push_key(key, out);
    }

    fn put_value(&self, stamp: u64, out: &mut Vec<u8>) {
        put_i32(out, self.shape.value.len() as i32);
        self.shape.push_value(stamp, out);
    }

    fn on_connect(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        if frame.len() < 36 || i32_at(frame, 16) != 16 {
            return Err(Malformed("the server does not answer as ZooKeeper does".into()));
        }
        if i32_at(frame, 4) <= 0 {
            // The session is gone; the next hello asks for a new one.
            self.session = 0;
            self.password = [0; 16];
            return Err(Malformed("the session has expired".into()));
        }
        self.session = i64_at(frame, 8);
        self.password.copy_from_slice(&frame[20..36]);
        self.greeted = true;
        self.ready = self.shape.access.user.is_none();
        Ok(())
    }

    fn on_reply(&mut self, frame: &[u8], out: &mut Vec<u8>, done: &mut Vec<Done>) -> Result<(), Malformed> {
        if frame.len() < 16 {
            return Err(Malformed(format!("a reply of {} bytes, the header alone has 16", frame.len())));
        }
        let (xid, zxid, err) = (i32_at(frame, 0), i64_at(frame, 4), i32_at(frame, 12));
        if zxid > self.last_zxid {
            self.last_zxid = zxid;
        }
        if xid < 0 {
            return match xid {
                XID_PING | XID_NOTICE => Ok(()),
                XID_AUTH if err == 0 => {
                    self.ready = true;
                    Ok(())
                }
                XID_AUTH => Err(Malformed("the server refuses --user: authentication failed".into())),
                other => Err(Malformed(format!("a reply to xid {other}, which was never sent"))),
            };
        }
        if xid & SYNC_BIT != 0 {
            if err != 0 {
                self.unsynced.push(xid & !SYNC_BIT);
            }
            return Ok(());
        }
        if xid & SCAN_BIT != 0 {
            let tag = (xid & !SCAN_BIT) as u32;
            let stray = || Malformed(format!("a reply to xid {xid}, which was never sent"));
            let left = self.scans.get_mut(tag as usize).filter(|left| **left > 0).ok_or_else(stray)?;
            *left -= 1;
            if *left == 0 {
                done.push(Done { tag, verdict: verdict_of(Kind::Scan, err), revision: 0, stamp: 0 });
            }
            return Ok(());
        }
        let Some(&kind) = self.kinds.get(xid as usize) else {
            return Err(Malformed(format!("a reply to xid {xid}, which was never sent")));
        };
        let body = &frame[16..];
        if kind == Kind::Rmw {
            return self.on_rmw(xid, err, body, out, done);
        }
        let mut end = Done { tag: xid as u32, verdict: verdict_of(kind, err), revision: 0, stamp: 0 };
        if !self.unsynced.is_empty()
            && let Some(at) = self.unsynced.iter().position(|&of| of == xid)
        {
            self.unsynced.swap_remove(at);
            end.verdict = Verdict::Unknown(CONNECTION_LOSS);
        }
        if err == 0 {
            self.read_body(kind, body, &mut end)?;
        }
        done.push(end);
        Ok(())
    }

    fn begin_look(&self, key: u64, xid: i32, out: &mut Vec<u8>) -> usize {
        let frame = begin(out, xid, GET_DATA);
        self.put_path(key, out);
        out.push(0);
        frame
    }

    fn on_rmw(
        &mut self,
        xid: i32,
        err: i32,
        body: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<Done>,
    ) -> Result<(), Malformed> {
        let mut rmw = self.rmws[xid as usize];
        if err == 0 && !rmw.writing {
            let short = || Malformed(format!("the body of a read has {} bytes, too few", body.len()));
            let length = body.first_chunk().map(|head| i32::from_be_bytes(*head)).ok_or_else(short)?;
            let stat = body.get(4 + length.max(0) as usize..).filter(|stat| stat.len() >= STAT);
            let version = i32_at(stat.ok_or_else(short)?, VERSION_AT);
            let frame = begin(out, xid, SET_DATA);
            self.put_path(rmw.key, out);
            self.put_value(rmw.stamp, out);
            put_i32(out, version);
            end(out, frame);
            rmw.writing = true;
        } else if err == BAD_VERSION {
            let frame = self.begin_look(rmw.key, xid, out);
            end(out, frame);
            (rmw.writing, rmw.again) = (false, rmw.again + 1);
        } else {
            let verdict = verdict_of(Kind::Write, err);
            done.push(Done { tag: xid as u32, verdict, revision: 0, stamp: rmw.again });
        }
        self.rmws[xid as usize] = rmw;
        Ok(())
    }

    fn read_body(&self, kind: Kind, body: &[u8], end: &mut Done) -> Result<(), Malformed> {
        let short = || Malformed(format!("the body of a {kind:?} reply has {} bytes, too few", body.len()));
        match kind {
            Kind::Root | Kind::Rmw | Kind::Scan => {}
            Kind::Write => end.revision = mzxid(body.get(..STAT).ok_or_else(short)?),
            Kind::Read | Kind::Audit | Kind::Create => {
                let length = body.first_chunk().map(|head| i32::from_be_bytes(*head)).ok_or_else(short)?;
                let (data, stat) = body[4..].split_at_checked(length.max(0) as usize).ok_or_else(short)?;
                end.revision = mzxid(stat.get(..STAT).ok_or_else(short)?);
                if kind.is_read() {
                    end.stamp = stamp_of(data);
                }
            }
        }
        Ok(())
    }
}

fn verdict_of(kind: Kind, err: i32) -> Verdict {
    match err {
        0 => Verdict::Ok,
        // Nothing there: an answer, as it is in the other protocols. A history makes a lost write of it.
        NO_NODE if kind.is_read() => Verdict::Ok,
        NODE_EXISTS if matches!(kind, Kind::Create | Kind::Root) => Verdict::Ok,
        CONNECTION_LOSS | OPERATION_TIMEOUT => Verdict::Unknown(err),
        _ => Verdict::Failed(err),
    }
}

fn mzxid(stat: &[u8]) -> u64 {
    i64_at(stat, 8) as u64
}

/// The nth directory of a path: of `/a/b/k`, 0 is `/a` and 1 is `/a/b`.
fn nth_parent(prefix: &str, nth: u64) -> &[u8] {
    let slash = prefix.bytes().enumerate().skip(1).filter(|&(_, byte)| byte == b'/').nth(nth as usize);
    let end = slash.expect("a root below `roots`").0;
    &prefix.as_bytes()[..end]
}

/// A frame's body, once all of it is there.
pub fn take_frame(input: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let Some((head, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*head) as usize;
    if length > FRAME_MAX {
        return Err(Malformed(format!("a frame of {length} bytes: this is not ZooKeeper's protocol")));
    }
    Ok(rest.get(..length))
}

/// Starts a request; `end` fills in its length.
pub fn begin(out: &mut Vec<u8>, xid: i32, kind: i32) -> usize {
    let from = out.len();
    put_i32(out, 0);
    put_i32(out, xid);
    put_i32(out, kind);
    from
}

pub fn end(out: &mut [u8], from: usize) {
    let length = (out.len() - from - 4) as u32;
    out[from..from + 4].copy_from_slice(&length.to_be_bytes());
}

/// Digest authentication, where a user was given. It may follow the greeting at once.
pub fn put_auth(out: &mut Vec<u8>, access: &Access) {
    let Some((name, password)) = &access.user else { return };
    let frame = begin(out, XID_AUTH, AUTH);
    put_i32(out, 0);
    put_bytes(out, b"digest");
    put_bytes(out, format!("{name}:{password}").as_bytes());
    end(out, frame);
}

/// Open to everybody, or to the authenticated user alone; then the flags of a create.
pub fn put_acl(out: &mut Vec<u8>, access: &Access, flags: i32) {
    let (scheme, id): (&[u8], &[u8]) =
        if access.user.is_some() { (b"auth", b"") } else { (b"world", b"anyone") };
    put_i32(out, 1);
    put_i32(out, 31);
    put_bytes(out, scheme);
    put_bytes(out, id);
    put_i32(out, flags);
}

pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_i32(out, bytes.len() as i32);
    out.extend_from_slice(bytes);
}

pub fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Protocol;

    fn driver(read_mode: ReadMode) -> Zk {
        let shape = Shape {
            protocol: Protocol::Zk,
            prefix: "/a/b/k".into(),
            digits: 4,
            keys: 100,
            value: vec![b'v'; 8],
            read_mode,
            checked: true,
            batch: 1,
            access: Access::default(),
        };
        Zk::new(&Arc::new(shape), 4)
    }

    fn reply(xid: i32, err: i32, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_i32(&mut out, 16 + body.len() as i32);
        put_i32(&mut out, xid);
        put_i64(&mut out, 0x77);
        put_i32(&mut out, err);
        out.extend_from_slice(body);
        out
    }

    fn connected(read_mode: ReadMode) -> Zk {
        let mut zk = driver(read_mode);
        let mut out = Vec::new();
        zk.hello(&mut out);
        let mut answer = vec![0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0x75, 0x30];
        answer.extend_from_slice(&5i64.to_be_bytes());
        put_bytes(&mut answer, &[9; 16]);
        assert!(!zk.ready());
        assert_eq!(zk.decode(&answer, &mut out, &mut Vec::new()), Ok(answer.len()));
        assert!(zk.ready());
        zk
    }

    #[test]
    fn the_first_frame_is_the_documented_one() {
        let mut out = Vec::new();
        driver(ReadMode::Local).hello(&mut out);
        let mut want = vec![0, 0, 0, 0x2d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x75, 0x30];
        want.extend_from_slice(&[0; 8]);
        want.extend_from_slice(&[0, 0, 0, 16]);
        want.extend_from_slice(&[0; 17]);
        assert_eq!(out, want);
    }

    #[test]
    fn a_user_is_proven_before_anything_is_asked() {
        let mut zk = driver(ReadMode::Local);
        let user = Some(("bob".to_string(), "secret".to_string()));
        Arc::make_mut(&mut zk.shape).access.user = user;
        let mut out = Vec::new();
        zk.hello(&mut out);
        let auth = [
            &[0, 0, 0, 36, 0xff, 0xff, 0xff, 0xfc, 0, 0, 0, 100, 0, 0, 0, 0][..],
            b"\0\0\0\x06digest",
            b"\0\0\0\x0abob:secret",
        ];
        assert!(out.ends_with(&auth.concat()), "{out:?}");
        let mut answer = vec![0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0x75, 0x30, 0, 0, 0, 0, 0, 0, 0, 5];
        put_bytes(&mut answer, &[9; 16]);
        assert!(zk.decode(&answer, &mut out, &mut Vec::new()).is_ok() && !zk.ready());
        assert!(zk.decode(&reply(XID_AUTH, -115, &[]), &mut out, &mut Vec::new()).is_err());
        assert!(zk.decode(&reply(XID_AUTH, 0, &[]), &mut out, &mut Vec::new()).is_ok() && zk.ready());
        out.clear();
        zk.encode(&Op { kind: Kind::Create, key: 1, stamp: 1 }, 0, &mut out);
        assert!(out.windows(4).any(|four| four == b"auth"), "only that user may touch it");
    }

    #[test]
    fn every_directory_above_the_keys_is_a_root() {
        let zk = driver(ReadMode::Local);
        assert_eq!(Zk::roots(&zk.shape), 2);
        assert_eq!(nth_parent(&zk.shape.prefix, 0), b"/a");
        assert_eq!(nth_parent(&zk.shape.prefix, 1), b"/a/b");
    }

    #[test]
    fn a_reply_in_pieces_completes_once_with_its_revision_and_stamp() {
        let mut zk = connected(ReadMode::Local);
        let mut out = Vec::new();
        zk.encode(&Op { kind: Kind::Read, key: 3, stamp: 0 }, 2, &mut out);
        let mut body = Vec::new();
        put_bytes(&mut body, &77u64.to_le_bytes());
        put_i64(&mut body, 1);
        put_i64(&mut body, 0x2_0000_0001);
        body.resize(body.len() + STAT - 16, 0);
        let frame = reply(2, 0, &body);
        let mut done = Vec::new();
        assert_eq!(zk.decode(&frame[..30], &mut out, &mut done), Ok(0));
        assert_eq!(zk.decode(&frame, &mut out, &mut done), Ok(frame.len()));
        assert_eq!(done.len(), 1);
        assert_eq!((done[0].tag, done[0].verdict), (2, Verdict::Ok));
        assert_eq!((done[0].revision, done[0].stamp), (0x2_0000_0001, 77));
    }

    #[test]
    fn a_read_whose_sync_failed_is_no_success() {
        let mut zk = connected(ReadMode::Linearizable);
        let mut out = Vec::new();
        zk.encode(&Op { kind: Kind::Read, key: 3, stamp: 0 }, 1, &mut out);
        let mut body = Vec::new();
        put_bytes(&mut body, b"12345678");
        body.resize(body.len() + STAT, 0);
        let mut frames = reply(1 | SYNC_BIT, CONNECTION_LOSS, &[]);
        frames.extend(reply(1, 0, &body));
        let mut done = Vec::new();
        assert_eq!(zk.decode(&frames, &mut out, &mut done), Ok(frames.len()));
        assert_eq!(done[0].verdict, Verdict::Unknown(CONNECTION_LOSS));
    }

    #[test]
    fn a_write_that_came_too_late_reads_again() {
        let mut zk = connected(ReadMode::Local);
        let (mut out, mut done) = (Vec::new(), Vec::new());
        zk.encode(&Op { kind: Kind::Rmw, key: 3, stamp: 7 }, 2, &mut out);
        let found = |version: i32| {
            let mut body = Vec::new();
            put_bytes(&mut body, b"12345678");
            body.resize(body.len() + VERSION_AT, 0);
            put_i32(&mut body, version);
            body.resize(12 + STAT, 0);
            reply(2, 0, &body)
        };
        for (answer, kind, version) in [
            (found(41), SET_DATA, Some(41)),
            (reply(2, BAD_VERSION, &[]), GET_DATA, None),
            (found(42), SET_DATA, Some(42)),
        ] {
            out.clear();
            assert_eq!(zk.decode(&answer, &mut out, &mut done), Ok(answer.len()));
            assert_eq!((i32_at(&out, 4), i32_at(&out, 8), done.len()), (2, kind, 0));
            if let Some(version) = version {
                assert_eq!(i32_at(&out, out.len() - 4), version, "it must be as it was read");
            }
        }
        let last = reply(2, 0, &[0; STAT]);
        assert_eq!(zk.decode(&last, &mut out, &mut done), Ok(last.len()));
        assert_eq!((done.len(), done[0].verdict, done[0].stamp), (1, Verdict::Ok, 1));
    }

    #[test]
    fn what_is_not_zookeeper_is_refused_in_words() {
        let mut zk = connected(ReadMode::Local);
        let error = zk.decode(b"HTTP/1.1 400 Bad Request\r\n", &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert!(error.0.contains("not ZooKeeper"), "{error}");
        let stray = reply(9, 0, &[]);
        assert!(zk.decode(&stray, &mut Vec::new(), &mut Vec::new()).is_err());
    }
}
