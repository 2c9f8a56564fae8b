//! Commands: from the payload to the reply, the changes and the next state.

use super::acl::{self, Ids, perm};
use super::changes::Change as Event;
use super::jute::{Malformed, Reader, Stat, Write};
use super::node::{Head, Kind};
use super::ops::{Change, SetAcl, SetData, Versioned, code, kind, op};
use super::session::Session;
use super::store::{OPEN_ACL, table};
use super::{Settings, Tree, paths, quota};
use crate::base::planted::{self, Bug};
use crate::base::{Nanos, Origin};
use crate::realms::{Effects, Stamp};
use crate::state::{Command, Envelope};

/// Buffers that keep their capacity from command to command.
#[derive(Default)]
pub struct Scratch {
    /// Keys of nodes that will be looked up next.
    pub ahead: Vec<Vec<u8>>,
    pub path: Vec<u8>,
    pub list: Vec<u8>,
}

/// Who asks, and when.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub ids: Ids<'a>,
    pub session: u64,
    pub zxid: u64,
    pub wall_ms: u64,
    pub ticks: Nanos,
}

/// What a successful operation has to tell its client.
pub enum Done {
    /// The new node's path is in the scratch.
    Created {
        stat: Stat,
    },
    Stat(Stat),
    Nothing,
}

pub type Outcome = Result<Done, i32>;

impl Tree {
    pub fn execute(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) {
        let (reply, changes) = (effects.reply.len(), effects.changes.len());
        effects.changes.extend_from_slice(&[0; 8]);
        let envelope = &command.envelope;
        let counted = match envelope.kind {
            kind::ATTACH_SESSION => self.attach_session(at, command, effects),
            kind::OPEN_SESSION => self.count(|tree| tree.open_session(at, command, effects)),
            kind::CLOSE_SESSION => self.count(|tree| {
                tree.end_session(envelope.session, effects);
                tree.reply(code::OK, effects);
            }),
            kind::EXPIRE_SESSION => self.count(|tree| {
                tree.ending = tree.ending.saturating_sub(1);
                if let Ok(id) = command.payload.try_into().map(u64::from_be_bytes)
                    && tree.has_run_out(id, at.ticks)
                {
                    tree.end_session(id, effects);
                }
            }),
            kind::REAP => self.count(|tree| tree.reap(at, command.payload, effects)),
            kind::CONFIG => self.count(|tree| tree.configure(at, command.payload, effects)),
            kind::SETTINGS => {
                if let &[byte] = command.payload {
                    self.settings = Settings::from_byte(byte);
                }
                false
            }
            kind::ANNOUNCE => {
                self.announce(envelope.origin.node(), command.payload);
                false
            }
            _ => self.client_command(at, command, effects),
        };
        if !effects.wanted {
            effects.reply.truncate(reply);
        }
        self.store.sweep();
        match counted && effects.changes.len() > changes + 8 {
            true => effects.changes[changes..changes + 8].copy_from_slice(&self.zxid.to_be_bytes()),
            false if effects.changes.len() == changes + 8 => effects.changes.truncate(changes),
            false => {}
        }
    }

    /// Gives the command the next zxid.
    fn count(&mut self, run: impl FnOnce(&mut Tree)) -> bool {
        self.zxid += 1;
        run(self);
        true
    }

    /// The head of a reply: the state that it shows, and how it went.
    fn reply(&self, err: i32, effects: &mut Effects) {
        effects.reply.put_i64(self.zxid as i64);
        effects.reply.put_i32(err);
    }

    fn client_command(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) -> bool {
        let envelope = &command.envelope;
        let parsed = Ids::take(command.payload).ok_or(Malformed::Short).and_then(|(ids, record)| {
            let change = match i32::from(envelope.kind) {
                op::MULTI | op::RECONFIG => None,
                code => Some(Change::read(code, &mut Reader::new(record))?.ok_or(Malformed::Multi(code))?),
            };
            Ok((ids, record, change))
        });
        let Ok((ids, record, change)) = parsed else {
            // The door lets nothing pass that does not parse; what came otherwise changes nothing, zxid included.
            self.reply(code::MARSHALLING_ERROR, effects);
            return false;
        };
        self.zxid += 1;
        if let Err(err) = self.may_write(envelope) {
            self.reply(err, effects);
            return true;
        }
        let request =
            Request { ids, session: envelope.session, zxid: self.zxid, wall_ms: at.wall_ms, ticks: at.ticks };
        match change {
            // Members are changed by the operator's own tool.
            None if i32::from(envelope.kind) == op::RECONFIG => self.reply(code::RECONFIG_DISABLED, effects),
            None => self.multi(&request, record, effects),
            Some(change) => {
                let outcome = self.change(&request, &change, &mut effects.changes);
                match outcome {
                    // On the other nodes nobody waits for it.
                    Ok(_) if !effects.wanted => {}
                    Ok(done) => {
                        self.reply(code::OK, effects);
                        self.write_done(i32::from(envelope.kind), &done, &mut effects.reply);
                    }
                    Err(err) => self.reply(err, effects),
                }
            }
        }
        true
    }

    /// Whether this session exists and is spoken for by the edge that sent this.
    fn may_write(&self, envelope: &Envelope) -> Result<(), i32> {
        match self.sessions.find(envelope.session) {
            _ if planted::is(Bug::WriteAfterMove) => Ok(()),
            None => Err(code::SESSION_EXPIRED),
            Some(session) if session.owner != envelope.origin => Err(code::SESSION_MOVED),
            Some(_) => Ok(()),
        }
    }

    /// The body of a successful reply, by the operation asked for.
    pub fn write_done(&self, code: i32, done: &Done, out: &mut Vec<u8>) {
        match done {
            Done::Created { stat } => {
                out.put_bytes(&self.scratch.path);
                if code != op::CREATE {
                    stat.write(out);
                }
            }
            Done::Stat(stat) => stat.write(out),
            Done::Nothing => {}
        }
    }

    /// One change of the tree, alone or as part of a multi. On refusal nothing has changed.
    pub fn change(&mut self, request: &Request<'_>, change: &Change<'_>, events: &mut Vec<u8>) -> Outcome {
        match change {
            Change::Create(create) => self.create(request, create, events),
            Change::Delete(delete) => self.delete(request, delete, events),
            Change::SetData(set) => self.set_data(request, set, events),
            Change::SetAcl(set) => self.set_acl(request, set),
            Change::Check(check) => self.check(request, check),
        }
    }

    pub fn allow(&self, list: u32, perms: i32, ids: Ids<'_>) -> Result<(), i32> {
        if list == OPEN_ACL {
            return Ok(());
        }
        match acl::allows(self.store.acl_list(list), perms, ids) {
            true => Ok(()),
            false => Err(code::NO_AUTH),
        }
    }

    /// The head of the node at a path; -101 if there is none.
    pub fn head(&self, path: &[u8]) -> Result<Head, i32> {
        self.store.node(path).map(|node| node.head()).ok_or(code::NO_NODE)
    }

    fn delete(&mut self, request: &Request<'_>, delete: &Versioned<'_>, events: &mut Vec<u8>) -> Outcome {
        let path = delete.path.ok_or(code::MARSHALLING_ERROR)?;
        if !path.contains(&b'/') || path.contains(&0) || paths::is_special(path) {
            return Err(code::BAD_ARGUMENTS);
        }
        let parent = self.head(paths::split(path).0)?;
        self.allow(parent.acl, perm::DELETE, request.ids)?;
        let node = self.head(path)?;
        expect_version(node.version, delete.version)?;
        if node.children > 0 {
            return Err(code::NOT_EMPTY);
        }
        self.unlink(path, &node, parent, request.zxid, events);
        Ok(Done::Nothing)
    }

    /// Takes a childless node out of the tree and tells.
    fn unlink(&mut self, path: &[u8], node: &Head, mut parent: Head, zxid: u64, events: &mut Vec<u8>) {
        let (list, parent_list) = (self.store.acl_list(node.acl), self.store.acl_list(parent.acl));
        Event::Deleted { path, list, parent_list }.write(events);
        let held = self.store.node(path).and_then(|node| node.data()).map_or(0, <[u8]>::len);
        self.store.remove(path);
        parent.children -= 1;
        parent.pzxid = parent.pzxid.max(zxid);
        self.store.put_head(paths::split(path).0, &parent);
        quota::account(&mut self.store, path, -(held as i64), -1);
    }

    fn set_data(&mut self, request: &Request<'_>, set: &SetData<'_>, events: &mut Vec<u8>) -> Outcome {
        let path = set.path.unwrap_or_default();
        if !paths::is_valid(path) {
            return Err(code::BAD_ARGUMENTS);
        }
        let node = self.store.node(path).ok_or(code::NO_NODE)?;
        let (mut head, held) = (node.head(), node.data().map_or(0, <[u8]>::len) as i64);
        self.allow(head.acl, perm::WRITE, request.ids)?;
        let more = set.data.map_or(0, <[u8]>::len) as i64 - held;
        if self.settings.enforce_quota {
            quota::check(&self.store, path, more, 0)?;
        }
        expect_version(head.version, set.version)?;
        head.version = head.version.wrapping_add(1);
        head.mzxid = request.zxid;
        head.mtime = request.wall_ms;
        if let Kind::Ttl { written, .. } = &mut head.kind {
            *written = request.ticks;
        }
        self.store.replace(path, &head, set.data);
        quota::account(&mut self.store, path, more, 0);
        Event::Data { path, list: self.store.acl_list(head.acl) }.write(events);
        Ok(Done::Stat(head.stat(set.data)))
    }

    fn set_acl(&mut self, request: &Request<'_>, set: &SetAcl<'_>) -> Outcome {
        let path = set.path.unwrap_or_default();
        if !paths::is_valid(path) {
            return Err(code::BAD_ARGUMENTS);
        }
        acl::fix_up(set.acl, request.ids, &mut self.scratch.list)?;
        let mut head = self.head(path)?;
        self.allow(head.acl, perm::ADMIN, request.ids)?;
        expect_version(head.aversion, set.version)?;
        head.aversion = head.aversion.wrapping_add(1);
        head.acl = self.store.acl_number(&self.scratch.list);
        let data = self.store.node(path).and_then(|node| node.data()).map(<[u8]>::to_vec);
        self.store.put(path, &head, data.as_deref());
        Ok(Done::Stat(head.stat(data.as_deref())))
    }

    fn check(&self, request: &Request<'_>, check: &Versioned<'_>) -> Outcome {
        let path = check.path.unwrap_or_default();
        if !paths::is_valid(path) {
            return Err(code::BAD_ARGUMENTS);
        }
        let head = self.head(path)?;
        self.allow(head.acl, perm::READ, request.ids)?;
        expect_version(head.version, check.version)?;
        Ok(Done::Nothing)
    }

    fn open_session(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) {
        let Ok(timeout_ms) = Reader::new(command.payload).i32() else {
            return self.reply(code::MARSHALLING_ERROR, effects);
        };
        let owner = command.envelope.origin;
        let id = self.sessions.next_id(owner, at.wall_ms);
        let session = Session { timeout_ms: timeout_ms.max(1) as u32, owner, since: at.ticks };
        self.sessions.put(&mut self.store.tables[table::SESSIONS], id, session);
        self.reply(code::OK, effects);
        effects.reply.put_i64(id as i64);
        effects.reply.put_i32(timeout_ms);
    }

    /// Changes no node, so it counts as no command of the tree's own order.
    fn attach_session(&mut self, at: &Stamp, command: &Command<'_>, effects: &mut Effects) -> bool {
        let mut reader = Reader::new(command.payload);
        let (Ok(id), Ok(timeout_ms)) = (reader.i64(), reader.i32()) else {
            self.reply(code::MARSHALLING_ERROR, effects);
            return false;
        };
        let owner = command.envelope.origin;
        let session = Session { timeout_ms: timeout_ms.max(1) as u32, owner, since: at.ticks };
        let Some(before) = self.sessions.find(id as u64) else {
            self.reply(code::SESSION_EXPIRED, effects);
            return false;
        };
        self.sessions.put(&mut self.store.tables[table::SESSIONS], id as u64, session);
        if before.owner != owner {
            Event::Moved { session: id as u64, origin: owner.0 }.write(&mut effects.changes);
        }
        self.reply(code::OK, effects);
        effects.reply.put_i64(id);
        effects.reply.put_i32(timeout_ms);
        false
    }

    /// It may have come back while its end was on the way: that handshake was answered, and gives it its time anew.
    fn has_run_out(&self, id: u64, ticks: Nanos) -> bool {
        let may_end = |session: Session| session.may_end(ticks);
        planted::is(Bug::ExpireReturned) || self.sessions.find(id).is_some_and(may_end)
    }

    /// Ends a session, and with it all its ephemerals, in one command.
    fn end_session(&mut self, id: u64, effects: &mut Effects) {
        if !self.sessions.close(&mut self.store.tables[table::SESSIONS], id) {
            return;
        }
        if planted::is(Bug::KeepEphemerals) {
            return;
        }
        let own = self.store.disown_all(id);
        let mut own = own.iter().map(Vec::as_slice).peekable();
        while let Some(&first) = own.peek() {
            // Siblings stand together: their parent is written once for all of them.
            let above = paths::split(first).0;
            let mut parent = self.head(above).expect("a node has a parent");
            parent.pzxid = parent.pzxid.max(self.zxid);
            while let Some(path) = own.next_if(|path| paths::split(path).0 == above) {
                let node = self.store.node(path).expect("ephemerals are listed while they live");
                let (list, held) = (node.acl(), node.data().map_or(0, <[u8]>::len));
                let parent_list = self.store.acl_list(parent.acl);
                Event::Deleted { path, list: self.store.acl_list(list), parent_list }
                    .write(&mut effects.changes);
                self.store.remove_disowned(path, list);
                parent.children -= 1;
                quota::account(&mut self.store, path, -(held as i64), -1);
            }
            self.store.put_head(above, &parent);
        }
        Event::Ended { session: id }.write(&mut effects.changes);
    }

    /// Whether a container or TTL node has nothing to live for at this cluster time.
    pub fn is_due(&self, path: &[u8], ticks: Nanos) -> bool {
        let Ok(head) = self.head(path) else { return false };
        head.children == 0
            && match head.kind {
                Kind::Container => head.created > 0,
                Kind::Ttl { ms, written } => ticks.since(written) > Nanos(ms.saturating_mul(1_000_000)),
                Kind::Plain | Kind::Ephemeral { .. } => false,
            }
    }

    fn reap(&mut self, at: &Stamp, path: &[u8], effects: &mut Effects) {
        // Proposed some time ago: a child or a write may have come in between.
        if !self.is_due(path, at.ticks) {
            return;
        }
        let node = self.head(path).expect("it is due");
        let parent = self.head(paths::split(path).0).expect("a node has a parent");
        self.unlink(path, &node, parent, self.zxid, &mut effects.changes);
    }

    /// A session that an import brings along: nobody speaks for it until its client comes back.
    pub fn import_session(&mut self, id: u64, timeout_ms: u32) {
        let session = Session { timeout_ms, owner: Origin::default(), since: Nanos(0) };
        self.sessions.put(&mut self.store.tables[table::SESSIONS], id, session);
    }
}

fn expect_version(current: i32, expected: i32) -> Result<(), i32> {
    match expected == -1 || expected == current {
        true => Ok(()),
        false => Err(code::BAD_VERSION),
    }
}
