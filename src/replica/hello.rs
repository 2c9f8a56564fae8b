//! How a node presents itself on a connection that it has made.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::base::{ClusterId, Epoch, Incarnation, Index, Life, NodeId, Voice, sum};
use crate::replica::Standing;

/// The first frame on a peer link: who calls, and whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub cluster: ClusterId,
    pub from: Voice,
    pub to: NodeId,
    pub standing: Standing,
    /// Counts the connections that the caller has made in this life: a later one replaces all before.
    pub call: u64,
    /// Where the caller listens, for one that joins and knows nobody yet.
    pub address: Option<SocketAddr>,
}

/// `magic u64 | cluster u128 | incarnation u64 | from u8 | to u8 | version u16 | ip 16 | port u16 | zero u16 |
/// life u64 | promised u64 | last u64 | call u64 | crc u32`
///
/// The ip is a v6 one, or a v4 one mapped into it; port 0 stands for none.
pub const HELLO: usize = 92;
const HELLO_MAGIC: &[u8; 8] = b"quorate1";
const HELLO_VERSION: [u8; 2] = [5, 0];

impl Hello {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(HELLO_MAGIC);
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        out.extend_from_slice(&self.from.incarnation.0.to_le_bytes());
        out.extend_from_slice(&[self.from.id.0, self.to.0]);
        out.extend_from_slice(&HELLO_VERSION);
        let ip = match self.address.map(|address| address.ip()) {
            Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
            Some(IpAddr::V6(ip)) => ip,
            None => Ipv6Addr::UNSPECIFIED,
        };
        out.extend_from_slice(&ip.octets());
        out.extend_from_slice(&self.address.map_or(0, |address| address.port()).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        let Standing { life, promised, last } = self.standing;
        [life.0, promised.0, last.0, self.call].iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        let crc = sum::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    pub fn take(input: &mut &[u8]) -> Result<Option<Hello>, &'static str> {
        let Some((bytes, rest)) = input.split_first_chunk::<HELLO>() else { return Ok(None) };
        if &bytes[..8] != HELLO_MAGIC {
            return Err("not a quorate peer");
        }
        if bytes[34..36] != HELLO_VERSION {
            return Err("a peer that speaks another version of the peer protocol");
        }
        if sum::crc32c(&bytes[..HELLO - 4]) != u32::from_le_bytes(bytes[HELLO - 4..].try_into().unwrap()) {
            return Err("a hello that fails its checksum");
        }
        *input = rest;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let ip: [u8; 16] = bytes[36..52].try_into().unwrap();
        let port = u16::from_le_bytes([bytes[52], bytes[53]]);
        Ok(Some(Hello {
            address: (port != 0).then(|| SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port)),
            cluster: ClusterId(u128::from_le_bytes(bytes[8..24].try_into().unwrap())),
            from: Voice { id: NodeId(bytes[32]), incarnation: Incarnation(u64_at(24)) },
            to: NodeId(bytes[33]),
            standing: Standing {
                life: Life(u64_at(56)),
                promised: Epoch(u64_at(64)),
                last: Index(u64_at(72)),
            },
            call: u64_at(80),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_checked() {
        let hello = Hello {
            cluster: ClusterId(3),
            from: Voice { id: NodeId(1), incarnation: Incarnation(3) },
            to: NodeId(2),
            standing: Standing { life: Life(9), promised: Epoch(7), last: Index(5) },
            call: 3,
            address: "10.0.0.1:7400".parse().ok(),
        };
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        assert_eq!(bytes.len(), HELLO);
        assert_eq!(Hello::take(&mut &bytes[..]).unwrap(), Some(hello));
        bytes[33] = 7;
        assert!(Hello::take(&mut &bytes[..]).is_err());
    }
}
