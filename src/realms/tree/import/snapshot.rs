//! The reference's snapshot file.
//!
//! ```text
//! "ZKSN", version 2 i32, database i64
//! sessions i32, then id i64, timeout i32 each
//! lists i32, then number i64, ACL vector each
//! nodes: path, data, list i64 (-1: open to all), numbers of 60 bytes; the path "/" ends them
//! seal: Adler-32 i64 over all before it, "/"
//! perhaps a digest (zxid i64, version i32, digest) and perhaps the last zxid i64, each with a seal behind it
//! ```

use std::collections::BTreeMap;

use super::{Damaged, Node, State, adler32, list_of};
use crate::realms::tree::jute::Reader;

const MAGIC: i32 = i32::from_be_bytes(*b"ZKSN");
const VERSION: i32 = 2;
/// How every finished snapshot ends.
const END: &[u8] = b"\0\0\0\x01/";
const OPEN: i64 = -1;

/// Whether the server came to the end of writing it. One that did not is no snapshot: the reference passes it over.
pub fn is_finished(bytes: &[u8]) -> bool {
    bytes.len() > END.len() && bytes.ends_with(END)
}

/// The state in a snapshot whose name says `zxid`: where the log has to be applied from.
pub fn read(bytes: &[u8], zxid: i64) -> Result<State, Damaged> {
    let mut at = Cursor { bytes, reader: Reader::new(bytes) };
    if at.i32()? != MAGIC {
        return Err(Damaged::new(0, "this is no snapshot: it does not begin with ZKSN"));
    }
    let version = at.i32()?;
    if version != VERSION {
        return Err(Damaged::new(4, format!("format {version}, {VERSION} is known")));
    }
    at.i64()?;
    let mut state = State { zxid, ..State::default() };
    for _ in 0..at.i32()? {
        let (id, timeout_ms) = (at.i64()?, at.i32()?);
        state.sessions.insert(id, timeout_ms);
    }
    let mut lists: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    for _ in 0..at.i32()? {
        let number = at.i64()?;
        let offset = at.offset();
        let vector = at.reader.acl_vector().map_err(|why| Damaged::malformed(offset, why))?;
        lists.insert(number, list_of(vector));
    }
    loop {
        let offset = at.offset();
        let path = at.bytes()?.ok_or_else(|| Damaged::new(offset, "a node without a path"))?;
        if path == b"/" {
            break;
        }
        let data = at.bytes()?.map(<[u8]>::to_vec);
        let list = at.i64()?;
        let acl = match list {
            OPEN => list_of(None),
            // Unknown: nobody may do anything until the log says better.
            number => lists.get(&number).cloned().unwrap_or_default(),
        };
        let node = Node {
            data,
            acl,
            czxid: at.i64()?,
            mzxid: at.i64()?,
            ctime: at.i64()?,
            mtime: at.i64()?,
            version: at.i32()?,
            cversion: at.i32()?,
            aversion: at.i32()?,
            owner: at.i64()?,
            pzxid: at.i64()?,
        };
        if state.nodes.insert(path.to_vec(), node).is_some() {
            return Err(Damaged::new(offset, format!("node {} twice", String::from_utf8_lossy(path))));
        }
    }
    at.seal()?;
    at.trailers()?;
    Ok(state)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
}

impl<'a> Cursor<'a> {
    fn offset(&self) -> usize {
        self.bytes.len() - self.reader.rest().len()
    }

    fn i32(&mut self) -> Result<i32, Damaged> {
        let offset = self.offset();
        self.reader.i32().map_err(|why| Damaged::malformed(offset, why))
    }

    fn i64(&mut self) -> Result<i64, Damaged> {
        let offset = self.offset();
        self.reader.i64().map_err(|why| Damaged::malformed(offset, why))
    }

    fn bytes(&mut self) -> Result<Option<&'a [u8]>, Damaged> {
        let offset = self.offset();
        self.reader.bytes().map_err(|why| Damaged::malformed(offset, why))
    }

    /// The sum over all before it, earlier seals included.
    fn seal(&mut self) -> Result<(), Damaged> {
        let offset = self.offset();
        let (sum, mark) = (self.i64()?, self.bytes()?);
        if mark != Some(b"/") {
            return Err(Damaged::new(offset, "no seal where one must be"));
        }
        let found = adler32(&self.bytes[..offset]);
        match found == sum {
            true => Ok(()),
            false => Err(Damaged::new(
                offset,
                format!("the bytes before it sum up to {found:#x}, the seal says {sum:#x}"),
            )),
        }
    }

    /// What follows does not say what it is: only its length does.
    fn trailers(&mut self) -> Result<(), Damaged> {
        const SEAL: usize = 8 + 5;
        const DIGEST: usize = 8 + 4 + 8 + SEAL;
        const ZXID: usize = 8 + SEAL;
        let left = self.reader.rest().len();
        let kinds: &[usize] = match left {
            0 => &[],
            ZXID => &[ZXID],
            DIGEST => &[DIGEST],
            _ if left == DIGEST + ZXID => &[DIGEST, ZXID],
            _ => return self.old_digest(left),
        };
        for &kind in kinds {
            self.i64()?;
            if kind == DIGEST {
                self.i32()?;
                self.i64()?;
            }
            self.seal()?;
        }
        Ok(())
    }

    /// Digests of version 1 are text.
    fn old_digest(&mut self, left: usize) -> Result<(), Damaged> {
        let offset = self.offset();
        self.i64()?;
        let version = self.i32()?;
        if version >= 2 {
            return Err(Damaged::new(offset, format!("{left} bytes behind the seal that nobody wrote")));
        }
        self.bytes()?;
        self.seal()?;
        match self.reader.rest().len() {
            0 => Ok(()),
            _ => {
                self.i64()?;
                self.seal()
            }
        }
    }
}
