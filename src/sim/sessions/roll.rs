//! What must be true of sessions in a cluster, read off its nodes from outside (22 to 25): the roll of those that are
//! alive, who was heard of and when, and who was cut off since when.

use std::collections::BTreeMap;

use crate::base::{Epoch, Index, Nanos, NodeId};
use crate::sim::faults::{Fault, Swarm};
use crate::sim::machine::Machine;
use crate::sim::net::VirtualNet;
use crate::sim::oracles::Oracles;

/// How late a session may end in peace: a round of touches, the leader's turn, the log.
const LATE: Nanos = Nanos(1_000_000_000);
/// What a decision takes to be seen, where nothing is wrong.
const SOON: Nanos = Nanos(300_000_000);
/// A node that has just woken up answers what lies there before it looks around.
const WAKING: Nanos = Nanos(200_000_000);

/// A server took bytes of a session while all was well between it and the leader.
#[derive(Clone, Copy)]
struct Sign {
    at: Nanos,
    node: NodeId,
    leader: NodeId,
    epoch: Epoch,
    /// How often each of the two had been disturbed.
    shakes: (u64, u64),
}

#[derive(Default)]
struct Entry {
    /// Seen in a state: its end is then an end, not something older than our knowledge.
    confirmed: bool,
    /// Its client has said goodbye, and may have been heard.
    leaves: bool,
    /// When the handshake set out that was answered last.
    greeted: Nanos,
    /// When any server last took bytes of it.
    heard: Nanos,
    signs: Vec<Sign>,
    /// Cluster time of its last handshake in the log. It may have waited on a server that was cut off. (Seed 70.)
    shaken: Option<Nanos>,
}

pub struct Roll {
    timeout: Nanos,
    /// The least that a timeout may last by anybody's clock.
    least: Nanos,
    /// When a leader's log last took nothing, for want of room.
    full_at: Nanos,
    /// How long a touch may take on its way.
    delay: Nanos,
    patience: Nanos,
    /// The furthest state that anybody showed.
    zxid: u64,
    index: Index,
    reigns: BTreeMap<Epoch, (NodeId, Nanos)>,
    sessions: BTreeMap<u64, Entry>,
    /// Sessions that are over, and a zxid by which they were.
    pub ends: BTreeMap<u64, i64>,
    /// By node: since when it has not reached a majority.
    alone: BTreeMap<NodeId, Nanos>,
    cuts: u64,
    pub expired: u64,
}

impl Roll {
    pub fn new(timeout: Nanos, swarm: &Swarm) -> Roll {
        let has = |kind| swarm.kinds.contains(&kind);
        let (drifts, loses) = (has(Fault::Drift), swarm.weather.loss > 0.0);
        let least = if drifts { timeout.0 / 10 * 9 } else { timeout.0 };
        Roll {
            timeout,
            full_at: Nanos(0),
            least: Nanos(least - 3_000_000),
            delay: Nanos::from_millis(if loses { 1_300 } else { 100 }),
            patience: Nanos::from_millis(swarm.patience_ms),
            zxid: 0,
            index: Index(0),
            reigns: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ends: BTreeMap::new(),
            alone: BTreeMap::new(),
            cuts: 0,
            expired: 0,
        }
    }

    /// A client has its session, by a handshake that set out then.
    pub fn opened(&mut self, id: u64, greeted: Nanos) {
        if self.ends.contains_key(&id) {
            return;
        }
        let entry = self.sessions.entry(id).or_default();
        entry.greeted = entry.greeted.max(greeted);
        entry.heard = entry.heard.max(greeted);
    }

    pub fn leaves(&mut self, id: u64) {
        if let Some(entry) = self.sessions.get_mut(&id) {
            entry.leaves = true;
        }
    }

    /// `node` takes bytes of this session; `open`: on the connection that speaks for it.
    pub fn heard(
        &mut self,
        id: u64,
        open: bool,
        node: NodeId,
        now: Nanos,
        machines: &[Machine],
        net: &VirtualNet,
    ) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        entry.heard = now;
        let Some(process) = machines[usize::from(node.0) - 1].process.as_ref().filter(|p| open && p.serving)
        else {
            return;
        };
        let replica = process.core.order.replica();
        let (Some(leader), epoch) = (replica.leader(), replica.promised()) else { return };
        let reaches = leader == node || process.core.peers.reaches(leader);
        let slow = |id: NodeId| {
            let machine = &machines[usize::from(id.0) - 1];
            machine.slowness > 1 || machine.paused_until > now
        };
        if reaches && !slow(node) && !slow(leader) && !net.is_held(node, leader) {
            let shakes = (net.shakes(node), net.shakes(leader));
            entry.signs.retain(|sign| now.since(sign.at) < self.timeout);
            entry.signs.push(Sign { at: now, node, leader, epoch, shakes });
        }
    }

    /// A node that shows the furthest state has this session.
    pub fn lives(&self, id: u64, machines: &[Machine]) -> bool {
        let trees =
            machines.iter().filter_map(|machine| Some(machine.process.as_ref()?.core.apply.machine().tree()));
        id != 0 && trees.filter(|tree| tree.zxid() >= self.zxid).any(|tree| tree.has_session(id))
    }

    /// After each turn of a node. `calm`: since when no fault has come, if none may come any more.
    pub fn look(
        &mut self,
        machine: &Machine,
        now: Nanos,
        calm: Option<Nanos>,
        oracles: &Oracles,
        net: &VirtualNet,
    ) -> Result<(), String> {
        let Some(process) = &machine.process else { return Ok(()) };
        let (replica, apply) = (process.core.order.replica(), &process.core.apply);
        if replica.is_leader() {
            self.reigns.entry(replica.promised()).or_insert((machine.id, now));
            if process.core.order.is_full() {
                self.full_at = now;
            }
        }
        let tree = apply.machine().tree();
        if tree.zxid() > self.zxid {
            tree.audit().map_err(|why| format!("23: node {}: {why}", machine.id))?;
            let (from, upto) = (self.index.next(), apply.applied().next());
            (self.zxid, self.index) = (tree.zxid(), apply.applied());
            let gone: Vec<u64> = self.sessions.keys().copied().filter(|&id| !tree.has_session(id)).collect();
            for id in gone {
                let entry = self.sessions.remove(&id).expect("just listed");
                self.ends.insert(id, tree.zxid() as i64);
                self.expired += u64::from(!entry.leaves);
                if entry.confirmed && !entry.leaves {
                    let epochs = (from.0..=upto.0).filter_map(|index| oracles.epoch(Index(index))).collect();
                    self.judge_end(id, &entry, epochs, now, net)?;
                }
            }
            self.sessions.values_mut().for_each(|entry| entry.confirmed = true);
        }
        match calm {
            Some(calm) if replica.leads().is_some() => {
                for (&id, entry) in &mut self.sessions {
                    let shaken = tree.handshake_of(id);
                    if std::mem::replace(&mut entry.shaken, shaken) != shaken {
                        entry.heard = now;
                    }
                }
                self.judge_overdue(replica.promised(), calm, now)
            }
            _ => Ok(()),
        }
    }

    /// 24: nobody ends before its time: since its leader's reign began, since its handshake, since anybody heard it.
    fn judge_end(
        &self,
        id: u64,
        entry: &Entry,
        epochs: Vec<Epoch>,
        now: Nanos,
        net: &VirtualNet,
    ) -> Result<(), String> {
        let reigns: Option<Vec<(NodeId, Nanos)>> =
            epochs.iter().map(|epoch| self.reigns.get(epoch).copied()).collect();
        let early = |what: &str, since: Nanos| {
            let (span, of) = (now.since(since).as_millis(), self.timeout.as_millis());
            Err(format!("24: session {id:x} of {of} ms ends {span} ms after {what}"))
        };
        if let Some((leader, since)) = reigns.into_iter().flatten().min_by_key(|reign| reign.1)
            && now.since(since) < self.least
        {
            return early(&format!("the reign of node {leader} began"), since);
        }
        if now.since(entry.greeted) < self.least {
            return early("its handshake set out", entry.greeted);
        }
        let stands = |sign: &&Sign| {
            let span = now.since(sign.at);
            epochs.iter().all(|epoch| *epoch == sign.epoch)
                && (net.shakes(sign.node), net.shakes(sign.leader)) == sign.shakes
                && span < self.least
                && span > self.delay.plus(SOON)
        };
        match entry.signs.iter().rev().find(stands) {
            Some(sign) => {
                early(&format!("node {} heard it, which reached leader {}", sign.node, sign.leader), sign.at)
            }
            None => Ok(()),
        }
    }

    /// 24: nor much later, once there is peace.
    fn judge_overdue(&self, epoch: Epoch, calm: Nanos, now: Nanos) -> Result<(), String> {
        let Some(&(leader, since)) = self.reigns.get(&epoch) else { return Ok(()) };
        let floor = since.max(calm).max(self.full_at);
        let overdue = |entry: &Entry| now > entry.heard.max(floor).plus(self.timeout).plus(LATE);
        match self.sessions.iter().find(|(_, entry)| entry.confirmed && overdue(entry)) {
            None => Ok(()),
            Some((id, entry)) => Err(format!(
                "24: session {id:x} of {} ms lives {} ms after anybody heard it, {} ms into the reign of node {leader}",
                self.timeout.as_millis(),
                now.since(entry.heard).as_millis(),
                now.since(since).as_millis()
            )),
        }
    }

    /// Who reaches nobody with whom it would be a majority, as the links are now.
    pub fn watch_links(&mut self, net: &VirtualNet, members: u8, now: Nanos) {
        if self.cuts == net.cuts {
            return;
        }
        self.cuts = net.cuts;
        for node in (1..=members).map(NodeId) {
            let mut near = vec![node];
            let mut next = 0;
            while let Some(&at) = near.get(next) {
                next += 1;
                let open = |other: &NodeId| !(net.is_cut(at, *other) && net.is_cut(*other, at));
                let more: Vec<NodeId> =
                    (1..=members).map(NodeId).filter(|other| !near.contains(other) && open(other)).collect();
                near.extend(more);
            }
            if near.len() * 2 > usize::from(members) {
                self.alone.remove(&node);
            } else {
                self.alone.entry(node).or_insert(now);
            }
        }
    }

    /// 25: whoever is cut off from any majority, and had the time to notice, answers nobody.
    pub fn judge_words(&self, machine: &Machine, now: Nanos) -> Result<(), String> {
        let Some(&since) = self.alone.get(&machine.id) else { return Ok(()) };
        let noticed = Nanos(self.patience.0 * 3).plus(WAKING);
        let span = now.since(since.max(machine.paused_until));
        match machine.slowness == 1 && now.since(since) > noticed && span > WAKING {
            true => Err(format!(
                "25: node {} is cut off for {} ms and speaks to clients",
                machine.id,
                now.since(since).as_millis()
            )),
            false => Ok(()),
        }
    }
}
