//! Jute, ZooKeeper's record encoding: the primitives, and the records that the tree realm reads and writes.
//!
//! Decoders borrow from the frame; counts and lengths are judged by what is left of it before anything is
//! allocated. Strings are bytes here: who needs characters checks them (`paths`).

/// Why bytes are not the record that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The record ends early. The frame's own border is intact, so the connection may go on.
    #[error("the record ends before its last field")]
    Short,
    /// A length or count that cannot be: negative but not -1, or more than what is left.
    #[error("a length of {claimed} where {left} bytes are left")]
    Length { claimed: i32, left: usize },
    /// A multi holds what it may not, or mixes reads with writes.
    #[error("operation {0} does not belong in this multi")]
    Multi(i32),
}

pub type Result<T> = std::result::Result<T, Malformed>;

/// Takes fields off the front of a record.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(record: &'a [u8]) -> Reader<'a> {
        Reader { rest: record }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*chunk)
    }

    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.chunk::<1>()?[0] != 0)
    }

    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.chunk()?))
    }

    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.chunk()?))
    }

    /// A buffer or string; `None` is null, which differs from empty.
    pub fn bytes(&mut self) -> Result<Option<&'a [u8]>> {
        let claimed = self.i32()?;
        if claimed == -1 {
            return Ok(None);
        }
        let left = self.rest.len();
        let length = usize::try_from(claimed).map_err(|_| Malformed::Length { claimed, left })?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Length { claimed, left })?;
        self.rest = rest;
        Ok(Some(bytes))
    }

    /// The count of a vector whose elements take at least `least` bytes each; null counts as empty.
    pub fn count(&mut self, least: usize) -> Result<usize> {
        Ok(self.nullable_count(least)?.unwrap_or(0))
    }

    fn nullable_count(&mut self, least: usize) -> Result<Option<usize>> {
        let claimed = self.i32()?;
        if claimed == -1 {
            return Ok(None);
        }
        let left = self.rest.len();
        match usize::try_from(claimed) {
            Ok(count) if count <= left / least => Ok(Some(count)),
            _ => Err(Malformed::Length { claimed, left }),
        }
    }

    /// Steps over a vector of strings and returns its bytes, count included, for `strings`.
    pub fn string_vector(&mut self) -> Result<&'a [u8]> {
        let whole = self.rest;
        for _ in 0..self.count(4)? {
            self.bytes()?;
        }
        Ok(&whole[..whole.len() - self.rest.len()])
    }

    /// Steps over a vector of ACLs and returns its bytes; `None` is the null vector.
    pub fn acl_vector(&mut self) -> Result<Option<&'a [u8]>> {
        let whole = self.rest;
        let Some(count) = self.nullable_count(12)? else { return Ok(None) };
        for _ in 0..count {
            self.acl()?;
        }
        Ok(Some(&whole[..whole.len() - self.rest.len()]))
    }

    pub fn acl(&mut self) -> Result<AclEntry<'a>> {
        Ok(AclEntry { perms: self.i32()?, scheme: self.bytes()?, id: self.bytes()? })
    }
}

/// The strings of a vector that `Reader::string_vector` has stepped over. Null reads as empty.
pub fn strings(vector: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(vector);
    let count = reader.count(4).unwrap_or(0);
    (0..count).map_while(move |_| reader.bytes().ok()).map(Option::unwrap_or_default)
}

/// One ACL as it stands on the wire: nulls are possible and are judged by the realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclEntry<'a> {
    pub perms: i32,
    pub scheme: Option<&'a [u8]>,
    pub id: Option<&'a [u8]>,
}

/// Appends fields to a record.
pub trait Write {
    fn put_bool(&mut self, value: bool);
    fn put_i32(&mut self, value: i32);
    fn put_i64(&mut self, value: i64);
    fn put_bytes(&mut self, value: &[u8]);
    fn put_nullable(&mut self, value: Option<&[u8]>);
}

impl Write for Vec<u8> {
    fn put_bool(&mut self, value: bool) {
        self.push(value.into());
    }

    fn put_i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_bytes(&mut self, value: &[u8]) {
        self.put_i32(value.len() as i32);
        self.extend_from_slice(value);
    }

    fn put_nullable(&mut self, value: Option<&[u8]>) {
        match value {
            Some(bytes) => self.put_bytes(bytes),
            None => self.put_i32(-1),
        }
    }
}

/// A node's Stat as clients see it: 68 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

impl Stat {
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 68];
        bytes[..8].copy_from_slice(&self.czxid.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.mzxid.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.ctime.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.mtime.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.version.to_be_bytes());
        bytes[36..40].copy_from_slice(&self.cversion.to_be_bytes());
        bytes[40..44].copy_from_slice(&self.aversion.to_be_bytes());
        bytes[44..52].copy_from_slice(&self.ephemeral_owner.to_be_bytes());
        bytes[52..56].copy_from_slice(&self.data_length.to_be_bytes());
        bytes[56..60].copy_from_slice(&self.num_children.to_be_bytes());
        bytes[60..].copy_from_slice(&self.pzxid.to_be_bytes());
        out.extend_from_slice(&bytes);
    }

    pub fn read(reader: &mut Reader<'_>) -> Result<Stat> {
        Ok(Stat {
            czxid: reader.i64()?,
            mzxid: reader.i64()?,
            ctime: reader.i64()?,
            mtime: reader.i64()?,
            version: reader.i32()?,
            cversion: reader.i32()?,
            aversion: reader.i32()?,
            ephemeral_owner: reader.i64()?,
            data_length: reader.i32()?,
            num_children: reader.i32()?,
            pzxid: reader.i64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empty_and_impossible_lengths_are_told_apart() {
        assert_eq!(Reader::new(&[0xff; 4]).bytes(), Ok(None));
        assert_eq!(Reader::new(&[0; 4]).bytes(), Ok(Some(&b""[..])));
        assert_eq!(Reader::new(&[0, 0, 0]).bytes(), Err(Malformed::Short));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xfe]).bytes(),
            Err(Malformed::Length { claimed: -2, left: 0 })
        );
        assert_eq!(Reader::new(&[0, 0, 0, 2, 9]).bytes(), Err(Malformed::Length { claimed: 2, left: 1 }));
    }

    #[test]
    fn a_count_is_bounded_by_what_is_left() {
        let mut vector = Vec::new();
        vector.put_i32(1 << 30);
        vector.extend_from_slice(&[0; 400]);
        assert!(Reader::new(&vector).string_vector().is_err());
        assert!(Reader::new(&vector).acl_vector().is_err());
        assert_eq!(strings(&vector).count(), 0);
    }

    #[test]
    fn a_stat_comes_back() {
        let stat =
            Stat { czxid: 1, mzxid: -2, ctime: 3, version: 5, num_children: 9, pzxid: 10, ..Stat::default() };
        let mut out = Vec::new();
        stat.write(&mut out);
        assert_eq!(out.len(), 68);
        assert_eq!(Stat::read(&mut Reader::new(&out)), Ok(stat));
    }
}
