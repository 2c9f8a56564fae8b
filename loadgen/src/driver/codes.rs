//! The protocols' error codes in words.

use quorate::doors::native::wire::Fault;

use super::Protocol;

/// ZooKeeper's `KeeperException.Code`.
const ZK: [(i32, &str); 24] = [
    (-1, "system error"),
    (-2, "runtime inconsistency"),
    (-3, "data inconsistency"),
    (-4, "connection loss"),
    (-5, "marshalling error"),
    (-6, "unimplemented: the server is older than this request"),
    (-7, "operation timeout"),
    (-8, "bad arguments"),
    (-101, "no node"),
    (-102, "no permission: pass --user"),
    (-103, "bad version"),
    (-108, "no children for ephemerals"),
    (-110, "node exists"),
    (-111, "not empty"),
    (-112, "session expired"),
    (-114, "invalid access list"),
    (-115, "authentication failed"),
    (-118, "session moved"),
    (-119, "read-only server"),
    (-121, "no watcher"),
    (-122, "request timeout"),
    (-124, "reconfiguration disabled"),
    (-125, "quota exceeded"),
    (-127, "throttled"),
];

/// gRPC's, from 1.
const GRPC: [&str; 16] = [
    "cancelled",
    "unknown",
    "invalid argument: no credentials, or wrong ones?",
    "deadline exceeded",
    "not found",
    "already exists",
    "permission denied: pass --user",
    "resource exhausted",
    "failed precondition",
    "aborted",
    "out of range",
    "unimplemented: is this etcd 3?",
    "internal",
    "unavailable",
    "data loss",
    "unauthenticated: pass --user",
];

pub fn word(protocol: Protocol, code: i32) -> Option<String> {
    match protocol {
        Protocol::Zk => ZK.iter().find(|(known, _)| *known == code).map(|(_, word)| (*word).into()),
        Protocol::Etcd => GRPC.get(usize::try_from(code - 1).ok()?).map(|word| (*word).into()),
        Protocol::Consul => Some(
            match code {
                400 => "bad request",
                401 | 403 => "no permission: pass --token",
                404 => "not found: is this a Consul agent?",
                429 => "too many requests",
                500 => "internal error",
                503 => "unavailable",
                _ => return None,
            }
            .into(),
        ),
        Protocol::Native => Fault::from_code(u16::try_from(code).ok()?).map(|fault| fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_words() {
        assert_eq!(word(Protocol::Zk, -101).as_deref(), Some("no node"));
        assert_eq!(word(Protocol::Etcd, 14).as_deref(), Some("unavailable"));
        assert_eq!(word(Protocol::Etcd, 0), None);
        assert!(word(Protocol::Consul, 403).expect("known").contains("--token"));
        assert!(word(Protocol::Native, 1024).expect("known").contains("frame"));
    }
}
