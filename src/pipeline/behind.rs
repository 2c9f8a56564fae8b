//! Reads that wait for a write of their own session: answered between that write and the lane's next one, from the
//! state as it is then. So a session may say all that it has to say at once, and still reads what it wrote and
//! nothing that it wrote later.

use std::collections::BTreeMap;

use crate::pipeline::parcel::{ReadItem, Reads};

/// Those of one edge lane.
#[derive(Debug, Default)]
pub struct Behind {
    /// By the write that they wait for.
    waiting: BTreeMap<u64, Reads>,
    /// The lane's last write that the state has.
    reached: u64,
}

impl Behind {
    /// What may be answered now; the rest waits.
    pub fn sift(&mut self, reads: Reads) -> Reads {
        let reached = self.reached;
        if reads.items.iter().all(|item| item.after <= reached) {
            return reads;
        }
        let Reads { lane, items, queries } = reads;
        let none = || Reads { lane, ..Reads::default() };
        let (mut now, mut start) = (none(), 0);
        for item in items {
            let query = &queries[start..item.end as usize];
            start = item.end as usize;
            let group = match item.after {
                ripe if ripe <= reached => &mut now,
                write => self.waiting.entry(write).or_insert_with(none),
            };
            group.queries.extend_from_slice(query);
            group.items.push(ReadItem { end: group.queries.len() as u32, ..item });
        }
        now
    }

    /// The state has this write of the lane and all before it.
    pub fn reach(&mut self, sequence: u64) {
        self.reached = self.reached.max(sequence);
    }

    /// Reads whose write the state has by now.
    pub fn ripe(&mut self) -> Option<Reads> {
        let first = self.waiting.first_entry()?;
        (*first.key() <= self.reached).then(|| first.remove())
    }

    pub fn is_ripe(&self) -> bool {
        self.waiting.first_key_value().is_some_and(|(write, _)| *write <= self.reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(items: &[(u64, &str)]) -> Reads {
        let mut reads = Reads::default();
        for (tag, &(after, query)) in (0..).zip(items) {
            reads.queries.extend_from_slice(query.as_bytes());
            reads.items.push(ReadItem { tag, realm: 1, end: reads.queries.len() as u32, after });
        }
        reads
    }

    fn shown(reads: &Reads) -> Vec<(u64, &str)> {
        let mut start = 0;
        let one = |item: &ReadItem| {
            let from = std::mem::replace(&mut start, item.end as usize);
            (item.tag, std::str::from_utf8(&reads.queries[from..item.end as usize]).unwrap())
        };
        reads.items.iter().map(one).collect()
    }

    #[test]
    fn each_waits_for_its_own_write_and_for_no_other() {
        let mut behind = Behind::default();
        behind.reach(4);
        let now = behind.sift(reads(&[(0, "a"), (5, "bb"), (4, "c"), (7, "d"), (5, "eee")]));
        assert_eq!(shown(&now), [(0, "a"), (2, "c")]);
        assert!(!behind.is_ripe() && behind.ripe().is_none());
        behind.reach(5);
        assert_eq!(shown(&behind.ripe().unwrap()), [(1, "bb"), (4, "eee")]);
        assert!(behind.ripe().is_none());
        behind.reach(9);
        assert_eq!(shown(&behind.ripe().unwrap()), [(3, "d")]);
        assert_eq!(shown(&behind.sift(reads(&[(8, "f")]))), [(0, "f")]);
    }
}
