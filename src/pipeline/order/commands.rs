//! Commands on their way into the log, and reads on their way to a ticket.

use std::sync::Arc;

use crate::base::{Life, Nanos};
use crate::journal::{BATCH_HEAD, Builder, flag};
use crate::pipeline::order::{Order, Piece, Waiting};
use crate::pipeline::parcel::{EdgeOut, Intake};
use crate::replica::Msg;
use crate::state::Command;

impl Order {
    /// To the log, if this node leads; to the leader, if another does.
    pub(super) fn submit(&mut self, piece: Piece) {
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
    pub(super) fn resubmit(&mut self) {
        let all: Vec<Piece> = self.unapplied.values().flatten().cloned().collect();
        all.into_iter().for_each(|piece| self.submit(piece));
    }

    pub(super) fn forget(&mut self, lane: u8, upto: u64) {
        let Some(pieces) = self.unapplied.get_mut(&lane) else { return };
        while pieces.front().is_some_and(|piece| piece.first + u64::from(piece.count) <= upto + 1) {
            pieces.pop_front();
        }
    }

    /// Leader: into the queue, unless this epoch has had it.
    pub(super) fn admit(&mut self, mut piece: Piece) {
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

    pub(super) fn propose(&mut self, now: Nanos, wall_ms: u64) {
        // With the log all but full only a snapshot goes in: it makes room.
        while !self.queue.is_empty()
            && !self.full
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
            let mut body = Builder::with_capacity(BATCH_HEAD + size);
            for piece in self.queue.drain(..take) {
                body.push(&piece.commands, piece.count);
            }
            let index = self.replica.propose(now, wall_ms, body, 0).expect("it may propose");
            self.spans.commit.begin(index.0, now);
            self.carry_out(now);
        }
        let last = self.lengths.last_key_value().map_or(0, |(_, &length)| length);
        let due = self.limits.snapshot_bytes.max(last).min(self.limits.snapshot_most);
        let since = self.log_bytes - self.snapshots.back().map_or(0, |&(_, bytes)| bytes);
        if (since > due || self.full || self.replica.is_snapshot_wanted())
            && !self.snapshot_asked
            // A full log has little room left: what is in it is decided first, and may hold a snapshot already.
            && (!self.full || self.replica.uncommitted() == 0)
            && now >= self.snapshot_rest
            && self.replica.may_propose()
        {
            self.snapshot_asked = true;
            self.replica.propose(now, wall_ms, Builder::default(), flag::SNAPSHOT).expect("it may propose");
            self.carry_out(now);
        }
    }

    pub(super) fn ask_tickets(&mut self, now: Nanos) {
        if self.homeless.is_empty() {
            return;
        }
        if self.replica.leader().is_none() {
            let patience = self.limits.read_patience;
            while self.homeless.front().is_some_and(|waiting| now.since(waiting.since) > patience) {
                let waiting = self.homeless.pop_front().expect("just looked");
                for reads in waiting.reads {
                    let tags = reads.items.iter().map(|item| item.tag).collect();
                    self.lanes.edges[reads.lane as usize].tx.post(EdgeOut::ReadsFailed(tags));
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
}

/// No number of an earlier life: an answer to one of those would be about older reads.
pub(super) fn first_ticket(life: Life) -> u64 {
    life.0 << 48
}

/// A turn's commands in pieces that fit a batch: a busy edge takes in more at a time than one batch holds, and a piece
/// goes into the log whole. (Three thousand writes of 1 KB in one turn stopped a leader, and then the next.)
pub(super) fn pieces(intake: Intake, most: usize) -> Vec<Piece> {
    let Intake { origin, first, count, commands } = intake;
    if commands.len() <= most {
        return vec![Piece { origin, first, count, commands: Arc::new(commands) }];
    }
    let (mut pieces, mut next, mut rest) = (Vec::new(), first, &commands[..]);
    while !rest.is_empty() {
        let (from, mut taken, mut count) = (rest, 0, 0);
        while !rest.is_empty() {
            let before = rest;
            drop_command(&mut rest);
            let length = from.len() - rest.len();
            if count > 0 && length > most {
                rest = before;
                break;
            }
            (taken, count) = (length, count + 1);
        }
        let commands = Arc::new(from[..taken].to_vec());
        pieces.push(Piece { origin, first: next, count, commands });
        next += u64::from(count);
    }
    pieces
}

fn drop_command(rest: &mut &[u8]) {
    let taken = Command::take(rest);
    assert!(taken.is_some(), "a parcel holds as many commands as it says");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{NodeId, Origin};
    use crate::journal::BATCH_MAX;
    use crate::state::Envelope;

    /// Found by reading: a life that had asked a million times ran into the numbers of the next one.
    #[test]
    fn tickets_of_two_lives_are_far_apart() {
        let life = 1_780_000_000_000; // The first one's number is a date.
        let [before, after] = [life, life + 1].map(|life| first_ticket(Life(life)));
        assert!(after.wrapping_sub(before) > 1 << 40);
    }

    #[test]
    fn a_turn_that_no_batch_holds_goes_in_pieces() {
        let origin = Origin::new(NodeId(1), 2, Life(7));
        let sizes: Vec<usize> =
            (0..4000).map(|nth| if nth == 1000 { 900 << 10 } else { nth % 1500 }).collect();
        let mut commands = Vec::new();
        for (nth, size) in sizes.iter().enumerate() {
            let envelope = Envelope { origin, sequence: 5 + nth as u64, ..Envelope::default() };
            envelope.write(&vec![nth as u8; *size], &mut commands);
        }
        assert!(commands.len() > BATCH_MAX);
        let intake = Intake { origin, first: 5, count: 4000, commands: commands.clone() };
        let pieces = pieces(intake, 512 << 10);
        let mut next = 5;
        for piece in &pieces {
            assert!(piece.commands.len() <= 512 << 10 || piece.count == 1, "{}", piece.commands.len());
            assert_eq!((piece.first, piece.origin), (next, origin));
            assert_eq!(Command::all(&piece.commands).count(), piece.count as usize);
            next += u64::from(piece.count);
        }
        assert_eq!(next, 4005);
        assert_eq!(pieces.iter().flat_map(|piece| piece.commands.to_vec()).collect::<Vec<u8>>(), commands);
    }
}
