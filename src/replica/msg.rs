//! What replicas say to each other, and its bytes.
//!
//! A frame on a peer link is `length u32 | crc of it u32 | crc u32 | length of the fixed part u32 | fixed part | batches`.
//! The second checksum covers the fixed part and its length; batches carry their own. Numbers are little-endian.

use std::sync::Arc;

use crate::base::{Block, Chain, Epoch, Index, Nanos, Origin, sum};
use crate::journal::{BATCH_HEAD, Batch, BatchHead};
use crate::pipeline::parcel::Base;
use crate::replica::Config;

/// The most one frame may measure; larger is no peer of ours.
pub const FRAME_MAX: usize = 8 << 20;

/// A node's word on its log. Elections compare `(history, last)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    pub history: Epoch,
    pub last: Index,
}

#[derive(Clone, Debug)]
pub enum Msg {
    /// Would you vote for me in `epoch`? Binds nobody.
    PreVote {
        epoch: Epoch,
        claim: Claim,
    },
    PreVoted {
        epoch: Epoch,
        granted: bool,
    },
    /// Promise `epoch`, and vote for me. `resolve`: no vote wanted, only the promise and what you hold, because
    /// my log has a slot of unknown content. `transfer`: the old leader sent me.
    Vote {
        epoch: Epoch,
        claim: Claim,
        resolve: bool,
        transfer: bool,
    },
    /// `epoch` is what the sender has durably promised. `unsure` is its first slot of unknown content; `torn`: it
    /// lies above all that this disk is known to have held. `stateless`: the snapshot under its log is damaged.
    Voted {
        epoch: Epoch,
        granted: bool,
        claim: Claim,
        unsure: Option<Index>,
        torn: bool,
        stateless: bool,
    },
    /// The leader's word: batches behind `prev` (none: a heartbeat), how far all is committed, how far a majority
    /// has verified snapshots. Somebody lacks what lies above `kept`. `probe` comes back in the answer.
    Append {
        epoch: Epoch,
        probe: u64,
        commit: Index,
        prev: Index,
        prev_epoch: Epoch,
        prev_chain: Chain,
        recycle: Index,
        kept: Index,
        /// Wanted at once, whatever the disk does: heartbeats, probes, reads. A mere commit point needs none.
        answer: bool,
        batches: Vec<Batch>,
    },
    /// `received`: my log equals yours up to here. `durable`: and is on my disk up to here. `binds`: for so many
    /// milliseconds from when I heard that probe I help nobody else to lead (see `lease`).
    Appended {
        epoch: Epoch,
        probe: u64,
        received: Index,
        durable: Index,
        snapshot: Index,
        binds: u32,
    },
    /// My log does not have your `prev`. Try at or below `hint`, of epoch `hint_epoch` here.
    Mismatch {
        epoch: Epoch,
        probe: u64,
        hint: Index,
        hint_epoch: Epoch,
    },
    /// Your log's beginning is gone here: take this snapshot.
    Offer {
        epoch: Epoch,
        /// By the leader. Whoever else offers gives what is missing where nobody leads.
        leads: bool,
        base: Base,
        length: u64,
        config: Config,
        config_at: Index,
    },
    /// Send me the snapshot's bytes from `offset`.
    Want {
        epoch: Epoch,
        index: Index,
        offset: u64,
    },
    Part {
        epoch: Epoch,
        index: Index,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Does anybody have this batch? Mine is damaged.
    Ask {
        index: Index,
    },
    Have {
        batch: Batch,
    },
    /// A follower asks how far it must have applied to answer its reads.
    ReadIndex {
        epoch: Epoch,
        id: u64,
    },
    ReadIndexed {
        epoch: Epoch,
        id: u64,
        index: Index,
    },
    /// Lead, now: your log is complete and I am leaving.
    TakeOver {
        epoch: Epoch,
    },
    /// Offer me your newest snapshot, even if your log reaches further back: my own is damaged, or my log is full and
    /// only one `above` this place helps me.
    Need {
        epoch: Epoch,
        above: Index,
    },
    /// Busy with my own disk, but alive, and yours.
    Alive {
        epoch: Epoch,
        probe: u64,
        binds: u32,
    },
    /// Commands of the sender's edges, a whole intake parcel. Sent for one epoch only: within it, over one
    /// link, parcels of an origin arrive without a gap.
    Forward {
        epoch: Epoch,
        origin: Origin,
        first: u64,
        count: u32,
        commands: Arc<Vec<u8>>,
    },
    /// Sessions and leases that the sender's edges heard from.
    Touches {
        ids: Vec<(u8, u64)>,
    },
    /// Of those, the ones that are gone or being expired.
    Gone {
        ids: Vec<(u8, u64)>,
    },
    /// State digest after applying `index`, to be compared.
    Digest {
        index: Index,
        digest: u128,
    },
    /// Link closes on purpose (shutdown): no hint of a crash.
    Leaving,
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn u8(&mut self, n: u8) -> &mut Self {
        self.0.push(n);
        self
    }
    fn u32(&mut self, n: u32) -> &mut Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    fn u64(&mut self, n: u64) -> &mut Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    fn u128(&mut self, n: u128) -> &mut Self {
        self.0.extend_from_slice(&n.to_le_bytes());
        self
    }
    fn claim(&mut self, claim: Claim) -> &mut Self {
        self.u64(claim.history.0).u64(claim.last.0)
    }
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32).0.extend_from_slice(bytes);
        self
    }
    fn ids(&mut self, ids: &[(u8, u64)]) -> &mut Self {
        self.u32(ids.len() as u32);
        for &(realm, id) in ids {
            self.u8(realm).u64(id);
        }
        self
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|b| b[0])
    }
    fn bool(&mut self) -> Option<bool> {
        self.u8().map(|b| b != 0)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }
    fn index(&mut self) -> Option<Index> {
        self.u64().map(Index)
    }
    fn epoch(&mut self) -> Option<Epoch> {
        self.u64().map(Epoch)
    }
    fn claim(&mut self) -> Option<Claim> {
        Some(Claim { history: self.epoch()?, last: self.index()? })
    }
    fn bytes(&mut self) -> Option<Vec<u8>> {
        let len = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head.to_vec())
    }
    fn ids(&mut self) -> Option<Vec<(u8, u64)>> {
        let count = self.u32()? as usize;
        if count > self.0.len() / 9 {
            return None;
        }
        (0..count).map(|_| Some((self.u8()?, self.u64()?))).collect()
    }
}

/// Length and its checksum, checksum of the fixed part, length of that.
const HEADER: usize = 16;

impl Msg {
    /// It says how far all is decided: its receiver has nothing to keep and nothing to answer.
    pub fn is_news(&self) -> bool {
        matches!(self, Msg::Append { answer: false, batches, .. } if batches.is_empty())
    }

    /// Appends one frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        let mut batches: &[Batch] = &[];
        let w = &mut Writer(out);
        match self {
            Msg::PreVote { epoch, claim } => w.u8(1).u64(epoch.0).claim(*claim),
            Msg::PreVoted { epoch, granted } => w.u8(2).u64(epoch.0).u8(*granted as u8),
            Msg::Vote { epoch, claim, resolve, transfer } => {
                w.u8(3).u64(epoch.0).claim(*claim).u8(*resolve as u8).u8(*transfer as u8)
            }
            Msg::Voted { epoch, granted, claim, unsure, torn, stateless } => {
                w.u8(4).u64(epoch.0).u8(*granted as u8).claim(*claim);
                w.u64(unsure.map_or(0, |index| index.0)).u8(*torn as u8).u8(*stateless as u8)
            }
            Msg::Append {
                epoch,
                probe,
                commit,
                prev,
                prev_epoch,
                prev_chain,
                recycle,
                kept,
                answer,
                batches: all,
            } => {
                batches = all;
                w.u8(5).u64(epoch.0).u64(*probe).u64(commit.0).u64(prev.0).u64(prev_epoch.0);
                w.u128(prev_chain.0).u64(recycle.0).u64(kept.0).u8(*answer as u8)
            }
            Msg::Appended { epoch, probe, received, durable, snapshot, binds } => {
                w.u8(6).u64(epoch.0).u64(*probe).u64(received.0).u64(durable.0).u64(snapshot.0).u32(*binds)
            }
            Msg::Mismatch { epoch, probe, hint, hint_epoch } => {
                w.u8(7).u64(epoch.0).u64(*probe).u64(hint.0).u64(hint_epoch.0)
            }
            Msg::Offer { epoch, leads, base, length, config, config_at } => {
                w.u8(8)
                    .u64(epoch.0)
                    .u8(*leads as u8)
                    .u64(base.index.0)
                    .u64(base.epoch.0)
                    .u128(base.chain.0)
                    .u64(base.ticks.0);
                w.u64(*length).u64(config_at.0);
                config.encode(w.0);
                w
            }
            Msg::Want { epoch, index, offset } => w.u8(9).u64(epoch.0).u64(index.0).u64(*offset),
            Msg::Part { epoch, index, offset, bytes } => {
                w.u8(10).u64(epoch.0).u64(index.0).u64(*offset).bytes(bytes)
            }
            Msg::Ask { index } => w.u8(11).u64(index.0),
            Msg::Have { batch } => {
                batches = std::slice::from_ref(batch);
                w.u8(12)
            }
            Msg::ReadIndex { epoch, id } => w.u8(13).u64(epoch.0).u64(*id),
            Msg::ReadIndexed { epoch, id, index } => w.u8(14).u64(epoch.0).u64(*id).u64(index.0),
            Msg::TakeOver { epoch } => w.u8(15).u64(epoch.0),
            Msg::Forward { epoch, origin, first, count, commands } => {
                w.u8(16).u64(epoch.0).u64(origin.0).u64(*first).u32(*count).bytes(commands)
            }
            Msg::Touches { ids } => w.u8(17).ids(ids),
            Msg::Gone { ids } => w.u8(18).ids(ids),
            Msg::Digest { index, digest } => w.u8(19).u64(index.0).u128(*digest),
            Msg::Leaving => w.u8(20),
            Msg::Need { epoch, above } => w.u8(22).u64(epoch.0).u64(above.0),
            Msg::Alive { epoch, probe, binds } => w.u8(21).u64(epoch.0).u64(*probe).u32(*binds),
        };
        let fixed = (out.len() - start - HEADER) as u32;
        for batch in batches {
            out.extend_from_slice(batch.block());
        }
        let length = ((out.len() - start - 8) as u32).to_le_bytes();
        out[start..start + 4].copy_from_slice(&length);
        out[start + 4..start + 8].copy_from_slice(&sum::crc32c(&length).to_le_bytes());
        out[start + 12..start + 16].copy_from_slice(&fixed.to_le_bytes());
        let crc = sum::crc32c(&out[start + 12..start + HEADER + fixed as usize]);
        out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    }

    /// Takes one frame off the front. `Ok(None)`: wait for more. `Err`: hang up, for the reason given.
    pub fn take(input: &mut &[u8]) -> Result<Option<Msg>, &'static str> {
        let Some((start, rest)) = input.split_first_chunk::<8>() else { return Ok(None) };
        let length = u32::from_le_bytes(start[..4].try_into().unwrap()) as usize;
        // The length has a checksum of its own: with a wrong one this end would wait for megabytes that never come,
        // and hear nothing of what does.
        let sound = sum::crc32c(&start[..4]) == u32::from_le_bytes(start[4..].try_into().unwrap());
        if !sound || !(9..=FRAME_MAX).contains(&length) {
            return Err("a peer frame of impossible length");
        }
        let Some((frame, tail)) = rest.split_at_checked(length) else { return Ok(None) };
        let crc = u32::from_le_bytes(frame[..4].try_into().unwrap());
        let fixed = u32::from_le_bytes(frame[4..8].try_into().unwrap()) as usize;
        let Some((head, batches)) = frame[8..].split_at_checked(fixed) else {
            return Err("a peer frame shorter than it says");
        };
        if sum::crc32c(&frame[4..8 + fixed]) != crc {
            return Err("a peer frame fails its checksum");
        }
        *input = tail;
        let batches = read_batches(batches)?;
        Msg::decode(head, batches).map(Some).ok_or("a peer frame that makes no sense")
    }

    fn decode(head: &[u8], mut batches: Vec<Batch>) -> Option<Msg> {
        let r = &mut Reader(head);
        let msg = match r.u8()? {
            1 => Msg::PreVote { epoch: r.epoch()?, claim: r.claim()? },
            2 => Msg::PreVoted { epoch: r.epoch()?, granted: r.bool()? },
            3 => Msg::Vote { epoch: r.epoch()?, claim: r.claim()?, resolve: r.bool()?, transfer: r.bool()? },
            4 => Msg::Voted {
                epoch: r.epoch()?,
                granted: r.bool()?,
                claim: r.claim()?,
                unsure: Some(r.index()?).filter(|index| index.0 > 0),
                torn: r.bool()?,
                stateless: r.bool()?,
            },
            5 => Msg::Append {
                epoch: r.epoch()?,
                probe: r.u64()?,
                commit: r.index()?,
                prev: r.index()?,
                prev_epoch: r.epoch()?,
                prev_chain: Chain(r.u128()?),
                recycle: r.index()?,
                kept: r.index()?,
                answer: r.bool()?,
                batches: std::mem::take(&mut batches),
            },
            6 => Msg::Appended {
                epoch: r.epoch()?,
                probe: r.u64()?,
                received: r.index()?,
                durable: r.index()?,
                snapshot: r.index()?,
                binds: r.u32()?,
            },
            7 => {
                Msg::Mismatch { epoch: r.epoch()?, probe: r.u64()?, hint: r.index()?, hint_epoch: r.epoch()? }
            }
            8 => {
                let (epoch, leads) = (r.epoch()?, r.bool()?);
                let base = Base {
                    index: r.index()?,
                    epoch: r.epoch()?,
                    chain: Chain(r.u128()?),
                    ticks: Nanos(r.u64()?),
                };
                let (length, config_at) = (r.u64()?, r.index()?);
                Msg::Offer { epoch, leads, base, length, config: Config::decode(&mut r.0)?, config_at }
            }
            9 => Msg::Want { epoch: r.epoch()?, index: r.index()?, offset: r.u64()? },
            10 => Msg::Part { epoch: r.epoch()?, index: r.index()?, offset: r.u64()?, bytes: r.bytes()? },
            11 => Msg::Ask { index: r.index()? },
            12 => Msg::Have { batch: batches.pop()? },
            13 => Msg::ReadIndex { epoch: r.epoch()?, id: r.u64()? },
            14 => Msg::ReadIndexed { epoch: r.epoch()?, id: r.u64()?, index: r.index()? },
            15 => Msg::TakeOver { epoch: r.epoch()? },
            16 => Msg::Forward {
                epoch: r.epoch()?,
                origin: Origin(r.u64()?),
                first: r.u64()?,
                count: r.u32()?,
                commands: Arc::new(r.bytes()?),
            },
            17 => Msg::Touches { ids: r.ids()? },
            18 => Msg::Gone { ids: r.ids()? },
            19 => Msg::Digest { index: r.index()?, digest: r.u128()? },
            20 => Msg::Leaving,
            22 => Msg::Need { epoch: r.epoch()?, above: r.index()? },
            21 => Msg::Alive { epoch: r.epoch()?, probe: r.u64()?, binds: r.u32()? },
            _ => return None,
        };
        (r.0.is_empty() && batches.is_empty()).then_some(msg)
    }
}

fn read_batches(mut bytes: &[u8]) -> Result<Vec<Batch>, &'static str> {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let head = BatchHead::decode(bytes).map_err(|_| "a batch from a peer has a broken head")?;
        let Some((batch, rest)) = bytes.split_at_checked((head.length as usize).max(BATCH_HEAD)) else {
            return Err("a batch from a peer is cut short");
        };
        // The one copy on a follower: from the socket's buffer into pages that the disk can take.
        let batch = Batch::open(Block::copy_of(batch)).map_err(|_| "a batch from a peer is damaged")?;
        batches.push(batch);
        bytes = rest;
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;
    use crate::base::Rng;
    use crate::journal::Builder;

    fn samples() -> Vec<Msg> {
        let mut builder = Builder::default();
        builder.push(&[1; 64], 1);
        let batch = builder.seal(ClusterId(1), Epoch(2), Index(3), Chain(4), 0, 5, Nanos(6));
        let claim = Claim { history: Epoch(4), last: Index(9) };
        vec![
            Msg::PreVote { epoch: Epoch(5), claim },
            Msg::PreVoted { epoch: Epoch(5), granted: true },
            Msg::Vote { epoch: Epoch(5), claim, resolve: false, transfer: true },
            Msg::Voted {
                epoch: Epoch(5),
                granted: true,
                claim,
                unsure: Some(Index(8)),
                torn: true,
                stateless: true,
            },
            Msg::Append {
                epoch: Epoch(5),
                probe: 7,
                commit: Index(1),
                prev: Index(2),
                prev_epoch: Epoch(2),
                prev_chain: Chain(4),
                recycle: Index(1),
                kept: Index(1),
                answer: true,
                batches: vec![batch.clone(), batch.clone()],
            },
            Msg::Mismatch { epoch: Epoch(5), probe: 1, hint: Index(3), hint_epoch: Epoch(2) },
            Msg::Offer {
                epoch: Epoch(5),
                leads: true,
                base: Base::default(),
                length: 77,
                config: Config::of_voters(3),
                config_at: Index(1),
            },
            Msg::Part { epoch: Epoch(5), index: Index(3), offset: 9, bytes: vec![1, 2, 3] },
            Msg::Have { batch },
            Msg::Forward {
                epoch: Epoch(2),
                origin: Origin(7),
                first: 1,
                count: 1,
                commands: Arc::new(vec![0; 48]),
            },
            Msg::Touches { ids: vec![(1, 2), (3, 4)] },
            Msg::Digest { index: Index(5), digest: 1 << 100 },
            Msg::Alive { epoch: Epoch(3), probe: 4, binds: 900 },
            Msg::Leaving,
        ]
    }

    #[test]
    fn messages_come_back_as_sent() {
        let mut bytes = Vec::new();
        samples().iter().for_each(|msg| msg.encode(&mut bytes));
        let mut input = &bytes[..];
        for msg in samples() {
            let got = Msg::take(&mut input).unwrap().unwrap();
            assert_eq!(format!("{got:?}"), format!("{msg:?}"));
        }
        assert!(input.is_empty() && Msg::take(&mut input).unwrap().is_none());
    }

    #[test]
    fn a_flipped_bit_never_passes_for_a_message() {
        let mut rng = Rng::new(1);
        for msg in samples() {
            let mut bytes = Vec::new();
            msg.encode(&mut bytes);
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << rng.below(8);
                assert!(Msg::take(&mut &bad[..]).is_err(), "{msg:?} byte {at}");
            }
        }
    }
}
