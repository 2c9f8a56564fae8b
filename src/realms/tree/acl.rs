//! Who may do what: the ids of a connection, a node's list, and the rules between them.
//!
//! A list is kept as the jute vector that clients read. The ids of a connection travel with every command and
//! query, in a short form of our own, because permission is decided where the command is ordered.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::jute::{AclEntry, Reader, Write};
use super::ops::code;

pub mod perm {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;
}

/// What a connection has shown of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scheme {
    Ip = 1,
    Digest = 2,
    X509 = 3,
    Sasl = 4,
    /// May do everything.
    Super = 5,
}

impl Scheme {
    fn from_byte(byte: u8) -> Option<Scheme> {
        Some(match byte {
            1 => Scheme::Ip,
            2 => Scheme::Digest,
            3 => Scheme::X509,
            4 => Scheme::Sasl,
            5 => Scheme::Super,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static [u8] {
        match self {
            Scheme::Ip => b"ip",
            Scheme::Digest => b"digest",
            Scheme::X509 => b"x509",
            Scheme::Sasl => b"sasl",
            Scheme::Super => b"super",
        }
    }

    /// Whether an `auth` entry of a list stands for ids of this kind.
    fn is_authenticated(self) -> bool {
        matches!(self, Scheme::Digest | Scheme::X509 | Scheme::Sasl)
    }
}

/// A connection's ids, in the form that travels: a length in two bytes, then per id its scheme in one byte, its
/// length in two, its text.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a>(&'a [u8]);

impl<'a> Ids<'a> {
    /// Splits the ids off the front of a payload.
    pub fn take(payload: &'a [u8]) -> Option<(Ids<'a>, &'a [u8])> {
        let (length, rest) = payload.split_first_chunk::<2>()?;
        let (ids, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        Some((Ids(ids), rest))
    }

    pub fn iter(self) -> impl Iterator<Item = (Scheme, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_first_chunk::<3>()?;
            let (id, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes([head[1], head[2]])))?;
            rest = tail;
            Some((Scheme::from_byte(head[0])?, id))
        })
    }
}

/// Bytes of all ids of a connection at most: they travel with each of its requests.
pub const IDS_MAX: usize = 3072;

/// The ids that a connection gathers. They only grow.
#[derive(Clone, Debug)]
pub struct OwnIds(Vec<u8>);

impl Default for OwnIds {
    fn default() -> Self {
        OwnIds(vec![0, 0])
    }
}

impl OwnIds {
    /// False: there is no room for it.
    pub fn add(&mut self, scheme: Scheme, id: &[u8]) -> bool {
        if self.ids().iter().any(|known| known == (scheme, id)) {
            return true;
        }
        let length = self.0.len() - 2 + 3 + id.len();
        if length > IDS_MAX {
            return false;
        }
        let whole = length as u16;
        self.0.push(scheme as u8);
        self.0.extend_from_slice(&(id.len() as u16).to_be_bytes());
        self.0.extend_from_slice(id);
        self.0[..2].copy_from_slice(&whole.to_be_bytes());
        true
    }

    pub fn ids(&self) -> Ids<'_> {
        Ids(&self.0[2..])
    }

    /// As it travels, for `Ids::take`.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The list `world:anyone` with all permissions, as it stands on the wire.
pub const OPEN: &[u8] = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone";

/// The list `world:anyone` with READ.
pub const READ_ONLY: &[u8] = b"\0\0\0\x01\0\0\0\x01\0\0\0\x05world\0\0\0\x06anyone";

/// The entries of a checked list.
pub fn entries(list: &[u8]) -> impl Iterator<Item = AclEntry<'_>> {
    let mut reader = Reader::new(list);
    let count = reader.count(12).unwrap_or(0);
    (0..count).map_while(move |_| reader.acl().ok())
}

/// Whether `ids` may do one of `perms` on a node with this list.
pub fn allows(list: &[u8], perms: i32, ids: Ids<'_>) -> bool {
    if list == OPEN {
        return true;
    }
    let mut some = false;
    for entry in entries(list) {
        some = true;
        if entry.perms & perms != 0 && ids_match(&entry, ids) {
            return true;
        }
    }
    !some || ids.iter().any(|(scheme, _)| scheme == Scheme::Super)
}

fn ids_match(entry: &AclEntry<'_>, ids: Ids<'_>) -> bool {
    let (Some(scheme), Some(wanted)) = (entry.scheme, entry.id) else { return false };
    if scheme == b"world" {
        return wanted == b"anyone";
    }
    ids.iter().any(|(have, id)| {
        have.name() == scheme
            && match have {
                Scheme::Ip => ip_matches(id, wanted),
                _ => id == wanted,
            }
    })
}

/// A list as a client gave it, made fit to keep: no entry twice, `auth` replaced by the ids it stands for.
pub fn fix_up(list: Option<&[u8]>, ids: Ids<'_>, out: &mut Vec<u8>) -> Result<(), i32> {
    out.clear();
    let list = list.ok_or(code::INVALID_ACL)?;
    if list == OPEN {
        out.extend_from_slice(OPEN);
        return Ok(());
    }
    let mut count = 0;
    out.put_i32(0);
    let mut seen: Vec<AclEntry<'_>> = Vec::new();
    for entry in entries(list) {
        if seen.contains(&entry) {
            continue;
        }
        seen.push(entry);
        let scheme = entry.scheme.ok_or(code::INVALID_ACL)?;
        if scheme == b"auth" {
            let before = count;
            for (have, id) in ids.iter().filter(|(have, _)| have.is_authenticated()) {
                push(out, entry.perms, have.name(), id);
                count += 1;
            }
            if count == before {
                return Err(code::INVALID_ACL);
            }
            continue;
        }
        let Some(id) = entry.id else {
            // The reference stumbles over a null id of a scheme that it knows.
            let known = matches!(scheme, b"world" | b"digest" | b"ip");
            return Err(if known { code::MARSHALLING_ERROR } else { code::INVALID_ACL });
        };
        if !is_valid(scheme, id) {
            return Err(code::INVALID_ACL);
        }
        push(out, entry.perms, scheme, id);
        count += 1;
    }
    if count == 0 {
        return Err(code::INVALID_ACL);
    }
    out[..4].copy_from_slice(&i32::to_be_bytes(count));
    Ok(())
}

/// Appends a list as somebody without ADMIN may see it: digests without their hash.
pub fn write_masked(list: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&list[..4]);
    for entry in entries(list) {
        let (scheme, id) = (entry.scheme.unwrap_or_default(), entry.id.unwrap_or_default());
        match id.iter().position(|&b| b == b':') {
            Some(colon) if scheme == b"digest" => {
                let shown = [&id[..colon], b":x"].concat();
                push(out, entry.perms, scheme, &shown);
            }
            _ => push(out, entry.perms, scheme, id),
        }
    }
}

fn push(out: &mut Vec<u8>, perms: i32, scheme: &[u8], id: &[u8]) {
    out.put_i32(perms);
    out.put_bytes(scheme);
    out.put_bytes(id);
}

fn is_valid(scheme: &[u8], id: &[u8]) -> bool {
    match scheme {
        b"world" => id == b"anyone",
        b"digest" => {
            // Two parts; empty ones at the end do not count.
            let end = id.iter().rposition(|&b| b != b':').map_or(0, |at| at + 1);
            id[..end].iter().filter(|&&b| b == b':').count() == 1
        }
        b"ip" => {
            let (address, bits) = split_bits(id);
            parse_ip(address).is_some_and(|ip| bits.is_none_or(|bits| prefix(bits, ip.len()).is_some()))
        }
        b"x509" => id.contains(&b'='),
        _ => false,
    }
}

fn split_bits(expression: &[u8]) -> (&[u8], Option<&[u8]>) {
    match expression.iter().position(|&b| b == b'/') {
        Some(at) => (&expression[..at], Some(&expression[at + 1..])),
        None => (expression, None),
    }
}

fn prefix(bits: &[u8], bytes: usize) -> Option<usize> {
    let bits = std::str::from_utf8(bits).ok()?.parse::<usize>().ok()?;
    (bits <= bytes * 8).then_some(bits)
}

fn parse_ip(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(|ip| ip.octets().to_vec());
    }
    text.parse::<Ipv4Addr>().ok().map(|ip| ip.octets().to_vec())
}

fn ip_matches(id: &[u8], expression: &[u8]) -> bool {
    let (address, bits) = split_bits(expression);
    let (Some(wanted), Some(have)) = (parse_ip(address), parse_ip(id)) else { return false };
    let bits = match bits {
        Some(bits) => prefix(bits, wanted.len()),
        None => Some(wanted.len() * 8),
    };
    let Some(bits) = bits else { return false };
    wanted.len() == have.len()
        && (0..bits).all(|bit| (wanted[bit / 8] ^ have[bit / 8]) & (0x80 >> (bit % 8)) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(i32, &str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_i32(entries.len() as i32);
        entries
            .iter()
            .for_each(|(perms, scheme, id)| push(&mut out, *perms, scheme.as_bytes(), id.as_bytes()));
        out
    }

    fn own(ids: &[(Scheme, &str)]) -> OwnIds {
        let mut own = OwnIds::default();
        ids.iter().for_each(|(scheme, id)| assert!(own.add(*scheme, id.as_bytes())));
        own
    }

    fn fixed(entries: &[(i32, &str, &str)], ids: &OwnIds) -> Result<Vec<u8>, i32> {
        let mut out = Vec::new();
        fix_up(Some(&list(entries)), ids.ids(), &mut out).map(|()| out)
    }

    #[test]
    fn the_open_list_is_what_clients_send() {
        assert_eq!(list(&[(perm::ALL, "world", "anyone")]), OPEN);
        assert_eq!(list(&[(perm::READ, "world", "anyone")]), READ_ONLY);
    }

    #[test]
    fn auth_stands_for_the_ids_of_the_connection() {
        let ids = own(&[(Scheme::Ip, "10.0.0.1"), (Scheme::Digest, "a:1"), (Scheme::Digest, "b:2")]);
        assert_eq!(fixed(&[(3, "auth", "x")], &ids), Ok(list(&[(3, "digest", "a:1"), (3, "digest", "b:2")])));
        assert_eq!(fixed(&[(3, "auth", "")], &own(&[(Scheme::Ip, "10.0.0.1")])), Err(code::INVALID_ACL));
    }

    #[test]
    fn bad_lists_are_refused_and_repeats_dropped() {
        let none = own(&[]);
        for bad in [
            ("world", "all"),
            ("digest", "nocolon"),
            ("digest", "a:b:c"),
            ("digest", "a:"),
            ("ip", "1.2.3"),
            ("ip", "1.2.3.4/33"),
            ("super", ""),
            ("nosuch", "x"),
        ] {
            assert_eq!(fixed(&[(1, bad.0, bad.1)], &none), Err(code::INVALID_ACL), "{bad:?}");
        }
        assert_eq!(fixed(&[], &none), Err(code::INVALID_ACL));
        assert_eq!(fix_up(None, none.ids(), &mut Vec::new()), Err(code::INVALID_ACL));
        let twice = [(31, "world", "anyone"), (31, "world", "anyone")];
        assert_eq!(fixed(&twice, &none).unwrap(), OPEN);
    }

    #[test]
    fn permissions() {
        let nobody = own(&[(Scheme::Ip, "10.1.2.3")]);
        assert!(allows(OPEN, perm::ADMIN, nobody.ids()));
        assert!(allows(READ_ONLY, perm::READ | perm::ADMIN, nobody.ids()));
        assert!(!allows(READ_ONLY, perm::WRITE, nobody.ids()));
        let net = list(&[(perm::WRITE, "ip", "10.1.0.0/16")]);
        assert!(allows(&net, perm::WRITE, nobody.ids()));
        assert!(!allows(&net, perm::WRITE, own(&[(Scheme::Ip, "10.2.0.1")]).ids()));
        let digest = list(&[(perm::ALL, "digest", "u:h")]);
        assert!(allows(&digest, perm::READ, own(&[(Scheme::Digest, "u:h")]).ids()));
        assert!(!allows(&digest, perm::READ, own(&[(Scheme::Sasl, "u:h")]).ids()));
        assert!(allows(&digest, perm::READ, own(&[(Scheme::Super, "")]).ids()));
    }

    #[test]
    fn hashes_are_masked() {
        let mut out = Vec::new();
        write_masked(&list(&[(1, "digest", "u:hash"), (2, "ip", "1.2.3.4")]), &mut out);
        assert_eq!(out, list(&[(1, "digest", "u:x"), (2, "ip", "1.2.3.4")]));
    }
}
