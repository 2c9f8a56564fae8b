//! Quotas: limits and usage live in ordinary nodes under `/zookeeper/quota`, as clients write and read them.

use super::ops::code;
use super::paths;
use super::store::Store;

const ROOT: &[u8] = b"/zookeeper/quota";
const LIMITS: &[u8] = b"zookeeper_limits";
const STATS: &[u8] = b"zookeeper_stats";

/// The numbers of a limits or stats node; -1 stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    count: i64,
    bytes: i64,
    count_hard: i64,
    bytes_hard: i64,
}

impl Track {
    fn parse(text: &[u8]) -> Track {
        let mut track = Track { count: -1, bytes: -1, count_hard: -1, bytes_hard: -1 };
        for pair in text.split(|&b| b == b',' || b == b';').filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split(|&b| b == b'=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let value = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()).unwrap_or(-1);
            match key {
                b"count" => track.count = value,
                b"bytes" => track.bytes = value,
                b"countHardLimit" => track.count_hard = value,
                b"byteHardLimit" => track.bytes_hard = value,
                _ => {}
            }
        }
        track
    }

    /// Count first, bytes second, and the odd "=": older readers need it so.
    fn text(&self) -> Vec<u8> {
        let mut text = format!("count={},bytes={}", self.count, self.bytes);
        if self.bytes_hard != -1 || self.count_hard != -1 {
            text.push('=');
            for (name, value) in [("byteHardLimit", self.bytes_hard), ("countHardLimit", self.count_hard)] {
                if value != -1 {
                    text += &format!(";{name}={value}");
                }
            }
        }
        text.into_bytes()
    }
}

/// The path whose limits this node holds. A quota on the root is not known.
pub fn limited_path(node: &[u8]) -> Option<&[u8]> {
    governed(node, LIMITS)
}

fn governed<'a>(node: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let path = node.strip_prefix(ROOT)?.strip_suffix(name)?.strip_suffix(b"/")?;
    (!path.is_empty()).then_some(path)
}

fn beside(path: &[u8], name: &[u8]) -> Vec<u8> {
    [ROOT, path, b"/", name].concat()
}

/// The nearest path at or above `path` that has a quota.
fn nearest<'a>(store: &Store, path: &'a [u8]) -> Option<&'a [u8]> {
    if store.quotas().is_empty() {
        return None;
    }
    let mut at = path;
    while !at.is_empty() {
        if store.quotas().contains(at) {
            return Some(at);
        }
        at = paths::split(at).0;
    }
    None
}

/// Whether the hard limits in force leave room for so much more under `path`.
pub fn check(store: &Store, path: &[u8], bytes: i64, count: i64) -> Result<(), i32> {
    let Some(prefix) = nearest(store, path) else { return Ok(()) };
    let track = |name| store.node(&beside(prefix, name)).map(|n| Track::parse(n.data().unwrap_or_default()));
    let (Some(limits), Some(stats)) = (track(LIMITS), track(STATS)) else { return Ok(()) };
    let exceeds = |more: i64, used: i64, limit: i64| more != 0 && limit > -1 && used + more > limit;
    if exceeds(count, stats.count, limits.count_hard) || exceeds(bytes, stats.bytes, limits.bytes_hard) {
        return Err(code::QUOTA_EXCEEDED);
    }
    Ok(())
}

/// Keeps usage right after a change at `path`, and works it out when its node is made. The stats node shows no
/// trace of this in its Stat, and nobody is told.
pub fn account(store: &mut Store, path: &[u8], bytes: i64, count: i64) {
    if count > 0
        && let Some(governed) = governed(path, STATS)
    {
        let (nodes, held) = store.below(governed);
        let own = store.node(governed).map(|node| node.data().map_or(0, <[u8]>::len) as u64);
        let (count, bytes) = own.map_or((0, 0), |own| (nodes + 1, held + own));
        let track = Track { count: count as i64, bytes: bytes as i64, count_hard: -1, bytes_hard: -1 };
        write(store, path, &track);
    }
    let Some(prefix) = nearest(store, path) else { return };
    let stats = beside(prefix, STATS);
    let Some(node) = store.node(&stats) else { return };
    let mut track = Track::parse(node.data().unwrap_or_default());
    track.count += count;
    track.bytes += bytes;
    write(store, &stats, &track);
}

fn write(store: &mut Store, path: &[u8], track: &Track) {
    let head = store.node(path).expect("the stats node is there").head();
    store.put(path, &head, Some(&track.text()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_written_as_the_reference_does() {
        let hard = Track { count: 5, bytes: -1, count_hard: 10, bytes_hard: 20 };
        let text = b"count=5,bytes=-1=;byteHardLimit=20;countHardLimit=10";
        assert_eq!(hard.text(), text);
        assert_eq!(Track::parse(text), hard);
        assert_eq!(Track::parse(b"bytes=,count=x").bytes, -1);
    }

    #[test]
    fn quota_nodes_name_what_they_govern() {
        assert_eq!(limited_path(b"/zookeeper/quota/a/b/zookeeper_limits"), Some(&b"/a/b"[..]));
        assert_eq!(limited_path(b"/zookeeper/quota/zookeeper_limits"), None);
        assert_eq!(limited_path(b"/zookeeper/quota/a/zookeeper_stats"), None);
    }
}
