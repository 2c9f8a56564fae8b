//! What lies in replies and changes, for those who read them. The layouts are told in `ops`.

/// Flag of a record within changes: it is what the event before it replaced.
pub const BEFORE: u16 = 1;

/// One key's state, as it lies in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub modified: u64,
    pub create: u64,
    /// 0: deleted.
    pub version: u64,
    pub lease: u64,
    pub flags: u16,
}

/// Bytes of a record before its key.
pub const RECORD: usize = 40;

impl<'a> Record<'a> {
    /// Takes one record off the front. `None`: the end, or bytes that are none.
    pub fn take(input: &mut &'a [u8]) -> Option<Record<'a>> {
        let (head, rest) = input.split_first_chunk::<RECORD>()?;
        let word = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let key_len = usize::from(u16::from_le_bytes([head[32], head[33]]));
        let value_len = u32::from_le_bytes([head[36], head[37], head[38], head[39]]) as usize;
        let (body, rest) = rest.split_at_checked((key_len + value_len).next_multiple_of(8))?;
        *input = rest;
        Some(Record {
            key: &body[..key_len],
            value: &body[key_len..key_len + value_len],
            modified: word(0)?,
            create: word(8)?,
            version: word(16)?,
            lease: word(24)?,
            flags: u16::from_le_bytes([head[34], head[35]]),
        })
    }

    /// All records of a reply or a group.
    pub fn all(mut input: &'a [u8]) -> impl Iterator<Item = Record<'a>> {
        std::iter::from_fn(move || Record::take(&mut input))
    }

    /// Appends the record, with or without its value.
    pub fn write(&self, with_value: bool, out: &mut Vec<u8>) {
        let value = if with_value { self.value } else { &[] };
        for word in [self.modified, self.create, self.version, self.lease] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(self.key);
        out.extend_from_slice(value);
        let body = self.key.len() + value.len();
        out.resize(out.len() + body.next_multiple_of(8) - body, 0);
    }

    pub fn is_deletion(&self) -> bool {
        self.version == 0
    }
}

/// All events of one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    pub revision: u64,
    pub events: u32,
    /// Records: see `Record::all`.
    pub bytes: &'a [u8],
}

impl<'a> Group<'a> {
    pub fn take(input: &mut &'a [u8]) -> Option<Group<'a>> {
        let (head, rest) = input.split_first_chunk::<16>()?;
        let revision = head[..8].try_into().map(u64::from_le_bytes).ok()?;
        let events = head[8..12].try_into().map(u32::from_le_bytes).ok()?;
        let length = head[12..].try_into().map(u32::from_le_bytes).ok()?;
        let (bytes, rest) = rest.split_at_checked(length as usize)?;
        *input = rest;
        Some(Group { revision, events, bytes })
    }

    /// All groups of a command's changes.
    pub fn all(mut input: &'a [u8]) -> impl Iterator<Item = Group<'a>> {
        std::iter::from_fn(move || Group::take(&mut input))
    }
}

/// The body of a `Range` reply, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Keys in the range, or in the part that was visited.
    pub count: u64,
    pub records: u32,
    /// See `Record::all`.
    pub bytes: &'a [u8],
    /// Where to go on; empty if this is all.
    pub next: &'a [u8],
}

impl<'a> Found<'a> {
    pub fn open(body: &'a [u8]) -> Option<Found<'a>> {
        let (head, rest) = body.split_first_chunk::<16>()?;
        let count = head[..8].try_into().map(u64::from_le_bytes).ok()?;
        let records = head[8..12].try_into().map(u32::from_le_bytes).ok()?;
        let next = u32::from_le_bytes(head[12..].try_into().ok()?) as usize;
        let (bytes, next) = rest.split_at_checked(rest.len().checked_sub(next)?)?;
        Some(Found { count, records, bytes, next })
    }
}
