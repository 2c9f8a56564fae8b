//! What is true of a replica after every step, whatever came in. Debug builds assert it, the simulator and the
//! exhausted small worlds ask for it.

use crate::base::Index;
use crate::replica::core::{Replica, State};

impl Replica {
    /// The first of these that does not hold, in words.
    pub fn invariants(&self) -> Result<(), String> {
        let (log, base, last) = (self.log(), self.log().base().index, self.log().last());
        let held = |yes: bool, what: &str| if yes { Ok(()) } else { Err(what.to_owned()) };

        // Places: what is decided is here, what is durable is without a gap, the superblock is behind both.
        held(self.commit <= last, "the commit point lies beyond the log")?;
        held(self.commit >= base, "the log stands on a snapshot that is not committed")?;
        held(self.durable <= last, "more is durable than there is")?;
        let gap = log.first_missing();
        held(gap.is_none_or(|gap| gap > self.durable), "a lost slot counts as durable")?;
        let marks = self.marks();
        held(marks.commit <= self.durable.max(base), "the superblock's commit point is ahead of this disk")?;
        held(self.verified <= last, "a place beyond the log is called verified")?;

        // Promises: never behind the log, never ahead in words of what is on the disk.
        held(self.marked.0 <= self.promised, "the disk has promised more than the memory")?;
        let history = log.epoch(last).unwrap_or_default();
        held(history <= self.promised, "the log has a batch of an epoch that was never promised")?;
        let bound = self.marked == (self.promised, self.vote);
        held(self.held.is_empty() || !bound, "answers wait for a promise that is durable")?;

        // Configurations: one voter at a time.
        let whole = log.first_unknown().is_none(); // A lost slot may hide a change.
        for pair in log.configs().windows(2).filter(|_| whole) {
            let (before, after) = (&pair[0].1, &pair[1].1);
            let known = !before.members().is_empty(); // A newcomer begins without any.
            held(!known || after.follows(before), "two voters changed at once")?;
        }

        match &self.state {
            State::Leader(reign) => {
                let vote = (self.promised, Some(self.voice()));
                held(self.marked == vote, "it leads, and its disk does not say that it voted for itself")?;
                held(
                    log.first_unknown().is_none() && self.cutting.is_none(),
                    "it leads without a whole log",
                )?;
                held(!self.stateless, "it leads without a state")?;
                held(
                    reign.start <= last && log.epoch(reign.start).is_none_or(|e| e == self.promised),
                    "no opening",
                )?;
                let ahead = self.peers.iter().any(|peer| peer.matched > last);
                held(!ahead, "a follower has more of this epoch than its leader")?;
                let own = |at: &Index| *at > self.commit && log.epoch(*at) == Some(self.promised);
                let open = log.configs().iter().filter(|(at, _)| own(at)).count();
                held(open <= 1, "a change was proposed while another was not committed")?;
                let early = reign.reads.iter().any(|read| read.index() < reign.start);
                held(!early, "a read index from before the reign's first commit")
            }
            State::Candidate(ballot) => {
                let voted = self.vote == Some(self.voice());
                held(ballot.resolve || voted, "it stands and has not voted for itself")?;
                held(ballot.epoch == self.promised, "it stands for an epoch that it has not promised")
            }
            State::Asking(_) | State::Follower { .. } => Ok(()),
        }
    }
}
