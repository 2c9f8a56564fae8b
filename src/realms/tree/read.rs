//! Queries: a client's read, answered from the state as it is.
//!
//! ```text
//! query  = session u64, ids (`Ids`), operation i32, the client's record
//! answer = zxid i64, err i32, body
//! ```
//! The answer to setWatches is for the door: one byte per path in the record's order, the type of the event
//! that it has missed or 0.

use super::acl::{self, Ids, perm};
use super::jute::{Malformed, Reader, Write, strings};
use super::multi::{end, failure, header};
use super::node::Node;
use super::ops::{Part, Parts, Watched, code, op};
use super::store::table;
use super::{Tree, paths, session};

/// Types of events on the wire.
pub mod event {
    pub const NONE: u8 = 0;
    pub const CREATED: u8 = 1;
    pub const DELETED: u8 = 2;
    pub const DATA_CHANGED: u8 = 3;
    pub const CHILDREN_CHANGED: u8 = 4;
}

/// Operations of the door's own: no client can ask for them, as their codes are not passed on.
pub mod own {
    /// Numbers for monitoring: znodes, ephemerals, bytes, sessions, each u64.
    pub const FACTS: i32 = 1001;
    /// Sessions and their ephemerals, as the `dump` word shows them.
    pub const DUMP: i32 = 1002;
}

/// A query, before it is encoded.
pub struct Query<'a> {
    pub session: u64,
    /// As `OwnIds::bytes` gives them.
    pub ids: &'a [u8],
    pub code: i32,
    pub record: &'a [u8],
}

impl Query<'_> {
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.session.to_be_bytes());
        out.extend_from_slice(self.ids);
        out.put_i32(self.code);
        out.extend_from_slice(self.record);
    }
}

/// An error for the reply, or what was wrong with the record.
enum Refusal {
    Code(i32),
    Malformed,
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Refusal {
        Refusal::Malformed
    }
}

impl From<i32> for Refusal {
    fn from(code: i32) -> Refusal {
        Refusal::Code(code)
    }
}

type Answer = Result<(), Refusal>;

impl Tree {
    pub(super) fn answer(&self, query: &[u8], out: &mut Vec<u8>) {
        out.put_i64(self.zxid as i64);
        let start = out.len();
        out.put_i32(code::OK);
        let refusal = match self.try_answer(query, out) {
            Ok(()) => return,
            Err(Refusal::Code(code)) => code,
            Err(Refusal::Malformed) => code::MARSHALLING_ERROR,
        };
        out.truncate(start);
        out.put_i32(refusal);
    }

    fn try_answer(&self, query: &[u8], out: &mut Vec<u8>) -> Answer {
        let (session, rest) = query.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
        let (ids, rest) = Ids::take(rest).ok_or(Refusal::Malformed)?;
        let mut reader = Reader::new(rest);
        let code = reader.i32()?;
        match code {
            op::EXISTS => {
                let path = path_of(Watched::read(&mut reader)?)?;
                if path.contains(&0) {
                    return Err(code::BAD_ARGUMENTS.into());
                }
                self.readable(path, perm::READ, ids)?.stat().write(out);
            }
            op::GET_DATA => self.get_data(path_of(Watched::read(&mut reader)?)?, ids, out)?,
            op::GET_CHILDREN => {
                self.get_children(path_of(Watched::read(&mut reader)?)?, ids, out)?;
            }
            op::GET_CHILDREN2 => {
                self.get_children(path_of(Watched::read(&mut reader)?)?, ids, out)?.stat().write(out);
            }
            op::GET_ACL => self.get_acl(reader.bytes()?.ok_or(Refusal::Malformed)?, ids, out)?,
            op::MULTI_READ => self.multi_read(reader.rest(), ids, out)?,
            op::GET_EPHEMERALS => {
                let prefix = reader.bytes()?.unwrap_or_default();
                self.get_ephemerals(u64::from_be_bytes(*session), prefix, out);
            }
            op::GET_ALL_CHILDREN_NUMBER => {
                let path = reader.bytes()?.ok_or(Refusal::Malformed)?;
                self.readable(path, perm::READ, ids)?;
                // The root written as nothing: what lies below it is all that begins with "/", itself included.
                let itself = u64::from(path.is_empty());
                out.put_i32((self.store.below(path).0 + itself) as i32);
            }
            op::SYNC => {
                let path = reader.bytes()?;
                out.put_nullable(path);
            }
            op::SET_WATCHES | op::SET_WATCHES2 => self.missed(code, &mut reader, out)?,
            own::FACTS => {
                for fact in self.facts() {
                    out.extend_from_slice(&fact.to_be_bytes());
                }
            }
            own::DUMP => self.dump(out),
            _ => return Err(code::UNIMPLEMENTED.into()),
        }
        Ok(())
    }

    fn readable(&self, path: &[u8], perms: i32, ids: Ids<'_>) -> Result<Node<'_>, i32> {
        let node = self.store.node(path).ok_or(code::NO_NODE)?;
        self.allow(node.acl(), perms, ids)?;
        Ok(node)
    }

    fn get_data(&self, path: &[u8], ids: Ids<'_>, out: &mut Vec<u8>) -> Result<(), i32> {
        let node = self.readable(path, perm::READ, ids)?;
        out.put_nullable(node.data());
        node.stat().write(out);
        Ok(())
    }

    fn get_children(&self, path: &[u8], ids: Ids<'_>, out: &mut Vec<u8>) -> Result<Node<'_>, i32> {
        let node = self.readable(path, perm::READ, ids)?;
        out.put_i32(node.children() as i32);
        if node.children() > 0 {
            self.store.children(path, |name| out.put_bytes(name));
        }
        Ok(node)
    }

    fn get_acl(&self, path: &[u8], ids: Ids<'_>, out: &mut Vec<u8>) -> Result<(), i32> {
        let node = self.readable(path, perm::READ | perm::ADMIN, ids)?;
        let list = self.store.acl_list(node.acl());
        match acl::allows(list, perm::ADMIN, ids) {
            true => out.extend_from_slice(list),
            false => acl::write_masked(list, out),
        }
        node.stat().write(out);
        Ok(())
    }

    fn multi_read(&self, record: &[u8], ids: Ids<'_>, out: &mut Vec<u8>) -> Answer {
        if !Parts::check(record)? && Parts::new(record).next().is_some() {
            return Err(Refusal::Malformed);
        }
        for part in Parts::new(record) {
            let start = out.len();
            let result = match part? {
                Part::GetData(read) => {
                    header(op::GET_DATA, code::OK, out);
                    path_of(read).and_then(|path| Ok(self.get_data(path, ids, out)?))
                }
                Part::GetChildren(read) => {
                    header(op::GET_CHILDREN, code::OK, out);
                    path_of(read).and_then(|path| Ok(self.get_children(path, ids, out).map(drop)?))
                }
                Part::Change(_) => return Err(Refusal::Malformed),
            };
            match result {
                Ok(()) => {}
                Err(Refusal::Code(err)) => {
                    out.truncate(start);
                    failure(err, out);
                }
                Err(Refusal::Malformed) => return Err(Refusal::Malformed),
            }
        }
        end(out);
        Ok(())
    }

    fn get_ephemerals(&self, session: u64, prefix: &[u8], out: &mut Vec<u8>) {
        let all = matches!(prefix.trim_ascii(), b"" | b"/");
        let start = out.len();
        let mut count = 0;
        out.put_i32(0);
        for path in self.store.ephemerals_of(session).filter(|path| all || path.starts_with(prefix)) {
            out.put_bytes(path);
            count += 1;
        }
        out[start..start + 4].copy_from_slice(&i32::to_be_bytes(count));
    }

    /// What the watches of a returning client have missed since its last zxid.
    fn missed(&self, code: i32, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Answer {
        let since = reader.i64()?;
        let (data, exist, child) =
            (reader.string_vector()?, reader.string_vector()?, reader.string_vector()?);
        let lasting = match code {
            op::SET_WATCHES2 => [reader.string_vector()?, reader.string_vector()?],
            _ => [&[][..], &[][..]],
        };
        for path in strings(data) {
            out.push(match self.store.node(path).map(|node| node.head().mzxid as i64) {
                None => event::DELETED,
                Some(mzxid) if mzxid > since => event::DATA_CHANGED,
                Some(_) => event::NONE,
            });
        }
        for path in strings(exist) {
            out.push(if self.store.node(path).is_some() { event::CREATED } else { event::NONE });
        }
        for path in strings(child) {
            out.push(match self.store.node(path).map(|node| node.head().pzxid as i64) {
                None => event::DELETED,
                Some(pzxid) if pzxid > since => event::CHILDREN_CHANGED,
                Some(_) => event::NONE,
            });
        }
        out.extend(lasting.into_iter().flat_map(strings).map(|_| event::NONE));
        Ok(())
    }

    fn dump(&self, out: &mut Vec<u8>) {
        use std::io::Write;
        let mut text = Vec::new();
        let _ = writeln!(text, "SessionTracker dump:\nGlobal Sessions({}):", self.sessions.len());
        for id in session::ids(&self.store.tables[table::SESSIONS]) {
            let timeout = self.sessions.find(id).map_or(0, |session| session.timeout_ms);
            let _ = writeln!(text, "0x{id:x}\t{timeout}ms");
        }
        let _ = writeln!(
            text,
            "ephemeral nodes dump:\nSessions with Ephemerals ({}):",
            self.store.ephemeral_owners().count()
        );
        for (session, own) in self.store.ephemeral_owners() {
            let _ = writeln!(text, "0x{session:x}:");
            for path in own {
                let _ = writeln!(text, "\t{}", String::from_utf8_lossy(path));
            }
        }
        out.extend_from_slice(&text);
    }
}

/// The path of a read; the reference stumbles over null.
fn path_of<'a>(read: Watched<'a>) -> Result<&'a [u8], Refusal> {
    let path = read.path.ok_or(Refusal::Malformed)?;
    debug_assert!(paths::is_root(path) || !path.is_empty());
    Ok(path)
}
