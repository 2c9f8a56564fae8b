//! The peer stage: links to the other members.
//!
//! Every node dials every other and sends on the connection that it dialled; what comes in on accepted ones is
//! for the replica. A connection carries one direction, so each side notices the other's end at once. A link that
//! closes is dialled again at once: a refusal tells that the process is gone, and is passed on as news.
//!
//! Words of one voice reach the replica in the order in which they were said, some of them perhaps never.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::{ClusterId, Identity, Life, Nanos, NodeId, Voice};
use crate::counters;
use crate::pipeline::lane::{Rx, Tx};
use crate::pipeline::ports::{Conn, Ended, Net, NetEvent, Turn};
use crate::replica::{FRAME_MAX, HELLO, Hello, MEMBERS_MAX, Msg, Standing};

/// Order to peer.
#[derive(Debug)]
pub enum PeerIn {
    Send {
        messages: Vec<(NodeId, Msg)>,
        /// As of these messages: never less than what any of them says.
        standing: Standing,
    },
    /// Whom to hold links to, and where.
    Members { others: Vec<(NodeId, SocketAddr)>, own: Option<SocketAddr> },
    /// This node leaves on purpose: say so, then close.
    Leave,
}

/// Peer to order.
#[derive(Debug)]
pub enum PeerOut {
    Message {
        from: Voice,
        msg: Msg,
    },
    /// Somebody has connected, of this cluster and for this node; its messages follow.
    Hello {
        from: Voice,
        standing: Standing,
    },
    Up(NodeId),
    Down {
        id: NodeId,
        refused: bool,
    },
}

/// How long a failed dial waits before the next.
const REDIAL: Nanos = Nanos(20_000_000);
const REDIAL_MAX: Nanos = Nanos(500_000_000);
/// How long a dial may stay unanswered.
const DIAL_MAX: Nanos = Nanos(2_000_000_000);
/// Links to callers that are no members here.
const GUESTS_MAX: usize = 4;

/// Callers whose newest call is remembered.
const VOICES_MAX: usize = 64;
/// Bytes waiting for one peer: beyond them the link is cut, and the replica sends again what is still wanted.
const OUTBOX_MAX: usize = 32 << 20;

/// The connection that we dialled, for what we send.
#[derive(Debug)]
struct Link {
    address: SocketAddr,
    state: LinkState,
    outbox: Vec<u8>,
    in_flight: bool,
    /// The buffer that is not in flight.
    spare: Vec<u8>,
    pause: Nanos,
    /// To a caller that the configuration here does not name: it stands while it calls. Whoever missed a change of
    /// members could not answer the new ones otherwise, and never learn of them.
    guest: bool,
    /// The other side was told where this node listens.
    told: bool,
}

impl Link {
    fn new(address: SocketAddr, dial_at: Nanos) -> Link {
        Link {
            address,
            state: LinkState::Down { dial_at },
            outbox: Vec::new(),
            in_flight: false,
            spare: Vec::new(),
            pause: REDIAL,
            guest: false,
            told: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkState {
    Down { dial_at: Nanos },
    Dialling { token: u64, until: Nanos },
    Up(Conn),
}

/// A connection that a peer dialled, for what it sends.
#[derive(Debug, Default)]
struct Inlet {
    from: Option<Voice>,
    /// Whom its certificate names; `None`: it came in the clear.
    by: Option<Arc<Identity>>,
    partial: Vec<u8>,
}

/// In the clear anybody is believed: whoever configured it so said that nobody else is on this network.
fn speaks_for(by: Option<&Identity>, id: NodeId) -> bool {
    by.is_none_or(|by| by.nodes.contains(&id))
}

/// A connection that `id` dialled stands.
fn calls(inlets: &BTreeMap<Conn, Inlet>, id: NodeId) -> bool {
    inlets.values().any(|inlet| inlet.from.is_some_and(|from| from.id == id))
}

#[derive(Debug)]
pub struct Peers {
    me: Voice,
    cluster: ClusterId,
    standing: Standing,
    /// Where this node listens, by the configuration.
    address: Option<SocketAddr>,
    links: BTreeMap<NodeId, Link>,
    inlets: BTreeMap<Conn, Inlet>,
    /// The newest call of each that has called: what comes on an older connection afterwards is old news, and must
    /// not pass for the word of a disk that was put back.
    /// Who has called last stands last.
    heard: Vec<(Voice, (Life, u64))>,
    /// Connections made in this life.
    calls: u64,
    /// Who said that it leaves on purpose.
    leaving: BTreeSet<NodeId>,
    tokens: u64,
    rx: Rx<PeerIn>,
    tx: Tx<PeerOut>,
    /// What did not fit into the lane; while there is any, inlets are paused.
    backlog: std::collections::VecDeque<PeerOut>,
    /// Output waits behind a send that is under way.
    behind: bool,
    paused: bool,
    counters: Arc<PeerCounters>,
}

counters!(
    /// What the links to the other members do.
    PeerCounters {
        /// Links that this node has to others now.
        links_up: Gauge,
        /// Links that there should be.
        links: Gauge,
        /// Times that a link was lost.
        links_lost: Total,
        /// Connections of peers that were cut because of what came on them.
        malformed: Total,
        /// Bytes that wait for the slowest peer.
        outbox_bytes: Gauge,
        /// Bytes that may wait for one peer.
        outbox_bytes_max: Gauge,
    }
);

impl Peers {
    pub fn new(me: Voice, cluster: ClusterId, standing: Standing, rx: Rx<PeerIn>, tx: Tx<PeerOut>) -> Peers {
        Peers {
            me,
            cluster,
            standing,
            address: None,
            links: BTreeMap::new(),
            inlets: BTreeMap::new(),
            heard: Vec::new(),
            calls: 0,
            leaving: BTreeSet::new(),
            tokens: 0,
            rx,
            tx,
            backlog: Default::default(),
            behind: false,
            paused: false,
            counters: Arc::default(),
        }
    }

    /// For the metrics page; any thread may read them.
    pub fn counters(&self) -> Arc<PeerCounters> {
        self.counters.clone()
    }

    /// True if the event was for this stage: a connection of the peer door, or one that it dialled.
    pub fn on_net(&mut self, now: Nanos, event: &NetEvent<'_>, net: &mut impl Net) -> bool {
        match event {
            NetEvent::Accepted { conn, door: crate::pipeline::ports::Door::Peer, by, .. } => {
                self.inlets.insert(*conn, Inlet { by: by.clone(), ..Inlet::default() });
                if self.paused {
                    net.pause(*conn, true);
                }
            }
            NetEvent::Dialled { token, conn, by } => match self.by_token(*token) {
                Some(id) if speaks_for(by.as_deref(), id) => self.on_dialled(id, *conn, net),
                Some(id) => {
                    let subject = by.as_ref().map(|by| by.subject.as_str());
                    tracing::warn!(%id, subject, "who answers there has a certificate, but not this node's");
                    net.close(*conn);
                    self.on_link_lost(now, id, false);
                }
                None => net.close(*conn),
            },
            NetEvent::DialFailed { token, why } => {
                if let Some(id) = self.by_token(*token) {
                    self.on_link_lost(now, id, *why == Ended::Refused);
                }
            }
            NetEvent::Bytes { conn, bytes } => {
                let Some(place) = self.inlets.get_mut(conn) else { return self.is_link(*conn) };
                let mut inlet = std::mem::take(place);
                let known = inlet.from;
                match self.take_bytes(&mut inlet, bytes) {
                    Ok(()) => {
                        if let Some(from) = inlet.from.filter(|_| known.is_none()) {
                            self.end_earlier_calls(from, net);
                        }
                        self.inlets.insert(*conn, inlet);
                    }
                    Err(why) => {
                        tracing::warn!(peer = ?inlet.from, why, "hanging up on a peer");
                        self.counters.malformed.add(1);
                        self.inlets.remove(conn);
                        net.close(*conn);
                        self.on_inlet_lost(&inlet, net);
                    }
                }
            }
            NetEvent::Ended { conn, .. } => {
                if let Some(inlet) = self.inlets.remove(conn) {
                    self.on_inlet_lost(&inlet, net);
                    return true;
                }
                let Some(id) = self.by_conn(*conn) else { return false };
                self.on_link_lost(now, id, false);
            }
            NetEvent::Sent { conn, .. } => return self.is_link(*conn),
            NetEvent::Accepted { .. } => return false,
        }
        true
    }

    /// The buffer of a finished send comes back.
    pub fn on_sent(&mut self, conn: Conn, buffer: Vec<u8>) {
        if let Some(link) = self.links.values_mut().find(|link| link.state == LinkState::Up(conn)) {
            link.in_flight = false;
            link.spare = buffer;
        }
    }

    fn is_link(&self, conn: Conn) -> bool {
        self.by_conn(conn).is_some()
    }

    fn by_conn(&self, conn: Conn) -> Option<NodeId> {
        self.links.iter().find(|(_, link)| link.state == LinkState::Up(conn)).map(|(id, _)| *id)
    }

    fn by_token(&self, token: u64) -> Option<NodeId> {
        self.links
            .iter()
            .find(|(_, link)| matches!(link.state, LinkState::Dialling { token: own, .. } if own == token))
            .map(|(id, _)| *id)
    }

    fn on_dialled(&mut self, id: NodeId, conn: Conn, net: &mut impl Net) {
        self.calls += 1;
        let hello = Hello {
            cluster: self.cluster,
            from: self.me,
            to: id,
            standing: self.standing,
            call: self.calls,
            address: self.address,
        };
        let link = self.links.get_mut(&id).expect("found by its token");
        link.state = LinkState::Up(conn);
        link.outbox.clear();
        link.in_flight = true;
        link.pause = REDIAL;
        link.told = self.address.is_some();
        let mut buffer = std::mem::take(&mut link.spare);
        buffer.clear();
        hello.encode(&mut buffer);
        net.send(conn, buffer);
        self.leaving.remove(&id);
        self.tell(PeerOut::Up(id));
    }

    fn on_link_lost(&mut self, now: Nanos, id: NodeId, refused: bool) {
        let leaving = self.leaving.contains(&id);
        tracing::debug!(node = %self.me.id, peer = %id, refused, leaving, "link lost");
        let link = self.links.get_mut(&id).expect("a known link");
        let was_up = matches!(link.state, LinkState::Up(_));
        self.counters.links_lost.add(u64::from(was_up));
        // The first dial after a loss goes out at once: its refusal is the news.
        let dial_at = if was_up { now } else { now.plus(link.pause) };
        link.pause = if was_up { REDIAL } else { Nanos((link.pause.0 * 2).min(REDIAL_MAX.0)) };
        link.state = LinkState::Down { dial_at };
        link.outbox.clear();
        link.in_flight = false;
        if was_up || refused {
            self.tell(PeerOut::Down { id, refused: refused && !leaving });
        }
    }

    fn take_bytes(&mut self, inlet: &mut Inlet, bytes: &[u8]) -> Result<(), &'static str> {
        if inlet.partial.is_empty() {
            let mut input = bytes;
            self.take_frames(inlet, &mut input)?;
            inlet.partial.extend_from_slice(input);
        } else {
            inlet.partial.extend_from_slice(bytes);
            let partial = std::mem::take(&mut inlet.partial);
            let mut input = &partial[..];
            self.take_frames(inlet, &mut input)?;
            let rest = partial.len() - input.len();
            inlet.partial = partial;
            inlet.partial.drain(..rest);
        }
        if inlet.partial.len() > FRAME_MAX + HELLO { Err("a frame that never ends") } else { Ok(()) }
    }

    fn take_frames(&mut self, inlet: &mut Inlet, input: &mut &[u8]) -> Result<(), &'static str> {
        let from = match inlet.from {
            Some(from) => from,
            None => {
                let Some(hello) = Hello::take(input)? else { return Ok(()) };
                if !speaks_for(inlet.by.as_deref(), hello.from.id) {
                    return Err("its certificate does not name the node that it says it is");
                }
                self.check(&hello)?;
                inlet.from = Some(hello.from);
                hello.from
            }
        };
        while let Some(msg) = Msg::take(input)? {
            if matches!(msg, Msg::Leaving) {
                self.leaving.insert(from.id);
            } else {
                self.tell(PeerOut::Message { from, msg });
            }
        }
        Ok(())
    }

    fn check(&mut self, hello: &Hello) -> Result<(), &'static str> {
        if hello.cluster != self.cluster {
            return Err("it belongs to another cluster");
        }
        if hello.to != self.me.id {
            return Err("it takes this node for another; check the members' addresses");
        }
        let call = (hello.standing.life, hello.call);
        let known = self.heard.iter().position(|(voice, _)| *voice == hello.from);
        if known.is_some_and(|at| call < self.heard[at].1) {
            return Err(
                "it has called again since, or its data directory was put back to an old copy: if nothing else \
                        is heard of it, format a new one and replace the member",
            );
        }
        // Whoever called longest ago is forgotten, but nobody while a connection of its stands.
        let gone = |(voice, _): &(Voice, _)| !self.inlets.values().any(|inlet| inlet.from == Some(*voice));
        let full = self.heard.len() >= VOICES_MAX;
        let forgotten = known.or_else(|| full.then(|| self.heard.iter().position(gone).unwrap_or(0)));
        if let Some(at) = forgotten {
            self.heard.remove(at);
        }
        self.heard.push((hello.from, call));
        self.tell(PeerOut::Hello { from: hello.from, standing: hello.standing });
        if let Some(address) = hello.address
            && self.links.len() < MEMBERS_MAX + GUESTS_MAX
        {
            let guest = || Link { guest: true, ..Link::new(address, Nanos(0)) };
            self.links.entry(hello.from.id).or_insert_with(guest);
        }
        Ok(())
    }

    /// It calls anew. What is left on its connection before would come behind what it says now, and a promise means
    /// what it says only where words come in the order in which they were said.
    fn end_earlier_calls(&mut self, from: Voice, net: &mut impl Net) {
        self.inlets.retain(|conn, inlet| {
            let earlier = inlet.from == Some(from);
            if earlier {
                net.close(*conn);
            }
            !earlier
        });
    }

    fn on_inlet_lost(&mut self, inlet: &Inlet, net: &mut impl Net) {
        let Some(id) = inlet.from.map(|from| from.id) else { return };
        if calls(&self.inlets, id) || !self.links.get(&id).is_some_and(|link| link.guest) {
            return;
        }
        let link = self.links.remove(&id).expect("just seen");
        if let LinkState::Up(conn) = link.state {
            net.close(conn);
            self.tell(PeerOut::Down { id, refused: false });
        }
    }

    fn tell(&mut self, news: PeerOut) {
        if self.backlog.is_empty() && self.tx.room() > 0 {
            self.tx.send(news);
        } else {
            self.backlog.push_back(news);
        }
    }

    /// Something waits in a lane.
    pub fn pending(&self) -> bool {
        !self.rx.is_empty()
    }

    pub fn turn(&mut self, now: Nanos, net: &mut impl Net) -> Turn {
        while self.tx.room() > 0
            && let Some(news) = self.backlog.pop_front()
        {
            self.tx.send(news);
        }
        let full = !self.backlog.is_empty();
        if full != self.paused {
            self.paused = full;
            self.inlets.keys().for_each(|conn| net.pause(*conn, full));
        }
        while let Some(parcel) = self.rx.take() {
            match parcel {
                PeerIn::Send { messages, standing } => {
                    self.standing = standing;
                    messages.iter().for_each(|(to, msg)| self.post(*to, msg));
                }
                PeerIn::Members { others, own } => {
                    self.address = own;
                    self.meet(now, others, net);
                }
                PeerIn::Leave => {
                    let all: Vec<NodeId> = self.links.keys().copied().collect();
                    all.into_iter().for_each(|id| self.post(id, &Msg::Leaving));
                }
            }
        }
        self.flush(now, net)
    }

    fn post(&mut self, to: NodeId, msg: &Msg) {
        if let Some(link) = self.links.get_mut(&to)
            && let LinkState::Up(_) = link.state
        {
            msg.encode(&mut link.outbox);
        }
    }

    fn meet(&mut self, now: Nanos, members: Vec<(NodeId, SocketAddr)>, net: &mut impl Net) {
        let named = |id: &NodeId| members.iter().find(|member| member.0 == *id).map(|member| member.1);
        let mut gone = Vec::new();
        for (id, link) in &mut self.links {
            match named(id) {
                Some(address) if address == link.address => link.guest = false,
                None if link.guest => {}
                // One that the log names no more may be ahead of it, and goes on calling.
                None if calls(&self.inlets, *id) => link.guest = true,
                _ => gone.push(*id),
            }
        }
        // Dialled before this node knew its own address: once more, with it, so that the other side can answer
        // whatever it knows of members.
        let named_here = self.address.is_some();
        let mut redialled = Vec::new();
        for (id, link) in self.links.iter_mut().filter(|(_, link)| named_here && !link.told) {
            if let LinkState::Up(conn) = link.state {
                net.close(conn);
                *link = Link { guest: link.guest, ..Link::new(link.address, now) };
                redialled.push(*id);
            }
        }
        redialled.into_iter().for_each(|id| self.tell(PeerOut::Down { id, refused: false }));
        for id in gone {
            if let Some(Link { state: LinkState::Up(conn), .. }) = self.links.remove(&id) {
                net.close(conn);
                self.tell(PeerOut::Down { id, refused: false });
            }
        }
        for (id, address) in members {
            self.links.entry(id).or_insert_with(|| Link::new(address, now));
        }
    }

    /// One send per link, as large as what has gathered.
    fn flush(&mut self, now: Nanos, net: &mut impl Net) -> Turn {
        let mut turn = Turn::IDLE;
        let mut lost = Vec::new();
        for (id, link) in &mut self.links {
            match link.state {
                LinkState::Up(conn) if !link.in_flight && !link.outbox.is_empty() => {
                    let buffer = std::mem::replace(&mut link.outbox, std::mem::take(&mut link.spare));
                    link.outbox.clear();
                    link.in_flight = true;
                    net.send(conn, buffer);
                }
                LinkState::Up(conn) if link.outbox.len() > OUTBOX_MAX => {
                    net.close(conn);
                    lost.push(*id);
                }
                LinkState::Down { dial_at } if dial_at <= now => {
                    self.tokens += 1;
                    let until = now.plus(DIAL_MAX);
                    link.state = LinkState::Dialling { token: self.tokens, until };
                    turn.deadline = turn.deadline.min(until);
                    net.dial(self.tokens, link.address);
                }
                // An answer that never comes must not silence a link for good.
                LinkState::Dialling { until, .. } if until <= now => {
                    link.state = LinkState::Down { dial_at: now };
                    turn.again = true;
                }
                LinkState::Down { dial_at } | LinkState::Dialling { until: dial_at, .. } => {
                    turn.deadline = turn.deadline.min(dial_at);
                }
                _ => {}
            }
        }
        let (mut up, mut longest, mut behind) = (0, 0, false);
        for link in self.links.values() {
            up += u64::from(matches!(link.state, LinkState::Up(_)));
            longest = longest.max(link.outbox.len());
            behind |= link.in_flight && !link.outbox.is_empty();
        }
        self.behind = behind;
        self.counters.links.set(self.links.len() as u64);
        self.counters.links_up.set(up);
        self.counters.outbox_bytes.set(longest as u64);
        self.counters.outbox_bytes_max.set(OUTBOX_MAX as u64);
        lost.into_iter().for_each(|id| self.on_link_lost(now, id, false));
        turn.again |= !self.backlog.is_empty() && self.tx.room() > 0;
        turn
    }

    pub fn awaits_sent(&self) -> bool {
        self.behind
    }

    /// The link to this one is up.
    pub fn reaches(&self, id: NodeId) -> bool {
        self.links.get(&id).is_some_and(|link| matches!(link.state, LinkState::Up(_)))
    }

    /// How the links stand, in words.
    pub fn standing(&self) -> String {
        let link = |(id, link): (&NodeId, &Link)| {
            format!("{id}: {:?}, {} bytes wait, in flight {}", link.state, link.outbox.len(), link.in_flight)
        };
        self.links.iter().map(link).collect::<Vec<_>>().join("; ")
    }

    /// Everything handed to the links has left.
    pub fn is_drained(&self) -> bool {
        self.links.values().all(|link| !link.in_flight && link.outbox.is_empty())
    }
}
