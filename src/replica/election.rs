//! Elections: ask first whether others would vote, then for their votes.
//!
//! A node asks when its patience ends, or at once when the leader's port refuses it. Votes compare claims
//! (history, last), never promises. A node with unknown slots votes as if it held them, and never leads: when it
//! loses patience it asks for promises alone, to prove what was in its slots or that nobody can have it.

use crate::base::planted::{self, Bug};
use crate::base::{Epoch, Index, Nanos, NodeId, Voice};
use crate::replica::core::{Effect, Replica, State};
use crate::replica::impasse::Word;
use crate::replica::{Claim, Member, Msg};

/// An election from the side of who asks.
#[derive(Clone, Debug)]
pub(super) struct Ballot {
    pub epoch: Epoch,
    pub granted: Vec<Voice>,
    /// What voters that have promised this epoch say of their logs.
    pub words: Vec<(Voice, Word)>,
    /// Voters that have promised this epoch and certainly lack our first unknown slot.
    pub absent: Vec<Voice>,
    /// Voters that have promised this epoch and lost the content of this very slot, too: to power, perhaps, or for
    /// certain to damage.
    pub torn: Vec<Voice>,
    pub spoilt: Vec<Voice>,
    /// Voters that have promised this epoch and hold some batch there.
    pub held: Vec<Voice>,
    /// The slot that these speak of.
    pub about: Option<Index>,
    /// Voters that have promised this epoch and cannot give this node the state under its log.
    pub helpless: Vec<Voice>,
    /// Only promises are wanted.
    pub resolve: bool,
    pub transfer: bool,
}

impl Ballot {
    fn new(epoch: Epoch) -> Ballot {
        Ballot {
            epoch,
            granted: Vec::new(),
            words: Vec::new(),
            absent: Vec::new(),
            torn: Vec::new(),
            spoilt: Vec::new(),
            held: Vec::new(),
            about: None,
            helpless: Vec::new(),
            resolve: false,
            transfer: false,
        }
    }
}

impl Replica {
    pub(super) fn claim(&self) -> Claim {
        let mut claim = self.log.claim(self.promised);
        let early = planted::is(Bug::HistoryBeforeData) && self.verified.0 > 0;
        if early || planted::is(Bug::VoteByPromise) {
            claim.history = self.promised;
        }
        claim
    }

    /// What a candidate says of its log is no less than this node's.
    fn is_enough(&self, claim: Claim) -> bool {
        let mine = self.claim();
        claim >= mine || planted::is(Bug::VoteForShorter) && claim.history == mine.history
    }

    /// Its whole log and the state under it are here.
    fn may_lead(&self) -> bool {
        self.log.first_unknown().is_none() && !self.stateless
    }

    /// Some of that is lost: whoever leads, or may be elected in a moment, does not any more. Nor is a ballot about
    /// another slot gone on with: what was said of that one is not true of one before it.
    pub(super) fn stand_back(&mut self, now: Nanos) {
        if matches!(self.state, State::Leader(_) | State::Candidate(_)) {
            self.follow(now, None);
        }
    }

    /// No leader for too long: look for one, perhaps here.
    pub(super) fn lose_patience(&mut self, now: Nanos) {
        self.be_patient(now);
        self.judge_words(now);
        if let Some(until) = self.bound_until(now) {
            self.patience = until; // A leader that may still answer by its clock is waited out, gone or not.
            return;
        }
        if !self.may_stand() || self.cutting.is_some() || self.loading() {
            return; // Whoever may not vote, or is about to get another log or state, does not stand.
        }
        self.follow(now, None);
        self.ask_for_what_is_lost();
        let mut ballot = Ballot::new(Epoch(self.promised.0 + 1));
        ballot.granted.push(self.voice());
        let alone = self.config().majority() == 1;
        self.state = State::Asking(ballot);
        if alone {
            return self.stand(now, false);
        }
        self.ask_all();
    }

    fn ask_all(&mut self) {
        let ids: Vec<NodeId> = self.peers.iter().map(|peer| peer.id).collect();
        ids.into_iter().for_each(|id| self.ask(id));
    }

    /// Puts the question of the hour to one peer.
    fn ask(&mut self, to: NodeId) {
        let claim = self.claim();
        if !self.config().voters().any(|member| member.id == to) {
            return;
        }
        match &self.state {
            State::Asking(ballot) => {
                let epoch = ballot.epoch;
                self.say(to, Msg::PreVote { epoch, claim });
            }
            State::Candidate(ballot) => {
                let (epoch, resolve, transfer) = (ballot.epoch, ballot.resolve, ballot.transfer);
                self.say(to, Msg::Vote { epoch, claim, resolve, transfer });
            }
            _ => {}
        }
    }

    /// A fresh link: what was asked before may have been lost with the old one.
    pub(super) fn repeat_to(&mut self, _now: Nanos, to: NodeId) {
        self.ask(to);
    }

    pub(super) fn on_pre_vote(&mut self, now: Nanos, from: NodeId, epoch: Epoch, claim: Claim) {
        let mine = (self.claim(), self.options.me);
        let theirs = (claim, from);
        let standing = matches!(self.state, State::Asking(_) | State::Candidate(_));
        // Of two that ask at once the lower yields, or they would split the votes.
        let yields = !standing || theirs > mine;
        let granted = self.may_vote()
            && epoch > self.promised
            && self.is_enough(claim)
            && !self.leader_lives(now)
            && self.bound_until(now).is_none()
            && yields;
        if granted && matches!(self.state, State::Asking(_)) {
            self.follow(now, None);
        }
        if epoch <= self.promised {
            // It is behind: without word of the newer epoch it would ask for ever.
            let msg = self.word(false);
            return self.say(from, msg);
        }
        self.say(from, Msg::PreVoted { epoch, granted });
        if !granted && theirs < mine && standing {
            // Who asks follows nobody any more. When it was asked from here it may still have had a leader.
            self.ask(from);
        }
    }

    pub(super) fn on_pre_voted(&mut self, now: Nanos, from: Voice, epoch: Epoch, granted: bool) {
        let State::Asking(ballot) = &mut self.state else { return };
        if !granted || epoch != ballot.epoch || ballot.granted.contains(&from) {
            return;
        }
        ballot.granted.push(from);
        if self.has_majority() && !self.loading() {
            self.stand(now, false);
        }
    }

    fn has_majority(&self) -> bool {
        let (State::Asking(ballot) | State::Candidate(ballot)) = &self.state else { return false };
        let config = self.config();
        let yes = config.voters().filter(|member| {
            ballot.granted.iter().any(|voice| voice.id == member.id && member.is(voice.incarnation))
        });
        yes.count() >= config.majority()
    }

    /// Stands for the next epoch. The own vote counts once it is on the disk; questions leave then, too.
    fn stand(&mut self, now: Nanos, transfer: bool) {
        let epoch = Epoch(self.promised.0 + 1);
        self.raise(now, epoch);
        let resolve = !self.may_lead();
        if !resolve {
            self.vote = Some(self.voice());
        }
        self.counts.elections += 1;
        self.state = State::Candidate(Ballot { resolve, transfer, ..Ballot::new(epoch) });
        self.ask_all();
        if let Some(lost) = self.log.first_unknown() {
            self.judge_unknown(now, lost); // Where there is nobody to ask nobody will answer.
        }
        if self.stateless {
            self.judge_lost_state();
        }
    }

    /// This node's promise, and its vote if it gave one, are durable.
    pub(super) fn count_own_vote(&mut self, now: Nanos) {
        let me = self.voice();
        if let State::Candidate(ballot) = &mut self.state
            && self.vote == Some(me)
            && ballot.epoch == self.promised
            && !ballot.granted.contains(&me)
        {
            ballot.granted.push(me);
            self.win_if_elected(now);
        }
    }

    fn win_if_elected(&mut self, now: Nanos) {
        if matches!(&self.state, State::Candidate(ballot) if !ballot.resolve && ballot.granted.contains(&self.voice()))
            && self.has_majority()
        {
            self.lead(now);
        }
    }

    pub(super) fn on_vote(
        &mut self,
        now: Nanos,
        from: Voice,
        epoch: Epoch,
        claim: Claim,
        resolve: bool,
        transfer: bool,
    ) {
        if !self.may_vote() && !planted::is(Bug::VoteAfterWipe) {
            return; // Whoever had this id before may have voted already.
        }
        let bound = self.bound_until(now).is_some() && !transfer;
        if epoch > self.promised {
            if bound || self.leader_lives(now) && !transfer {
                return; // A living leader is not deposed by one that cannot hear it.
            }
            self.raise(now, epoch);
        }
        let free = self.vote.is_none() || self.vote == Some(from) || planted::is(Bug::VoteTwice);
        let leaderless = matches!(self.state, State::Follower { leader: None });
        // Bound it may be all the same: somebody else's word of this epoch came first.
        let may_vote = free && leaderless && !bound;
        let granted = epoch == self.promised && !resolve && may_vote && self.is_enough(claim);
        if granted && self.vote.is_none() {
            self.vote = Some(from);
            self.marks_dirty = true;
            self.be_patient(now);
        }
        let msg = self.word(granted);
        self.say(from.id, msg);
    }

    /// What this node has promised, and says of its log.
    fn word(&self, granted: bool) -> Msg {
        let Word { claim, unsure, torn, stateless } = self.own_word();
        Msg::Voted { epoch: self.promised, granted, claim, unsure, torn, stateless }
    }

    pub(super) fn on_voted(&mut self, now: Nanos, from: Voice, epoch: Epoch, granted: bool, word: Word) {
        if epoch > self.promised {
            self.raise(now, epoch);
            return;
        }
        let voter = self.config().is_voter(from);
        let lost = self.log.first_unknown();
        // Its log does not reach up to where this one begins, so it cannot make that state again either.
        let helpless = self.stateless && (word.stateless || word.claim.last < self.log.base().index);
        let State::Candidate(ballot) = &self.state else { return };
        if epoch != ballot.epoch || !voter {
            return;
        }
        self.keep_word(now, from, word);
        let State::Candidate(ballot) = &mut self.state else { return };
        if helpless && ballot.resolve && !ballot.helpless.contains(&from) {
            ballot.helpless.push(from);
            self.judge_lost_state();
        }
        let State::Candidate(ballot) = &mut self.state else { return };
        if granted && !ballot.granted.contains(&from) {
            ballot.granted.push(from);
            self.win_if_elected(now);
        } else if let Some(lost) = lost
            && ballot.resolve
        {
            if ballot.about != Some(lost) {
                // A later slot than before: one in front of it ends the ballot. Whoever lacked that lacks this, too.
                ballot.about = Some(lost);
                ballot.torn.clear();
                ballot.spoilt.clear();
                ballot.held.clear();
            }
            // It promised this epoch, so it takes nothing older any more: what it lacks now it lacks for good. Where
            // its log ends it knows, whatever it has lost below.
            let Word { claim, unsure, torn, .. } = word;
            let holds = unsure.is_none_or(|unsure| unsure > lost);
            let list = if claim.last < lost {
                &mut ballot.absent
            } else if holds {
                &mut ballot.held
            } else if unsure != Some(lost) {
                return; // It has an earlier slot to find out about first.
            } else if torn {
                &mut ballot.torn
            } else {
                &mut ballot.spoilt
            };
            if !list.contains(&from) {
                list.push(from);
            }
            if claim.last >= lost && holds {
                return self.say(from.id, Msg::Ask { index: lost });
            }
            self.judge_unknown(now, lost);
        }
    }

    /// A voter's batch cannot be what was lost here, and it takes nothing of an older epoch any more: it lacks what was.
    pub(super) fn on_other_batch(&mut self, now: Nanos, from: Voice, lost: Index) {
        if let State::Candidate(ballot) = &mut self.state
            && ballot.about == Some(lost)
            && ballot.held.contains(&from)
            && !ballot.absent.contains(&from)
        {
            ballot.absent.push(from);
            self.judge_unknown(now, lost);
        }
    }

    /// What the voters' words say of a slot that this node cannot read.
    ///
    /// So many lack it that no majority can have had it: it was never committed. Otherwise, when *every* voter has
    /// spoken and none has a whole copy, none will ever turn up, and two cases are left.
    ///
    /// Everywhere it is absent or torn: unreadable and above every watermark of that disk. Had it been committed, a
    /// majority would have called it durable, each after its writes had completed; what is complete a loss of power
    /// does not touch. So each of that majority would have been damaged besides, in this one batch out of those
    /// few that were in flight when the power went. Damage to a majority of copies is beyond what any rule here
    /// survives; that all went down under load is not, and it is what this looks like. The slot is cut.
    ///
    /// Somewhere it is damaged below the watermark: that disk did hold it, so it may have been committed. Nobody can
    /// bring it back, and to go on without it would be a guess.
    fn judge_unknown(&mut self, now: Nanos, lost: Index) {
        let State::Candidate(ballot) = &self.state else { return };
        let config = self.config();
        if ballot.absent.iter().filter(|&&voice| config.is_voter(voice)).count() >= config.absence() {
            return self.deny_unknown(now, lost);
        }
        // Whichever configuration would have decided it.
        let since = self.log.config_of(lost.prev()).0;
        let in_force = self.log.configs().iter().filter(|(at, _)| *at >= since);
        let (me, mine) = (self.voice(), self.log.is_first_torn());
        let spoke = |member: &Member| {
            let lists = [&ballot.absent, &ballot.torn, &ballot.spoilt];
            let mut all = lists.into_iter().flatten().chain([&me]);
            all.any(|voice| voice.id == member.id && member.is(voice.incarnation))
        };
        if !in_force.flat_map(|(_, config)| config.voters()).all(spoke) {
            if config.voters().all(spoke) {
                self.out.push(Effect::Tell(format!(
                    "batch {lost} is damaged on this node, and no voter of today has a whole copy; one that voted when \
                     it was new may have: bring it back, or restore a backup"
                )));
            }
            return;
        }
        if mine && ballot.spoilt.is_empty() {
            self.deny_unknown(now, lost);
        } else {
            self.out.push(Effect::Halt(format!(
                "batch {lost} is damaged on this node, and no other voter has a whole copy; it may have been \
                 committed, so nothing is cut. Bring a disk back that has it, or restore a backup"
            )));
        }
    }

    /// The snapshot under this log is damaged, and so it is wherever else it could be had.
    fn judge_lost_state(&mut self) {
        let State::Candidate(ballot) = &self.state else { return };
        let base = self.log.base().index;
        let since = self.log.config_of(base).0;
        let in_force = self.log.configs().iter().filter(|(at, _)| *at >= since);
        let me = self.voice();
        let helpless = |member: &Member| {
            let mut all = ballot.helpless.iter().chain([&me]);
            all.any(|voice| voice.id == member.id && member.is(voice.incarnation))
        };
        // Learners are not asked; one may have it, and gives it unasked to whoever needs it.
        if in_force.flat_map(|(_, config)| config.members()).all(helpless) {
            self.out.push(Effect::Halt(format!(
                "the snapshot at {base}, on which this log stands, is damaged on this node, and no other member has a \
                 whole one; without it the state cannot be had again. Bring a disk back that has it, or restore a backup"
            )));
        }
    }

    /// The slot was never committed, and never will be.
    fn deny_unknown(&mut self, now: Nanos, lost: Index) {
        self.counts.absences += 1;
        self.cut(lost.prev());
        self.follow(now, None);
        self.patience = now; // With a whole log it may stand at once.
    }

    /// The old leader hands over.
    pub(super) fn on_take_over(&mut self, now: Nanos, from: NodeId, epoch: Epoch) {
        let follows = matches!(self.state, State::Follower { leader } if leader == Some(from));
        let fit = self.may_stand() && self.may_lead();
        if epoch == self.promised && follows && fit && self.cutting.is_none() && !self.loading() {
            self.stand(now, true);
        }
    }

    pub(super) fn lead(&mut self, now: Nanos) {
        self.begin_reign(now);
        self.out.push(Effect::Leading { epoch: self.promised });
    }
}
