//! What travels on the lanes between stages. A parcel is one turn's work of its sender.

use crate::base::{Block, ClusterId, Epoch, Incarnation, Index, Life, Nanos, NodeId, Origin, Voice};
use crate::journal::Batch;
use crate::pipeline::ports::DiskFault;
use crate::replica::Config;

pub use crate::doors::ReadItem;
pub use crate::realms::Member;

/// Edge to order: commands stamped by one edge lane, ready for the log.
#[derive(Debug, Default)]
pub struct Intake {
    pub origin: Origin,
    /// Sequence of the first command; the others follow without a gap.
    pub first: u64,
    pub count: u32,
    /// Whole commands, end to end.
    pub commands: Vec<u8>,
}

/// Order to store.
#[derive(Clone, Debug)]
pub enum StoreIn {
    /// Write this next batch. `epoch` is the reign on whose behalf it is written: the answer repeats it.
    Append {
        epoch: Epoch,
        batch: Batch,
    },
    /// Forget all batches above `after`. Waits for writes in flight; nothing is appended before it is answered.
    Cut {
        epoch: Epoch,
        after: Index,
    },
    /// Make these durable in the superblock.
    Mark(Marks),
    /// Read batches from `from` on, up to about `bytes`, for somebody who lags (or for this node's own apply).
    Fetch {
        ticket: u64,
        from: Index,
        bytes: usize,
    },
    /// An intact copy of a batch that this disk holds damaged. Rewritten in place.
    Repair {
        batch: Batch,
    },
    /// The log below this index is no longer needed: recycle whole segments.
    Recycle {
        below: Index,
    },
    /// This node's state was replaced by a snapshot: the log begins anew behind it.
    Restart {
        epoch: Epoch,
        base: Base,
        /// In force at the base: the superblock must never name a base without it.
        config: Config,
        config_at: Index,
    },
    /// Snapshot files, written chunk by chunk in order, sealed, read back, removed.
    SnapshotChunk {
        index: Index,
        offset: u64,
        block: Block,
    },
    /// All chunks are written: write the seal, read everything back and check it.
    SnapshotSeal {
        index: Index,
        length: u64,
        seal: Block,
    },
    SnapshotRead {
        ticket: u64,
        index: Index,
        offset: u64,
        len: usize,
    },
    SnapshotRemove {
        index: Index,
    },
}

/// Store to order (and, for snapshots, through it to apply).
#[derive(Debug)]
pub enum StoreOut {
    /// Every batch up to `upto` is on stable media, without a gap, written for `epoch`'s reign.
    Durable {
        epoch: Epoch,
        upto: Index,
    },
    CutDone {
        epoch: Epoch,
        after: Index,
    },
    Marked(Marks),
    /// In order from the index asked for; shorter than asked at the log's end or in front of damage.
    Fetched {
        ticket: u64,
        batches: Vec<Batch>,
        damaged: Option<Index>,
    },
    Repaired {
        index: Index,
    },
    Restarted {
        epoch: Epoch,
    },
    /// A chunk is on the disk: there is room for another.
    SnapshotWritten {
        index: Index,
    },
    SnapshotSealed {
        index: Index,
        verified: bool,
    },
    SnapshotBytes {
        ticket: u64,
        index: Index,
        offset: u64,
        block: Block,
    },
    /// True: the last spare segment is in use and no other can be had (disk or quota is full). Whoever takes
    /// writes refuses them until `false` comes; what remains is for finishing and for recycling.
    Full(bool),
    /// The disk has failed. The store does nothing any more.
    Failed(DiskFault),
}

/// What the superblock holds, besides the cluster's and this node's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// No answer to anybody of a lower epoch, ever.
    pub promised: Epoch,
    /// Whom this node voted for in `promised`.
    pub vote: Option<Voice>,
    /// Epoch of the last batch on this disk when this was written.
    pub history: Epoch,
    /// A commit point: at most this disk's durable head when this was written.
    pub commit: Index,
    /// The snapshot that the log stands on.
    pub base: Base,
    /// The newest configuration known to be committed, and the index of its batch.
    pub config: Config,
    pub config_at: Index,
    /// Which directory this is, and how often it was opened.
    pub incarnation: Incarnation,
    pub life: Life,
}

/// The point that a log continues from: a snapshot's, or nothing at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub index: Index,
    pub epoch: Epoch,
    pub chain: crate::base::Chain,
    /// The batch's cluster time: the clock goes on from here.
    pub ticks: crate::base::Nanos,
}

impl Base {
    /// Behind the batch with this head.
    pub fn of(head: &crate::journal::BatchHead) -> Base {
        Base { index: head.index, epoch: head.epoch, chain: head.chain, ticks: head.ticks }
    }
}

/// Edge to order.
#[derive(Debug)]
pub enum EdgeIn {
    Intake(Intake),
    /// Linearizable reads: order fixes a ticket, then hands them to apply.
    Reads(Reads),
    /// Sessions and leases heard from: (realm, id).
    Touches(Vec<(u8, u64)>),
}

/// Queries of one edge lane: to order if they must be linearizable, straight to apply if local.
#[derive(Debug, Default)]
pub struct Reads {
    pub lane: u8,
    pub items: Vec<ReadItem>,
    /// The queries, end to end, each in its realm's own form.
    pub queries: Vec<u8>,
}

/// Order and apply to one edge.
#[derive(Debug)]
pub enum EdgeOut {
    Outcomes(Outcomes),
    Answers(Answers),
    /// Whether this node hears from a leader that a quorum follows. False: answer no heartbeat as alive.
    Serving(bool),
    /// Linearizable reads that could not be confirmed (no leader for too long): the tags.
    ReadsFailed(Vec<u64>),
    /// Sessions or leases that `Touches` named and that are gone: (realm, id).
    Gone(Vec<(u8, u64)>),
    /// The state was replaced by a snapshot: what changed on the way to it nobody here has seen. Commands of this
    /// lane below this sequence get no outcome: their fate is unknown to their clients.
    Unknown {
        below: u64,
    },
}

/// What applying one batch means to one edge: first its changes go to watchers, then outcomes to clients.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    pub index: Index,
    /// This lane's commands in the batch, in order of sequence: (sequence, end of its reply in `replies`).
    pub items: Vec<(u64, u32)>,
    pub replies: Vec<u8>,
    /// Per command with changes: (realm, end in `bytes`). Shared by all edges.
    pub changes: std::sync::Arc<Changes>,
}

#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub items: Vec<(u8, u32)>,
    pub bytes: Vec<u8>,
}

/// Answers to `Reads`: (tag, end of its answer in `bytes`).
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub items: Vec<(u64, u32)>,
    pub bytes: Vec<u8>,
}

/// Order to apply.
#[derive(Debug)]
pub enum ApplyIn {
    /// The next decided batches.
    Committed(Vec<Batch>),
    /// Confirmed reads: answer them once this index is applied.
    ReadAt { index: Index, reads: Vec<Reads> },
    /// Who belongs to the cluster from here on.
    Members(Vec<Member>),
    /// This node leads in this epoch (timers start in full with its first batch) or in none.
    Leading(Option<Epoch>),
    /// Leader only: cluster time, for what is due.
    Clock(Nanos),
    /// Leader only: sessions and leases that a node's edges heard from, and the cluster's time by now.
    Touches { from: NodeId, at: Nanos, ids: Vec<(u8, u64)> },
    /// Load the snapshot at this base in place of the state.
    Load { base: Base, length: u64 },
    /// Bytes of that snapshot, as asked for by `ApplyOut::Store`.
    SnapshotBytes { index: Index, offset: u64, block: Block },
    /// A chunk of the snapshot that apply writes is on the disk.
    SnapshotWritten { index: Index },
    /// A snapshot that apply wrote was read back.
    SnapshotSealed { index: Index, verified: bool },
}

/// Apply to order.
#[derive(Debug)]
pub enum ApplyOut {
    /// Applied up to here; of this node's lanes, up to these sequences.
    Applied { index: Index, own: Vec<(u8, u64)> },
    /// Commands to propose, made by the realms' timers.
    Due { count: u32, commands: Vec<u8> },
    /// Work for the store: chunks of a snapshot, or reads of one.
    Store(StoreIn),
    /// A snapshot at this base lies on the disk, verified; the file's length.
    Snapshot { base: Base, length: u64 },
    /// A snapshot could not be read back as written: its file is of no use.
    SnapshotLost { index: Index },
    /// The snapshot asked for is loaded, digest and all; or the state was past it already.
    Loaded { base: Base, applied: Index },
    /// It is damaged, read twice over. The state is what it was before.
    LoadFailed { base: Base, why: String },
    /// Of these touches some were too late.
    Gone { to: NodeId, ids: Vec<(u8, u64)> },
    /// The state's digest after an index, to be compared.
    Digest { index: Index, digest: u128 },
    /// Going on would be wrong: a command of a newer release, or a broken snapshot.
    Halt(String),
}

/// What an operator may ask of the order stage, and the answers.
#[derive(Clone, Debug)]
pub enum Ask {
    Status,
    Transfer(Option<NodeId>),
    /// Change members, step by step; answered when the last step is committed. No steps: give up what is planned.
    Members(Vec<crate::replica::Step>),
    Snapshot,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Status(Box<Status>),
    Done,
    /// Will be done at this place of the log.
    At(Index),
    Refused(String),
}

/// One node's view.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub node: NodeId,
    pub cluster: ClusterId,
    pub leader: Option<NodeId>,
    /// A quorum stands behind it: doors that answer on trust let clients in.
    pub serving: bool,
    /// It is decided which disks the founders have: no majority does without one of them before.
    pub founded: bool,
    pub epoch: Epoch,
    pub commit: Index,
    /// The same, by the leader's word: ahead of `commit` on a node that catches up.
    pub decided: Index,
    pub applied: Index,
    pub durable: Index,
    pub last: Index,
    pub base: Index,
    /// The newest snapshot that was read back and found right; 0 for none.
    pub snapshot: Index,
    pub config: Config,
    pub incarnation: Incarnation,
    pub life: Life,
    /// Slots of the log that wait for an intact copy.
    pub unknown: u64,
    /// Why nobody can lead, as far as this node has learned.
    pub impasse: Option<String>,
    pub halted: Option<String>,
    pub counts: crate::replica::Counts,
}
