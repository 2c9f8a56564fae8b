//! A node's stages together: the core (order, store, apply, peers), and with an edge the whole of a one-loop node.

use std::sync::Arc;

use crate::base::{Index, Nanos, Origin, Voice};
use crate::doors::Bounds;
use crate::journal::{Opened, flag, snapshot};
use crate::pipeline::apply::{Apply, ApplyLanes};
use crate::pipeline::edge::{self, Doors, Edge, Limits};
use crate::pipeline::lane::{Bell, Depth, Rx, Tx, lane, lane_with_bell, silent};
use crate::pipeline::layout::Place;
use crate::pipeline::order::{EdgeLanes, Order, OrderLanes, OrderLimits};
use crate::pipeline::parcel::{Answer, Ask};
use crate::pipeline::peer::Peers;
use crate::pipeline::ports::{Disk, DiskEvent, DiskFault, Media, Net, NetEvent, Turn};
use crate::pipeline::station::{Ports, Station};
use crate::pipeline::store::Store;
use crate::realms::machine::Machine;
use crate::replica::{Found, Options, Replica, Standing, Timing};

/// Everything but the edges.
pub struct Core {
    pub peers: Peers,
    pub order: Order,
    pub store: Store,
    pub apply: Apply,
}

/// Sizes and times of a node; the defaults are those of a server.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    pub timing: Timing,
    pub order: OrderLimits,
    /// Batches under way to one follower.
    pub window_bytes: usize,
    pub window_count: usize,
    /// Batches kept in memory for followers that lag.
    pub cache_bytes: usize,
    /// Whether this node, when it leads, compacts the kv realm on its own.
    pub kv_compacts: bool,
    /// Every so many batches the replicas compare digests of their states.
    pub digest_every: u64,
    pub seed: u64,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            timing: Timing::default(),
            order: OrderLimits::default(),
            window_bytes: 8 << 20,
            window_count: 64,
            cache_bytes: 16 << 20,
            kv_compacts: true,
            digest_every: 1024,
            seed: 0,
        }
    }
}

// Parcels per lane. A parcel is a turn's work, so these are turns that one stage may be ahead of another.
const STORE_LANE: usize = 4096;
const APPLY_LANE: usize = 256;
const APPLY_NEWS: usize = 1024;
const PEER_LANE: usize = 256;
const PEER_NEWS: usize = 1024;
const EDGE_LANE: usize = 64;
const EDGE_NEWS: usize = 1024;
const ADMIN_LANE: usize = 16;

/// A stage, as lanes know it: which of several edges counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    Stage(Place),
    Edge(usize),
}

/// The operator's ends of the lanes to order.
pub struct AdminEnd {
    pub asks: Tx<(u64, Ask)>,
    pub answers: Rx<(u64, Answer)>,
    /// From whom to whom, and how full.
    pub lanes: Vec<(String, Depth)>,
}

impl Core {
    /// Wires the stages of a node whose directory was opened, with `edges` edge lanes, whose far ends it returns.
    pub fn new(
        now: Nanos,
        opened: Opened,
        media: &mut impl Media,
        tuning: &Tuning,
        edges: usize,
    ) -> Result<(Core, Vec<edge::Lanes>, AdminEnd), DiskFault> {
        Core::across(now, opened, media, tuning, edges, |_, _| silent())
    }

    /// The same with stages on several threads: `bell(from, to)` wakes the loop of `to`, silently if `from` is in
    /// it. The edges are counted from 0.
    pub fn across(
        now: Nanos,
        opened: Opened,
        media: &mut impl Media,
        tuning: &Tuning,
        edges: usize,
        bell: impl Fn(Spot, Spot) -> Arc<dyn Bell>,
    ) -> Result<(Core, Vec<edge::Lanes>, AdminEnd), DiskFault> {
        let Opened { cluster, node, marks, log, snapshots, .. } = opened;
        let (life, incarnation) = (marks.life, marks.incarnation);
        let standing = Standing { life, promised: marks.promised, last: log.last() };
        let base = marks.base;
        let slots = || log.slots().filter(|slot| slot.index > base.index);
        let heads = slots().map(|slot| (slot.head, slot.state)).collect();
        let mut configs = Vec::new();
        for slot in slots().filter(|slot| slot.is_present()) {
            if slot.head.is_some_and(|head| head.flags & flag::CONFIG != 0) {
                configs.extend(log.read(media, slot.index, 1)?);
            }
        }
        // A file that was never sealed, or that is damaged, is of no use. The others are not worth a look.
        let mut lengths: Vec<(Index, u64)> = Vec::new();
        if snapshots.contains(&base.index) {
            // Once more where it fails: the fault may have been the reading's.
            let checked = snapshot::check(media, cluster, base.index, |_| {});
            match checked.or_else(|_| snapshot::check(media, cluster, base.index, |_| {})) {
                Ok(checked) => lengths.push((base.index, checked.trailer.length)),
                Err(why) => tracing::warn!("{why}"),
            }
        }
        let debris: Vec<Index> = snapshots.iter().copied().filter(|&index| index != base.index).collect();
        let stateless = base.index.0 > 0 && lengths.is_empty();

        let at = Spot::Stage;
        let (order_to_store, store_from_order) =
            lane_with_bell(STORE_LANE, bell(at(Place::Order), at(Place::Store)));
        let (store_to_order, order_from_store) =
            lane_with_bell(STORE_LANE, bell(at(Place::Store), at(Place::Order)));
        let (order_to_apply, apply_from_order) =
            lane_with_bell(APPLY_LANE, bell(at(Place::Order), at(Place::Apply)));
        let (apply_to_order, order_from_apply) =
            lane_with_bell(APPLY_NEWS, bell(at(Place::Apply), at(Place::Order)));
        let (order_to_peer, peer_from_order) =
            lane_with_bell(PEER_LANE, bell(at(Place::Order), at(Place::Peer)));
        let (peer_to_order, order_from_peer) =
            lane_with_bell(PEER_NEWS, bell(at(Place::Peer), at(Place::Order)));
        let mut lanes = vec![
            ("order_store".to_owned(), order_to_store.depth()),
            ("store_order".to_owned(), store_to_order.depth()),
            ("order_apply".to_owned(), order_to_apply.depth()),
            ("apply_order".to_owned(), apply_to_order.depth()),
            ("order_peer".to_owned(), order_to_peer.depth()),
            ("peer_order".to_owned(), peer_to_order.depth()),
        ];
        let (asks, order_asks) = lane(ADMIN_LANE);
        let (order_answers, answers) = lane(ADMIN_LANE);
        let (mut order_edges, mut apply_edges, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..edges {
            let edge = Spot::Edge(n);
            let (to_order, rx) = lane_with_bell(EDGE_LANE, bell(edge, at(Place::Order)));
            let (tx, from_order) = lane_with_bell(EDGE_NEWS, bell(at(Place::Order), edge));
            order_edges.push(EdgeLanes { rx, tx });
            let (to_apply, reads) = lane_with_bell(EDGE_LANE, bell(edge, at(Place::Apply)));
            let (outcomes, from_apply) = lane_with_bell(EDGE_NEWS, bell(at(Place::Apply), edge));
            lanes.extend([
                (format!("edge{n}_order"), to_order.depth()),
                (format!("order_edge{n}"), order_edges[n].tx.depth()),
                (format!("edge{n}_apply"), to_apply.depth()),
                (format!("apply_edge{n}"), outcomes.depth()),
            ]);
            apply_edges.push((outcomes, reads));
            ends.push(edge::Lanes { to_order, to_apply, from_order, from_apply });
        }

        let options = Options {
            me: node,
            cluster,
            timing: tuning.timing,
            window_bytes: tuning.window_bytes,
            window_count: tuning.window_count,
            cache_bytes: tuning.cache_bytes,
            seed: tuning.seed,
        };
        let replica = Replica::new(options, Found { marks, heads, configs, debris, stateless }, now);
        let operator = AdminEnd { asks, answers, lanes };
        let lanes = OrderLanes {
            edges: order_edges,
            store: (order_to_store, order_from_store),
            apply: (order_to_apply, order_from_apply),
            peer: (order_to_peer, order_from_peer),
            answers: order_answers,
            asks: order_asks,
        };
        let order = Order::new(replica, tuning.order, lanes, lengths);
        let lanes = ApplyLanes { order: (apply_to_order, apply_from_order), edges: apply_edges };
        let mut machine = Machine::new();
        machine.kv_mut().compact_by_itself(tuning.kv_compacts);
        let apply = Apply::new(machine, node, life, base, tuning.digest_every, lanes);
        let me = Voice { id: node, incarnation };
        let peers = Peers::new(me, cluster, standing, peer_from_order, peer_to_order);
        let store = Store::new(log, snapshots, store_from_order, store_to_order);
        Ok((Core { peers, order, store, apply }, ends, operator))
    }

    /// What the stages wait for, in words.
    pub fn doing(&self) -> String {
        let (order, apply, peers) = (self.order.pending(), self.apply.pending(), self.peers.pending());
        format!(
            "{}; {}; parcels wait for order {order}, apply {apply}, peers {peers}; store {}; links {}",
            self.order.doing(),
            self.apply.doing(),
            if self.store.is_idle() { "idle".to_owned() } else { self.store.doing() },
            self.peers.standing()
        )
    }

    /// True if the event was the peers'.
    pub fn on_net(&mut self, now: Nanos, event: &NetEvent<'_>, net: &mut impl Net) -> bool {
        self.peers.on_net(now, event, net)
    }

    pub fn on_disk(&mut self, now: Nanos, event: DiskEvent, disk: &mut impl Disk) {
        self.store.on_disk(now, event, disk);
    }

    /// Each stage once, in the order in which a write passes them.
    pub fn turn<P: Net + Disk>(&mut self, now: Nanos, wall_ms: u64, ports: &mut P) -> Turn {
        let store = self.store.turn(now, ports);
        let order = self.order.turn(now, wall_ms);
        let mut between = Turn::IDLE;
        if self.apply.has_long_work() {
            // The next batches are on their way to disks and peers while this node applies the last.
            between = self.store.turn(now, ports).and(self.peers.turn(now, ports));
            ports.start();
        }
        let apply = self.apply.turn(now);
        // What order and apply asked for goes out in this same turn.
        let store = store.and(between).and(self.store.turn(now, ports));
        let peers = self.peers.turn(now, ports);
        let pending =
            self.order.pending() || self.order.hears_apply() || self.apply.pending() || self.peers.pending();
        let again = Turn { again: pending && self.order.halted().is_none(), ..Turn::IDLE };
        store.and(order).and(apply).and(peers).and(again)
    }
}

/// A whole node in one loop.
pub struct Node {
    pub core: Core,
    pub edge: Edge,
    stopping: bool,
    done: bool,
}

impl Node {
    pub fn new(core: Core, lanes: edge::Lanes, bounds: Bounds, limits: Limits, doors: Doors) -> Node {
        let origin = Origin::new(core.order.replica().me(), 0, core.order.replica().life());
        Node { edge: Edge::new(origin, bounds, limits, doors, lanes), core, stopping: false, done: false }
    }
}

impl Station for Node {
    fn on_net<P: Ports>(&mut self, now: Nanos, event: NetEvent<'_>, ports: &mut P) {
        let is_client = event.conn().is_some_and(|conn| self.edge.seats(conn));
        if !is_client && self.core.on_net(now, &event, ports) {
            if let NetEvent::Sent { conn, buffer } = event {
                self.core.peers.on_sent(conn, buffer);
            }
        } else {
            self.edge.on_net(now, event, ports);
        }
    }

    fn on_disk<P: Ports>(&mut self, now: Nanos, event: DiskEvent, ports: &mut P) {
        self.core.on_disk(now, event, ports);
    }

    fn turn<P: Ports>(&mut self, now: Nanos, ports: &mut P) -> Turn {
        // Twice the edge: what clients sent goes in first, what came of earlier requests goes out last.
        let before = self.edge.turn(now, ports);
        let core = self.core.turn(now, ports.wall_ms(), ports);
        let after = self.edge.turn(now, ports);
        if self.stopping && self.core.order.is_stopped(now) {
            self.done = true;
        }
        if let Some(why) = self.core.order.halted() {
            tracing::error!("stopping: {why}");
            self.done = true;
        }
        before.and(core).and(after)
    }

    fn is_quiet(&mut self) -> bool {
        false
    }

    fn awaits_sent(&self) -> bool {
        self.edge.awaits_sent() || self.core.peers.awaits_sent()
    }

    fn on_stop(&mut self, now: Nanos) {
        self.stopping = true;
        self.core.order.stop(now);
    }

    fn is_done(&self) -> bool {
        self.done
    }
}
