//! Paths: which are legal, and how they lie in the store.
//!
//! A node's key is its parent's path, a zero byte, its name; the root's parent is the empty path. No path holds
//! a zero byte, so the key is unique, one node's children are neighbours, and all that lies below a node is two
//! runs of keys: its children, and what begins with its path and a slash.

/// Fills `key` with the key of a path that begins with a slash or is empty: as long as the path, the last slash
/// turned to zero. The root's, one zero byte, stands in front of all.
pub fn fill_key(path: &[u8], key: &mut [u8]) {
    if let Some(slash) = path.iter().rposition(|&b| b == b'/') {
        key.copy_from_slice(path);
        key[slash] = 0;
    } else {
        key.copy_from_slice(&[0]);
    }
}

/// Parent path without the closing slash, and name: "/a/b" gives "/a" and "b", "/a" gives "" and "a", and the
/// root, "/" or empty, gives twice nothing.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", b""),
    }
}

/// The path of the node whose key this is.
pub fn path_of(key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let at = key.iter().position(|&b| b == 0).expect("every key has its zero byte");
    out.extend_from_slice(&key[..at]);
    out.push(b'/');
    out.extend_from_slice(&key[at + 1..]);
}

/// A path as the reference's tree knows it: the root is "" there, and "/" too.
pub fn is_root(path: &[u8]) -> bool {
    path.is_empty() || path == b"/"
}

/// Nodes that the server made and needs.
pub fn is_special(path: &[u8]) -> bool {
    matches!(path, b"/" | b"/zookeeper" | b"/zookeeper/quota" | b"/zookeeper/config")
}

/// The rules for the path of a node to be written.
pub fn is_valid(path: &[u8]) -> bool {
    if path == b"/" {
        return true;
    }
    if path.first() != Some(&b'/') {
        return false;
    }
    // The common case first: ASCII needs no decoding.
    if path.iter().all(|&b| (0x20..0x7f).contains(&b)) {
        return path[1..].split(|&b| b == b'/').all(is_name);
    }
    let Ok(text) = std::str::from_utf8(path) else { return false };
    text.chars().all(is_allowed) && path[1..].split(|&b| b == b'/').all(is_name)
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
}

/// The reference judges UTF-16 units, so all that needs two of them falls into the surrogates' range.
fn is_allowed(c: char) -> bool {
    !matches!(c as u32, 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_paths() {
        for good in ["/", "/a", "/a/b.c", "/a/...", "/a/-", "/\u{e4}/\u{4e2d}", "/a b"] {
            assert!(is_valid(good.as_bytes()), "{good:?}");
        }
        let bad = [
            "",
            "a",
            "/a/",
            "//",
            "/a//b",
            "/.",
            "/a/..",
            "/a/../b",
            "/a\0",
            "/a\u{1}",
            "/\u{7f}",
            "/\u{85}",
            "/\u{e000}",
            "/\u{fff0}",
            "/\u{1f600}",
        ];
        for bad in bad {
            assert!(!is_valid(bad.as_bytes()), "{bad:?}");
        }
        assert!(!is_valid(b"/\xff"));
    }

    #[test]
    fn keys_go_there_and_back_and_keep_children_together() {
        let mut keys = Vec::new();
        for path in ["/", "/a", "/a/b", "/a/b/c", "/a-b", "/a-b/c", "/a/c"] {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            there.resize(path.len(), 1);
            fill_key(path.as_bytes(), &mut there);
            path_of(&there, &mut back);
            assert_eq!(back, path.as_bytes());
            keys.push(there);
        }
        keys.sort();
        let order: Vec<_> = keys.iter().map(|k| String::from_utf8_lossy(k).replace('\0', "|")).collect();
        assert_eq!(order, ["|", "|a", "|a-b", "/a|b", "/a|c", "/a-b|c", "/a/b|c"]);
    }
}
