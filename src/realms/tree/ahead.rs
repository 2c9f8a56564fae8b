//! Which nodes the next commands and queries will look up. Nearly every record begins with its path.

use super::acl::Ids;
use super::store::{PATH_MAX, table};
use super::{Tree, paths};

impl Tree {
    /// Brings the nodes of these paths closer.
    pub(super) fn look_ahead<'a>(&mut self, all: &[&'a [u8]], record: impl Fn(&'a [u8]) -> Option<&'a [u8]>) {
        let nodes = &self.store.tables[table::NODES];
        if !nodes.is_far() {
            return;
        }
        let keys = &mut self.scratch.ahead;
        keys.resize_with(all.len(), Vec::new);
        for (bytes, key) in all.iter().zip(keys.iter_mut()) {
            let path = record(bytes).and_then(first_path).unwrap_or_default();
            key.clear();
            key.resize(path.len().max(1), 0);
            paths::fill_key(path, key);
        }
        nodes.foresee(keys);
    }

    /// The record of a client's command.
    pub(super) fn record_of(payload: &[u8]) -> Option<&[u8]> {
        Ids::take(payload).map(|(_, record)| record)
    }

    /// The record of a query.
    pub(super) fn record_of_query(query: &[u8]) -> Option<&[u8]> {
        Ids::take(query.get(8..)?)?.1.get(4..)
    }
}

fn first_path(record: &[u8]) -> Option<&[u8]> {
    let (length, rest) = record.split_first_chunk::<4>()?;
    let path = rest.get(..usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
    (path.first() == Some(&b'/') && path.len() <= PATH_MAX).then_some(path)
}
