//! A virtual network between the nodes: connections that keep order and lose nothing while they live, as TCP does,
//! over links that delay, stall, break, or are cut in one direction or both.
//!
//! A cut link stalls what is sent; if it stays cut past the senders' patience, each side of a connection gives up
//! for itself and all that was in flight is lost. Repeats and reordering exist only above a connection, when
//! senders dial again and resend.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::base::{Nanos, NodeId, Rng};
use crate::pipeline::ports::{Conn, Ended, Net};

/// How the links behave. All chances are per buffer sent.
#[derive(Clone, Debug)]
pub struct Weather {
    pub delay_min_us: u64,
    /// Added, exponentially distributed.
    pub delay_mean_us: u64,
    /// A lost segment: the connection stalls for a retransmission, 200 to 1000 ms.
    pub loss: f64,
    /// The connection breaks.
    pub reset: f64,
    /// One bit arrives wrong in spite of TCP's own checksum.
    pub flip: f64,
}

impl Default for Weather {
    fn default() -> Self {
        Weather { delay_min_us: 20, delay_mean_us: 100, loss: 0.0, reset: 0.0, flip: 0.0 }
    }
}

/// What the network did so far.
#[derive(Clone, Debug, Default)]
pub struct Mishaps {
    pub resets: u64,
    pub stalls: u64,
    pub flips: u64,
    pub gave_up: u64,
    pub refused: u64,
}

/// Something the world's heap brings back at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetWork {
    /// The head of what flows towards `side` of the connection arrives.
    Arrive {
        pair: u64,
        side: usize,
    },
    /// The buffer that `side` sent has left its machine.
    Left {
        pair: u64,
        side: usize,
    },
    /// `side` learns that the connection is over.
    Over {
        pair: u64,
        side: usize,
        why: Ended,
    },
    /// `side` has waited long enough for a cut link.
    Patience {
        pair: u64,
        side: usize,
        since: u64,
    },
    Syn {
        from: NodeId,
        token: u64,
        to: SocketAddr,
        life: u64,
    },
    SynAck {
        pair: u64,
        token: u64,
    },
    Refuse {
        from: NodeId,
        token: u64,
        why: Ended,
        life: u64,
    },
}

/// What a node is told; `ports::NetEvent` with its bytes owned.
#[derive(Debug)]
pub enum NetNews {
    Accepted { conn: Conn, from: SocketAddr },
    Dialled { token: u64, conn: Conn },
    DialFailed { token: u64, why: Ended },
    Bytes { conn: Conn, bytes: Vec<u8> },
    Sent { conn: Conn, buffer: Vec<u8> },
    Ended { conn: Conn, why: Ended },
}

/// One end of a connection.
#[derive(Debug)]
struct End {
    node: NodeId,
    conn: Conn,
    /// Bytes on their way here, with the time before which each piece does not arrive.
    inbound: VecDeque<(Nanos, Vec<u8>)>,
    /// The buffer this end has sent and not got back.
    sending: Option<Vec<u8>>,
    paused: bool,
    open: bool,
    /// Closed after all that was sent: the other end learns of it behind the bytes.
    closing: bool,
    /// What was under way is lost, and whatever is sent from here on; the news of it is on the way.
    broken: bool,
    /// An `Arrive` for this end is in the heap.
    arriving: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    cut: bool,
    /// Nothing moves before this time, though nothing is lost either.
    clogged: Nanos,
    /// Counts cuts, so that patience with an earlier one does not end a connection.
    cuts: u64,
}

#[derive(Debug, Default)]
struct Port {
    up: bool,
    /// The machine answers although its process does not.
    machine: bool,
    life: u64,
    generations: Vec<u32>,
    free: Vec<u32>,
}

pub struct VirtualNet {
    pairs: BTreeMap<u64, [End; 2]>,
    by_conn: BTreeMap<(NodeId, Conn), (u64, usize)>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    ports: BTreeMap<NodeId, Port>,
    /// Dials to this node are refused, although it lives.
    pub rejects: Option<NodeId>,
    next: u64,
    rng: Rng,
    pub weather: Weather,
    pub mishaps: Mishaps,
    /// Links cut or restored so far.
    pub cuts: u64,
    /// How often each machine was disturbed, and when last any was.
    shakes: BTreeMap<NodeId, u64>,
    pub shaken_at: Nanos,
    pub now: Nanos,
    pub outbox: Vec<(Nanos, NetWork)>,
}

/// Bytes on their way to one end beyond which its sender gets no buffer back.
const WINDOW: usize = 256 << 10;

/// The machine of a client, which is no node.
pub fn guest(at: usize) -> NodeId {
    NodeId(GUESTS + at as u8)
}

/// Which client a machine is, if it is one's.
pub fn as_guest(node: NodeId) -> Option<usize> {
    node.0.checked_sub(GUESTS).map(usize::from)
}

const GUESTS: u8 = 200;

/// Where a node listens.
pub fn address(node: NodeId) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, node.0)), 7400)
}

pub fn node_at(address: SocketAddr) -> Option<NodeId> {
    match address.ip() {
        IpAddr::V4(ip) if ip.octets()[..3] == [10, 0, 0] => Some(NodeId(ip.octets()[3])),
        _ => None,
    }
}

impl VirtualNet {
    pub fn new(rng: Rng) -> VirtualNet {
        VirtualNet {
            pairs: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            links: BTreeMap::new(),
            ports: BTreeMap::new(),
            rejects: None,
            next: 0,
            rng,
            weather: Weather::default(),
            mishaps: Mishaps::default(),
            cuts: 0,
            shakes: BTreeMap::new(),
            shaken_at: Nanos(0),
            now: Nanos(0),
            outbox: Vec::new(),
        }
    }

    /// Something is about to hold up this machine, or what is on its way to it.
    pub fn shake(&mut self, node: NodeId) {
        *self.shakes.entry(node).or_default() += 1;
        self.shaken_at = self.now;
    }

    pub fn shakes(&self, node: NodeId) -> u64 {
        self.shakes.get(&node).copied().unwrap_or(0)
    }

    /// What one of the two sends the other does not arrive now.
    pub fn is_held(&self, a: NodeId, b: NodeId) -> bool {
        let held = |link: &Link| link.cut || link.clogged > self.now;
        [(a, b), (b, a)].iter().any(|way| self.links.get(way).is_some_and(held))
    }

    /// Which client is at the other end of a node's connection, and whether that end is still open.
    pub fn guest_behind(&self, node: NodeId, conn: Conn) -> Option<(usize, bool)> {
        let &(pair, side) = self.by_conn.get(&(node, conn))?;
        let other = &self.pairs.get(&pair)?[1 - side];
        as_guest(other.node).map(|at| (at, other.open))
    }

    /// The sockets of one node.
    pub fn of(&mut self, node: NodeId) -> NodeNet<'_> {
        NodeNet { net: self, node }
    }

    /// A process starts and listens.
    pub fn start(&mut self, node: NodeId) {
        self.shake(node);
        let port = self.ports.entry(node).or_default();
        port.up = true;
        port.machine = true;
        port.life += 1;
    }

    /// A process ends. With its machine (`power`), nobody is told: peers find out by sending, and in vain.
    pub fn stop(&mut self, node: NodeId, power: bool) {
        self.shake(node);
        let port = self.ports.entry(node).or_default();
        port.up = false;
        port.machine = !power;
        let mine: Vec<(u64, usize)> =
            self.by_conn.iter().filter(|((owner, _), _)| *owner == node).map(|(_, &place)| place).collect();
        for (pair, side) in mine {
            self.release(pair, side);
            if !self.pairs.contains_key(&pair) {
                continue; // The other end had gone before.
            }
            if power {
                let patience = self.patience();
                self.tell_over(pair, 1 - side, Ended::Broken, patience);
            } else {
                // The kernel closes; bytes that it had taken may or may not still go out.
                if self.rng.chance(0.5) {
                    self.end_mut(pair, 1 - side).inbound.clear();
                }
                self.end_mut(pair, side).closing = true;
                self.follow_close(pair, side);
            }
        }
    }

    /// Cuts or restores the link in one direction.
    pub fn set_cut(&mut self, from: NodeId, to: NodeId, cut: bool) {
        let link = self.links.entry((from, to)).or_default();
        if link.cut == cut {
            return;
        }
        link.cut = cut;
        self.cuts += 1;
        link.cuts += 1;
        let since = link.cuts;
        self.shake(from);
        self.shake(to);
        for (pair, side) in self.ends_over(from, to) {
            if cut {
                // Senders on either side notice that nothing is acknowledged.
                for side in 0..2 {
                    let due = self.now.plus(self.patience());
                    self.outbox.push((due, NetWork::Patience { pair, side, since }));
                }
            } else {
                self.arrive_soon(pair, side);
            }
        }
    }

    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.links.get(&(from, to)).is_some_and(|link| link.cut)
    }

    /// Holds a link's bytes until a time.
    pub fn clog(&mut self, from: NodeId, to: NodeId, until: Nanos) {
        self.links.entry((from, to)).or_default().clogged = until;
        self.shake(from);
        self.shake(to);
    }

    /// All links are whole again, and the weather is fine.
    pub fn heal(&mut self) {
        let links: Vec<(NodeId, NodeId)> = self.links.keys().copied().collect();
        for (from, to) in links {
            self.set_cut(from, to, false);
            self.clog(from, to, Nanos(0));
        }
        self.weather.loss = 0.0;
        self.weather.reset = 0.0;
        self.weather.flip = 0.0;
    }

    /// Breaks every connection between two nodes; what was in flight is lost. True if there was one.
    pub fn reset(&mut self, a: NodeId, b: NodeId) -> bool {
        let pairs: Vec<u64> = self.ends_over(a, b).into_iter().map(|(pair, _)| pair).collect();
        for &pair in &pairs {
            self.break_pair(pair);
        }
        !pairs.is_empty()
    }

    fn break_pair(&mut self, pair: u64) {
        self.mishaps.resets += 1;
        for side in 0..2 {
            let end = self.end_mut(pair, side);
            end.inbound.clear();
            end.broken = true;
            let node = end.node;
            self.shake(node);
            let delay = self.delay();
            self.tell_over(pair, side, Ended::Broken, delay);
        }
    }

    /// Ends of connections at `to` whose other end is at `from`.
    fn ends_over(&self, from: NodeId, to: NodeId) -> Vec<(u64, usize)> {
        let over = |pair: &[End; 2], side: usize| pair[side].node == to && pair[1 - side].node == from;
        self.pairs
            .iter()
            .flat_map(|(&id, pair)| (0..2).filter(move |&side| over(pair, side)).map(move |side| (id, side)))
            .collect()
    }

    fn end_mut(&mut self, pair: u64, side: usize) -> &mut End {
        &mut self.pairs.get_mut(&pair).expect("the caller found this pair")[side]
    }

    fn delay(&mut self) -> Nanos {
        let mean = self.weather.delay_mean_us as f64;
        let us = self.weather.delay_min_us + (-(1.0 - self.rng.unit()).ln() * mean) as u64;
        Nanos(us * 1000)
    }

    fn patience(&mut self) -> Nanos {
        Nanos::from_millis(self.rng.between(800, 4000))
    }

    fn tell_over(&mut self, pair: u64, side: usize, why: Ended, after: Nanos) {
        self.outbox.push((self.now.plus(after), NetWork::Over { pair, side, why }));
    }

    /// The owner of this end is done with it.
    fn release(&mut self, pair: u64, side: usize) {
        let end = &mut self.pairs.get_mut(&pair).expect("released once")[side];
        if !end.open {
            return;
        }
        end.open = false;
        end.inbound.clear();
        let (node, conn) = (end.node, end.conn);
        self.by_conn.remove(&(node, conn));
        let port = self.ports.get_mut(&node).expect("it had a connection");
        port.generations[conn.slot as usize] += 1;
        port.free.push(conn.slot);
        if self.pairs[&pair].iter().all(|end| !end.open) {
            self.pairs.remove(&pair);
        }
    }

    fn new_conn(&mut self, node: NodeId) -> Conn {
        let port = self.ports.get_mut(&node).expect("a node that runs");
        let slot = port.free.pop().unwrap_or_else(|| {
            port.generations.push(0);
            port.generations.len() as u32 - 1
        });
        Conn { slot, generation: port.generations[slot as usize] }
    }

    /// Once `side` has closed and all it sent has arrived, the other end learns of it.
    fn follow_close(&mut self, pair: u64, side: usize) {
        let Some(ends) = self.pairs.get(&pair) else { return };
        if ends[side].closing && ends[1 - side].open && ends[1 - side].inbound.is_empty() {
            let delay = self.delay();
            self.tell_over(pair, 1 - side, Ended::Closed, delay);
        }
    }

    fn arrive_soon(&mut self, pair: u64, side: usize) {
        let now = self.now;
        let Some(ends) = self.pairs.get_mut(&pair) else { return };
        let (from, to) = (ends[1 - side].node, ends[side].node);
        let link = self.links.get(&(from, to)).copied().unwrap_or_default();
        let end = &mut ends[side];
        if end.arriving || end.paused || !end.open || link.cut {
            return; // Resuming or healing looks again.
        }
        let Some((due, _)) = end.inbound.front() else { return };
        end.arriving = true;
        self.outbox.push((now.max(*due).max(link.clogged), NetWork::Arrive { pair, side }));
    }

    /// The heap brings something back. `Some`: a node is to be told.
    pub fn fire(&mut self, work: NetWork) -> Option<(NodeId, NetNews)> {
        match work {
            NetWork::Arrive { pair, side } => self.arrive(pair, side),
            NetWork::Left { pair, side } => {
                let end = self.pairs.get_mut(&pair).map(|ends| &mut ends[side])?;
                let mut buffer = end.sending.take()?;
                buffer.clear();
                end.open.then_some((end.node, NetNews::Sent { conn: end.conn, buffer }))
            }
            NetWork::Over { pair, side, why } => {
                let end = self.pairs.get(&pair).map(|ends| &ends[side])?;
                if !end.open {
                    return None;
                }
                let news = (end.node, NetNews::Ended { conn: end.conn, why });
                self.release(pair, side);
                Some(news)
            }
            NetWork::Patience { pair, side, since } => {
                let ends = self.pairs.get(&pair)?;
                let (a, b) = (ends[side].node, ends[1 - side].node);
                let still = [(a, b), (b, a)]
                    .iter()
                    .any(|way| self.links.get(way).is_some_and(|link| link.cut && link.cuts == since));
                if still && self.pairs[&pair][side].open {
                    self.mishaps.gave_up += 1;
                    self.shake(a);
                    self.shake(b);
                    self.end_mut(pair, 1 - side).inbound.clear();
                    let patience = self.patience();
                    self.tell_over(pair, 1 - side, Ended::Broken, patience);
                    return self.fire(NetWork::Over { pair, side, why: Ended::Broken });
                }
                None
            }
            NetWork::Syn { from, token, to, life } => self.syn(from, token, to, life),
            NetWork::SynAck { pair, token } => {
                let end = &self.pairs.get(&pair)?[0];
                let news = (end.node, NetNews::Dialled { token, conn: end.conn });
                end.open.then_some(news)
            }
            NetWork::Refuse { from, token, why, life } => {
                let port = self.ports.get(&from)?;
                (port.up && port.life == life).then_some((from, NetNews::DialFailed { token, why }))
            }
        }
    }

    fn arrive(&mut self, pair: u64, side: usize) -> Option<(NodeId, NetNews)> {
        let (now, flip) = (self.now, self.weather.flip);
        let ends = self.pairs.get_mut(&pair)?;
        let (from, to) = (ends[1 - side].node, ends[side].node);
        let link = self.links.get(&(from, to)).copied().unwrap_or_default();
        // A client's frames have no sum, and each of its sends is one or more whole frames.
        let plain = as_guest(from).or(as_guest(to)).is_some();
        let end = &mut ends[side];
        end.arriving = false;
        if !end.open || end.paused || link.cut || link.clogged > now {
            self.arrive_soon(pair, side);
            return None;
        }
        let (due, mut bytes) = end.inbound.pop_front()?;
        // A reader gets what has come so far, not what was sent in one piece.
        if bytes.len() > 1 && self.rng.chance(0.05) && !plain {
            let rest = bytes.split_off(self.rng.between(1, bytes.len() as u64 - 1) as usize);
            end.inbound.push_front((due, rest));
        }
        if self.rng.chance(flip) && !plain {
            self.mishaps.flips += 1;
            let bit = self.rng.below(bytes.len() as u64 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let news = (end.node, NetNews::Bytes { conn: end.conn, bytes });
        self.arrive_soon(pair, side);
        self.follow_close(pair, 1 - side);
        Some(news)
    }

    fn syn(&mut self, from: NodeId, token: u64, to: SocketAddr, life: u64) -> Option<(NodeId, NetNews)> {
        if !self.ports.get(&from).is_some_and(|port| port.up && port.life == life) {
            return None;
        }
        let target = node_at(to)?;
        let reachable = !self.is_cut(from, target) && !self.is_cut(target, from);
        let (up, machine) = self.ports.get(&target).map_or((false, false), |port| (port.up, port.machine));
        if !reachable || !machine {
            let after = self.now.plus(self.patience());
            self.outbox.push((after, NetWork::Refuse { from, token, why: Ended::Broken, life }));
            return None;
        }
        let back = self.now.plus(self.delay());
        if !up || self.rejects == Some(target) {
            self.mishaps.refused += 1;
            self.outbox.push((back, NetWork::Refuse { from, token, why: Ended::Refused, life }));
            return None;
        }
        self.next += 1;
        let pair = self.next;
        let ends = [from, target].map(|node| End {
            node,
            conn: self.new_conn(node),
            inbound: VecDeque::new(),
            sending: None,
            paused: false,
            open: true,
            closing: false,
            broken: false,
            arriving: false,
        });
        for (side, end) in ends.iter().enumerate() {
            self.by_conn.insert((end.node, end.conn), (pair, side));
        }
        let conn = ends[1].conn;
        self.pairs.insert(pair, ends);
        self.outbox.push((back, NetWork::SynAck { pair, token }));
        Some((target, NetNews::Accepted { conn, from: address(from) }))
    }
}

/// One node's view of the network.
pub struct NodeNet<'a> {
    net: &'a mut VirtualNet,
    node: NodeId,
}

impl Net for NodeNet<'_> {
    fn send(&mut self, conn: Conn, buffer: Vec<u8>) {
        let Some(&(pair, side)) = self.net.by_conn.get(&(self.node, conn)) else { return };
        let delay = self.net.delay();
        let lost = self.net.rng.chance(self.net.weather.loss);
        let reset = self.net.rng.chance(self.net.weather.reset);
        let stall = if lost { Nanos::from_millis(self.net.rng.between(200, 1000)) } else { Nanos(0) };
        let now = self.net.now;
        let ends = self.net.pairs.get_mut(&pair).expect("found by its connection");
        let mine = &mut ends[side];
        assert!(mine.sending.is_none(), "{}: a second send before the first came back", self.node);
        assert!(!buffer.is_empty(), "{}: an empty send", self.node);
        let bytes = buffer.clone();
        mine.sending = Some(buffer);
        let other = &mut ends[1 - side];
        if !other.open || other.broken {
            return; // The news of its end is on the way.
        }
        let floor = other.inbound.back().map_or(now, |(due, _)| *due);
        let due = floor.max(now.plus(delay).plus(stall));
        let waiting: usize = other.inbound.iter().map(|(_, bytes)| bytes.len()).sum();
        other.inbound.push_back((due, bytes));
        // A full pipe gives the buffer back only as it drains.
        let left = if waiting > WINDOW { due.plus(delay) } else { now.plus(Nanos(2_000)) };
        self.net.outbox.push((left, NetWork::Left { pair, side }));
        self.net.mishaps.stalls += u64::from(lost);
        if reset {
            self.net.break_pair(pair);
        } else {
            self.net.arrive_soon(pair, 1 - side);
        }
    }

    fn pause(&mut self, conn: Conn, paused: bool) {
        let Some(&(pair, side)) = self.net.by_conn.get(&(self.node, conn)) else { return };
        self.net.end_mut(pair, side).paused = paused;
        self.net.arrive_soon(pair, side);
    }

    fn close(&mut self, conn: Conn) {
        let Some(&(pair, side)) = self.net.by_conn.get(&(self.node, conn)) else { return };
        self.net.end_mut(pair, side).closing = true;
        self.net.follow_close(pair, side);
        self.net.release(pair, side);
    }

    fn dial(&mut self, token: u64, to: SocketAddr) {
        let life = self.net.ports.get(&self.node).map_or(0, |port| port.life);
        let due = self.net.now.plus(self.net.delay());
        self.net.outbox.push((due, NetWork::Syn { from: self.node, token, to, life }));
    }
}

#[cfg(test)]
mod tests;
