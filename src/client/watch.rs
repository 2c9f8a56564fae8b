//! Watches as a client sees them: what has come, and where to go on after a reconnection.

use std::collections::{BTreeMap, VecDeque};

use super::error::Error;
use super::said::Kv;
use crate::realms::kv::ops::{self, Group, History, Record};
use crate::realms::reply::Reply;

/// Stands for a watch until it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub(super) u64);

/// What one revision changed in the range watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub revision: u64,
    pub changes: Vec<Change>,
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was put; for a deletion only key and revision.
    pub now: Kv,
    pub deleted: bool,
    /// What was there before, if asked for and any.
    pub before: Option<Kv>,
}

#[derive(Default)]
pub(super) struct Watches(BTreeMap<u64, Watch>);

struct Watch {
    history: History,
    /// The last revision that has come, and how many of its changes.
    last: u64,
    of_last: usize,
    /// Changes of `last` that come once more after a reconnection, and are passed over.
    repeated: usize,
    came: VecDeque<Changes>,
    ended: Option<Error>,
}

impl Watches {
    pub(super) fn open(&mut self, number: u64, history: History) {
        let watch = Watch { history, last: 0, of_last: 0, repeated: 0, came: VecDeque::new(), ended: None };
        self.0.insert(number, watch);
    }

    pub(super) fn forget(&mut self, number: u64) {
        self.0.remove(&number);
    }

    pub(super) fn is_live(&self, number: u64) -> bool {
        self.0.get(&number).is_some_and(|watch| watch.ended.is_none())
    }

    /// `None`: nothing has come.
    pub(super) fn take(&mut self, number: u64) -> Option<Result<Changes, Error>> {
        let Some(watch) = self.0.get_mut(&number) else {
            return Some(Err(Error::Protocol("the watch was cancelled before")));
        };
        watch.came.pop_front().map(Ok).or_else(|| watch.ended.clone().map(Err))
    }

    /// The server says from which revision on it watches.
    pub(super) fn on_opened(&mut self, number: u64, mut reply: &[u8]) {
        if let Some(watch) = self.0.get_mut(&number)
            && let Some(reply) = Reply::take(&mut reply)
            && watch.history.revision == 0
        {
            watch.history.revision = reply.revision;
        }
    }

    pub(super) fn on_event(&mut self, number: u64, groups: &[u8]) {
        let Some(watch) = self.0.get_mut(&number) else { return };
        for group in Group::all(groups) {
            watch.on_group(&group);
        }
    }

    /// Where to go on is known from what has come.
    pub(super) fn on_ended(&mut self, number: u64, error: Error) {
        if let Some(watch) = self.0.get_mut(&number) {
            watch.ended = Some(error);
        }
    }

    /// What is to be watched again on a new connection, each from where it stood.
    pub(super) fn resume(&mut self) -> Vec<(u64, History)> {
        let live = self.0.iter_mut().filter(|(_, watch)| watch.ended.is_none());
        live.map(|(number, watch)| (*number, watch.resume())).collect()
    }

    /// As `resume`, for one that has ended.
    pub(super) fn reopen(&mut self, number: u64) -> Option<History> {
        let watch = self.0.get_mut(&number)?;
        watch.ended = None;
        Some(watch.resume())
    }
}

impl Watch {
    /// From where it stands.
    fn resume(&mut self) -> History {
        let mut history = self.history.clone();
        if self.last > 0 {
            // Its changes may have come in part only: all of it once more, less those that have come.
            history.revision = self.last;
            self.repeated = self.of_last;
        }
        history
    }

    fn on_group(&mut self, group: &Group<'_>) {
        let mut changes = changes(group.bytes);
        if group.revision != self.last {
            (self.last, self.of_last, self.repeated) = (group.revision, 0, 0);
        }
        let again = self.repeated.min(changes.len());
        self.repeated -= again;
        changes.drain(..again);
        self.of_last += changes.len();
        if changes.is_empty() {
            return;
        }
        match self.came.back_mut() {
            // More of the same revision.
            Some(last) if last.revision == group.revision => last.changes.extend(changes),
            _ => self.came.push_back(Changes { revision: group.revision, changes }),
        }
    }
}

fn changes(bytes: &[u8]) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for record in Record::all(bytes) {
        let kv = Kv::from(record);
        match changes.last_mut() {
            Some(change) if record.flags & ops::BEFORE != 0 => change.before = Some(kv),
            _ => changes.push(Change { now: kv, deleted: record.is_deletion(), before: None }),
        }
    }
    changes
}
