//! All realms together: what `apply` drives, what a snapshot holds, what replicas compare.

use super::core::{Admission, Core, Request};
use super::kv::Kv;
use super::register::Registers;
use super::tree::Tree;
use super::{Broken, Effects, Flow, Member, Realm, Stamp, reply};
use crate::base::planted::{self, Bug};
use crate::base::sum::hash128;
use crate::base::{Index, Nanos};
use crate::state::snapshot::{Loaded, Part, TRAIL, View};
use crate::state::table::{KEYS_AHEAD, Table};
use crate::state::{Command, Envelope, RealmId};

/// The newest feature level whose commands this build can apply.
pub const FEATURE: u16 = 1;

#[derive(Default)]
pub struct Machine {
    core: Core,
    kv: Kv,
    tree: Tree,
    registers: Registers,
    /// A command is under way: where its reply begins, and whether its client is on this node.
    running: Option<Running>,
}

#[derive(Clone, Copy)]
struct Running {
    reply: usize,
    wanted: bool,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// The reply, if wanted, is in the effects.
    Done,
    /// Call again, as for `Flow::Again`.
    Again,
    /// Nothing was changed and nobody waits: a repetition, or one out of its place.
    Dropped(Admission),
}

/// A command that this build cannot apply. To pass over it would let replicas drift apart: the node must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    #[error(
        "the log holds a command of feature level {needed}, this build knows levels up to {FEATURE}; \
         start a newer release on this node"
    )]
    Feature { needed: u16 },
    #[error(
        "the log holds a command for realm {realm}, kind {kind}, which this build does not know; \
         start a newer release on this node"
    )]
    Unknown { realm: u8, kind: u8 },
}

impl Machine {
    pub fn new() -> Machine {
        Machine::default()
    }

    /// A fresh cluster's, but for the tree.
    pub fn with_tree(tree: Tree) -> Machine {
        Machine { tree, ..Machine::default() }
    }

    /// In the order of digests and snapshots: by realm.
    fn all(&self) -> [(RealmId, &dyn Realm); 4] {
        [
            (RealmId::Core, &self.core),
            (RealmId::Kv, &self.kv),
            (RealmId::Tree, &self.tree),
            (RealmId::Register, &self.registers),
        ]
    }

    fn all_mut(&mut self) -> [(RealmId, &mut dyn Realm); 4] {
        [
            (RealmId::Core, &mut self.core),
            (RealmId::Kv, &mut self.kv),
            (RealmId::Tree, &mut self.tree),
            (RealmId::Register, &mut self.registers),
        ]
    }

    fn realm(&self, byte: u8) -> Option<&dyn Realm> {
        Some(match RealmId::from_byte(byte)? {
            RealmId::Core => &self.core,
            RealmId::Kv => &self.kv,
            RealmId::Tree => &self.tree,
            RealmId::Register => &self.registers,
            _ => return None,
        })
    }

    fn realm_mut(&mut self, byte: u8) -> Option<&mut dyn Realm> {
        Some(match RealmId::from_byte(byte)? {
            RealmId::Core => &mut self.core,
            RealmId::Kv => &mut self.kv,
            RealmId::Tree => &mut self.tree,
            RealmId::Register => &mut self.registers,
            _ => return None,
        })
    }

    pub fn core(&self) -> &Core {
        &self.core
    }

    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    pub fn kv_mut(&mut self) -> &mut Kv {
        &mut self.kv
    }

    /// Applies one command of the log, at most once for each stamp of its origin and each request of its session.
    pub fn apply(
        &mut self,
        at: &Stamp,
        command: &Command<'_>,
        effects: &mut Effects,
    ) -> Result<Applied, Halt> {
        let Envelope { realm, kind, feature, session, request, origin, sequence, .. } = command.envelope;
        // Other realms' sessions are their doors' own affair.
        let exact = realm == RealmId::Kv as u8 && session != 0 && request != 0;
        if self.running.is_none() {
            if feature > FEATURE {
                return Err(Halt::Feature { needed: feature });
            }
            if !self.realm(realm).is_some_and(|found| found.knows(kind)) {
                return Err(Halt::Unknown { realm, kind });
            }
            let admission = self.core.admit(origin, sequence);
            if admission != Admission::Fresh && !planted::is(Bug::ApplyTwice) {
                return Ok(Applied::Dropped(admission));
            }
            if exact {
                match self.core.request(session, request, at.ticks) {
                    Request::New => {}
                    Request::Answered(result) => {
                        effects.reply.extend_from_slice(result);
                        return Ok(Applied::Done);
                    }
                    Request::Refused(status) => {
                        reply::bare(&mut effects.reply, status, 0);
                        return Ok(Applied::Done);
                    }
                }
            }
            self.running = Some(Running { reply: effects.reply.len(), wanted: effects.wanted });
            effects.wanted |= exact; // The result is replicated state, whoever waits for it.
        }
        let Some(found) = self.realm_mut(realm) else { return Err(Halt::Unknown { realm, kind }) };
        if found.apply(at, command, effects) == Flow::Again {
            return Ok(Applied::Again);
        }
        if let Some(Running { reply, wanted }) = self.running.take()
            && exact
        {
            self.core.answer(session, request, &effects.reply[reply..]);
            effects.wanted = wanted;
        }
        Ok(Applied::Done)
    }

    /// The commands in front of `body` are about to be applied. Returns how many bytes of it were looked at.
    pub fn foresee(&mut self, body: &[u8]) -> usize {
        let (mut payloads, mut count) = ([&[][..]; KEYS_AHEAD], 0);
        let mut rest = body;
        let mut kind = None;
        while count < KEYS_AHEAD {
            let mut ahead = rest;
            let Some(command) = Command::take(&mut ahead) else { break };
            let its = (command.envelope.realm, command.envelope.kind);
            if its != *kind.get_or_insert(its) {
                break;
            }
            payloads[count] = command.payload;
            count += 1;
            rest = ahead;
        }
        if let Some((realm, kind)) = kind
            && count > 1
            && let Some(found) = self.realm_mut(realm)
        {
            found.foresee(kind, &payloads[..count]);
        }
        body.len() - rest.len()
    }

    /// All commands of a batch are applied.
    pub fn end_batch(&mut self) {
        self.core.end_batch();
    }

    /// These queries are about to be answered.
    pub fn foresee_reads(&mut self, realm: u8, queries: &[&[u8]]) {
        if let Some(found) = self.realm_mut(realm) {
            found.foresee_reads(queries);
        }
    }

    /// Answers a query. An unknown realm gets a refusal.
    pub fn read(&self, realm: u8, query: &[u8], out: &mut Vec<u8>) {
        match self.realm(realm) {
            Some(found) => found.read(query, out),
            None => reply::bare(out, reply::Status::Malformed, 0),
        }
    }

    /// Names the content of all realms: equal on all replicas at the same index.
    pub fn digest(&mut self) -> u128 {
        let mut joint = Vec::new();
        for (id, realm) in self.all_mut() {
            realm.settle();
            for (at, table) in realm.tables().iter().enumerate() {
                joint.extend_from_slice(&[id as u8, at as u8]);
                joint.extend_from_slice(&table.digest().to_le_bytes());
            }
            if let Some(trail) = realm.trail() {
                joint.extend_from_slice(&[id as u8, TRAIL]);
                joint.extend_from_slice(&trail.digest().to_le_bytes());
            }
        }
        hash128(&joint)
    }

    /// All state as it is now, for a snapshot at `index`. The next command does not wait for it.
    pub fn freeze(&mut self, index: Index) -> View {
        let mut parts = Vec::new();
        for (id, realm) in self.all_mut() {
            realm.settle();
            for (at, table) in realm.tables().iter().enumerate() {
                parts.push((id as u8, at as u8, table.freeze().into()));
            }
            if let Some(trail) = realm.trail() {
                parts.push((id as u8, TRAIL, Part::Trail(trail.freeze())));
            }
        }
        View::new(index, parts)
    }

    /// Pages that commands have copied because a frozen view held them, over all realms.
    pub fn copied(&self) -> u64 {
        self.all().iter().flat_map(|(_, realm)| realm.tables()).map(Table::copied).sum()
    }

    /// Records and their bytes, over all realms.
    pub fn size(&self) -> (u64, u64) {
        let realms = self.all();
        let tables = realms.iter().flat_map(|(_, realm)| realm.tables()).map(|t| (t.len(), t.bytes()));
        let trails = realms.iter().filter_map(|(_, realm)| realm.trail()).map(|t| (t.len(), t.bytes()));
        tables.chain(trails).fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    /// Replaces all state: parts by realm and place, as a snapshot holds them. Those it does not name are empty.
    pub fn install(&mut self, parts: Vec<(u8, u8, Loaded)>) -> Result<(), Broken> {
        let mut fresh = Machine::new();
        for (realm, at, part) in parts {
            let found = fresh.realm_mut(realm);
            let placed = found.and_then(|found| match part {
                Loaded::Table(table) => {
                    found.tables_mut().get_mut(usize::from(at)).map(|place| *place = table)
                }
                Loaded::Trail(trail) => found.trail_mut().map(|place| *place = trail),
            });
            if placed.is_none() {
                let what = format!("it has a table {at} of realm {realm}, which this build does not know");
                return Err(Broken { realm: "machine", what });
            }
        }
        for (_, realm) in fresh.all_mut() {
            realm.rebuild()?;
        }
        *self = fresh;
        Ok(())
    }

    /// Who belongs to the cluster: what a leader has shown to the tree's clients follows it.
    pub fn set_members(&mut self, members: Vec<Member>) {
        self.tree.set_members(members);
    }

    pub fn members(&self) -> &[Member] {
        self.tree.members()
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Leader only: see `Realm::touch`.
    pub fn touch(&mut self, realm: u8, id: u64, now: Nanos) -> bool {
        self.realm_mut(realm).is_some_and(|found| found.touch(id, now))
    }

    /// Leader only: see `Realm::lead`.
    pub fn lead(&mut self, now: Nanos) {
        for (_, realm) in self.all_mut() {
            realm.lead(now);
        }
    }

    /// Leader only: at most `limit` commands that are due, appended whole.
    pub fn due(&mut self, now: Nanos, limit: usize, out: &mut Vec<u8>) -> usize {
        let mut count = 0;
        let mut found = Vec::new();
        for (id, realm) in self.all_mut() {
            realm.due(now, limit - count, &mut found);
            for (kind, payload) in found.drain(..) {
                Envelope { realm: id as u8, kind, ..Envelope::default() }.write(&payload, out);
                count += 1;
            }
        }
        count
    }

    pub fn next_due(&self) -> Nanos {
        self.all().into_iter().map(|(_, realm)| realm.next_due()).min().unwrap_or(Nanos::MAX)
    }
}

#[cfg(test)]
mod tests;
