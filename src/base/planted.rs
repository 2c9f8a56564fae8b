//! Deliberate bugs, to prove that the simulator finds them. They exist only under the cargo feature `planted`;
//! without it `is` is a constant `false` and the branch is gone from what ships.
//!
//! A bug stands where the mistake would be made: `if planted::is(Bug::AckBeforeFlush) { .. }`. One world runs on
//! one thread, so the choice is the thread's own.

macro_rules! bugs {
    ($($(#[$doc:meta])* $bug:ident = $name:literal,)*) => {
        /// A mistake that somebody could make, by the name that `--bug` takes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])* $bug,)*
        }

        impl Bug {
            pub const ALL: &'static [Bug] = &[$(Bug::$bug),*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Bug::$bug => $name,)*
                }
            }
        }
    };
}

bugs! {
    /// Journal: a batch is called durable when its write starts.
    AckBeforeFlush = "ack-before-flush",
    /// Journal: a slot that fails its checksum is taken for one never written.
    NackCorruptSlot = "nack-corrupt-slot",
    /// Journal: recovery ends the log at the first bad checksum, watermark or not.
    CutAtFirstBadSum = "cut-at-first-bad-sum",
    /// Journal: the acknowledgement does not wait for the header copy.
    AckWithoutHeader = "ack-without-header",
    /// Journal: a valid batch of another index is accepted where it lies.
    SkipPositionCheck = "skip-position-check",
    /// Journal: a batch that does not chain to its predecessor is accepted.
    SkipChainCheck = "skip-chain-check",
    /// Journal: a cut does not wait for writes in flight.
    LateWriteOnReusedSlot = "late-write-on-reused-slot",
    /// Journal: a completion of an earlier reign counts for this one.
    SkipCompletionFence = "skip-completion-fence",
    /// Journal: a failed write is taken for done.
    ForgiveFailedFlush = "forgive-failed-flush",
    /// Journal: marks are reported durable before they are.
    MarkBeforeFlush = "mark-before-flush",
    /// Journal: recovery takes the oldest valid superblock copy, not the newest.
    OldestSuperblock = "oldest-superblock",
    /// Journal: recovery takes every damaged slot for one that power loss tore.
    IgnoreWatermark = "ignore-watermark",
    /// Journal: each generation of the superblock overwrites the one before.
    OverwriteSuperblock = "overwrite-superblock",
    /// Journal: each opening of a directory promises a new epoch.
    PromiseAtOpen = "promise-at-open",
    /// Journal: durable means "this write is", though an earlier one is still under way.
    AckWithGap = "ack-with-gap",
    /// Store: segments are recycled above the point that was asked for.
    RecycleTooMuch = "recycle-too-much",
    /// Store: a repaired batch is whole in memory only.
    RepairInMemory = "repair-in-memory",
    /// Store: a snapshot is called verified without the read-back.
    SkipReadBack = "skip-read-back",
    /// Agreement: the history epoch is raised before its data is durable.
    HistoryBeforeData = "history-before-data",
    /// Agreement: a candidate is answered before the promise is durable.
    PromiseBeforeFlush = "promise-before-flush",
    /// Agreement: one vote per candidate instead of one per epoch.
    VoteTwice = "vote-twice",
    /// Agreement: a node whose disk was wiped votes as if it had lost nothing.
    VoteAfterWipe = "vote-after-wipe",
    /// Agreement: votes compare `promised` instead of the history.
    VoteByPromise = "vote-by-promise",
    /// Agreement: a candidate with a shorter log of the same epoch gets the vote.
    VoteForShorter = "vote-for-shorter",
    /// Agreement: entries of earlier epochs are committed by counting copies.
    CountOldEpochs = "count-old-epochs",
    /// Agreement: match positions survive a change of epoch.
    KeepMatches = "keep-matches",
    /// Agreement: acknowledgements count whatever epoch they carry.
    SkipAckEpoch = "skip-ack-epoch",
    /// Agreement: commits are counted by the configuration before the one in force.
    CountWrongConfig = "count-wrong-config",
    /// Agreement: learners count.
    CountLearners = "count-learners",
    /// Agreement: a truncated configuration stays in force.
    KeepTruncatedConfig = "keep-truncated-config",
    /// Agreement: a second change is proposed while the first is not committed.
    TwoChangesAtOnce = "two-changes-at-once",
    /// Agreement: a slot that is proven absent gets an empty batch of the epoch before.
    FillAbsentSlot = "fill-absent-slot",
    /// Agreement: what was lost on its way to a follower, or what it lacked from the start, is not sent again.
    NeverResend = "never-resend",
    /// Agreement: a follower commits what the leader has, though its own log may differ.
    CommitUnmatched = "commit-unmatched",
    /// Agreement: the leader sends no check of the entry before.
    SkipPrevCheck = "skip-prev-check",
    /// Agreement: a read index is answered without asking anybody.
    ReadWithoutQuorum = "read-without-quorum",
    /// Agreement: the epoch is not looked at again when a read index returns.
    SkipReadEpoch = "skip-read-epoch",
    /// Agreement: a read index is answered before this epoch's first batch is committed.
    ReadBeforeOpen = "read-before-open",
    /// Agreement: answers to probes sent before the ticket count for it.
    CountEarlyProbes = "count-early-probes",
    /// Agreement: the lease goes on after an heir was told to take over.
    LeaseOutlivesTransfer = "lease-outlives-transfer",
    /// Agreement: a leader's end, once heard of, ends what binds this node to it.
    LeaseIgnoresHint = "lease-ignored-by-hints",
    /// Agreement: a node that has just started is not bound by what it may have heard before.
    LeaseForgottenByRestart = "lease-forgotten-by-restart",
    /// Apply: batches are applied when appended, not when committed.
    ApplyUncommitted = "apply-uncommitted",
    /// Apply: reads are answered at once, before their ticket is applied.
    SkipReadWait = "skip-read-wait",
    /// Apply: a snapshot names another index than the one that its state is of.
    SnapshotWrongIndex = "snapshot-wrong-index",
    /// Apply: the last good snapshot is removed before the new one is verified.
    PurgeLastSnapshot = "purge-last-snapshot",
    /// Apply: the batch behind a loaded snapshot is left out.
    SkipAfterSnapshot = "skip-after-snapshot",
    /// Apply: a request that its client sends again is carried out again.
    ForgetRequests = "forget-requests",
    /// Apply: a command that its edge sends again is applied again.
    ApplyTwice = "apply-twice",
    /// Apply: something of this node's own gets into the state.
    ApplyOwnClock = "apply-own-clock",
    /// Tree: whether a session has moved, or is over, is not looked at when its write is applied.
    WriteAfterMove = "write-after-move",
    /// Tree: a session that runs out leaves its ephemerals.
    KeepEphemerals = "keep-ephemerals",
    /// Timers: a new leader goes on from what it had heard as a follower.
    RestartNoTimers = "restart-no-timers",
    /// Apply: sessions count from when the reign began, in a state that lacks what was decided before.
    LeadBeforeOpen = "lead-before-open",
    /// Tree: a session that has come back while its end was on the way ends nevertheless.
    ExpireReturned = "expire-returned",
    /// Order: signs of life of other nodes' sessions do not reach the leader.
    LoseTouches = "lose-touches",
    /// Timers: nobody runs out whom a leader has not heard itself.
    ExpireOnlyHeard = "expire-only-heard",
    /// Order: a node that hears no leader goes on to serve its clients.
    ServeCutOff = "serve-cut-off",
    /// Apply: outcomes reach an edge before the changes that they caused.
    RepliesBeforeEvents = "replies-before-events",
    /// ZooKeeper door: of several who watch a path the last one is not told.
    ForgetOneWatch = "forget-one-watch",
    /// ZooKeeper door: watches are set anew without a look at what was missed.
    MissedUntold = "missed-untold",
    /// ZooKeeper door: a sync is answered by this node alone.
    LocalSync = "local-sync",
}

#[cfg(feature = "planted")]
mod chosen {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// From here on this thread's code has this bug, or none.
    pub fn choose(bug: Option<Bug>) {
        CHOSEN.set(bug);
    }

    /// Whether this thread's code has this bug.
    pub fn is(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }
}

#[cfg(feature = "planted")]
pub use chosen::{choose, is};

/// What ships has no planted bug.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn is(_: Bug) -> bool {
    false
}

impl Bug {
    /// It takes worlds with ZooKeeper sessions to find it.
    pub fn is_of_sessions(self) -> bool {
        matches!(
            self,
            Bug::WriteAfterMove
                | Bug::KeepEphemerals
                | Bug::RestartNoTimers
                | Bug::LeadBeforeOpen
                | Bug::ExpireReturned
                | Bug::LoseTouches
                | Bug::ExpireOnlyHeard
                | Bug::ServeCutOff
                | Bug::RepliesBeforeEvents
                | Bug::ForgetOneWatch
                | Bug::MissedUntold
                | Bug::LocalSync
        )
    }

    /// The bug of this name.
    pub fn from_name(name: &str) -> Option<Bug> {
        Bug::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}
