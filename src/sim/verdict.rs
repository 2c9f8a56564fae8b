//! The end of a run: whether the members have come to rest, and whether all that was answered is true.

use std::collections::BTreeMap;

use crate::base::{Index, Nanos, NodeId};
use crate::journal::snapshot::{Checked, Trailer};
use crate::journal::{self, Expect, Slot};
use crate::pipeline::parcel::Marks;
use crate::pipeline::ports::File;
use crate::replica::Replica;
use crate::sim::check::{self, Refusal};
use crate::sim::machine::CLUSTER;
use crate::sim::world::World;

impl World {
    fn replicas(&self) -> impl Iterator<Item = (NodeId, Index, &Replica)> {
        self.machines.iter().filter_map(|machine| {
            let core = &machine.process.as_ref()?.core;
            Some((machine.id, core.apply.applied(), core.order.replica()))
        })
    }

    /// What a node is at, in words.
    pub fn doing(&self, node: NodeId) -> String {
        let machine = self.machines.iter().find(|machine| machine.id == node);
        machine.and_then(|machine| Some(machine.process.as_ref()?.core.doing())).unwrap_or_default()
    }

    pub fn is_at_rest(&self) -> bool {
        self.unrest().is_empty()
    }

    /// What keeps the world from being at rest; nothing if it is.
    pub fn unrest(&self) -> String {
        for machine in self.machines.iter().filter(|machine| machine.wanted) {
            if machine.process.is_none() {
                return format!("node {} does not run", machine.id);
            }
        }
        let Some(leader) = self.leader() else {
            let all =
                self.replicas().map(|(node, _, replica)| format!("\n  {node}: {}", replica.doing(None)));
            return format!("nobody leads{}", all.collect::<String>());
        };
        let decided = self.oracles.decided();
        for (node, applied, replica) in self.replicas() {
            let (commit, durable, last) = (replica.commit(), replica.durable(), replica.last());
            if commit != decided || applied != decided || durable != last || last != decided {
                return format!(
                    "node {node} (leader {leader}) has last {last}, durable {durable}, commit {commit}, applied \
                     {applied}, of {decided}; it {}, the leader {}",
                    replica.doing(None) + "; " + &self.doing(node),
                    self.replicas()
                        .find(|(id, _, _)| *id == leader)
                        .map_or(String::new(), |(_, _, l)| l.doing(Some(node))),
                );
            }
            if let Some(unknown) = replica.log().first_unknown() {
                return format!("node {node} still has unknown slots, the first at {unknown}");
            }
        }
        match (0..self.clients.len()).filter(|&client| self.clients.waits(client)).count() {
            0 => self.guests_unrest().unwrap_or_default(),
            count => format!("{count} clients wait"),
        }
    }

    /// All checks that need the whole run.
    pub fn finish(&mut self) {
        if let Err(why) = self.judge_all() {
            self.fail(why);
        }
    }

    fn judge_all(&mut self) -> Result<(), String> {
        let history = &self.clients.history;
        check::in_order_of_revisions(history).map_err(|refusal| format!("9, 12: {refusal}"))?;
        match check::linearizable(history).map_err(|refusal| *refusal) {
            // By their revisions the answers are in order; only what nobody answered made the search too long.
            Err(Refusal::TooHard { .. }) => self.tally.searches_given_up += 1,
            result => result.map_err(|refusal| format!("12: {refusal}"))?,
        }
        self.clients.judge_locals().map_err(|why| format!("12: {why}"))?;
        self.judge_guests()?;
        self.judge_states()?;
        self.judge_snapshots()?;
        self.judge_disks()
    }

    /// 10: the members' states are equal.
    fn judge_states(&mut self) -> Result<(), String> {
        for machine in &mut self.machines {
            if let Some(process) = &mut machine.process {
                let index = process.core.apply.applied();
                if let Some(digest) = process.core.apply.digest() {
                    self.oracles.digest(machine.id, index, digest)?;
                }
            }
        }
        Ok(())
    }

    /// 20: whoever has a whole snapshot of an index has the same bytes.
    fn judge_snapshots(&mut self) -> Result<(), String> {
        let mut seen: BTreeMap<Index, (NodeId, Trailer)> = BTreeMap::new();
        for machine in &mut self.machines {
            let files: Vec<File> = machine.disk.platter().keys().copied().collect();
            for file in files {
                // One that was not finished is no snapshot, and is never taken for one. What it vouches for counts, and
                // not the padding behind that.
                let File::Snapshot(index) = file else { continue };
                let checked = journal::snapshot::check(&mut machine.disk, CLUSTER, index, |_| {});
                let Ok(Checked { trailer, .. }) = checked else { continue };
                let (other, known) = seen.entry(index).or_insert((machine.id, trailer));
                if *known != trailer {
                    let (other, node) = (*other, machine.id);
                    return Err(format!(
                        "20: snapshots at {index} of nodes {other} and {node} differ: {known:?}, {trailer:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// 17, 18, 21: after a last loss of power every disk tells the whole of what was decided, twice the same.
    fn judge_disks(&mut self) -> Result<(), String> {
        let nodes: Vec<NodeId> = self.replicas().map(|(node, ..)| node).collect();
        for &node in &nodes {
            let base = self.machine(node).process.as_ref().map(|p| p.core.order.replica().log().base());
            let base = base.expect("listed because it runs").index;
            self.kill(node, true);
            let params = self.swarm.params;
            let expect = Expect { cluster: Some(CLUSTER), node: Some(node) };
            let now = self.now;
            let disk = &mut self.machine(node).disk;
            disk.now = now;
            let look = |disk: &mut crate::sim::disk::VirtualDisk| {
                let found = journal::examine(disk, &params, expect)
                    .map_err(|why| format!("17: node {node}: {why}"))?;
                let slots = found.log.slots().copied().collect();
                Ok::<(Marks, Vec<Slot>), String>((found.sup.marks, slots))
            };
            let (marks, slots) = look(disk)?;
            let opened =
                journal::open(disk, &params, expect).map_err(|why| format!("21: node {node}: {why}"))?;
            let (again, after) = look(disk)?;
            if slots != after || again.promised != marks.promised || opened.marks.life <= marks.life {
                let differs = |n: &usize| slots.get(*n) != after.get(*n);
                let at = (0..slots.len().max(after.len())).find(differs);
                let (first, second) = (at.and_then(|n| slots.get(n)), at.and_then(|n| after.get(n)));
                return Err(format!(
                    "21: two recoveries of node {node} differ: {} and {} slots, {first:?} and {second:?}",
                    slots.len(),
                    after.len()
                ));
            }
            let decided = self.oracles.decided();
            for index in (base.0 + 1..=decided.0).map(Index) {
                let slot = slots.iter().find(|slot| slot.index == index);
                let chain = slot.and_then(|slot| slot.head).map(|head| head.chain);
                let whole = slot.is_some_and(|slot| slot.is_present());
                // Damage since it was last looked at is the world's doing, and not yet known to the node.
                if chain != self.oracles.chain(index) && whole {
                    return Err(format!("17: node {node} has another batch at {index} than was decided"));
                }
                if slot.is_none() {
                    return Err(format!("17: node {node} has lost the decided batch {index}"));
                }
            }
        }
        Ok(())
    }

    /// What a run leaves to be added up.
    pub fn close_books(&mut self) {
        let nodes: Vec<NodeId> = self.machines.iter().map(|machine| machine.id).collect();
        self.tally.acked = self.clients.acked;
        self.tally.unknown = self.clients.unknown;
        self.tally.resent = self.clients.resent;
        self.close_guests();
        for node in nodes {
            self.now = self.now.max(Nanos(1));
            if let Some(process) = &self.machines[usize::from(node.0) - 1].process {
                self.tally.ended(&process.core);
            }
            let disk = &self.machines[usize::from(node.0) - 1].disk;
            self.tally.wraps += disk.notes.wraps;
            self.tally.torn_writes += disk.misdeeds.torn;
            self.tally.lost_writes += disk.misdeeds.lost;
            self.tally.misdirected += disk.misdeeds.misdirected;
            self.tally.flipped += disk.misdeeds.flipped;
            self.tally.disk_errors += disk.misdeeds.errors + disk.misdeeds.full;
        }
    }
}
