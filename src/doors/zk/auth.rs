//! Auth packets: what a client shows, and which id that makes.

use crate::realms::tree::acl::{OwnIds, Scheme};

/// Takes an auth packet's scheme and bytes. False: refused, and the connection ends.
pub fn take(
    scheme: &[u8],
    shown: &[u8],
    address: &[u8],
    super_digest: Option<&str>,
    ids: &mut OwnIds,
) -> bool {
    match scheme {
        b"digest" => {
            let digest = digest(shown);
            let is_super = super_digest.is_some_and(|known| same(known.as_bytes(), &digest));
            (!is_super || ids.add(Scheme::Super, b"")) && ids.add(Scheme::Digest, &digest)
        }
        b"ip" => ids.add(Scheme::Ip, address),
        _ => false,
    }
}

/// `user:password` becomes `user:base64(SHA-1 of it all)`.
pub fn digest(shown: &[u8]) -> Vec<u8> {
    let user = shown.split(|&b| b == b':').next().unwrap_or_default();
    [user, b":", &base64(&sha1(shown))].concat()
}

/// Takes the same time wherever they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().try_into().expect("SHA-1 gives 20 bytes")
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 3];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        let digit = |at: u32| DIGITS[(word >> (18 - 6 * at)) as usize & 63];
        out.extend((0..4).map(|at| if at as usize <= chunk.len() { digit(at) } else { b'=' }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_references() {
        assert_eq!(digest(b"super:test"), b"super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert_eq!(digest(b"user:password"), b"user:tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY=");
    }

    #[test]
    fn base64_pads() {
        assert_eq!(base64(b"a"), b"YQ==");
        assert_eq!(base64(b"ab"), b"YWI=");
        assert_eq!(base64(b"abc"), b"YWJj");
    }

    #[test]
    fn only_the_right_password_makes_super() {
        let known = Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        let mut ids = OwnIds::default();
        assert!(take(b"digest", b"super:no", b"", known, &mut ids));
        assert!(ids.ids().iter().all(|(scheme, _)| scheme != Scheme::Super));
        assert!(take(b"digest", b"super:test", b"", known, &mut ids));
        assert!(ids.ids().iter().any(|(scheme, _)| scheme == Scheme::Super));
        assert!(!take(b"sasl", b"", b"", known, &mut ids));
    }
}
