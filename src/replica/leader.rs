//! The leader: broadcast, acknowledgements, commit, reads, hand-over.

use std::collections::VecDeque;

use crate::base::planted::{self, Bug};
use crate::base::{Epoch, Index, Nanos, NodeId, Voice};
use crate::journal::{Builder, flag};
use crate::pipeline::parcel::StoreIn;
use crate::replica::core::{Effect, Replica, State};
use crate::replica::lease::Lease;
use crate::replica::member::config_batch;
use crate::replica::peer::{Mode, Peer};
use crate::replica::{Config, Member, Msg};

/// The most bytes of batches in one message; larger only if one batch alone is.
const MESSAGE_BYTES: usize = 1 << 20;

/// One epoch led by this node.
#[derive(Clone, Debug)]
pub(super) struct Reign {
    /// The batch that opened it. Nothing counts as newly committed before this one is.
    pub start: Index,
    pub tick_at: Nanos,
    /// Where cluster time stood, and this node's clock, when the reign began.
    ticks: Nanos,
    since: Nanos,
    /// Number of the last probe. A read waits for a quorum to answer a probe sent after it came.
    pub(super) probe: u64,
    /// It has left with some append: a later read needs a later one.
    pub(super) probe_left: bool,
    pub(super) lease: Lease,
    pub reads: VecDeque<Read>,
    /// Reads that came before the opening batch was committed.
    pub early: Vec<(Voice, u64)>,
    /// Handing over to this node, given up at that time.
    pub heir: Option<(NodeId, Nanos)>,
    /// When the own disk began to owe a batch.
    owed_since: Option<(Index, Nanos)>,
    /// When the commit point began to stand still below the log's end.
    stuck_since: Option<(Index, Nanos)>,
}

impl Reign {
    /// What leaves from now on is told from the probes that have left.
    pub(super) fn renumber_probe(&mut self) {
        if self.probe_left {
            self.probe += 1;
            self.probe_left = false;
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub from: Voice,
    pub id: u64,
    probe: u64,
    index: Index,
    /// This node's clock when it was taken in.
    since: Nanos,
}

impl Read {
    pub fn since(&self) -> Nanos {
        self.since
    }

    pub fn index(&self) -> Index {
        self.index
    }
}

/// Why something cannot be proposed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this node does not lead")]
    NotLeader,
    #[error("the leader has not committed anything in its epoch yet; try again shortly")]
    TooEarly,
    #[error("another membership change is under way; wait until it is committed")]
    Pending,
    #[error("a plan takes at most {} steps; ask for fewer changes at once", crate::replica::STEPS_MAX)]
    TooLong,
    #[error("a cluster has at most {} members", crate::replica::MEMBERS_MAX)]
    TooMany,
    #[error("members change one voter at a time, and one must remain")]
    TwoAtOnce,
    #[error("the log is full; wait for the snapshot that makes room, and see /status for what keeps it")]
    Full,
    #[error("leadership is being handed over")]
    Leaving,
    #[error("no such member, or it is not ready")]
    NotReady,
}

impl Replica {
    pub(super) fn begin_reign(&mut self, now: Nanos) {
        assert!(self.log.first_unknown().is_none() && self.cutting.is_none());
        assert_eq!(self.marked, (self.promised, Some(self.voice())));
        let next = self.log.last().next();
        self.peers.iter_mut().for_each(|peer| peer.begin(next, now));
        self.abandon_install();
        self.state = State::Leader(Reign {
            start: next,
            tick_at: now,
            ticks: self.log.ticks(),
            since: now,
            probe: 1,
            probe_left: false,
            lease: Lease::default(),
            reads: VecDeque::new(),
            early: Vec::new(),
            heir: None,
            owed_since: None,
            stuck_since: None,
        });
        let batch = self.seal(Builder::default(), flag::OPEN, 0, self.cluster_time(now));
        self.append(batch);
    }

    /// Cluster time: the leader's clock, continued from the last batch.
    pub fn cluster_time(&self, now: Nanos) -> Nanos {
        match &self.state {
            State::Leader(reign) => reign.ticks.plus(now.since(reign.since)),
            _ => self.log.ticks(),
        }
    }

    /// Batches that this leader has appended and not seen committed.
    pub fn uncommitted(&self) -> u64 {
        self.log.last().0 - self.commit.0
    }

    pub fn may_propose(&self) -> bool {
        matches!(&self.state, State::Leader(reign) if reign.heir.is_none())
    }

    /// Takes a body of commands as the next batch.
    pub fn propose(&mut self, now: Nanos, wall_ms: u64, body: Builder, flags: u16) -> Result<Index, Refusal> {
        match &self.state {
            State::Leader(reign) if reign.heir.is_none() => {}
            State::Leader(_) => return Err(Refusal::Leaving),
            _ => return Err(Refusal::NotLeader),
        }
        let batch = self.seal(body, flags, wall_ms, self.cluster_time(now));
        let index = batch.index();
        self.snapshot_wanted &= flags & flag::SNAPSHOT == 0;
        self.append(batch);
        self.tidy(now);
        Ok(index)
    }

    /// Proposes a configuration. It is in force from its append, and decided when a majority of it says so.
    pub fn propose_config(&mut self, now: Nanos, wall_ms: u64, config: &Config) -> Result<Index, Refusal> {
        if self.leads().is_none() {
            return Err(if self.is_leader() { Refusal::TooEarly } else { Refusal::NotLeader });
        }
        if self.log.config_at() > self.commit && !planted::is(Bug::TwoChangesAtOnce) {
            return Err(Refusal::Pending);
        }
        if !config.follows(self.config()) {
            return Err(Refusal::TwoAtOnce);
        }
        if self.full {
            return Err(Refusal::Full); // Before a snapshot has made room it would stand in that one's way.
        }
        let index = self.propose(now, wall_ms, config_batch(config), flag::CONFIG)?;
        self.end_lease(false); // Others may elect from now on.
        Ok(index)
    }

    /// Hands leadership to `heir` once its log is complete. Nothing is proposed meanwhile.
    pub fn transfer(&mut self, now: Nanos, heir: NodeId) -> Result<(), Refusal> {
        let ready = self.config().voters().any(|m| m.id == heir && self.speaking(m).is_some_and(|p| p.link));
        let until = now.plus(self.options.timing.patience);
        let State::Leader(reign) = &mut self.state else { return Err(Refusal::NotLeader) };
        if !ready {
            return Err(Refusal::NotReady);
        }
        reign.heir = Some((heir, until));
        self.tidy(now);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(super) fn on_appended(
        &mut self,
        now: Nanos,
        from: Voice,
        epoch: Epoch,
        probe: u64,
        received: Index,
        durable: Index,
        snapshot: Index,
    ) {
        if epoch > self.promised {
            return self.raise(now, epoch);
        }
        let State::Leader(_) = self.state else { return };
        let last = self.log.last();
        if epoch != self.promised && !planted::is(Bug::SkipAckEpoch) {
            return; // Another epoch's word counts for nothing.
        }
        let patience = self.options.timing.patience;
        self.remember_held(from, durable);
        let Some(peer) = self.peer_mut(from.id) else { return };
        peer.heard = now;
        peer.probe_acked = peer.probe_acked.max(probe);
        peer.snapshot = snapshot; // Its word of now: a disk that was replaced has none.
        peer.arrived(durable);
        if durable > peer.matched {
            assert!(durable <= last, "node {from} acknowledges batch {durable}, the log ends at {last}");
            peer.matched = durable;
            peer.moved_at = now;
        }
        match peer.mode {
            Mode::Probing if received.next() >= peer.next || peer.window.is_empty() => {
                peer.mode = Mode::Streaming;
                peer.go_on_from(received.next());
            }
            Mode::Snapshot(index) if received >= index => {
                peer.mode = Mode::Streaming;
                peer.go_on_from(received.next());
            }
            // It answers heartbeats and gets no further, though all was sent: something was lost on the way. (While it
            // fetches a snapshot it says only that it lives.)
            Mode::Streaming | Mode::Snapshot(_)
                if peer.matched < last
                    && now.since(peer.moved_at) > patience
                    && !planted::is(Bug::NeverResend) =>
            {
                peer.moved_at = now;
                peer.probe_from(received.next());
                self.counts.resends += 1;
            }
            _ => {}
        }
    }

    /// No news of its log, but it follows: it counts for this leader's quorum and for reads.
    pub(super) fn on_alive(&mut self, now: Nanos, from: NodeId, epoch: Epoch, probe: u64) {
        if self.is_leader()
            && epoch == self.promised
            && let Some(peer) = self.peer_mut(from)
        {
            peer.heard = now;
            peer.probe_acked = peer.probe_acked.max(probe);
        }
    }

    pub(super) fn on_mismatch(
        &mut self,
        now: Nanos,
        from: NodeId,
        epoch: Epoch,
        probe: u64,
        hint: Index,
        hint_epoch: Epoch,
    ) {
        if epoch > self.promised {
            return self.raise(now, epoch);
        }
        if !self.is_leader() || epoch != self.promised || planted::is(Bug::NeverResend) {
            return;
        }
        let agree = self.log.last_at_most(hint, hint_epoch);
        let Some(peer) = self.peer_mut(from) else { return };
        peer.heard = now;
        peer.probe_acked = peer.probe_acked.max(probe);
        peer.moved_at = now;
        peer.probe_from(agree.next());
    }

    /// Commits what a majority of the configuration in force at each index holds, once the opening batch is
    /// among it. The only place that commits.
    pub(super) fn try_commit(&mut self, now: Nanos) {
        let State::Leader(reign) = &self.state else { return };
        let start = reign.start;
        // None is proposed before the one before it is decided, and with it all that lies below. A node that joined
        // could not count those either: the founding configuration is in no log.
        let configs = self.log.configs();
        let newest = configs.len() - 1;
        let first = newest.saturating_sub(1);
        let mut target = configs[first].0.min(self.log.last()).max(self.commit);
        for (place, (at, config)) in configs.iter().enumerate().skip(first) {
            let next = configs.get(place + 1).map(|next| next.0);
            if next.is_some_and(|next| next <= self.commit) {
                continue; // What is committed needs no second count by an older configuration.
            }
            let before = &self.log.config_of(self.commit).1;
            let counts = if planted::is(Bug::CountWrongConfig) { before } else { config };
            let reach = counts.quorum_index(|member| self.matched(member));
            if place > first && reach < *at {
                break;
            }
            // The entry that brings in a configuration needs a majority of the one before it, too: whoever was
            // replaced counts among those, and cannot answer.
            target = target.max(next.map_or(reach, |next| reach.min(next.prev())));
            if next.is_some_and(|next| reach < next) {
                break;
            }
        }
        if (target >= start || planted::is(Bug::CountOldEpochs)) && target > self.commit {
            self.raise_commit(target);
            let State::Leader(reign) = &mut self.state else { return };
            for (from, id) in std::mem::take(&mut reign.early) {
                self.take_read(now, from, id);
            }
            if self.log.config_at() <= self.commit && !self.config().is_voter(self.voice()) {
                // Removed, and the removal is decided: the others go on.
                self.broadcast(now);
                self.follow(now, None);
            }
        }
    }

    // Reads.

    /// A linearizable read of this node: answered by `ReadReady` or `ReadFailed`.
    pub fn read(&mut self, now: Nanos, id: u64) {
        match self.leader() {
            Some(leader) if leader == self.options.me => self.take_read(now, self.voice(), id),
            Some(leader) => {
                self.asked.push_back((id, now));
                let epoch = self.promised;
                self.say(leader, Msg::ReadIndex { epoch, id });
            }
            None => self.out.push(Effect::ReadFailed { id }),
        }
        self.tidy(now);
    }

    pub(super) fn on_read_index(&mut self, now: Nanos, from: Voice, epoch: Epoch, id: u64) {
        if epoch == self.promised && self.is_leader() {
            self.take_read(now, from, id);
        } // Otherwise it finds out by itself: it will hear of the new epoch.
    }

    fn take_read(&mut self, now: Nanos, from: Voice, id: u64) {
        let commit = self.commit;
        let State::Leader(reign) = &mut self.state else { return };
        if commit < reign.start && !planted::is(Bug::ReadBeforeOpen) {
            return reign.early.push((from, id)); // What older epochs committed is not known for certain yet.
        }
        // One probe serves all reads that come before it leaves.
        if !planted::is(Bug::CountEarlyProbes) {
            reign.renumber_probe();
        }
        reign.reads.push_back(Read { from, id, probe: reign.probe, index: commit, since: now });
    }

    /// The newest probe that a majority of voters has answered; `by` says which one a peer has. This node answers all of
    /// its own. So does `asker`: by its question it says that it follows, after its reads came in.
    pub(super) fn answered(&self, asker: Voice, by: impl Fn(&Peer) -> u64) -> u64 {
        let newest = |member: &Member| {
            let mut sure = [self.voice(), asker].into_iter();
            let is_sure = sure.any(|voice| voice.id == member.id && member.is(voice.incarnation));
            Index(if is_sure { u64::MAX } else { self.speaking(member).map_or(0, &by) })
        };
        self.config().quorum_index(newest).0
    }

    pub(super) fn confirm_reads(&mut self, now: Nanos) {
        let leased = self.has_lease(now);
        let State::Leader(reign) = &mut self.state else { return };
        if reign.reads.is_empty() {
            return;
        }
        let (mut reads, me) = (std::mem::take(&mut reign.reads), self.options.me);
        let confirmed = |asker: Voice| self.answered(asker, |peer| peer.probe_acked);
        let (mut ready, mut by_clock) = (Vec::new(), 0);
        let mut asker = (self.voice(), confirmed(self.voice()));
        reads.retain(|read| {
            if asker.0 != read.from {
                asker = (read.from, confirmed(read.from));
            }
            // By the lease: as of a look at the clock that came after the read.
            let leased = leased && now > read.since;
            let sure = read.probe <= asker.1 || leased || planted::is(Bug::ReadWithoutQuorum);
            by_clock += leased as u64;
            if sure {
                ready.push(*read);
            }
            !sure
        });
        self.counts.leased += by_clock;
        for read in ready {
            self.out.push(if read.from.id == me {
                Effect::ReadReady { id: read.id, index: read.index }
            } else {
                let msg = Msg::ReadIndexed { epoch: self.promised, id: read.id, index: read.index };
                Effect::Send { to: read.from.id, msg }
            });
        }
        if let State::Leader(reign) = &mut self.state {
            reign.reads = reads;
        }
    }

    pub(super) fn on_read_indexed(&mut self, epoch: Epoch, id: u64, index: Index) {
        // An answer from a reign that is over says nothing: a newer leader may have committed since.
        let Some(nth) = self.asked.iter().position(|(asked, _)| *asked == id) else { return };
        if epoch == self.promised {
            // Answers come in order: those before it were lost with a connection.
            let lost = self.asked.drain(..nth).map(|(id, _)| Effect::ReadFailed { id });
            self.out.extend(lost);
            self.asked.pop_front();
            self.out.push(Effect::ReadReady { id, index });
        }
    }

    // Time and sending.

    pub(super) fn tick_leader(&mut self, now: Nanos) {
        let timing = self.options.timing;
        let lives = |member: &&Member| match member.id == self.options.me {
            true => member.is(self.incarnation),
            false => self.speaking(member).is_some_and(|peer| now.since(peer.heard) < timing.patience),
        };
        if self.config().voters().filter(lives).count() < self.config().majority() {
            return self.follow(now, None); // Nobody hears: another may lead by now.
        }
        let (durable, commit, last) = (self.durable, self.commit, self.log.last());
        let fetching = self.peers.iter().any(|peer| matches!(peer.mode, Mode::Snapshot(_)));
        let State::Leader(reign) = &mut self.state else { return };
        // They follow and take nothing: their logs are full, say, of what only a snapshot frees, and this leader's
        // last batches stand before it. Another's log has not got these.
        reign.stuck_since = match reign.stuck_since {
            _ if commit == last || fetching => None,
            Some((at, since)) if at == commit => Some((at, since)),
            _ => Some((commit, now)),
        };
        if reign.stuck_since.is_some_and(|(_, since)| now.since(since) > Nanos(8 * timing.patience.0)) {
            return self.follow(now, None);
        }
        reign.tick_at = now.plus(Nanos(timing.heartbeat.0 / 2));
        if timing.lease {
            reign.renumber_probe(); // Its answers renew the lease.
        }
        if reign.heir.is_some_and(|(_, until)| now >= until) {
            reign.heir = None;
        }
        // A disk that stands still for so long is as good as gone: somebody else should lead.
        reign.owed_since = match reign.owed_since {
            _ if durable == last => None,
            Some((at, since)) if at == durable => Some((at, since)),
            _ => Some((durable, now)),
        };
        let owed = reign.owed_since.filter(|(_, since)| now.since(*since) > timing.patience);
        if let Some((at, since)) = owed
            && reign.heir.is_none()
            && let Some(heir) = self.best_heir()
        {
            let (first, ms) = (at.next(), now.since(since).as_millis());
            self.out.push(Effect::Tell(format!(
                "this disk owes batch {first} for {ms} ms, patience is {} ms; node {heir} is asked to lead. Check the \
                 device under the data directory",
                timing.patience.as_millis()
            )));
            let _ = self.transfer(now, heir);
        }
    }

    /// Sends every follower what it lacks, as far as its window goes.
    pub(super) fn broadcast(&mut self, now: Nanos) {
        let heartbeat = self.options.timing.heartbeat;
        let last = self.log.last();
        let leased = self.has_lease(now);
        for place in 0..self.peers.len() {
            if !self.peers[place].link {
                continue;
            }
            if self.peers[place].next <= self.log.base().index
                && !matches!(self.peers[place].mode, Mode::Snapshot(_))
            {
                self.offer_snapshot(now, place);
            }
            let State::Leader(reign) = &self.state else { return };
            let probe = reign.probe;
            let peer = &self.peers[place];
            let due = now.since(peer.sent_at) >= heartbeat || peer.sent_at == Nanos(0);
            let wants_probe = peer.probe_sent < probe && !self.peers_confirmed(probe) && !leased;
            match peer.mode {
                Mode::Streaming => {
                    while self.peers[place].next <= last && self.send_batches(now, place, due || wants_probe)
                    {
                    }
                    let peer = &self.peers[place];
                    let news = peer.commit_sent < self.commit;
                    if due && peer.sent_at != now || wants_probe && peer.probe_sent < probe || news {
                        self.send_append(now, place, Vec::new(), due || wants_probe);
                    }
                }
                Mode::Probing | Mode::Snapshot(_) => {
                    if due || wants_probe {
                        self.send_append(now, place, Vec::new(), true);
                    }
                }
            }
        }
        self.hand_over(now);
    }

    /// No read waits for this probe.
    fn peers_confirmed(&self, probe: u64) -> bool {
        match &self.state {
            State::Leader(reign) => reign.reads.back().is_none_or(|read| read.probe < probe),
            _ => true,
        }
    }

    /// One message of batches. False: nothing more can go now.
    fn send_batches(&mut self, now: Nanos, place: usize, answer: bool) -> bool {
        let (bytes_max, count_max) = (self.options.window_bytes, self.options.window_count);
        let peer = &self.peers[place];
        let (mut bytes, mut batches) = (0, Vec::new());
        let mut next = peer.next;
        while let Some(batch) = self.log.batch(next).or_else(|| peer.read_ahead(next)) {
            let length = batch.block().len();
            let full = peer.window_bytes + bytes + length > bytes_max
                || peer.window.len() + batches.len() >= count_max;
            let first = batches.is_empty() && peer.window.is_empty();
            if (full && !first) || (!batches.is_empty() && bytes + length > MESSAGE_BYTES) {
                break;
            }
            bytes += length;
            batches.push(batch.clone());
            next = next.next();
        }
        if batches.is_empty() {
            let here = self.log.batch(next).is_some() || peer.read_ahead(next).is_some();
            if next <= self.log.last() && !here && !peer.fetching {
                let ticket = u64::from(peer.id.0);
                self.peers[place].fetching = true;
                self.out.push(Effect::Store(StoreIn::Fetch { ticket, from: next, bytes: MESSAGE_BYTES }));
            }
            return false;
        }
        let peer = &mut self.peers[place];
        if peer.window.is_empty() {
            peer.moved_at = now; // From here on it owes something.
        }
        for batch in &batches {
            peer.window.push_back((batch.index(), batch.block().len()));
        }
        peer.window_bytes += bytes;
        self.send_append(now, place, batches, answer);
        self.peers[place].go_on_from(next);
        true
    }

    fn send_append(&mut self, now: Nanos, place: usize, batches: Vec<crate::journal::Batch>, answer: bool) {
        let State::Leader(reign) = &mut self.state else { return };
        let probe = reign.probe;
        reign.probe_left = true;
        self.note_probe(now);
        let to = self.peers[place].id;
        let prev = self.peers[place].next.prev().max(self.log.base().index);
        let prev_epoch = self.log.epoch(prev).expect("a leader's log has no unknown slots");
        let prev_chain = self.log.chain(prev).expect("a leader's log has no unknown slots");
        let (epoch, commit) = (self.promised, self.commit);
        let (recycle, kept) = (self.recyclable(), self.kept());
        self.say(
            to,
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
            },
        );
        let peer = &mut self.peers[place];
        peer.sent_at = now;
        peer.probe_sent = probe;
        peer.commit_sent = commit;
    }

    fn hand_over(&mut self, now: Nanos) {
        let (last, epoch) = (self.log.last(), self.promised);
        let State::Leader(reign) = &mut self.state else { return };
        let Some((heir, until)) = reign.heir else { return };
        if self.peers.iter().any(|peer| peer.id == heir && peer.matched == last && peer.link) {
            // Said once; if it fails, `until` brings the reign back to work.
            reign.heir = Some((NodeId(0), until.min(now.plus(self.options.timing.patience))));
            self.end_lease(true); // Whoever is told may stand late, with everybody's leave.
            self.say(heir, Msg::TakeOver { epoch });
        }
    }
}
