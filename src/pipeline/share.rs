//! One loop's share of a node whose stages are spread over several threads, as `layout` says.

use std::sync::Arc;

use crate::base::Nanos;
use crate::doors::zk::Board;
use crate::doors::zk::lists::Dump;
use crate::pipeline::apply::Apply;
use crate::pipeline::edge::Edge;
use crate::pipeline::order::Order;
use crate::pipeline::peer::Peers;
use crate::pipeline::ports::{DiskEvent, NetEvent, Turn};
use crate::pipeline::station::{Ports, Station};
use crate::pipeline::store::Store;

/// The stages that live here. Who is elsewhere is reached by lanes, whose bells wake that loop.
#[derive(Default)]
pub struct Share {
    pub edge: Option<Edge>,
    pub store: Option<Store>,
    pub order: Option<Order>,
    pub apply: Option<Apply>,
    pub peers: Option<Peers>,
    /// Where the loops of order and apply show how the node stands and what its state holds.
    pub board: Option<Arc<Board>>,
    stopping: bool,
    done: bool,
    /// What the stages had done when the drive last asked.
    work: [u64; 4],
}

impl Share {
    /// Why the node cannot go on, if its order stage is here and says so.
    pub fn halted(&self) -> Option<&str> {
        self.order.as_ref().and_then(|order| order.halted())
    }
}

impl Station for Share {
    fn on_net<P: Ports>(&mut self, now: Nanos, event: NetEvent<'_>, ports: &mut P) {
        // Most events are clients': the edge knows its own by their slot, peers look through theirs.
        let is_client =
            event.conn().is_some_and(|conn| self.edge.as_ref().is_some_and(|edge| edge.seats(conn)));
        if let Some(peers) = self.peers.as_mut().filter(|_| !is_client)
            && peers.on_net(now, &event, ports)
        {
            if let NetEvent::Sent { conn, buffer } = event {
                peers.on_sent(conn, buffer);
            }
            return;
        }
        if let Some(edge) = &mut self.edge {
            edge.on_net(now, event, ports);
        }
    }

    fn on_disk<P: Ports>(&mut self, now: Nanos, event: DiskEvent, ports: &mut P) {
        let store = self.store.as_mut().expect("only the store's loop is given a directory");
        store.on_disk(now, event, ports);
    }

    /// Each stage in the order in which a write passes them. Store and edge come last once more, so that what came of
    /// this round goes out in it, and first only where that gives order something to do: a lone operation waits for
    /// each turn of each node that it passes.
    fn turn<P: Ports>(&mut self, now: Nanos, ports: &mut P) -> Turn {
        let mut turn = Turn::IDLE;
        let mut had_edge = false;
        if let Some(edge) = self.edge.as_mut().filter(|edge| edge.has_news()) {
            turn = turn.and(edge.turn(now, ports));
            had_edge = true;
        }
        if let Some(store) = self.store.as_mut().filter(|store| store.has_news()) {
            turn = turn.and(store.turn(now, ports));
        }
        if let Some(order) = &mut self.order {
            turn = turn.and(order.turn(now, ports.wall_ms()));
            if let Some(board) = &self.board {
                show_standing(board, order, now);
            }
            if let Some(why) = order.halted() {
                tracing::error!("stopping: {why}");
                self.done = true;
            }
        }
        // What others must work on goes out in front of this node's own writes and replies; that something is decided
        // is told behind them.
        let hurry = !self.order.as_ref().is_some_and(Order::says_only_news);
        if let Some(peers) = self.peers.as_mut().filter(|_| hurry) {
            turn = turn.and(peers.turn(now, ports));
        }
        if let Some(apply) = &mut self.apply {
            turn = turn.and(apply.turn(now));
            if let Some(board) = &self.board {
                show_facts(board, apply);
            }
        }
        if let Some(store) = &mut self.store {
            turn = turn.and(store.turn(now, ports));
        }
        if let Some(edge) = self.edge.as_mut().filter(|edge| !had_edge || edge.has_news()) {
            turn = turn.and(edge.turn(now, ports));
        }
        if let Some(peers) = self.peers.as_mut().filter(|_| !hurry) {
            turn = turn.and(peers.turn(now, ports));
        }
        // The order stage hands leadership over first; the other loops serve it until they are told to stop.
        self.done |= self.stopping && self.order.as_ref().is_none_or(|order| order.is_stopped(now));
        // Last of all: who came early in this round may have been given something since.
        let pending = self.order.as_ref().is_some_and(Order::pending)
            || self.apply.as_ref().is_some_and(Apply::pending)
            || self.peers.as_ref().is_some_and(Peers::pending);
        turn.and(Turn { again: pending, ..Turn::IDLE })
    }

    fn is_quiet(&mut self) -> bool {
        let (commit, last) = self.order.as_ref().map_or((0, 0), |order| {
            let replica = order.replica();
            (replica.commit().0, replica.log().last().0)
        });
        let applied = self.apply.as_ref().map_or(0, |apply| apply.applied().0);
        let asked = self.edge.as_ref().map_or(0, Edge::busyness);
        let work = [commit, last, applied, asked];
        let waits = self.edge.as_ref().is_some_and(Edge::is_waited_for);
        std::mem::replace(&mut self.work, work) == work && !waits
    }

    fn awaits_sent(&self) -> bool {
        self.edge.as_ref().is_some_and(Edge::awaits_sent)
            || self.peers.as_ref().is_some_and(Peers::awaits_sent)
    }

    fn on_stop(&mut self, now: Nanos) {
        self.stopping = true;
        if let Some(order) = &mut self.order {
            order.stop(now);
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

/// A cluster of one shows nothing.
fn show_standing(board: &Board, order: &Order, now: Nanos) {
    let replica = order.replica();
    if replica.config().members().len() > 1 {
        let (voters, followers) = (replica.config().voters().count(), replica.peers_up());
        board.standing.leader.set(replica.leader().map_or(0, |node| u64::from(node.0)));
        board.stand(replica.is_leader(), voters as u64, followers as u64, now.0 / 1_000_000);
    }
}

fn show_facts(board: &Board, apply: &Apply) {
    let tree = apply.machine().tree();
    let [nodes, ephemerals, bytes, sessions] = tree.facts();
    let facts = &board.facts;
    facts.zxid.set(tree.zxid());
    facts.nodes.set(nodes);
    facts.ephemerals.set(ephemerals);
    facts.bytes.set(bytes);
    facts.sessions.set(sessions);
    board.lists.dump.fill(board.lists.asked(), || {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let own = tree.ephemerals().map(|(session, own)| (session, own.map(text).collect()));
        Dump { ends: tree.session_ends().collect(), ephemerals: own.collect() }
    });
}
