//! When nobody can lead: what the voters' words in elections come to if none of them is fit, and has not become so for
//! a while. Each loss by itself may be one that others make good (a batch, a snapshot, the end of a log), and nobody
//! stops for it; together they can be for ever, and then an operator must hear of it. The node goes on trying: a
//! disk that comes back may have what is lost.

use crate::base::{Index, Nanos, Voice};
use crate::replica::core::{Effect, Replica, State};
use crate::replica::{Claim, Member};

/// What a voter says of its log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub claim: Claim,
    pub unsure: Option<Index>,
    pub torn: bool,
    pub stateless: bool,
}

impl Word {
    /// Its whole log and the state under it are there.
    fn is_sound(&self) -> bool {
        self.unsure.is_none() && !self.stateless
    }
}

/// Nobody can lead, and why.
#[derive(Clone, Debug)]
pub(super) struct Impasse {
    why: String,
    /// When it came to be what it is. Most are over in a moment, when the first repair is done.
    since: Nanos,
    told: bool,
}

impl Replica {
    /// Why nobody can lead, once that has been so for a while.
    pub fn impasse(&self) -> Option<&str> {
        self.impasse.as_ref().filter(|impasse| impasse.told).map(|impasse| &impasse.why[..])
    }

    /// What this node says of its log.
    pub(super) fn own_word(&self) -> Word {
        let (unsure, torn) = (self.log.first_unknown(), self.log.is_first_torn());
        Word { claim: self.claim(), unsure, torn, stateless: self.stateless }
    }

    /// Keeps a voter's word; the last one counts.
    pub(super) fn keep_word(&mut self, now: Nanos, from: Voice, word: Word) {
        let State::Candidate(ballot) = &mut self.state else { return };
        ballot.words.retain(|(voice, _)| *voice != from);
        ballot.words.push((from, word));
        if self.config().voters().all(|member| self.word_of(member).is_some()) {
            self.judge_words(now);
        }
    }

    fn word_of(&self, member: &Member) -> Option<Word> {
        let State::Candidate(ballot) = &self.state else { return None };
        if member.id == self.options.me {
            return Some(self.own_word()).filter(|_| member.is(self.incarnation));
        }
        let said =
            ballot.words.iter().find(|(voice, _)| voice.id == member.id && member.is(voice.incarnation));
        said.map(|(_, word)| *word)
    }

    /// A majority has spoken, and of those who have nobody is fit to be elected by them.
    pub(super) fn judge_words(&mut self, now: Nanos) {
        if !matches!(self.state, State::Candidate(_)) {
            return;
        }
        let words: Vec<_> = self.config().voters().map(|member| (member.id, self.word_of(member))).collect();
        let spoken = || words.iter().filter_map(|(_, word)| word.as_ref());
        let majority = self.config().majority();
        if spoken().count() < majority {
            return; // They are too few to elect anybody, and that is another trouble.
        }
        let wins =
            |word: &Word| word.is_sound() && spoken().filter(|w| w.claim <= word.claim).count() >= majority;
        if spoken().any(wins) {
            self.impasse = None;
            return;
        }
        let each: Vec<String> = words
            .iter()
            .map(|(id, word)| match word {
                None => format!("node {id} does not answer"),
                Some(Word { unsure: Some(lost), stateless: true, .. }) => {
                    format!("node {id} has lost batch {lost} and the snapshot under its log")
                }
                Some(Word { unsure: Some(lost), .. }) => format!("node {id} has lost batch {lost}"),
                Some(Word { stateless: true, .. }) => {
                    format!("node {id} has lost the snapshot under its log")
                }
                Some(Word { claim, .. }) => {
                    let (last, epoch) = (claim.last, claim.history);
                    format!(
                        "the log of node {id} ends at batch {last} of epoch {epoch}, behind what others have"
                    )
                }
            })
            .collect();
        let why = format!(
            "nobody can lead: {}. Bring back a member or a disk that has what is lost (a voter with a whole log leads \
             at once), or restore a backup",
            each.join("; ")
        );
        self.meet_impasse(now, why);
    }

    /// Says so once, when it has stood for two patiences: what one of them can give another has been given by then.
    fn meet_impasse(&mut self, now: Nanos, why: String) {
        let settled = Nanos(2 * self.options.timing.patience.0);
        match &mut self.impasse {
            Some(impasse) if impasse.why == why => {
                if !impasse.told && now.since(impasse.since) >= settled {
                    impasse.told = true;
                    self.counts.alarms += 1;
                    self.out.push(Effect::Alarm(why));
                }
            }
            _ => self.impasse = Some(Impasse { why, since: now, told: false }),
        }
    }
}
