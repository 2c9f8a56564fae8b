//! The connections of one edge lane: sessions, what they have sent and not yet been heard on, what waits to go out.
//!
//! Every call into a session ends in the same tidying (`with`), so a connection is always in a known state: its
//! alarm queued, its output due, its input offered again. Idle connections own no buffers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use crate::base::{Nanos, Origin};
use crate::doors::{Bounds, Cx, Desk, Link, Seat, Stop, Taken};
use crate::pipeline::edge::conn;
use crate::pipeline::edge::counters::Counters;
use crate::pipeline::edge::doors::{Come, Doors, Seated};
use crate::pipeline::ports::Net;

/// What one connection may hold, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    /// Output that waits above which no more is read from the connection.
    pub out_high_bytes: usize,
    /// Output that waits above which the connection is cut: its client does not read.
    pub out_max_bytes: usize,
    /// Input kept for one connection. More than the longest frame and what the network delivers after a pause.
    pub in_max_bytes: usize,
    /// A send that has not gone out for this long: the connection is cut.
    pub stall: Nanos,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 65_536,
            out_high_bytes: 1 << 20,
            out_max_bytes: 64 << 20,
            in_max_bytes: 8 << 20,
            stall: Nanos::from_millis(60_000),
        }
    }
}

/// Why input is kept although whole frames may be among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// It is not: only a frame's beginning is kept.
    No,
    Permits,
    Session,
    Output,
}

/// One connection.
struct Place {
    generation: u32,
    /// `None` once it has ended for the door and only its last output is on the way.
    session: Option<Seated>,
    link: Link,
    inbox: Vec<u8>,
    /// Bytes that `inbox` must have before the session is asked again.
    need: usize,
    held: Held,
    paused: bool,
    /// Bytes that the network has and has not sent; 0: none under way.
    sending: usize,
    sending_since: Nanos,
    /// Something waits for that to be done: more output, the input, or the end.
    is_behind: bool,
    is_dirty: bool,
    is_retrying: bool,
    /// The earliest entry for this place among the alarms.
    alarm_queued: Nanos,
}

pub(super) struct Floor {
    pub(super) now: Nanos,
    pub(super) desk: Desk,
    pub(super) counters: Arc<Counters>,
    serving: bool,
    limits: Limits,
    places: Vec<Option<Place>>,
    open: usize,
    /// Places with output, or about to close.
    dirty: Vec<Seat>,
    /// Places whose session may want its input now.
    retry: Vec<Seat>,
    /// Places in front of a closed gate, oldest first.
    parked: VecDeque<Seat>,
    alarms: BinaryHeap<Reverse<(Nanos, Seat)>>,
    /// Next place to be told of a change of `serving`.
    telling: Option<usize>,
    /// Next place to be looked at for a stalled send.
    sweeping: Option<usize>,
    sweep_at: Nanos,
    sends_under_way: usize,
    /// Places where something waits for one of them.
    behind: usize,
}

/// Places visited by one slice of a walk over all.
const WALK: usize = 1000;

impl Floor {
    pub(super) fn new(origin: Origin, bounds: Bounds, limits: Limits) -> Floor {
        let counters = Counters::default();
        counters.connections_max.set(limits.connections as u64);
        counters.writes_pending_max.set(bounds.writes as u64);
        counters.write_bytes_pending_max.set(bounds.write_bytes as u64);
        counters.reads_pending_max.set(bounds.reads as u64);
        Floor {
            now: Nanos(0),
            desk: Desk::new(origin, bounds),
            counters: Arc::new(counters),
            serving: false,
            limits,
            places: Vec::new(),
            open: 0,
            dirty: Vec::new(),
            retry: Vec::new(),
            parked: VecDeque::new(),
            alarms: BinaryHeap::new(),
            telling: None,
            sweeping: None,
            sweep_at: Nanos::MAX,
            sends_under_way: 0,
            behind: 0,
        }
    }

    /// Some session may want now what was kept of its input.
    pub(super) fn has_kept_input(&self) -> bool {
        !self.retry.is_empty()
    }

    pub(super) fn awaits_sent(&self) -> bool {
        self.behind > 0
    }

    /// Brings the gauges up to date.
    pub(super) fn gauge(&mut self) {
        let counters = &self.counters;
        let (writes, bytes) = self.desk.writing();
        counters.connections.set(self.open as u64);
        counters.parked_now.set(self.parked.len() as u64);
        counters.writes_pending.set(writes as u64);
        counters.write_bytes_pending.set(bytes as u64);
        counters.reads_pending.set(self.desk.reading() as u64);
        counters.touches_dropped.set(self.desk.touches_dropped);
    }

    pub(super) fn seats(&self, seat: Seat) -> bool {
        let place = self.places.get(seat.slot as usize).and_then(Option::as_ref);
        place.is_some_and(|place| place.generation == seat.generation)
    }

    pub(super) fn accept(&mut self, doors: &mut Doors, seat: Seat, come: &Come, net: &mut impl Net) {
        let mut link = Link::default();
        let mut cx = Cx::new(self.now, seat, self.serving, &mut link, &mut self.desk);
        let session = if self.open < self.limits.connections { doors.open(&mut cx, come) } else { None };
        if session.is_none() {
            self.counters.refused.add(1);
            net.close(conn(seat));
            return;
        }
        let slot = seat.slot as usize;
        if self.places.len() <= slot {
            self.places.resize_with(slot + 1, || None);
        }
        assert!(self.places[slot].is_none(), "the network gave slot {slot} twice");
        // A door may refuse a guest at once: `with` passes over whoever is leaving, so it is put in the row here.
        let is_leaving = link.closing.is_some();
        self.places[slot] = Some(Place {
            generation: seat.generation,
            session,
            link,
            inbox: Vec::new(),
            need: 1,
            held: Held::No,
            paused: false,
            sending: 0,
            sending_since: Nanos(0),
            is_behind: false,
            is_dirty: is_leaving,
            is_retrying: false,
            alarm_queued: Nanos::MAX,
        });
        self.open += 1;
        self.counters.accepted.add(1);
        if is_leaving {
            self.dirty.push(seat);
        }
        self.with(seat, |_, _| {});
    }

    /// Calls `f` for the session in `seat`, then tidies. `None`: it is gone, or closing.
    pub(super) fn with<R>(&mut self, seat: Seat, f: impl FnOnce(&mut Seated, &mut Cx<'_>) -> R) -> Option<R> {
        let place = find(&mut self.places, seat)?;
        if place.link.closing.is_some() {
            return None;
        }
        let session = place.session.as_mut()?;
        let mut cx = Cx::new(self.now, seat, self.serving, &mut place.link, &mut self.desk);
        let result = f(session, &mut cx);
        if !place.is_dirty && (place.link.closing.is_some() || !place.link.out.is_empty()) {
            place.is_dirty = true;
            self.dirty.push(seat);
        }
        if !place.is_retrying && place.held == Held::Session {
            place.is_retrying = true;
            self.retry.push(seat);
        }
        if place.link.alarm < place.alarm_queued {
            place.alarm_queued = place.link.alarm;
            self.alarms.push(Reverse((place.link.alarm, seat)));
        }
        Some(result)
    }

    pub(super) fn on_bytes(&mut self, doors: &mut Doors, seat: Seat, bytes: &[u8], net: &mut impl Net) {
        self.counters.bytes_in.add(bytes.len() as u64);
        let Some(place) = find(&mut self.places, seat) else { return };
        if place.link.closing.is_some() {
            return;
        }
        if place.held == Held::No {
            return self.feed(doors, seat, bytes, net);
        }
        keep(&mut place.inbox, bytes, &mut self.desk);
        if place.inbox.len() > self.limits.in_max_bytes {
            self.counters.cut_input.add(1);
            self.cut(doors, seat, net);
        } else {
            self.pause(seat, true, net);
        }
    }

    /// Offers the session what is kept and then `rest`, as far as it wants.
    fn feed(&mut self, doors: &mut Doors, seat: Seat, mut rest: &[u8], net: &mut impl Net) {
        let Some(place) = find(&mut self.places, seat) else { return };
        place.held = Held::No;
        let mut inbox = std::mem::take(&mut place.inbox);
        let mut need = place.need;
        // First the frame whose beginning is kept: only its missing bytes are copied, not all that has come.
        while !inbox.is_empty() {
            let missing = need.saturating_sub(inbox.len());
            if missing > rest.len() {
                keep(&mut inbox, rest, &mut self.desk);
                return self.set_aside(seat, inbox, need, Held::No, net);
            }
            inbox.extend_from_slice(&rest[..missing]);
            rest = &rest[missing..];
            let Some(taken) = self.offer(doors, seat, &inbox) else { return };
            inbox.drain(..taken.bytes);
            if let Some(held) = self.holds(seat, taken.stop) {
                keep(&mut inbox, rest, &mut self.desk);
                return self.set_aside(seat, inbox, 1, held, net);
            }
            need = frame_of(taken.stop, inbox.len());
        }
        self.desk.give_back(inbox);
        let (mut left, mut held) = (rest, None);
        if !rest.is_empty() {
            let Some(taken) = self.offer(doors, seat, rest) else { return };
            left = &rest[taken.bytes..];
            held = self.holds(seat, taken.stop);
            need = if held.is_some() { 1 } else { frame_of(taken.stop, left.len()) };
        }
        if left.is_empty() && held.is_none() {
            return self.set_aside(seat, Vec::new(), 1, Held::No, net);
        }
        let mut inbox = Vec::new();
        keep(&mut inbox, left, &mut self.desk);
        self.set_aside(seat, inbox, need, held.unwrap_or(Held::No), net);
    }

    /// `None`: the session wants no more, ever.
    fn offer(&mut self, doors: &mut Doors, seat: Seat, bytes: &[u8]) -> Option<Taken> {
        let taken = self.with(seat, |seated, cx| doors.on_bytes(seated, cx, bytes))?;
        let place = find(&mut self.places, seat)?;
        assert!(taken.bytes <= bytes.len(), "a session took more than there is");
        if place.link.closing.is_some() { None } else { Some(taken) }
    }

    /// Whether the rest of the input is to be kept back now.
    fn holds(&mut self, seat: Seat, stop: Stop) -> Option<Held> {
        let place = find(&mut self.places, seat)?;
        match stop {
            Stop::Session => Some(Held::Session),
            Stop::Permits => Some(Held::Permits),
            Stop::Frame(_) if place.link.out.len() + place.sending > self.limits.out_high_bytes => {
                Some(Held::Output)
            }
            Stop::Frame(_) => None,
        }
    }

    fn set_aside(&mut self, seat: Seat, inbox: Vec<u8>, need: usize, held: Held, net: &mut impl Net) {
        let Some(place) = find(&mut self.places, seat) else { return };
        let is_empty = inbox.is_empty();
        (place.inbox, place.need, place.held) = (inbox, need, held);
        self.look_behind(seat);
        match held {
            Held::No => return self.pause(seat, false, net),
            Held::Permits => {
                self.counters.parked.add(1);
                self.parked.push_back(seat);
            }
            // A handshake on its way to the log: its client usually waits too, so pause only if it does not.
            Held::Session if is_empty => return,
            Held::Session | Held::Output => {}
        }
        self.pause(seat, true, net);
    }

    fn pause(&mut self, seat: Seat, paused: bool, net: &mut impl Net) {
        if let Some(place) = find(&mut self.places, seat)
            && place.paused != paused
        {
            place.paused = paused;
            net.pause(conn(seat), paused);
        }
    }

    /// Offers kept input again, where its reason has gone.
    pub(super) fn resume(&mut self, doors: &mut Doors, net: &mut impl Net) {
        let mut retry = std::mem::take(&mut self.retry);
        for seat in retry.drain(..) {
            let Some(place) = find(&mut self.places, seat) else { continue };
            place.is_retrying = false;
            if place.link.closing.is_none() && matches!(place.held, Held::Session | Held::Output) {
                self.feed(doors, seat, &[], net);
            }
        }
        // Feeding may have put some there again; those wait for the next turn.
        retry.append(&mut self.retry);
        self.retry = retry;
        // Each waiting connection is asked at most once per turn.
        for _ in 0..self.parked.len() {
            if !self.desk.admits() {
                break;
            }
            let Some(seat) = self.parked.pop_front() else { break };
            if find(&mut self.places, seat).is_some_and(|place| place.held == Held::Permits) {
                self.feed(doors, seat, &[], net);
            }
        }
    }

    pub(super) fn on_sent(&mut self, seat: Seat, buffer: Vec<u8>) {
        self.desk.give_back(buffer);
        let Some(place) = find(&mut self.places, seat) else { return };
        place.sending = 0;
        self.sends_under_way -= 1;
        self.behind -= usize::from(std::mem::take(&mut place.is_behind));
        if !place.is_dirty && (place.link.closing.is_some() || !place.link.out.is_empty()) {
            place.is_dirty = true;
            self.dirty.push(seat);
        }
        if !place.is_retrying
            && place.held == Held::Output
            && place.link.out.len() <= self.limits.out_high_bytes
        {
            place.is_retrying = true;
            self.retry.push(seat);
        }
    }

    pub(super) fn on_ended(&mut self, doors: &mut Doors, seat: Seat) {
        self.counters.ended.add(1);
        self.remove(doors, seat);
    }

    /// Everything that gathered for a connection goes out in one send.
    pub(super) fn flush(&mut self, doors: &mut Doors, net: &mut impl Net) {
        for (seat, why) in std::mem::take(&mut self.desk.evicted) {
            self.with(seat, |_, cx| cx.hang_up(why));
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for seat in dirty.drain(..) {
            self.flush_one(doors, seat, net);
        }
        self.dirty = dirty;
    }

    fn flush_one(&mut self, doors: &mut Doors, seat: Seat, net: &mut impl Net) {
        let Some(place) = find(&mut self.places, seat) else { return };
        place.is_dirty = false;
        if place.sending == 0 && !place.link.out.is_empty() {
            let buffer = std::mem::take(&mut place.link.out);
            (place.sending, place.sending_since) = (buffer.len(), self.now);
            self.sends_under_way += 1;
            self.counters.sends.add(1);
            self.counters.bytes_out.add(buffer.len() as u64);
            if self.sweep_at == Nanos::MAX {
                self.sweep_at = self.now.plus(self.limits.stall);
            }
            net.send(conn(seat), buffer);
        }
        self.look_behind(seat);
        let Some(place) = find(&mut self.places, seat) else { return };
        if place.link.closing.is_some() {
            self.end_session(doors, seat);
            // With a send under way and more behind it, `on_sent` brings us here again.
            if find(&mut self.places, seat).is_some_and(|place| place.link.out.is_empty()) {
                self.counters.hung_up.add(1);
                net.close(conn(seat));
                self.remove(doors, seat);
            }
        } else if place.link.out.len() + place.sending > self.limits.out_max_bytes {
            self.counters.cut_output.add(1);
            self.cut(doors, seat, net);
        }
    }

    /// Whether something here waits for a send to be done.
    fn look_behind(&mut self, seat: Seat) {
        let Some(place) = find(&mut self.places, seat) else { return };
        let waits = !place.link.out.is_empty() || place.link.closing.is_some() || place.held == Held::Output;
        if place.sending > 0 && waits && !std::mem::replace(&mut place.is_behind, true) {
            self.behind += 1;
        }
    }

    /// Ends a connection without waiting for anything of it.
    fn cut(&mut self, doors: &mut Doors, seat: Seat, net: &mut impl Net) {
        net.close(conn(seat));
        self.remove(doors, seat);
    }

    /// The door forgets the session; replies that are still under way find nobody.
    fn end_session(&mut self, doors: &mut Doors, seat: Seat) {
        let Some(place) = find(&mut self.places, seat) else { return };
        self.desk.give_back(std::mem::take(&mut place.inbox));
        if let Some(mut session) = place.session.take() {
            doors.on_ended(&mut session, seat);
        }
    }

    fn remove(&mut self, doors: &mut Doors, seat: Seat) {
        self.end_session(doors, seat);
        if let Some(place) = find(&mut self.places, seat) {
            self.open -= 1;
            self.sends_under_way -= usize::from(place.sending > 0);
            self.behind -= usize::from(place.is_behind);
            self.desk.give_back(std::mem::take(&mut place.link.out));
            self.places[seat.slot as usize] = None;
        }
    }

    pub(super) fn on_serving(&mut self, serving: bool) {
        if serving != self.serving {
            self.serving = serving;
            self.telling = Some(0);
            self.counters.leaderless.add(u64::from(!serving));
        }
    }

    /// The next slice of what must visit every connection. True if more is left.
    pub(super) fn walk(&mut self, doors: &mut Doors) -> bool {
        if let Some(from) = self.telling {
            let end = self.places.len().min(from + WALK);
            for slot in from..end {
                if let Some(seat) = self.seat_at(slot) {
                    self.with(seat, |seated, cx| doors.on_serving(seated, cx));
                }
            }
            self.telling = (end < self.places.len()).then_some(end);
        }
        if self.now >= self.sweep_at && self.sweeping.is_none() {
            self.sweeping = Some(0);
        }
        if let Some(from) = self.sweeping {
            let end = self.places.len().min(from + WALK);
            for slot in from..end {
                self.look_for_stall(slot);
            }
            self.sweeping = (end < self.places.len()).then_some(end);
            if self.sweeping.is_none() {
                let idle = self.sends_under_way == 0;
                self.sweep_at = if idle { Nanos::MAX } else { self.now.plus(Nanos(self.limits.stall.0 / 2)) };
            }
        }
        self.telling.is_some() || self.sweeping.is_some()
    }

    fn look_for_stall(&mut self, slot: usize) {
        let Some(place) = &mut self.places[slot] else { return };
        if place.sending > 0 && self.now.since(place.sending_since) >= self.limits.stall {
            let seat = Seat { slot: slot as u32, generation: place.generation };
            self.counters.cut_stalled.add(1);
            place.link.out = Vec::new();
            place.link.closing.get_or_insert("client does not read");
            if !place.is_dirty {
                place.is_dirty = true;
                self.dirty.push(seat);
            }
        }
    }

    pub(super) fn on_alarms(&mut self, doors: &mut Doors) {
        for _ in 0..WALK {
            let Some(&Reverse((at, seat))) = self.alarms.peek() else { break };
            if at > self.now {
                break;
            }
            self.alarms.pop();
            let Some(place) = find(&mut self.places, seat) else { continue };
            if place.alarm_queued != at {
                continue; // An earlier one was queued for it since.
            }
            place.alarm_queued = Nanos::MAX;
            if place.link.alarm > self.now {
                self.with(seat, |_, _| {}); // Put off meanwhile: queued anew.
            } else {
                place.link.alarm = Nanos::MAX;
                self.with(seat, |seated, cx| doors.on_alarm(seated, cx));
            }
        }
    }

    pub(super) fn deadline(&self) -> Nanos {
        let alarm = self.alarms.peek().map_or(Nanos::MAX, |Reverse((at, _))| *at);
        alarm.min(self.sweep_at)
    }

    fn seat_at(&self, slot: usize) -> Option<Seat> {
        let place = self.places[slot].as_ref()?;
        Some(Seat { slot: slot as u32, generation: place.generation })
    }
}

fn find(places: &mut [Option<Place>], seat: Seat) -> Option<&mut Place> {
    places.get_mut(seat.slot as usize)?.as_mut().filter(|place| place.generation == seat.generation)
}

/// Appends to an inbox, which gets its memory only now.
fn keep(inbox: &mut Vec<u8>, bytes: &[u8], desk: &mut Desk) {
    if bytes.is_empty() {
        return;
    }
    if inbox.capacity() == 0 {
        *inbox = desk.pooled();
    }
    inbox.extend_from_slice(bytes);
}

/// What the frame at the front needs, which is more than is there: else the session would be asked for ever.
fn frame_of(stop: Stop, there: usize) -> usize {
    match stop {
        Stop::Frame(need) => {
            assert!(need > there, "a session waits for {need} bytes and has {there}");
            need
        }
        Stop::Permits | Stop::Session => unreachable!("such input is held"),
    }
}

#[cfg(test)]
impl Floor {
    /// Buffers with memory, over all connections.
    pub(super) fn buffers(&self) -> usize {
        let owned =
            |place: &Place| [&place.inbox, &place.link.out].iter().filter(|b| b.capacity() > 0).count();
        self.places.iter().flatten().map(owned).sum()
    }

    pub(super) fn place_bytes() -> usize {
        size_of::<Option<Place>>()
    }
}
