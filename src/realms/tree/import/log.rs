//! The reference's transaction log.
//!
//! ```text
//! "ZKLG", version 2 i32, database i64
//! entries: Adler-32 i64 over the bytes, bytes, 'B'; zeros up to the size that was allocated
//! bytes = session i64, number i32, zxid i64, time i64, kind i32, record, perhaps digest (version i32, i64)
//! ```

use super::{Damaged, adler32, list_of};
use crate::realms::tree::jute::{self, Malformed, Reader, strings};
use crate::realms::tree::ops::op;

const MAGIC: i32 = i32::from_be_bytes(*b"ZKLG");
const VERSION: i32 = 2;
const HEAD: usize = 16;
const CONTAINER: i64 = i64::MIN;
const TTL: i64 = -1 << 56;

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub session: i64,
    pub zxid: i64,
    pub time: i64,
    pub txn: Txn<'a>,
    pub digest: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Txn<'a> {
    /// `owner`: `None` for the session that asked.
    Create {
        path: &'a [u8],
        data: Option<&'a [u8]>,
        acl: Vec<u8>,
        owner: Option<i64>,
        parent_cversion: i32,
    },
    Delete {
        path: &'a [u8],
    },
    SetData {
        path: &'a [u8],
        data: Option<&'a [u8]>,
        version: i32,
    },
    SetAcl {
        path: &'a [u8],
        acl: Vec<u8>,
        version: i32,
    },
    Open {
        timeout_ms: i32,
    },
    Close {
        paths: Vec<&'a [u8]>,
    },
    Multi(Vec<Txn<'a>>),
    /// Checked, and changed nothing.
    Nothing,
    Failed,
}

/// What comes next in a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    Entry(Entry<'a>),
    /// The file ends here, as it should.
    End,
    /// An entry was begun and not finished: right at the end of the newest file, damage anywhere else.
    Torn,
}

/// Walks a log file.
pub struct Log<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Log<'a> {
    /// `None`: a file without a byte of content, which a server leaves that was stopped in time.
    pub fn open(bytes: &'a [u8]) -> Result<Option<Log<'a>>, Damaged> {
        if bytes.iter().take(HEAD).all(|&byte| byte == 0) {
            return Ok(None);
        }
        let mut reader = Reader::new(bytes);
        let short = |why| Damaged::malformed(0, why);
        let (magic, version) = (reader.i32().map_err(short)?, reader.i32().map_err(short)?);
        reader.i64().map_err(short)?;
        if magic != MAGIC {
            return Err(Damaged::new(0, "this is no log: it does not begin with ZKLG"));
        }
        if version != VERSION {
            return Err(Damaged::new(4, format!("format {version}, {VERSION} is known")));
        }
        Ok(Some(Log { bytes, at: HEAD }))
    }

    /// Where the next entry begins.
    pub fn offset(&self) -> u64 {
        self.at as u64
    }

    pub fn step(&mut self) -> Result<Next<'a>, Damaged> {
        let rest = &self.bytes[self.at..];
        let Some((head, tail)) = rest.split_first_chunk::<12>() else {
            return Ok(if rest.iter().all(|&byte| byte == 0) { Next::End } else { Next::Torn });
        };
        let sum = i64::from_be_bytes(head[..8].try_into().expect("eight bytes"));
        let length = i32::from_be_bytes(head[8..].try_into().expect("four bytes"));
        if length == 0 {
            return Ok(if sum == 0 { Next::End } else { Next::Torn });
        }
        let Some((body, mark)) =
            usize::try_from(length).ok().and_then(|length| tail.split_at_checked(length))
        else {
            return Ok(Next::Torn);
        };
        if mark.first() != Some(&b'B') {
            return Ok(Next::Torn);
        }
        let found = adler32(body);
        if found != sum {
            let what = format!("the entry's bytes sum up to {found:#x}, its head says {sum:#x}");
            return Err(Damaged::new(self.at, what));
        }
        let entry = entry(body).map_err(|why| Damaged::malformed(self.at + 12, why))?;
        self.at += 12 + body.len() + 1;
        Ok(Next::Entry(entry))
    }
}

fn entry(body: &[u8]) -> jute::Result<Entry<'_>> {
    let mut reader = Reader::new(body);
    let session = reader.i64()?;
    reader.i32()?;
    let (zxid, time, kind) = (reader.i64()?, reader.i64()?, reader.i32()?);
    let txn = match kind {
        op::MULTI => {
            let parts = (0..reader.count(8)?).map(|_| {
                let kind = reader.i32()?;
                let record = reader.bytes()?.unwrap_or_default();
                txn(kind, &mut Reader::new(record), true)
            });
            Txn::Multi(parts.collect::<jute::Result<_>>()?)
        }
        kind => txn(kind, &mut reader, false)?,
    };
    let digest = match reader.rest().len() {
        12 if reader.i32()? == 2 => Some(reader.i64()? as u64),
        _ => None,
    };
    Ok(Entry { session, zxid, time, txn, digest })
}

/// `alone`: nothing follows the record, so an old form can be told by its length.
fn txn<'a>(kind: i32, reader: &mut Reader<'a>, alone: bool) -> jute::Result<Txn<'a>> {
    let path = |reader: &mut Reader<'a>| reader.bytes().map(Option::unwrap_or_default);
    Ok(match kind {
        op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
            let (path, data) = (path(reader)?, reader.bytes()?);
            let acl = list_of(reader.acl_vector()?);
            let ephemeral = matches!(kind, op::CREATE | op::CREATE2) && reader.bool()?;
            // Releases before 3.4 wrote no such number.
            let parent_cversion = match reader.rest().len() {
                0 => -1,
                _ if alone || reader.rest().len() >= 4 => reader.i32()?,
                _ => return Err(Malformed::Short),
            };
            let owner = match kind {
                op::CREATE_CONTAINER => Some(CONTAINER),
                op::CREATE_TTL => Some(TTL | reader.i64()?),
                _ if ephemeral => None,
                _ => Some(0),
            };
            Txn::Create { path, data, acl, owner, parent_cversion }
        }
        op::DELETE | op::DELETE_CONTAINER => Txn::Delete { path: path(reader)? },
        op::SET_DATA | op::RECONFIG => {
            Txn::SetData { path: path(reader)?, data: reader.bytes()?, version: reader.i32()? }
        }
        op::SET_ACL => {
            Txn::SetAcl { path: path(reader)?, acl: list_of(reader.acl_vector()?), version: reader.i32()? }
        }
        op::CHECK => {
            path(reader)?;
            reader.i32()?;
            Txn::Nothing
        }
        op::OPEN_SESSION => Txn::Open { timeout_ms: reader.i32()? },
        op::CLOSE_SESSION => {
            // Releases before 3.6 wrote no paths; then what is left is a digest or nothing.
            let mut ahead = *reader;
            let paths = match ahead.string_vector() {
                Ok(vector) if matches!(ahead.rest().len(), 0 | 12) => {
                    *reader = ahead;
                    strings(vector).collect()
                }
                _ => Vec::new(),
            };
            Txn::Close { paths }
        }
        op::ERROR => {
            reader.i32()?;
            Txn::Failed
        }
        kind => return Err(Malformed::Multi(kind)),
    })
}
