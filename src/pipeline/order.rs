//! The order stage: gathers commands into batches, runs agreement, and hands each decision to who waits for it.
//!
//! Batches form without timers: a batch is what arrived while the ones before it were under way. A command that
//! an edge of this node has taken is kept until it is applied here, and sent again to every new leader: `apply`
//! drops repeats by origin and sequence.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::{Epoch, Index, Nanos, NodeId, Origin};
use crate::journal::{Batch, Builder, flag};
use crate::pipeline::lane::{Rx, Tx};
use crate::pipeline::parcel::{
    Answer, ApplyIn, ApplyOut, Ask, Base, EdgeIn, EdgeOut, Reads, Status, StoreIn, StoreOut,
};
use crate::pipeline::peer::{PeerIn, PeerOut};
use crate::pipeline::ports::Turn;
use crate::replica::{Config, Effect, Msg, PART, Replica, Role};
use crate::state::Command;

/// Sizes that the layout chooses.
#[derive(Clone, Copy, Debug)]
pub struct OrderLimits {
    /// A batch is closed at this size; one larger parcel alone may exceed it.
    pub batch_bytes: usize,
    /// Batches not yet decided. Fewer make larger batches.
    pub in_flight: u64,
    /// Log bytes between two snapshots.
    pub snapshot_bytes: u64,
    /// Batches kept behind a snapshot for members that lag.
    pub keep: u64,
    /// Batches handed to apply at once.
    pub feed: usize,
    /// Linearizable reads give up after this long without a leader.
    pub read_patience: Nanos,
}

impl Default for OrderLimits {
    fn default() -> OrderLimits {
        OrderLimits {
            batch_bytes: 512 << 10,
            in_flight: 4,
            snapshot_bytes: 256 << 20,
            keep: 1024,
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
    applied: Index,
    fetching: bool,
    /// Verified snapshots' file lengths, for offers.
    lengths: BTreeMap<Index, u64>,
    /// Log bytes since the last snapshot was asked for, and the one under way.
    since_snapshot: u64,
    snapshot_asked: bool,
    /// Snapshots to remove and log to recycle once the superblock holds the new base.
    rebased: Option<(Base, Vec<Index>)>,
    outbox: Vec<(NodeId, Msg)>,
    members: Config,
    serving: bool,
    clock_at: Nanos,
    /// Digests by index: this node's and the others'.
    digests: BTreeMap<Index, Vec<(NodeId, u128)>>,
    halted: Option<String>,
    stopping: Option<Nanos>,
}

impl Order {
    /// `applied`: where the state stands that apply starts from (the log's base).
    pub fn new(
        replica: Replica,
        limits: OrderLimits,
        lanes: OrderLanes,
        snapshots: impl IntoIterator<Item = (Index, u64)>,
    ) -> Order {
        let base = replica.log().base().index;
        Order {
            fed: base,
            applied: base,
            limits,
            lanes,
            queue: VecDeque::new(),
            next: BTreeMap::new(),
            unapplied: BTreeMap::new(),
            tickets: BTreeMap::new(),
            homeless: VecDeque::new(),
            next_ticket: 1,
            fresh_reads: Vec::new(),
            fetching: false,
            lengths: snapshots.into_iter().collect(),
            since_snapshot: 0,
            snapshot_asked: false,
            rebased: None,
            outbox: Vec::new(),
            members: Config::default(),
            serving: false,
            clock_at: Nanos(0),
            digests: BTreeMap::new(),
            halted: None,
            stopping: None,
            replica,
        }
    }

    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    pub fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    pub fn applied(&self) -> Index {
        self.applied
    }

    pub fn status(&self) -> Status {
        let log = self.replica.log();
        Status {
            node: self.replica.me(),
            leader: self.replica.leader(),
            epoch: self.replica.promised(),
            commit: self.replica.commit(),
            applied: self.applied,
            durable: self.replica.durable(),
            last: log.last(),
            base: log.base().index,
            config: log.config().clone(),
            incarnation: self.replica.incarnation(),
            unknown: log.unknown_count(),
            halted: self.halted.clone(),
            counts: self.replica.counts,
        }
    }

    pub fn turn(&mut self, now: Nanos, wall_ms: u64) -> Turn {
        if self.halted.is_some() {
            return Turn::IDLE;
        }
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
        self.propose(now, wall_ms);
        self.ask_tickets(now);
        self.carry_out(now);
        self.feed_apply();
        self.tend(now);
        if !self.outbox.is_empty() {
            self.lanes.peer.0.send(PeerIn::Send(std::mem::take(&mut self.outbox)));
        }
        let waiting = self.replica.is_leader() || !self.homeless.is_empty();
        let clock = if waiting { self.clock_at } else { Nanos::MAX };
        Turn { again: false, deadline: self.replica.deadline().min(clock) }
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
                PeerOut::Stale { id, incarnation } => tracing::error!(
                    node = %id, %incarnation,
                    "refused: its data directory is older than the node's last life; wipe it and let it join anew"
                ),
            }
            self.carry_out(now);
        }
    }

    fn on_message(&mut self, now: Nanos, from: NodeId, msg: Msg) {
        match msg {
            Msg::Forward { epoch, origin, first, count, commands } => {
                if epoch == self.replica.promised() && self.replica.is_leader() {
                    self.admit(Piece { origin, first, count, commands });
                }
            }
            Msg::Touches { ids } if self.replica.is_leader() => {
                self.lanes.apply.0.send(ApplyIn::Touches { from, ids });
            }
            Msg::Touches { .. } => {}
            Msg::Gone { ids } => self.tell_edges(|| EdgeOut::Gone(ids.clone())),
            Msg::Digest { index, digest } => self.compare(from, index, digest),
            Msg::Want { epoch, index, offset } if epoch == self.replica.promised() => {
                if let Some(&length) = self.lengths.get(&index) {
                    let len = PART.min(length.saturating_sub(offset) as usize);
                    let ticket = u64::from(from.0);
                    self.lanes.store.0.send(StoreIn::SnapshotRead { ticket, index, offset, len });
                }
            }
            msg => self.replica.on_message(now, from, msg),
        }
    }

    fn take_store(&mut self, now: Nanos) {
        while let Some(news) = self.lanes.store.1.take() {
            match news {
                StoreOut::Durable { upto, .. } => self.replica.on_durable(now, upto),
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
                        self.lanes.apply.0.send(ApplyIn::SnapshotSealed { index, verified });
                    }
                }
                StoreOut::SnapshotBytes { ticket: FOR_APPLY, offset, block, .. } => {
                    self.lanes.apply.0.send(ApplyIn::SnapshotBytes { offset, block });
                }
                StoreOut::SnapshotBytes { ticket, index, offset, block } => {
                    let epoch = self.replica.promised();
                    let part = Msg::Part { epoch, index, offset, bytes: block.padded().to_vec() };
                    self.outbox.push((NodeId(ticket as u8), part));
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
                    own.into_iter().for_each(|(lane, upto)| self.forget(lane, upto));
                }
                ApplyOut::Due { count, commands } => {
                    if self.replica.is_leader() {
                        let commands = Arc::new(commands);
                        self.queue.push_back(Piece { origin: Origin(0), first: 0, count, commands });
                    }
                }
                ApplyOut::Store(work) => self.lanes.store.0.send(work),
                ApplyOut::Snapshot { base, length } => {
                    self.lengths.insert(base.index, length);
                    self.snapshot_asked = false;
                    self.replica.on_snapshot(now, base);
                }
                ApplyOut::Loaded { base } => {
                    self.fed = base.index;
                    self.applied = base.index;
                    self.replica.on_loaded(now);
                }
                ApplyOut::Gone { to, ids } if to == self.replica.me() => {
                    self.tell_edges(|| EdgeOut::Gone(ids.clone()));
                }
                ApplyOut::Gone { to, ids } => self.outbox.push((to, Msg::Gone { ids })),
                ApplyOut::Digest { index, digest } => {
                    let me = self.replica.me();
                    let others = self.replica.config().members().iter().map(|m| m.0).filter(|&id| id != me);
                    self.outbox.extend(others.map(|id| (id, Msg::Digest { index, digest })));
                    self.compare(me, index, digest);
                }
                ApplyOut::Halt(why) => self.halt(why),
            }
        }
    }

    fn take_edges(&mut self, now: Nanos) {
        for lane in 0..self.lanes.edges.len() {
            while let Some(parcel) = self.lanes.edges[lane].rx.take() {
                match parcel {
                    EdgeIn::Intake(intake) => {
                        let commands = Arc::new(intake.commands);
                        let piece = Piece {
                            origin: intake.origin,
                            first: intake.first,
                            count: intake.count,
                            commands,
                        };
                        self.unapplied.entry(intake.origin.lane()).or_default().push_back(piece.clone());
                        self.submit(piece);
                    }
                    EdgeIn::Reads(reads) => self.fresh_reads.push(reads),
                    EdgeIn::Touches(ids) => {
                        let me = self.replica.me();
                        match self.replica.leader() {
                            Some(leader) if leader == me => {
                                self.lanes.apply.0.send(ApplyIn::Touches { from: me, ids });
                            }
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
        while let Some((id, ask)) = self.lanes.asks.take() {
            let answer = match ask {
                Ask::Status => Answer::Status(self.status()),
                Ask::Transfer(to) => match to.or_else(|| self.replica.best_heir()) {
                    Some(heir) => self.replica.transfer(now, heir).into(),
                    None => Answer::Refused("no follower is ready to lead".into()),
                },
                Ask::Member(node, member) => self.change_member(now, wall_ms, node, member),
                Ask::Snapshot => match self.replica.propose(now, wall_ms, Builder::default(), flag::SNAPSHOT)
                {
                    Ok(_) => Answer::Done,
                    Err(refusal) => Answer::Refused(refusal.to_string()),
                },
            };
            self.lanes.answers.send((id, answer));
        }
    }

    fn change_member(
        &mut self,
        now: Nanos,
        wall_ms: u64,
        node: NodeId,
        member: Option<(Role, String)>,
    ) -> Answer {
        let adding_voter = matches!(&member, Some((Role::Voter, _)));
        if adding_voter && self.replica.config().role(node).is_none() {
            return Answer::Refused(format!("node {node} must join as a learner first, then be promoted"));
        }
        if adding_voter && !self.replica.is_caught_up(node) {
            return Answer::Refused(format!(
                "node {node} lags too far behind to be promoted; wait and try again"
            ));
        }
        let config = self.replica.config().with(node, member);
        self.replica.propose_config(now, wall_ms, &config).map(|_| ()).into()
    }

    // Commands.

    /// To the log, if this node leads; to the leader, if another does.
    fn submit(&mut self, piece: Piece) {
        let me = self.replica.me();
        match self.replica.leader() {
            Some(leader) if leader == me => self.admit(piece),
            Some(leader) => {
                let epoch = self.replica.promised();
                let Piece { origin, first, count, commands } = piece;
                self.outbox.push((leader, Msg::Forward { epoch, origin, first, count, commands }));
            }
            None => {} // It is sent when there is one.
        }
    }

    /// Own commands that nobody has confirmed, once more and in order.
    fn resubmit(&mut self) {
        let all: Vec<Piece> = self.unapplied.values().flatten().cloned().collect();
        all.into_iter().for_each(|piece| self.submit(piece));
    }

    fn forget(&mut self, lane: u8, upto: u64) {
        let Some(pieces) = self.unapplied.get_mut(&lane) else { return };
        while pieces.front().is_some_and(|piece| piece.first + u64::from(piece.count) <= upto + 1) {
            pieces.pop_front();
        }
    }

    /// Leader: into the queue, unless this epoch has had it.
    fn admit(&mut self, mut piece: Piece) {
        let next = self.next.entry(piece.origin).or_insert(piece.first);
        let end = piece.first + u64::from(piece.count);
        if piece.first > *next || end <= *next {
            return; // A gap means that the link broke in between: all of it comes again.
        }
        if piece.first < *next {
            let drop = (*next - piece.first) as usize;
            let mut rest = &piece.commands[..];
            (0..drop).for_each(|_| drop_command(&mut rest));
            piece = Piece {
                first: *next,
                count: piece.count - drop as u32,
                commands: Arc::new(rest.to_vec()),
                ..piece
            };
        }
        *next = end;
        self.queue.push_back(piece);
    }

    fn propose(&mut self, now: Nanos, wall_ms: u64) {
        while !self.queue.is_empty()
            && self.replica.may_propose()
            && self.replica.uncommitted() < self.limits.in_flight
        {
            let mut bytes = 0;
            let fits = |piece: &&Piece| {
                bytes += piece.commands.len();
                bytes <= self.limits.batch_bytes
            };
            let take = self.queue.iter().take_while(fits).count().max(1);
            let size = self.queue.iter().take(take).map(|piece| piece.commands.len()).sum::<usize>();
            let mut body = Builder::with_capacity(crate::journal::BATCH_HEAD + size);
            for piece in self.queue.drain(..take) {
                body.push(&piece.commands, piece.count);
            }
            self.since_snapshot += size as u64;
            self.replica.propose(now, wall_ms, body, 0).expect("it may propose");
            self.carry_out(now);
        }
        if self.since_snapshot > self.limits.snapshot_bytes
            && !self.snapshot_asked
            && self.replica.may_propose()
        {
            self.since_snapshot = 0;
            self.snapshot_asked = true;
            self.replica.propose(now, wall_ms, Builder::default(), flag::SNAPSHOT).expect("it may propose");
            self.carry_out(now);
        }
    }

    // Reads.

    fn ask_tickets(&mut self, now: Nanos) {
        if self.homeless.is_empty() {
            return;
        }
        if self.replica.leader().is_none() {
            let patience = self.limits.read_patience;
            while self.homeless.front().is_some_and(|waiting| now.since(waiting.since) > patience) {
                let waiting = self.homeless.pop_front().expect("just looked");
                for reads in waiting.reads {
                    let tags = reads.items.iter().map(|item| item.tag).collect();
                    self.lanes.edges[reads.lane as usize].tx.send(EdgeOut::ReadsFailed(tags));
                }
            }
            return;
        }
        // One ticket serves all that wait.
        let since = self.homeless[0].since;
        let reads = self.homeless.drain(..).flat_map(|waiting| waiting.reads).collect();
        let id = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(id, Waiting { reads, since });
        self.replica.read(now, id);
    }

    // Decisions out.

    fn carry_out(&mut self, now: Nanos) {
        let effects: Vec<Effect> = self.replica.poll_effects().collect();
        for effect in effects {
            match effect {
                Effect::Send { to, msg: Msg::Offer { epoch, base, config, config_at, .. } } => {
                    // Without a file there is nothing to offer yet; the follower is probed again.
                    if let Some(&length) = self.lengths.get(&base.index) {
                        self.outbox.push((to, Msg::Offer { epoch, base, length, config, config_at }));
                    }
                }
                Effect::Send { to, msg } => self.outbox.push((to, msg)),
                Effect::Store(work) => self.lanes.store.0.send(work),
                Effect::Committed(_) => {}
                Effect::Leading { epoch } => self.on_leading(now, epoch),
                Effect::Following { leader } => self.on_following(leader),
                Effect::ReadReady { id, index } => {
                    if let Some(waiting) = self.tickets.remove(&id) {
                        self.lanes.apply.0.send(ApplyIn::ReadAt { index, reads: waiting.reads });
                    }
                }
                Effect::ReadFailed { id } => {
                    if let Some(waiting) = self.tickets.remove(&id) {
                        self.homeless.push_back(waiting);
                    }
                }
                Effect::Load { base } => self.lanes.apply.0.send(ApplyIn::Load { base }),
                Effect::Halt(why) => self.halt(why),
            }
        }
    }

    fn on_leading(&mut self, now: Nanos, epoch: Epoch) {
        tracing::info!(node = %self.replica.me(), %epoch, "leading");
        self.queue.clear();
        self.next.clear();
        self.snapshot_asked = false;
        self.clock_at = now;
        self.lanes.apply.0.send(ApplyIn::Leading(true));
        self.resubmit();
    }

    fn on_following(&mut self, leader: Option<NodeId>) {
        self.queue.clear();
        self.next.clear();
        self.lanes.apply.0.send(ApplyIn::Leading(false));
        if let Some(leader) = leader {
            tracing::info!(node = %self.replica.me(), %leader, epoch = %self.replica.promised(), "following");
            self.resubmit();
        }
    }

    /// Hands decided batches to apply, from memory or, after a restart or for a long lag, from the disk.
    fn feed_apply(&mut self) {
        let commit = self.replica.commit();
        while self.fed < commit && self.lanes.apply.0.room() > 8 {
            let from = self.fed.next();
            let upto = commit.0.min(self.fed.0 + self.limits.feed as u64);
            let batches: Vec<Batch> =
                (from.0..=upto).map_while(|index| self.replica.batch(Index(index)).cloned()).collect();
            if batches.is_empty() {
                if !self.fetching
                    && !self.replica.log().is_unknown(from)
                    && from > self.replica.log().base().index
                {
                    self.fetching = true;
                    self.lanes.store.0.send(StoreIn::Fetch { ticket: FOR_APPLY, from, bytes: FEED_BYTES });
                }
                break;
            }
            self.fed = Index(self.fed.0 + batches.len() as u64);
            self.lanes.apply.0.send(ApplyIn::Committed(batches));
        }
        self.replica.evict(self.fed);
    }

    fn tend(&mut self, now: Nanos) {
        let serving = self.replica.is_serving(now);
        if serving != self.serving {
            self.serving = serving;
            self.tell_edges(|| EdgeOut::Serving(serving));
        }
        if self.replica.is_leader() && now >= self.clock_at {
            self.clock_at = now.plus(Nanos::from_millis(10));
            self.lanes.apply.0.send(ApplyIn::Clock(self.replica.cluster_time(now)));
        } else if now >= self.clock_at {
            self.clock_at = now.plus(Nanos::from_millis(10));
        }
        if self.rebased.is_none()
            && let Some(base) = self.replica.next_base(self.limits.keep)
        {
            let old = self.replica.rebase(now, base);
            self.rebased = Some((base, old));
            self.carry_out(now);
        }
    }

    /// The superblock holds `base`: what lies below it may go.
    fn recycle(&mut self, base: Index) {
        let Some((new, old)) = self.rebased.take_if(|rebased| rebased.0.index <= base) else { return };
        self.lanes.store.0.send(StoreIn::Recycle { below: new.index.next() });
        for index in old {
            self.lengths.remove(&index);
            self.lanes.store.0.send(StoreIn::SnapshotRemove { index });
        }
    }

    fn tell_edges(&mut self, parcel: impl Fn() -> EdgeOut) {
        self.lanes.edges.iter_mut().for_each(|edge| edge.tx.send(parcel()));
    }

    /// Links to whoever the configuration in force names.
    fn greet_members(&mut self) {
        if self.replica.config() == &self.members {
            return;
        }
        self.members = self.replica.config().clone();
        let me = self.replica.me();
        let others = self.members.members().iter().filter(|member| member.0 != me);
        let addresses = others.filter_map(|(id, _, address)| {
            let found = address.parse().ok();
            if found.is_none() {
                tracing::error!(node = %id, address, "this member's address is not of the form ip:port");
            }
            found.map(|address| (*id, address))
        });
        let addresses = addresses.collect();
        self.lanes.peer.0.send(PeerIn::Members(addresses));
    }

    // Trouble.

    /// Digests of one index from several replicas must be equal. Whoever stands alone against two others stops.
    fn compare(&mut self, from: NodeId, index: Index, digest: u128) {
        let seen = self.digests.entry(index).or_default();
        if !seen.iter().any(|&(id, _)| id == from) {
            seen.push((from, digest));
        }
        let me = self.replica.me();
        let mine = seen.iter().find(|&&(id, _)| id == me).map(|&(_, digest)| digest);
        if let Some(mine) = mine {
            let against: Vec<u128> = seen.iter().map(|&(_, d)| d).filter(|&d| d != mine).collect();
            let alone = seen.len() - against.len() == 1;
            if against.len() >= 2 && alone && against.windows(2).all(|pair| pair[0] == pair[1]) {
                self.halt(format!(
                    "after batch {index} this replica's state differs from that of {} others; it is quarantined. \
                     Keep its data directory for analysis, wipe it and let the node join anew",
                    against.len()
                ));
            } else if !against.is_empty() {
                tracing::error!(%index, "replicas disagree about the state");
            }
        }
        while self.digests.len() > 64 {
            self.digests.pop_first();
        }
    }

    fn halt(&mut self, why: String) {
        tracing::error!(node = %self.replica.me(), "{why}");
        if self.halted.is_none() {
            self.halted = Some(why);
            self.lanes.peer.0.send(PeerIn::Leave);
            self.tell_edges(|| EdgeOut::Serving(false));
        }
    }
}

fn drop_command(rest: &mut &[u8]) {
    let taken = Command::take(rest);
    assert!(taken.is_some(), "a parcel holds as many commands as it says");
}

impl From<Result<(), crate::replica::Refusal>> for Answer {
    fn from(result: Result<(), crate::replica::Refusal>) -> Answer {
        match result {
            Ok(()) => Answer::Done,
            Err(refusal) => Answer::Refused(refusal.to_string()),
        }
    }
}
