//! Multi: all or nothing under one zxid, with the reference's shape of results.

use super::Tree;
use super::apply::Request;
use super::jute::Write;
use super::ops::{Change, Part, Parts, code, op};
use crate::realms::Effects;

impl Tree {
    /// The reply's header says Ok even if the multi failed: its results tell.
    pub fn multi(&mut self, request: &Request<'_>, record: &[u8], effects: &mut Effects) {
        effects.reply.put_i64(self.zxid as i64);
        if Parts::check(record) != Ok(false) {
            return effects.reply.put_i32(code::MARSHALLING_ERROR);
        }
        effects.reply.put_i32(code::OK);
        let (results, events) = (effects.reply.len(), effects.changes.len());
        self.store.begin();
        let mut failed = None;
        let mut count = 0;
        for part in Parts::new(record) {
            let Ok(Part::Change(change)) = part else { unreachable!("checked above") };
            count += 1;
            if failed.is_some() {
                continue;
            }
            match self.change(request, &change, &mut effects.changes) {
                Ok(done) => {
                    let code = code_of(&change);
                    header(code, code::OK, &mut effects.reply);
                    self.write_done(code, &done, &mut effects.reply);
                }
                Err(err) => failed = Some((count - 1, err)),
            }
        }
        match failed {
            None => self.store.keep(),
            Some((culprit, err)) => {
                self.store.take_back();
                effects.changes.truncate(events);
                effects.reply.truncate(results);
                if err == code::MARSHALLING_ERROR {
                    // The reference stumbles in the midst of it, and tells nothing of the parts.
                    effects.reply.truncate(results - 4);
                    return effects.reply.put_i32(err);
                }
                for at in 0..count {
                    let err = match at {
                        _ if at < culprit => code::OK,
                        _ if at == culprit => err,
                        _ => code::RUNTIME_INCONSISTENCY,
                    };
                    failure(err, &mut effects.reply);
                }
            }
        }
        end(&mut effects.reply);
    }
}

/// The type of a successful result: every create but the plain one shows a Stat.
fn code_of(change: &Change<'_>) -> i32 {
    match change {
        // A container or TTL node asked for by its flags answers like one asked for by its operation.
        Change::Create(create) if create.op == op::CREATE && create.flags < 4 => op::CREATE,
        Change::Create(_) => op::CREATE2,
        Change::Delete(_) => op::DELETE,
        Change::SetData(_) => op::SET_DATA,
        Change::SetAcl(_) => op::SET_ACL,
        Change::Check(_) => op::CHECK,
    }
}

pub fn header(code: i32, err: i32, out: &mut Vec<u8>) {
    out.put_i32(code);
    out.put_bool(false);
    out.put_i32(err);
}

pub fn failure(err: i32, out: &mut Vec<u8>) {
    header(op::ERROR, err, out);
    out.put_i32(err);
}

pub fn end(out: &mut Vec<u8>) {
    out.put_i32(-1);
    out.put_bool(true);
    out.put_i32(-1);
}
