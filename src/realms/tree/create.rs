//! Create, in its six forms.

use super::acl::{self, perm};
use super::apply::{Done, Outcome, Request};
use super::changes::Change as Event;
use super::node::{Head, Kind};
use super::ops::{Create, code, op};
use super::store::PATH_MAX;
use super::{Tree, paths, quota};

/// The longest life of a TTL node, in ms.
const TTL_MAX: i64 = (1 << 40) - 1;

/// What the flags of a create ask for.
#[derive(Clone, Copy)]
struct Mode {
    ephemeral: bool,
    sequential: bool,
    container: bool,
    ttl: bool,
}

impl Mode {
    fn of(create: &Create<'_>) -> Result<Mode, i32> {
        let plain = Mode { ephemeral: false, sequential: false, container: false, ttl: false };
        let mode = match create.flags {
            0 => plain,
            1 => Mode { ephemeral: true, ..plain },
            2 => Mode { sequential: true, ..plain },
            3 => Mode { ephemeral: true, sequential: true, ..plain },
            4 => Mode { container: true, ..plain },
            5 => Mode { ttl: true, ..plain },
            6 => Mode { ttl: true, sequential: true, ..plain },
            _ => return Err(code::BAD_ARGUMENTS),
        };
        // The container's own operation makes a container of whatever its flags say.
        Ok(match create.op {
            op::CREATE_CONTAINER => Mode { container: true, ephemeral: false, ttl: false, ..mode },
            _ => mode,
        })
    }
}

impl Tree {
    pub fn create(&mut self, request: &Request<'_>, create: &Create<'_>, events: &mut Vec<u8>) -> Outcome {
        let mode = Mode::of(create)?;
        if mode.ttl && !self.settings.ttl_nodes {
            return Err(code::UNIMPLEMENTED);
        }
        let ttl_fits = match mode.ttl {
            true => (1..=TTL_MAX).contains(&create.ttl),
            false => create.ttl < 0 && create.op != op::CREATE_TTL,
        };
        if !ttl_fits {
            return Err(code::BAD_ARGUMENTS);
        }
        let asked = create.path.ok_or(code::MARSHALLING_ERROR)?;
        let slash = asked.iter().rposition(|&b| b == b'/').ok_or(code::BAD_ARGUMENTS)?;
        if asked.contains(&0) {
            return Err(code::BAD_ARGUMENTS);
        }
        let parent_path = &asked[..slash];
        acl::fix_up(create.acl, request.ids, &mut self.scratch.list)?;
        let mut parent = self.head(parent_path)?;
        self.allow(parent.acl, perm::CREATE, request.ids)?;

        self.scratch.path.clear();
        self.scratch.path.extend_from_slice(asked);
        if mode.sequential {
            use std::io::Write;
            write!(self.scratch.path, "{:010}", parent.created).expect("memory takes all");
        }
        if !paths::is_valid(&self.scratch.path) || self.scratch.path.len() > PATH_MAX {
            return Err(code::BAD_ARGUMENTS);
        }
        if self.store.node(&self.scratch.path).is_some() {
            return Err(code::NODE_EXISTS);
        }
        if matches!(parent.kind, Kind::Ephemeral { .. }) {
            return Err(code::NO_CHILDREN_FOR_EPHEMERALS);
        }
        let held = create.data.map_or(0, <[u8]>::len) as i64;
        if self.settings.enforce_quota {
            quota::check(&self.store, &self.scratch.path, held, 1)?;
        }

        let head = Head {
            kind: match mode {
                Mode { ephemeral: true, .. } => Kind::Ephemeral { session: request.session },
                Mode { container: true, .. } => Kind::Container,
                Mode { ttl: true, .. } => Kind::Ttl { ms: create.ttl as u64, written: request.ticks },
                _ => Kind::Plain,
            },
            acl: self.store.acl_number(&self.scratch.list),
            czxid: request.zxid,
            mzxid: request.zxid,
            pzxid: request.zxid,
            ctime: request.wall_ms,
            mtime: request.wall_ms,
            created: 0,
            version: 0,
            aversion: 0,
            children: 0,
        };
        self.store.insert(&self.scratch.path, &head, create.data);
        parent.created += 1;
        parent.children += 1;
        parent.pzxid = request.zxid;
        self.store.put_head(parent_path, &parent);
        quota::account(&mut self.store, &self.scratch.path, held, 1);
        Event::Created {
            path: &self.scratch.path,
            list: self.store.acl_list(head.acl),
            parent_list: self.store.acl_list(parent.acl),
        }
        .write(events);
        Ok(Done::Created { stat: head.stat(create.data) })
    }
}
