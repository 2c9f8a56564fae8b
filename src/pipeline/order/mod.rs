//! The order stage: gathers commands into batches, runs agreement, and hands each decision to who waits for it.
//!
//! Batches form without timers: a batch is what arrived while the ones before it were under way. A command that
//! an edge of this node has taken is kept until it is applied here, and sent again to every new leader: `apply`
//! drops repeats by origin and sequence.

mod commands;
mod decisions;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::planted::{self, Bug};
use crate::base::{Index, Nanos, NodeId, Origin, Voice};
use crate::journal::{Builder, Params, flag};
use crate::observe::Spans;
use crate::pipeline::lane::{Rx, Tx};
use crate::pipeline::parcel::{
    Answer, ApplyIn, ApplyOut, Ask, Base, EdgeIn, EdgeOut, Reads, StoreIn, StoreOut,
};
use crate::pipeline::peer::{PeerIn, PeerOut};
use crate::pipeline::ports::Turn;
use crate::replica::{Effect, Msg, PART, Progress, Replica};

/// Sizes that the layout chooses.
#[derive(Clone, Copy, Debug)]
pub struct OrderLimits {
    /// A batch is closed at this size; one larger parcel alone may exceed it.
    pub batch_bytes: usize,
    /// Batches not yet decided. Fewer make larger batches, more keep coming while the disk takes its time for one.
    pub in_flight: u64,
    /// Log bytes between two snapshots, or as many as the last one has, if that is more: what is written for
    /// snapshots stays below what is written for the log.
    pub snapshot_bytes: u64,
    /// But never more than this, or the log would be full.
    pub snapshot_most: u64,
    /// What a batch takes of the log at the least.
    pub slot_bytes: u64,
    /// Batches kept behind a snapshot for members that lag.
    pub keep: u64,
    /// Log kept behind older snapshots as long as a member lacks it: what it was away for is fetched faster than a
    /// whole snapshot, and a member that still fetches one cannot help a new leader to commit.
    pub keep_bytes: u64,
    /// Batches handed to apply at once.
    pub feed: usize,
    /// Linearizable reads give up after this long without a leader.
    pub read_patience: Nanos,
}

impl Default for OrderLimits {
    fn default() -> OrderLimits {
        let log = Params::default();
        OrderLimits {
            batch_bytes: 512 << 10,
            in_flight: 8,
            snapshot_bytes: 512 << 20,
            snapshot_most: log.log_bytes() / 2,
            slot_bytes: log.slot_bytes(),
            keep: 1024,
            keep_bytes: log.log_bytes() / 4,
            feed: 64,
            read_patience: Nanos::from_millis(5_000),
        }
    }
}

/// Lanes of one edge.
#[derive(Debug)]
pub struct EdgeLanes {
    pub rx: Rx<EdgeIn>,
    pub tx: Tx<EdgeOut>,
}

#[derive(Debug)]
pub struct OrderLanes {
    pub edges: Vec<EdgeLanes>,
    pub store: (Tx<StoreIn>, Rx<StoreOut>),
    pub apply: (Tx<ApplyIn>, Rx<ApplyOut>),
    pub peer: (Tx<PeerIn>, Rx<PeerOut>),
    pub answers: Tx<(u64, Answer)>,
    pub asks: Rx<(u64, Ask)>,
}

/// A parcel of commands on its way into the log.
#[derive(Clone, Debug)]
struct Piece {
    origin: Origin,
    first: u64,
    count: u32,
    commands: Arc<Vec<u8>>,
}

/// Reads that wait for a ticket.
#[derive(Debug)]
struct Waiting {
    reads: Vec<Reads>,
    since: Nanos,
}

/// Ticket of a fetch for this node's own apply; peers' are their ids.
const FOR_APPLY: u64 = 0;
/// How long to leave the disk alone after a snapshot that could not be written.
const SNAPSHOT_REST: Nanos = Nanos(5_000_000_000);
/// Bytes fetched at a time for apply.
const FEED_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub struct Order {
    replica: Replica,
    limits: OrderLimits,
    lanes: OrderLanes,
    /// Leader: commands for the next batches, and what sequence is next from each origin in this epoch.
    queue: VecDeque<Piece>,
    next: BTreeMap<Origin, u64>,
    /// Own commands that are not applied yet, by lane.
    unapplied: BTreeMap<u8, VecDeque<Piece>>,
    /// Reads by ticket id; and those that found no leader.
    tickets: BTreeMap<u64, Waiting>,
    homeless: VecDeque<Waiting>,
    next_ticket: u64,
    fresh_reads: Vec<Reads>,
    fed: Index,
    /// Apply starts over from a snapshot: what it was fed before is void, and it is fed nothing until it is done.
    loading: bool,
    applied: Index,
    fetching: bool,
    /// Verified snapshots' file lengths, for offers.
    lengths: BTreeMap<Index, u64>,
    /// What the log has taken in this life, and how much of it when each of the last snapshots was due.
    log_bytes: u64,
    snapshots: VecDeque<(Index, u64)>,
    /// The store has no spare segment.
    full: bool,
    snapshot_asked: bool,
    /// After one that failed: not before this.
    snapshot_rest: Nanos,
    /// Snapshots to remove and log to recycle once the superblock holds the new base, oldest first.
    rebased: VecDeque<(Base, Vec<Index>)>,
    outbox: Vec<(NodeId, Msg)>,
    /// What went to the peers in this turn can wait for all else.
    only_news: bool,
    /// Room for what the replica asks for.
    effects: Vec<Effect>,
    /// For which configurations the links were made.
    greeted: Option<(Index, Index, u64)>,
    /// Operators' questions that a plan answers when its last step is committed.
    planned: Vec<(u64, Index)>,
    serving: bool,
    clock_at: Nanos,
    /// Digests by index: this node's and the others'.
    digests: BTreeMap<Index, Vec<(NodeId, u128)>>,
    halted: Option<String>,
    stopping: Option<Nanos>,
    spans: StageSpans,
}

/// How long batches spend where: from being proposed to being decided, on the way to the disk, in `apply`.
#[derive(Debug, Default)]
struct StageSpans {
    commit: Spans,
    disk: Spans,
    apply: Spans,
}

impl Order {
    /// `applied`: where the state stands that apply starts from (the log's base).
    pub fn new(
        replica: Replica,
        limits: OrderLimits,
        lanes: OrderLanes,
        snapshots: impl IntoIterator<Item = (Index, u64)>,
    ) -> Order {
        let base = replica.log().base();
        let lengths: BTreeMap<Index, u64> = snapshots.into_iter().collect();
        let mut lanes = lanes;
        if base.index.0 > 0 {
            // The state begins with the snapshot that the log stands on; what is decided above it follows.
            if let Some(&length) = lengths.get(&base.index) {
                lanes.apply.0.post(ApplyIn::Load { base, length });
            }
        }
        Order {
            fed: base.index,
            loading: base.index.0 > 0,
            applied: base.index,
            limits,
            lanes,
            queue: VecDeque::new(),
            next: BTreeMap::new(),
            unapplied: BTreeMap::new(),
            tickets: BTreeMap::new(),
            homeless: VecDeque::new(),
            next_ticket: commands::first_ticket(replica.life()),
            fresh_reads: Vec::new(),
            fetching: false,
            lengths,
            log_bytes: 0,
            snapshots: VecDeque::new(),
            full: false,
            snapshot_asked: false,
            snapshot_rest: Nanos(0),
            rebased: VecDeque::new(),
            outbox: Vec::new(),
            only_news: false,
            effects: Vec::new(),
            greeted: None,
            planned: Vec::new(),
            serving: false,
            clock_at: Nanos(0),
            digests: BTreeMap::new(),
            halted: None,
            stopping: None,
            spans: StageSpans::default(),
            replica,
        }
    }

    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    pub fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    /// What is under way, in words.
    pub fn doing(&self) -> String {
        format!(
            "order has fed {}, loading {}, fetching {}, {} parcels queued, {} tickets, {} homeless reads, full {}",
            self.fed,
            self.loading,
            self.fetching,
            self.queue.len(),
            self.tickets.len(),
            self.homeless.len(),
            self.full
        )
    }

    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Something waits in a lane. Apply asks for a turn itself where its news need one.
    pub fn pending(&self) -> bool {
        let lanes = &self.lanes;
        !(lanes.store.1.is_empty() && lanes.peer.1.is_empty() && lanes.asks.is_empty())
            || lanes.edges.iter().any(|edge| !edge.rx.is_empty())
    }

    /// Apply has progress to tell, of any kind.
    pub fn hears_apply(&self) -> bool {
        !self.lanes.apply.1.is_empty()
    }

    pub fn turn(&mut self, now: Nanos, wall_ms: u64) -> Turn {
        if self.halted.is_some() {
            return Turn::IDLE;
        }
        self.settle();
        self.greet_members();
        self.take_peers(now);
        self.take_store(now);
        self.take_apply(now);
        self.take_edges(now);
        self.take_admin(now, wall_ms);
        if now >= self.replica.deadline() {
            self.replica.on_tick(now);
        }
        self.carry_out(now);
        self.replica.go_on_with_plan(now, wall_ms);
        self.propose(now, wall_ms);
        self.answer_planned();
        self.ask_tickets(now);
        self.replica.flush(now);
        self.carry_out(now);
        self.feed_apply(now);
        self.tend(now);
        self.spans.commit.end(self.replica.commit().0, now);
        let StageSpans { commit, disk, apply } = &mut self.spans;
        let publish = [commit, disk, apply].map(|spans| spans.publish(now)).into_iter().min();
        self.only_news = self.outbox.iter().all(|(_, msg)| msg.is_news());
        if !self.outbox.is_empty() {
            let messages = std::mem::take(&mut self.outbox);
            self.lanes.peer.0.post(PeerIn::Send { messages, standing: self.replica.standing() });
        }
        let waiting = self.replica.is_leader() || !self.homeless.is_empty();
        let clock = if waiting { self.clock_at } else { Nanos::MAX };
        let again = !self.settle();
        Turn { again, deadline: self.replica.deadline().min(clock).min(publish.unwrap_or(Nanos::MAX)) }
    }

    /// Moves on what did not fit into the lanes. A follower's clients, ten thousand at once, are one parcel each.
    fn settle(&mut self) -> bool {
        let lanes = &mut self.lanes;
        let edges = lanes.edges.iter_mut().fold(true, |all, edge| edge.tx.settle() & all);
        lanes.store.0.settle() & lanes.apply.0.settle() & lanes.peer.0.settle() & edges
    }

    /// The node is asked to stop: hand leadership over first. Done when nobody waits for us, or after a while.
    pub fn stop(&mut self, now: Nanos) {
        self.stopping = Some(now.plus(Nanos::from_millis(1_000)));
        if self.replica.is_leader()
            && let Some(heir) = self.replica.best_heir()
        {
            let _ = self.replica.transfer(now, heir);
        }
    }

    pub fn is_stopped(&self, now: Nanos) -> bool {
        self.stopping
            .is_some_and(|until| now >= until || !self.replica.is_leader() || self.replica.peers_up() == 0)
    }

    // Lanes in.

    fn take_peers(&mut self, now: Nanos) {
        while let Some(news) = self.lanes.peer.1.take() {
            match news {
                PeerOut::Message { from, msg } => self.on_message(now, from, msg),
                PeerOut::Up(id) => {
                    self.replica.on_link_up(now, id);
                    if self.replica.leader() == Some(id) {
                        self.resubmit(); // What went over the old link may be lost.
                    }
                }
                PeerOut::Down { id, refused } => self.replica.on_link_down(now, id, refused),
                PeerOut::Hello { from, standing } => {
                    if let Err(why) = self.replica.on_hello(from, standing) {
                        tracing::error!("not listened to: {why}");
                    }
                }
            }
            self.carry_out(now);
        }
    }

    fn on_message(&mut self, now: Nanos, voice: Voice, msg: Msg) {
        let from = voice.id;
        match msg {
            Msg::Forward { epoch, origin, first, count, commands } => {
                if epoch == self.replica.promised() && self.replica.is_leader() {
                    self.admit(Piece { origin, first, count, commands });
                }
            }
            Msg::Touches { ids } if self.replica.is_leader() => {
                let at = self.replica.cluster_time(now);
                self.lanes.apply.0.post(ApplyIn::Touches { from, at, ids });
            }
            Msg::Touches { .. } => {}
            Msg::Gone { ids } => self.tell_edges(|| EdgeOut::Gone(ids.clone())),
            Msg::Digest { index, digest } => self.compare(from, index, digest),
            // Equal names, equal bytes: whoever leads by now.
            Msg::Want { index, offset, .. } => {
                if let Some(&length) = self.lengths.get(&index).filter(|&&length| offset < length) {
                    let len = PART.min((length - offset) as usize);
                    let ticket = u64::from(from.0);
                    self.lanes.store.0.post(StoreIn::SnapshotRead { ticket, index, offset, len });
                }
            }
            msg => self.replica.on_message(now, voice, msg),
        }
    }

    fn take_store(&mut self, now: Nanos) {
        while let Some(news) = self.lanes.store.1.take() {
            match news {
                StoreOut::Durable { upto, .. } => {
                    self.spans.disk.end(upto.0, now);
                    self.replica.on_durable(now, upto);
                }
                StoreOut::Marked(marks) => {
                    self.replica.on_marked(now, &marks);
                    self.recycle(marks.base.index);
                }
                StoreOut::CutDone { after, .. } => self.replica.on_cut_done(now, after),
                StoreOut::Fetched { ticket, batches, damaged } => {
                    self.fetching &= ticket != FOR_APPLY;
                    if let Some(index) = damaged {
                        tracing::error!(%index, "a batch of the log cannot be read back from the disk");
                        self.replica.on_damage(now, index);
                    }
                    self.replica.on_fetched(now, ticket, &batches);
                }
                StoreOut::Repaired { index } => self.replica.on_repaired(now, index),
                StoreOut::Restarted { .. } => self.replica.on_restarted(now),
                StoreOut::SnapshotSealed { index, verified } => {
                    if !self.replica.on_fetched_snapshot(now, index, verified) {
                        self.lanes.apply.0.post(ApplyIn::SnapshotSealed { index, verified });
                    }
                }
                StoreOut::SnapshotWritten { index } => {
                    self.lanes.apply.0.post(ApplyIn::SnapshotWritten { index });
                }
                StoreOut::SnapshotBytes { ticket: FOR_APPLY, index, offset, block } => {
                    self.lanes.apply.0.post(ApplyIn::SnapshotBytes { index, offset, block });
                }
                StoreOut::SnapshotBytes { ticket, index, offset, block } if block.is_empty() => {
                    tracing::error!(%index, offset, peer = ticket, "this snapshot cannot be read for a peer");
                    self.replica.on_unreadable_snapshot(now, index);
                }
                StoreOut::SnapshotBytes { ticket, index, offset, block } => {
                    let epoch = self.replica.promised();
                    let part = Msg::Part { epoch, index, offset, bytes: block.to_vec() };
                    self.outbox.push((NodeId(ticket as u8), part));
                }
                StoreOut::Full(full) => {
                    tracing::warn!(full, "no spare segment is left for the log");
                    self.full = full;
                    self.replica.on_full(now, full);
                }
                StoreOut::Failed(fault) => {
                    self.halt(format!("{fault}; the node stops, check the disk and start it again"));
                }
            }
            self.carry_out(now);
        }
    }

    fn take_apply(&mut self, now: Nanos) {
        while let Some(news) = self.lanes.apply.1.take() {
            match news {
                ApplyOut::Applied { index, own } => {
                    self.applied = self.applied.max(index);
                    self.replica.applied = self.applied;
                    self.spans.apply.end(index.0, now);
                    own.into_iter().for_each(|(lane, upto)| self.forget(lane, upto));
                }
                ApplyOut::Due { count, commands } => {
                    if self.replica.is_leader() {
                        let commands = Arc::new(commands);
                        self.queue.push_back(Piece { origin: Origin(0), first: 0, count, commands });
                    }
                }
                ApplyOut::Store(work) => {
                    if let StoreIn::SnapshotChunk { index, offset: 0, .. } = work {
                        self.replica.on_saving(index);
                        self.carry_out(now);
                    }
                    self.lanes.store.0.post(work);
                }
                ApplyOut::Snapshot { base, length } => {
                    self.lengths.insert(base.index, length);
                    self.snapshot_asked = false;
                    self.replica.on_snapshot(now, base);
                }
                ApplyOut::SnapshotLost { index } => {
                    self.snapshot_asked = false;
                    self.snapshot_rest = now.plus(SNAPSHOT_REST);
                    self.replica.on_snapshot_lost();
                    self.make_way(now);
                    self.lanes.store.0.post(StoreIn::SnapshotRemove { index });
                }
                ApplyOut::Loaded { base, applied } => {
                    self.loading = false;
                    if applied == base.index {
                        self.fed = base.index;
                    }
                    self.applied = applied;
                    self.replica.applied = applied;
                    self.replica.on_loaded(now);
                }
                ApplyOut::LoadFailed { base, why } => {
                    tracing::error!("{why}; it is fetched from a peer");
                    self.lengths.remove(&base.index);
                    self.replica.on_load_failed(now, base.index, &why);
                    self.loading = self.replica.is_stateless();
                }
                ApplyOut::Gone { to, ids } if to == self.replica.me() => {
                    self.tell_edges(|| EdgeOut::Gone(ids.clone()));
                }
                ApplyOut::Gone { to, ids } => self.outbox.push((to, Msg::Gone { ids })),
                ApplyOut::Digest { index, digest } => {
                    let me = self.replica.me();
                    let others = self.replica.config().members().iter().map(|m| m.id).filter(|&id| id != me);
                    self.outbox.extend(others.map(|id| (id, Msg::Digest { index, digest })));
                    self.compare(me, index, digest);
                }
                ApplyOut::Halt(why) => self.halt(why),
            }
        }
    }

    /// A leader whose log is full, and whose disk has no room for the snapshot that would empty it, takes no more
    /// writes: another should lead.
    fn make_way(&mut self, now: Nanos) {
        if self.full
            && self.replica.is_leader()
            && let Some(heir) = self.replica.best_heir()
        {
            tracing::warn!(node = %self.replica.me(), "this disk is full: leadership goes to node {heir}");
            let _ = self.replica.transfer(now, heir); // Tried again when the next snapshot fails.
        }
    }

    fn take_edges(&mut self, now: Nanos) {
        for lane in 0..self.lanes.edges.len() {
            while let Some(parcel) = self.lanes.edges[lane].rx.take() {
                match parcel {
                    EdgeIn::Intake(intake) => {
                        let lane = intake.origin.lane();
                        for piece in commands::pieces(intake, self.limits.batch_bytes) {
                            self.unapplied.entry(lane).or_default().push_back(piece.clone());
                            self.submit(piece);
                        }
                    }
                    EdgeIn::Reads(reads) => self.fresh_reads.push(reads),
                    EdgeIn::Touches(ids) => {
                        let me = self.replica.me();
                        match self.replica.leader() {
                            Some(leader) if leader == me => {
                                let at = self.replica.cluster_time(now);
                                self.lanes.apply.0.post(ApplyIn::Touches { from: me, at, ids });
                            }
                            Some(_) if planted::is(Bug::LoseTouches) => {}
                            Some(leader) => self.outbox.push((leader, Msg::Touches { ids })),
                            None => {} // Nobody expires anything either.
                        }
                    }
                }
            }
        }
        if !self.fresh_reads.is_empty() {
            let reads = std::mem::take(&mut self.fresh_reads);
            self.homeless.push_back(Waiting { reads, since: now });
        }
    }

    fn take_admin(&mut self, now: Nanos, wall_ms: u64) {
        while self.lanes.answers.room() > 0
            && let Some((id, ask)) = self.lanes.asks.take()
        {
            let answer = match ask {
                Ask::Status => Answer::Status(Box::new(self.status())),
                Ask::Transfer(to) => match to.or_else(|| self.replica.best_heir()) {
                    Some(heir) => self.replica.transfer(now, heir).into(),
                    None => Answer::Refused("no follower is ready to lead".into()),
                },
                Ask::Members(steps) => match self.replica.begin_plan(now, wall_ms, steps) {
                    Ok(since) => {
                        self.planned.push((id, since));
                        continue;
                    }
                    Err(refusal) => Answer::Refused(refusal.to_string()),
                },
                Ask::Snapshot => match self.replica.propose(now, wall_ms, Builder::default(), flag::SNAPSHOT)
                {
                    Ok(index) => Answer::At(index),
                    Err(refusal) => Answer::Refused(refusal.to_string()),
                },
            };
            self.lanes.answers.send((id, answer));
        }
    }

    /// Whoever asked for a plan is told how it ended.
    fn answer_planned(&mut self) {
        let (replica, lanes) = (&self.replica, &mut self.lanes);
        self.planned.retain(|&(id, since)| {
            if lanes.answers.room() == 0 {
                return true;
            }
            let answer = match replica.plan_progress(since) {
                Progress::UnderWay => return true,
                Progress::Done => Answer::Done,
                Progress::Replaced => Answer::Refused(
                    "the plan was given up, or lost with its leader; /status shows the members as they are"
                        .into(),
                ),
            };
            lanes.answers.send((id, answer));
            false
        });
    }
}
