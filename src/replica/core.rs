//! The replica: its state, the one place where messages are handed to their handlers, and the one place where
//! every step ends.

use std::collections::VecDeque;

use crate::base::planted::{self, Bug};
use crate::base::{ClusterId, Epoch, Incarnation, Index, Life, Nanos, NodeId, Rng, Voice};
use crate::journal::{Batch, BatchHead, Builder, SlotState};
use crate::pipeline::parcel::{Base, Marks, StoreIn};
use crate::replica::Msg;
use crate::replica::election::Ballot;
use crate::replica::impasse::{Impasse, Word};
use crate::replica::install::Install;
use crate::replica::leader::Reign;
use crate::replica::lease::Heard;
use crate::replica::log::Log;
use crate::replica::peer::Peer;
use crate::replica::voices::Voices;

/// How long things may take. `patience` is drawn anew each time from `patience..2 * patience`.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub heartbeat: Nanos,
    pub patience: Nanos,
    /// Reads by the leader's clock: see `lease`.
    pub lease: bool,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { heartbeat: Nanos::from_millis(100), patience: Nanos::from_millis(900), lease: false }
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub me: NodeId,
    pub cluster: ClusterId,
    pub timing: Timing,
    /// Batches under way to one follower, in bytes and in count.
    pub window_bytes: usize,
    pub window_count: usize,
    /// Batches kept in memory for followers that lag.
    pub cache_bytes: usize,
    pub seed: u64,
}

/// What is wanted from the world, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    Send {
        to: NodeId,
        msg: Msg,
    },
    Store(StoreIn),
    /// All up to here is decided.
    Committed(Index),
    /// This node leads from now on; cluster time starts here.
    Leading {
        epoch: Epoch,
    },
    /// This node follows (nobody, while an election is under way).
    Following {
        leader: Option<NodeId>,
    },
    /// The linearizable reads with this id may be answered at this index.
    ReadReady {
        id: u64,
        index: Index,
    },
    /// No leader could confirm them; ask again.
    ReadFailed {
        id: u64,
    },
    /// A fetched snapshot lies on this disk: apply must start over from it, then call `on_loaded`.
    Load {
        base: Base,
        length: u64,
    },
    /// The log stands on this snapshot from now on; those before it may go once the superblock says so.
    Rebased {
        base: Base,
        old: Vec<Index>,
    },
    /// This snapshot file is of no use any more.
    Drop(Index),
    /// For the operator's log.
    Tell(String),
    /// Something that no operator may overlook. The node goes on trying.
    Alarm(String),
    /// The same, and the node stops.
    Halt(String),
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Follower {
        leader: Option<NodeId>,
    },
    /// Asking others whether they would vote.
    Asking(Ballot),
    /// Asking for votes, or, with unknown slots, for promises alone.
    Candidate(Ballot),
    Leader(Reign),
}

/// What recovery found, as agreement needs it.
#[derive(Clone, Debug)]
pub struct Found {
    pub marks: Marks,
    /// From `marks.base.index + 1` on: the head where one is known, and whether the content is there.
    pub heads: Vec<(Option<BatchHead>, SlotState)>,
    /// The snapshot under the log is damaged here: the log stands, the state must come from a peer.
    pub stateless: bool,
    /// Snapshot files besides the base's. The log behind the base makes those again that count.
    pub debris: Vec<Index>,
    /// Batches among them that hold a configuration.
    pub configs: Vec<Batch>,
}

#[derive(Clone, Debug)]
pub struct Replica {
    pub(super) options: Options,
    pub(super) rng: Rng,
    pub(super) state: State,
    /// Raised in memory at once; nothing that binds leaves before `marked` has caught up.
    pub(super) promised: Epoch,
    pub(super) vote: Option<Voice>,
    /// (promised, vote) as they stand on the disk.
    pub(super) marked: (Epoch, Option<Voice>),
    pub(super) marks_dirty: bool,
    /// Where the configuration came in that the superblock was last told of.
    pub(super) noted: Index,
    /// Which directory this is, and how often it was opened.
    pub(super) incarnation: Incarnation,
    pub(super) life: Life,
    /// What other incarnations have been known to hold.
    pub(super) voices: Voices,
    pub(super) log: Log,
    /// This disk holds everything up to here: see `settle_durable`.
    pub(super) durable: Index,
    /// What the store has called written, damaged slots not counted.
    pub(super) written: Index,
    pub(super) commit: Index,
    /// What leaders have said is decided, here or not.
    pub(super) decided: Index,
    /// In this epoch, the leader's log and ours are known to be the same up to here.
    pub(super) verified: Index,
    /// The leader's latest probe, to be echoed.
    pub(super) probe: u64,
    /// A cut under way: nothing is appended until the store answers.
    pub(super) cutting: Option<Index>,
    /// The log has no spare segment: what is left is for what makes room.
    pub(super) full: bool,
    /// Since when batches were refused for that, and when a snapshot was last asked for in their place.
    pub(super) refusing: Option<(Nanos, Nanos)>,
    /// Leader: a follower waits for a snapshot that is not made yet.
    pub(super) snapshot_wanted: bool,
    pub(super) install: Option<Install>,
    /// One could not be written or was damaged: none is fetched before this. On a full disk each try ends at once.
    pub(super) install_rest: Nanos,
    /// An own snapshot is being written.
    pub(super) saving: Option<Index>,
    /// No state until a peer's snapshot is loaded: this node votes and acknowledges, and does not lead.
    pub(super) stateless: bool,
    /// What apply has come to, by its own word.
    pub applied: Index,
    /// Own snapshots that were read back and verified, oldest first, and how far a majority has come.
    pub(super) snapshots: Vec<Base>,
    pub(super) recycle: Index,
    /// Somebody lacks the log above this, by the leader's word. And how far back this node has room to keep it.
    pub(super) kept: Index,
    pub(super) floor: Index,
    pub(super) peers: Vec<Peer>,
    /// For which configurations the list of peers was made: the one at the commit point, and the newest, of a log
    /// that was replaced so many times.
    pub(super) met: Option<(Index, Index, u64)>,
    /// To whom connections stand, members or not: a configuration may come back that names them again.
    pub(super) links: Vec<NodeId>,
    /// When a leader was last heard from, and when we stop waiting for it.
    pub(super) heard: Nanos,
    pub(super) patience: Nanos,
    /// The same, as a promise not to help anybody else. After a start: as if it had been heard just now.
    pub(super) listened: Heard,
    /// The leader's process is gone: its port refused us. Lifts our own patience, and our refusal of others. What
    /// it sent before it died may come afterwards, and must not bring it back to life.
    pub(super) hinted: Option<NodeId>,
    /// Nobody can lead.
    pub(super) impasse: Option<Impasse>,
    /// Damaged batches that peers have asked for and that are being read.
    pub(super) wanted: Vec<(NodeId, Index)>,
    /// Reads sent to a leader and not answered, and when.
    pub(super) asked: VecDeque<(u64, Nanos)>,
    pub(super) out: Vec<Effect>,
    /// Answers that wait for the promise under them to be durable.
    pub(super) held: Vec<(NodeId, Msg)>,
    pub counts: Counts,
}

/// What the simulator and the metrics want to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub elections: u64,
    pub cuts: u64,
    pub repairs: u64,
    pub absences: u64,
    /// Own snapshots, verified.
    pub snapshots: u64,
    pub installs: u64,
    /// Damaged snapshots in whose place a peer's came.
    pub refetches: u64,
    pub configs: u64,
    pub reads_refused: u64,
    pub hints: u64,
    pub resends: u64,
    /// Reads answered by the lease.
    pub leased: u64,
    /// Answers of incarnations that no configuration names.
    pub strangers: u64,
    /// How often this node has said that nobody can lead.
    pub alarms: u64,
}

impl Replica {
    pub fn new(options: Options, found: Found, now: Nanos) -> Replica {
        let marks = found.marks;
        let mut log = Log::new(marks.base, marks.config_at, marks.config);
        for (head, state) in found.heads {
            log.restore(head, state);
        }
        for batch in &found.configs {
            if batch.index() > marks.config_at {
                log.note_config(batch);
            }
        }
        let durable = log.first_missing().map_or(log.last(), Index::prev);
        // A batch of an epoch can reach the disk before the promise does; it binds all the same.
        let history = log.epoch(log.last()).unwrap_or_default();
        let promised = marks.promised.max(history);
        let vote = marks.vote.filter(|_| promised == marks.promised);
        let mut replica = Replica {
            rng: Rng::new(options.seed),
            state: State::Follower { leader: None },
            promised,
            vote,
            marked: (marks.promised, marks.vote),
            marks_dirty: promised != marks.promised,
            noted: marks.config_at,
            incarnation: marks.incarnation,
            life: marks.life,
            voices: Voices::default(),
            commit: marks.commit.max(marks.base.index).min(durable),
            decided: Index(0),
            stateless: found.stateless,
            snapshots: if marks.base.index.0 > 0 && !found.stateless { vec![marks.base] } else { Vec::new() },
            written: log.last(),
            applied: Index(0),
            recycle: Index(0),
            kept: Index(0),
            floor: Index(0),
            verified: Index(0),
            probe: 0,
            log,
            durable,
            cutting: None,
            full: false,
            refusing: None,
            snapshot_wanted: false,
            install: None,
            install_rest: Nanos(0),
            saving: None,
            peers: Vec::new(),
            met: None,
            links: Vec::new(),
            heard: Nanos(0),
            patience: Nanos(0),
            listened: Heard::at_start(if options.timing.lease { now } else { Nanos(0) }),
            hinted: None,
            impasse: None,
            wanted: Vec::new(),
            asked: VecDeque::new(),
            out: Vec::new(),
            held: Vec::new(),
            counts: Counts::default(),
            options,
        };
        replica.out.extend(found.debris.into_iter().map(Effect::Drop));
        replica.be_patient(now);
        replica.meet_peers(now);
        if replica.config().is_alone(replica.voice()) {
            replica.patience = now; // Alone: nobody to wait for.
        }
        replica
    }

    /// Lets go of batches that apply has been given.
    pub fn evict(&mut self, upto: Index) {
        self.log.evict(upto.min(self.durable), self.options.cache_bytes);
    }

    /// What has been decided since the last call; must be carried out in order.
    pub fn poll_effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.out.drain(..)
    }

    /// Leader: sends every follower what it lacks. Called once when a turn's input is in, so that one message
    /// carries the batches, the commit point and the probe of all of it.
    pub fn flush(&mut self, now: Nanos) {
        if self.is_leader() {
            self.broadcast(now);
        }
    }

    // What comes in.

    pub fn on_message(&mut self, now: Nanos, voice: Voice, msg: Msg) {
        if self.is_refused(voice) {
            return;
        }
        self.pass_time(now);
        let (from, counts) = (voice.id, self.counts(voice, &msg));
        match msg {
            Msg::PreVote { epoch, claim } => self.on_pre_vote(now, from, epoch, claim),
            Msg::Vote { epoch, claim, resolve, transfer } => {
                self.on_vote(now, voice, epoch, claim, resolve, transfer);
            }
            Msg::PreVoted { .. }
            | Msg::Voted { .. }
            | Msg::Appended { .. }
            | Msg::Mismatch { .. }
            | Msg::Alive { .. }
                if !counts =>
            {
                self.counts.strangers += 1; // An incarnation that nobody has made a member: it counts for nothing.
            }
            Msg::PreVoted { epoch, granted } => self.on_pre_voted(now, voice, epoch, granted),
            Msg::Voted { epoch, granted, claim, unsure, torn, stateless } => {
                self.on_voted(now, voice, epoch, granted, Word { claim, unsure, torn, stateless });
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
                batches,
            } => {
                let at =
                    crate::replica::follower::Place { index: prev, epoch: prev_epoch, chain: prev_chain };
                self.on_append(now, from, epoch, probe, commit, at, [recycle, kept], answer, batches);
            }
            Msg::Appended { epoch, probe, received, durable, snapshot, binds } => {
                self.bound_by(from, epoch, binds);
                self.on_appended(now, voice, epoch, probe, received, durable, snapshot);
            }
            Msg::Mismatch { epoch, probe, hint, hint_epoch } => {
                self.on_mismatch(now, from, epoch, probe, hint, hint_epoch);
            }
            Msg::Offer { epoch, leads, base, length, config, config_at } => {
                let offer = Install::new(from, base, length, config, config_at);
                self.on_offer(now, from, epoch, leads, offer);
            }
            Msg::Need { epoch, above } => self.on_need(now, from, epoch, above),
            Msg::Want { .. } => {} // The order stage reads the snapshot for it.
            Msg::Part { epoch, index, offset, bytes } => {
                self.on_part(now, from, epoch, index, offset, &bytes)
            }
            Msg::Ask { index } => self.on_ask(from, index),
            Msg::Have { batch } => self.on_have(now, voice, batch),
            Msg::ReadIndex { epoch, id } => self.on_read_index(now, voice, epoch, id),
            Msg::ReadIndexed { epoch, id, index } => self.on_read_indexed(epoch, id, index),
            Msg::Alive { epoch, probe, binds } => {
                self.bound_by(from, epoch, binds);
                self.on_alive(now, from, epoch, probe);
            }
            Msg::TakeOver { epoch } => self.on_take_over(now, from, epoch),
            Msg::Forward { .. }
            | Msg::Touches { .. }
            | Msg::Gone { .. }
            | Msg::Digest { .. }
            | Msg::Leaving => {
                // For the order stage; agreement has no part in it.
            }
        }
        self.tidy(now);
    }

    /// Time has passed. Call it at `deadline` at the latest.
    pub fn on_tick(&mut self, now: Nanos) {
        self.pass_time(now);
        match &self.state {
            State::Leader(reign) if self.options.timing.lease && now < reign.tick_at => {}
            State::Leader(_) => self.tick_leader(now),
            _ if now >= self.patience => self.lose_patience(now),
            _ => {}
        }
        self.tidy(now);
    }

    pub fn deadline(&self) -> Nanos {
        match &self.state {
            State::Leader(reign) => reign.tick_at.min(self.lease_deadline()),
            _ => self.patience.min(self.heard_deadline()),
        }
    }

    /// The superblock holds this.
    pub fn on_marked(&mut self, now: Nanos, marks: &Marks) {
        self.marked = (marks.promised, marks.vote);
        if self.marked == (self.promised, self.vote) {
            for (to, msg) in std::mem::take(&mut self.held) {
                self.out.push(Effect::Send { to, msg });
            }
            self.count_own_vote(now);
        }
        self.tidy(now);
    }

    pub fn on_cut_done(&mut self, now: Nanos, after: Index) {
        assert_eq!(self.cutting, Some(after), "one cut at a time");
        self.cutting = None;
        if planted::is(Bug::FillAbsentSlot)
            && self.leader().is_none()
            && let (Some(epoch), Some(prev)) = (self.log.epoch(after), self.log.chain(after))
        {
            let (cluster, ticks) = (self.options.cluster, self.log.ticks());
            self.append(Builder::default().seal(cluster, epoch, after.next(), prev, 0, 0, ticks));
        }
        self.point_out();
        self.tidy(now);
    }

    // What every handler uses.

    /// Sends. A message that binds this node waits until the promise under it is on the disk.
    pub(super) fn say(&mut self, to: NodeId, msg: Msg) {
        let binds =
            !matches!(msg, Msg::PreVote { .. } | Msg::PreVoted { .. } | Msg::Ask { .. } | Msg::Have { .. });
        let early = planted::is(Bug::PromiseBeforeFlush);
        if binds && !early && self.marked != (self.promised, self.vote) {
            self.held.push((to, msg));
        } else {
            self.out.push(Effect::Send { to, msg });
        }
    }

    /// Promises a higher epoch: whatever this node was, it follows now, nobody yet.
    pub(super) fn raise(&mut self, now: Nanos, epoch: Epoch) {
        assert!(epoch > self.promised, "promises only grow");
        self.promised = epoch;
        self.vote = None;
        self.hinted = None;
        self.marks_dirty = true;
        self.held.clear(); // They spoke for an epoch that is over.
        self.verified = Index(0);
        self.probe = 0;
        self.follow(now, None);
    }

    pub(super) fn follow(&mut self, now: Nanos, leader: Option<NodeId>) {
        if matches!(&self.state, State::Follower { leader: current } if *current == leader) {
            return;
        }
        if !matches!(self.state, State::Follower { .. }) {
            self.be_patient(now);
        }
        if let State::Leader(reign) = &mut self.state {
            let reads = std::mem::take(&mut reign.reads).into_iter().map(|read| (read.from, read.id));
            let all: Vec<(Voice, u64)> = reads.chain(std::mem::take(&mut reign.early)).collect();
            self.counts.reads_refused += all.len() as u64;
            for (_, id) in all.into_iter().filter(|(from, _)| from.id == self.options.me) {
                self.out.push(match planted::is(Bug::SkipReadEpoch) {
                    false => Effect::ReadFailed { id },
                    true => Effect::ReadReady { id, index: self.commit },
                });
            }
        }
        self.fail_asked();
        self.state = State::Follower { leader };
        self.out.push(Effect::Following { leader });
    }

    /// Reads that went to a leader are unanswered when it changes.
    pub(super) fn fail_asked(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        self.out.extend(asked.into_iter().map(|(id, _)| Effect::ReadFailed { id }));
    }

    pub(super) fn be_patient(&mut self, now: Nanos) {
        let patience = self.options.timing.patience.0;
        self.patience = Nanos(now.0 + self.rng.between(patience, 2 * patience));
    }

    /// Heard from the living leader.
    pub(super) fn hear_leader(&mut self, now: Nanos) {
        self.heard = now;
        self.listen(now);
        self.hinted = None;
        self.be_patient(now);
        // A question or its answer went down with a connection, and the leader is the same: nothing else would tell.
        let patience = self.options.timing.patience;
        if self.asked.front().is_some_and(|(_, since)| now.since(*since) > patience) {
            self.fail_asked();
        }
    }

    /// True while this node has reason to believe in a leader: it refuses candidates then.
    pub(super) fn leader_lives(&self, now: Nanos) -> bool {
        match &self.state {
            State::Leader(_) => true, // It steps down by itself when its quorum falls silent.
            State::Follower { leader: Some(_) } => {
                self.hinted.is_none() && now.since(self.heard) < self.options.timing.patience
            }
            _ => false,
        }
    }

    pub(super) fn append(&mut self, batch: Batch) {
        let config = batch.has(crate::journal::flag::CONFIG);
        self.log.push(batch.clone());
        self.out.push(Effect::Store(StoreIn::Append { epoch: self.promised, batch }));
        self.counts.configs += config as u64;
    }

    /// Seals what `builder` holds as the next batch of this leader's epoch.
    pub(super) fn seal(&self, builder: Builder, flags: u16, wall_ms: u64, ticks: Nanos) -> Batch {
        let last = self.log.last();
        let prev = self.log.chain(last).expect("a leader's log has no unknown slots");
        let ticks = ticks.max(self.log.ticks());
        builder.seal(self.options.cluster, self.promised, last.next(), prev, flags, wall_ms, ticks)
    }

    pub(super) fn cut(&mut self, after: Index) {
        assert!(after >= self.commit, "what is committed is never cut (commit {}, cut {after})", self.commit);
        self.counts.cuts += 1;
        self.log.cut(after);
        self.written = self.written.min(after);
        self.settle_durable();
        self.cutting = Some(after);
        self.out.push(Effect::Store(StoreIn::Cut { epoch: self.promised, after }));
    }

    pub(super) fn raise_commit(&mut self, commit: Index) {
        if commit > self.commit {
            self.commit = commit;
            self.shed_install();
            self.out.push(Effect::Committed(commit));
        }
    }

    /// Whatever came in, leave tidy: commit, confirm reads, write what must be kept.
    pub(super) fn tidy(&mut self, now: Nanos) {
        self.meet_peers(now);
        if self.leader().is_some() {
            self.impasse = None;
        }
        if matches!(self.state, State::Leader(_)) {
            self.try_commit(now);
            self.renew_lease(now);
            self.confirm_reads(now);
        }
        // That a change of members is decided must outlive a restart: who was removed may be gone by then, and to prove
        // it again takes a majority of those before. The superblock takes it once this disk has the change.
        self.marks_dirty |= self.log.config_of(self.commit.min(self.durable)).0 > self.noted;
        if self.marks_dirty && !self.restarting() {
            self.marks_dirty = false;
            let marks = self.marks();
            self.noted = marks.config_at;
            self.out.push(Effect::Store(StoreIn::Mark(marks)));
        }
        debug_assert_eq!(self.invariants(), Ok(()), "node {}", self.options.me);
    }
}
