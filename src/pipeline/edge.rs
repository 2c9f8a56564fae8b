//! The edge stage: connections of clients, their sessions, and the two streams between them and the rest.
//!
//! It owns who is connected, what was asked and not yet answered, and all that waits to be sent. It knows no
//! protocol (the doors do) and no order of commands beyond its own lane's. Its memory is bounded: permits bound
//! what is under way, a connection whose client does not read is first not read from and then cut.

mod counters;
mod doors;
mod floor;
pub mod rig;

use std::sync::Arc;

use crate::base::{Nanos, Origin};
use crate::doors::{Answer, Bounds, Level, Outcome, Seat, Who};
use crate::observe::{Latency, Published};
use crate::pipeline::lane::{Rx, Tx};
use crate::pipeline::parcel::{Answers, EdgeIn, EdgeOut, Intake, Outcomes, Reads};
use crate::pipeline::ports::{Conn, Net, NetEvent, Turn};
use crate::state::RealmId;

pub use counters::Counters;
pub use doors::{Come, Doors};
pub use floor::Limits;

use floor::Floor;

/// The lanes of one edge. Apply sends outcomes, answers and changes on one lane, so an event never comes after
/// the data that it announces.
pub struct Lanes {
    pub to_order: Tx<EdgeIn>,
    /// Local reads.
    pub to_apply: Tx<Reads>,
    pub from_order: Rx<EdgeOut>,
    pub from_apply: Rx<EdgeOut>,
}

pub struct Edge {
    lane: u8,
    lanes: Lanes,
    doors: Doors,
    floor: Floor,
    /// The node's doors have said what they have to say to the cluster.
    announced: bool,
    /// Parcels wait for room in a lane.
    held_back: bool,
    /// Clients have come, asked or gone since the last turn.
    heard: bool,
    /// Parcels taken in.
    taken: u64,
    latencies: Latencies,
}

#[derive(Default)]
struct Latencies {
    write: Tally,
    linear: Tally,
    local: Tally,
}

/// Requests of one turn wait equally long in groups: each group is recorded once.
#[derive(Default)]
struct Tally {
    latency: Latency,
    span: Nanos,
    count: u64,
}

impl Tally {
    fn took(&mut self, span: Nanos) {
        if span != self.span {
            self.record();
            self.span = span;
        }
        self.count += 1;
    }

    fn record(&mut self) {
        if self.count > 0 {
            self.latency.record_n(self.span, std::mem::take(&mut self.count));
        }
    }

    /// When it wants to be called again.
    fn publish(&mut self, now: Nanos) -> Nanos {
        self.record();
        self.latency.publish(now)
    }
}

/// Parcels taken in one turn; the rest waits for the next, so that sockets get theirs in between.
const PARCELS_PER_TURN: usize = 16;

/// How soon to look again when a lane had no room: its receiver is busy and rings nobody when it has taken one.
const FULL_LANE_RETRY: Nanos = Nanos(200_000);

impl Edge {
    /// `origin` names this lane for this life of the node: its commands count from 1 within it.
    pub fn new(origin: Origin, bounds: Bounds, limits: Limits, doors: Doors, lanes: Lanes) -> Edge {
        let floor = Floor::new(origin, bounds, limits);
        Edge {
            lane: origin.lane(),
            lanes,
            doors,
            floor,
            announced: false,
            held_back: false,
            heard: false,
            taken: 0,
            latencies: Latencies::default(),
        }
    }

    /// For the metrics page; any thread may read them.
    pub fn counters(&self) -> Arc<Counters> {
        self.floor.counters.clone()
    }

    /// From the moment a request was parsed to its reply: writes, linearizable reads, local reads.
    pub fn latencies(&self) -> [(&'static str, Published); 3] {
        let Latencies { write, linear, local } = &self.latencies;
        [("write", write), ("read", linear), ("read_local", local)]
            .map(|(name, tally)| (name, tally.latency.published()))
    }

    /// Commands and queries that its sessions have issued, connections and parcels that it has taken: what does not
    /// grow while clients only say that they live.
    pub fn busyness(&self) -> u64 {
        self.floor.desk.issued + self.floor.counters.accepted.read() + self.taken
    }

    /// A client waits for an answer.
    pub fn is_waited_for(&self) -> bool {
        self.floor.desk.writing().0 + self.floor.desk.reading() > 0
    }

    /// Something waits for a send that is under way.
    pub fn awaits_sent(&self) -> bool {
        self.floor.awaits_sent()
    }

    /// Commands leave this lane under this origin.
    pub fn origin(&self) -> Origin {
        self.floor.desk.origin()
    }

    /// This connection is one of its clients'.
    pub fn seats(&self, conn: Conn) -> bool {
        self.floor.seats(seat(conn))
    }

    /// Clients or another stage have something for it.
    pub fn has_news(&self) -> bool {
        self.heard
            || self.held_back
            || !(self.lanes.from_order.is_empty() && self.lanes.from_apply.is_empty())
            || self.floor.has_kept_input()
    }

    pub fn on_net<N: Net>(&mut self, now: Nanos, event: NetEvent<'_>, net: &mut N) {
        self.floor.now = now;
        self.heard |= !matches!(event, NetEvent::Sent { .. });
        match event {
            NetEvent::Accepted { conn, door, from, by } => {
                let come = Come { door, from, by };
                self.floor.accept(&mut self.doors, seat(conn), &come, net);
            }
            NetEvent::Bytes { conn, bytes } => self.floor.on_bytes(&mut self.doors, seat(conn), bytes, net),
            NetEvent::Sent { conn, buffer } => self.floor.on_sent(seat(conn), buffer),
            NetEvent::Ended { conn, .. } => self.floor.on_ended(&mut self.doors, seat(conn)),
            NetEvent::Dialled { .. } | NetEvent::DialFailed { .. } => {} // Edges dial nobody.
        }
    }

    /// Takes in what apply and order have for this lane, hands out what its clients asked since the last turn,
    /// and sends every connection what has gathered for it, at once.
    pub fn turn<N: Net>(&mut self, now: Nanos, net: &mut N) -> Turn {
        self.floor.now = now;
        self.heard = false;
        let mut again = self.take_parcels();
        again |= self.floor.walk(&mut self.doors);
        self.floor.on_alarms(&mut self.doors);
        self.doors.on_deadline(&mut self.floor);
        self.floor.resume(&mut self.doors, net);
        self.send_parcels();
        self.floor.flush(&mut self.doors, net);
        self.floor.gauge();
        let (watches, leases) = self.doors.native.gauges();
        self.floor.counters.native_watches.set(watches as u64);
        self.floor.counters.native_leases.set(leases as u64);
        let Latencies { write, linear, local } = &mut self.latencies;
        let publish = [write, linear, local].map(|tally| tally.publish(now)).into_iter().min();
        let mut deadline =
            self.floor.deadline().min(self.doors.deadline()).min(publish.unwrap_or(Nanos::MAX));
        if self.held_back {
            deadline = deadline.min(now.plus(FULL_LANE_RETRY));
        }
        Turn { again, deadline }
    }

    /// True if more may lie there.
    fn take_parcels(&mut self) -> bool {
        self.drain_order();
        for _ in 0..PARCELS_PER_TURN {
            let Some(parcel) = self.lanes.from_apply.take() else { return false };
            self.take_in(parcel);
        }
        true
    }

    /// Order's lane is bounded and its parcels are small; all of them are taken.
    fn drain_order(&mut self) {
        while let Some(parcel) = self.lanes.from_order.take() {
            self.take_in(parcel);
        }
    }

    fn take_in(&mut self, parcel: EdgeOut) {
        self.taken += 1;
        match parcel {
            EdgeOut::Outcomes(outcomes) => self.on_outcomes(&outcomes),
            EdgeOut::Answers(answers) => self.on_answers(&answers),
            EdgeOut::Serving(serving) => {
                self.floor.on_serving(serving);
                // Once in a life: what was taken is sent again until it is applied.
                if serving && self.lane == 0 && !std::mem::replace(&mut self.announced, true) {
                    self.doors.announce(&mut self.floor);
                }
            }
            EdgeOut::ReadsFailed(tags) => {
                self.floor.counters.reads_failed.add(tags.len() as u64);
                tags.into_iter().for_each(|tag| self.answer(tag, Answer::Unconfirmed));
            }
            EdgeOut::Gone(ids) => {
                for (realm, id) in ids {
                    if let Some(realm) = RealmId::from_byte(realm) {
                        self.doors.on_gone(realm, id, &mut self.floor);
                    }
                }
            }
            EdgeOut::Unknown { below } => {
                self.doors.on_jump(&mut self.floor);
                while self.floor.desk.oldest() < below && self.floor.desk.writing().0 > 0 {
                    let oldest = self.floor.desk.oldest();
                    self.settle(oldest, Outcome::Unknown);
                }
            }
        }
    }

    fn on_outcomes(&mut self, outcomes: &Outcomes) {
        let mut start = 0;
        for &(realm, end) in &outcomes.changes.items {
            let changes = &outcomes.changes.bytes[start..end as usize];
            start = end as usize;
            if let Some(realm) = RealmId::from_byte(realm) {
                self.doors.on_changes(outcomes.index, realm, changes, &mut self.floor);
            }
        }
        let mut start = 0;
        for &(sequence, end) in &outcomes.items {
            let reply = &outcomes.replies[start..end as usize];
            start = end as usize;
            if sequence < self.floor.desk.oldest() {
                continue; // A repeat after a change of leader: its client has been answered.
            }
            // Apply takes a lane's commands without a gap. One that is jumped over got its outcome elsewhere
            // (in a snapshot's state): nobody here can know it.
            while self.floor.desk.oldest() < sequence {
                let oldest = self.floor.desk.oldest();
                self.settle(oldest, Outcome::Unknown);
            }
            self.settle(sequence, Outcome::Done { at: outcomes.index, reply });
        }
    }

    fn settle(&mut self, sequence: u64, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Done { .. } => self.floor.counters.writes.add(1),
            Outcome::Unknown => self.floor.counters.writes_unknown.add(1),
        }
        let (seat, token, since) = self.floor.desk.settle(sequence);
        self.latencies.write.took(self.floor.now.since(since));
        let doors = &mut self.doors;
        self.floor.with(seat, |seated, cx| doors.on_outcome(seated, cx, token, outcome));
    }

    fn on_answers(&mut self, answers: &Answers) {
        let mut start = 0;
        for &(tag, end) in &answers.items {
            let bytes = &answers.bytes[start..end as usize];
            start = end as usize;
            self.answer(tag, Answer::Found(bytes));
        }
    }

    fn answer(&mut self, tag: u64, answer: Answer<'_>) {
        let Some(Who { seat, token, since, level }) = self.floor.desk.answered(tag) else { return };
        let tally = match level {
            Level::Local => &mut self.latencies.local,
            Level::Linearizable => &mut self.latencies.linear,
        };
        tally.took(self.floor.now.since(since));
        self.floor.counters.reads.add(1);
        let doors = &mut self.doors;
        self.floor.with(seat, |seated, cx| doors.on_answer(seated, cx, token, answer));
    }

    /// Local reads go first: apply then has them before it has a write that was issued later. Touches go before
    /// linearizable reads: whoever reads a lease right after touching it must not overtake the touch.
    fn send_parcels(&mut self) {
        let desk = &mut self.floor.desk;
        self.held_back = true;
        if !desk.local.items.is_empty() {
            if self.lanes.to_apply.room() == 0 {
                return;
            }
            self.lanes.to_apply.send(desk.local.take(self.lane));
        }
        if desk.count > 0 {
            if self.lanes.to_order.room() == 0 {
                return;
            }
            let spare = Vec::with_capacity(desk.commands.len());
            let (first, count, commands) = desk.take_commands(spare);
            self.lanes.to_order.send(EdgeIn::Intake(Intake {
                origin: desk.origin(),
                first,
                count,
                commands,
            }));
        }
        if !desk.touches.is_empty() {
            if self.lanes.to_order.room() == 0 {
                return;
            }
            self.lanes.to_order.send(EdgeIn::Touches(std::mem::take(&mut desk.touches)));
        }
        if !desk.linear.items.is_empty() {
            if self.lanes.to_order.room() == 0 {
                return;
            }
            self.lanes.to_order.send(EdgeIn::Reads(desk.linear.take(self.lane)));
        }
        self.held_back = false;
    }
}

fn seat(conn: Conn) -> Seat {
    Seat { slot: conn.slot, generation: conn.generation }
}

fn conn(seat: Seat) -> Conn {
    Conn { slot: seat.slot, generation: seat.generation }
}

impl crate::doors::Queries {
    /// The turn's queries; the next turn's will probably need as much room.
    fn take(&mut self, lane: u8) -> Reads {
        let items = Vec::with_capacity(self.items.len());
        let bytes = Vec::with_capacity(self.bytes.len());
        Reads {
            lane,
            items: std::mem::replace(&mut self.items, items),
            queries: std::mem::replace(&mut self.bytes, bytes),
        }
    }
}

#[cfg(test)]
mod tests;
