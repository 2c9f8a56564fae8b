//! Operation codes and the request records that the realm executes, as clients send them.

use super::jute::{Malformed, Reader, Result};

/// Operation codes of the protocol. Those that change the tree are also the kinds of its commands.
pub mod op {
    pub const CREATE: i32 = 1;
    pub const DELETE: i32 = 2;
    pub const EXISTS: i32 = 3;
    pub const GET_DATA: i32 = 4;
    pub const SET_DATA: i32 = 5;
    pub const GET_ACL: i32 = 6;
    pub const SET_ACL: i32 = 7;
    pub const GET_CHILDREN: i32 = 8;
    pub const SYNC: i32 = 9;
    pub const PING: i32 = 11;
    pub const GET_CHILDREN2: i32 = 12;
    pub const CHECK: i32 = 13;
    pub const MULTI: i32 = 14;
    pub const CREATE2: i32 = 15;
    pub const RECONFIG: i32 = 16;
    pub const CHECK_WATCHES: i32 = 17;
    pub const REMOVE_WATCHES: i32 = 18;
    pub const CREATE_CONTAINER: i32 = 19;
    pub const DELETE_CONTAINER: i32 = 20;
    pub const CREATE_TTL: i32 = 21;
    pub const MULTI_READ: i32 = 22;
    pub const AUTH: i32 = 100;
    pub const SET_WATCHES: i32 = 101;
    pub const SASL: i32 = 102;
    pub const GET_EPHEMERALS: i32 = 103;
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub const SET_WATCHES2: i32 = 105;
    pub const ADD_WATCH: i32 = 106;
    pub const WHO_AM_I: i32 = 107;
    pub const CLOSE_SESSION: i32 = -11;
    /// Never asked for by this code: a handshake does it.
    pub const OPEN_SESSION: i32 = -10;
    /// Ends a multi; the type of a failed result in its reply.
    pub const ERROR: i32 = -1;
}

/// Kinds of commands that no client can express: the server makes them. Client operations use their own code.
pub mod kind {
    /// Payload: timeout in ms, i32. The reply is the new session's id and timeout.
    pub const OPEN_SESSION: u8 = 200;
    /// A session moves to the envelope's origin. Payload: session id, timeout in ms.
    pub const ATTACH_SESSION: u8 = 201;
    /// The client says goodbye. No payload; the session is the envelope's.
    pub const CLOSE_SESSION: u8 = 202;
    /// The leader saw no life in a session. Payload: session id, i64.
    pub const EXPIRE_SESSION: u8 = 203;
    /// A container or TTL node is due. Payload: path.
    pub const REAP: u8 = 204;
    /// The text of `/zookeeper/config`, after a change of the cluster's members. Payload: the text without its
    /// last line, which `apply` adds.
    pub const CONFIG: u8 = 205;
    /// What all replicas must agree on. Payload: `Settings` as a byte.
    pub const SETTINGS: u8 = 206;
    /// Where the origin's node takes clients, for `/zookeeper/config`. Payload: the address as text.
    pub const ANNOUNCE: u8 = 207;
}

/// Error codes of the protocol.
pub mod code {
    pub const OK: i32 = 0;
    pub const RUNTIME_INCONSISTENCY: i32 = -2;
    pub const MARSHALLING_ERROR: i32 = -5;
    pub const UNIMPLEMENTED: i32 = -6;
    pub const BAD_ARGUMENTS: i32 = -8;
    pub const NO_NODE: i32 = -101;
    pub const NO_AUTH: i32 = -102;
    pub const BAD_VERSION: i32 = -103;
    pub const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
    pub const NODE_EXISTS: i32 = -110;
    pub const NOT_EMPTY: i32 = -111;
    pub const SESSION_EXPIRED: i32 = -112;
    pub const INVALID_ACL: i32 = -114;
    pub const AUTH_FAILED: i32 = -115;
    pub const SESSION_MOVED: i32 = -118;
    pub const NO_WATCHER: i32 = -121;
    pub const RECONFIG_DISABLED: i32 = -123;
    pub const QUOTA_EXCEEDED: i32 = -125;
    pub const THROTTLED: i32 = -127;
}

/// All forms of create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create<'a> {
    /// The operation's code: it decides about the reply's form.
    pub op: i32,
    pub path: Option<&'a [u8]>,
    pub data: Option<&'a [u8]>,
    /// The vector as it came; `None` is null.
    pub acl: Option<&'a [u8]>,
    pub flags: i32,
    /// -1 unless given.
    pub ttl: i64,
}

/// delete, check and setData name a node and the version that it must have (-1: any).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versioned<'a> {
    pub path: Option<&'a [u8]>,
    pub version: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetData<'a> {
    pub path: Option<&'a [u8]>,
    pub data: Option<&'a [u8]>,
    pub version: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAcl<'a> {
    pub path: Option<&'a [u8]>,
    pub acl: Option<&'a [u8]>,
    pub version: i32,
}

/// exists, getData, getChildren: a path and whether to watch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched<'a> {
    pub path: Option<&'a [u8]>,
    pub watch: bool,
}

/// An operation that changes the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    Create(Create<'a>),
    Delete(Versioned<'a>),
    SetData(SetData<'a>),
    SetAcl(SetAcl<'a>),
    Check(Versioned<'a>),
}

impl<'a> Change<'a> {
    /// Reads the record of `code` off `reader`; `None` for a code that changes nothing by itself.
    pub fn read(code: i32, reader: &mut Reader<'a>) -> Result<Option<Change<'a>>> {
        Ok(Some(match code {
            op::CREATE | op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => Change::Create(Create {
                op: code,
                path: reader.bytes()?,
                data: reader.bytes()?,
                acl: reader.acl_vector()?,
                flags: reader.i32()?,
                ttl: if code == op::CREATE_TTL { reader.i64()? } else { -1 },
            }),
            op::DELETE => Change::Delete(Versioned { path: reader.bytes()?, version: reader.i32()? }),
            op::SET_DATA => Change::SetData(SetData {
                path: reader.bytes()?,
                data: reader.bytes()?,
                version: reader.i32()?,
            }),
            op::SET_ACL => Change::SetAcl(SetAcl {
                path: reader.bytes()?,
                acl: reader.acl_vector()?,
                version: reader.i32()?,
            }),
            op::CHECK => Change::Check(Versioned { path: reader.bytes()?, version: reader.i32()? }),
            _ => return Ok(None),
        }))
    }
}

impl<'a> Change<'a> {
    fn path(&self) -> Option<&'a [u8]> {
        match self {
            Change::Create(create) => create.path,
            Change::Delete(versioned) | Change::Check(versioned) => versioned.path,
            Change::SetData(set) => set.path,
            Change::SetAcl(set) => set.path,
        }
    }
}

impl<'a> Watched<'a> {
    pub fn read(reader: &mut Reader<'a>) -> Result<Watched<'a>> {
        Ok(Watched { path: reader.bytes()?, watch: reader.bool()? })
    }
}

/// One operation of a multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Change(Change<'a>),
    GetData(Watched<'a>),
    GetChildren(Watched<'a>),
}

/// Walks a multi's operations. It ends after the closing header, or after the first error.
pub struct Parts<'a> {
    reader: Reader<'a>,
    reads: Option<bool>,
    over: bool,
}

impl<'a> Parts<'a> {
    pub fn new(record: &'a [u8]) -> Parts<'a> {
        Parts { reader: Reader::new(record), reads: None, over: false }
    }

    /// Checks a whole multi before any of it has an effect. True: it only reads.
    pub fn check(record: &'a [u8]) -> Result<bool> {
        let mut parts = Parts::new(record);
        for part in &mut parts {
            part?;
        }
        Ok(parts.reads == Some(true))
    }

    fn step(&mut self) -> Result<Option<Part<'a>>> {
        let code = self.reader.i32()?;
        let done = self.reader.bool()?;
        self.reader.i32()?;
        if done {
            return Ok(None);
        }
        let part = match code {
            op::GET_DATA => Part::GetData(Watched::read(&mut self.reader)?),
            op::GET_CHILDREN => Part::GetChildren(Watched::read(&mut self.reader)?),
            op::SET_ACL => return Err(Malformed::Multi(code)),
            _ => match Change::read(code, &mut self.reader)?.ok_or(Malformed::Multi(code))? {
                // The reference turns these away while it still decodes.
                Change::Create(create)
                    if create.op != op::CREATE_TTL
                        && (!(0..=4).contains(&create.flags) || create.acl.is_none()) =>
                {
                    return Err(Malformed::Multi(code));
                }
                change if change.path().is_none() => return Err(Malformed::Multi(code)),
                change => Part::Change(change),
            },
        };
        let reads = !matches!(part, Part::Change(_));
        if *self.reads.get_or_insert(reads) != reads {
            return Err(Malformed::Multi(code));
        }
        Ok(Some(part))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Part<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let step = self.step().transpose();
        self.over = !matches!(step, Some(Ok(_)));
        step
    }
}
