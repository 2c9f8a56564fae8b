//! `/zookeeper/config`: the cluster's members, as clients that follow them want to read it.
//!
//! Every node announces where it takes clients when it begins to serve. The leader, who knows the members, compares
//! what the node shows with what it ought to, and puts the difference into the log. A cluster of one shows nothing,
//! as a standalone server of the reference.

use super::Tree;
use super::changes::Change as Event;
use super::store::table;
use crate::base::NodeId;
use crate::realms::{Effects, Member, Stamp};

const PATH: &[u8] = b"/zookeeper/config";

/// Bytes of an announcement at most.
const ADDRESS_MAX: usize = 255;

fn key(node: NodeId) -> [u8; 7] {
    [b'c', b'l', b'i', b'e', b'n', b't', node.0]
}

impl Tree {
    pub fn set_members(&mut self, members: Vec<Member>) {
        self.members = members;
        self.config_stale = true;
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn announce(&mut self, node: NodeId, address: &[u8]) {
        let meta = &mut self.store.tables[table::META];
        if address.is_empty() {
            meta.remove(&key(node));
        } else if address.len() <= ADDRESS_MAX && address.is_ascii() {
            meta.put(&key(node), address);
        }
        self.config_stale = true;
    }

    /// The text that is to be put into the log. Leader only.
    pub(super) fn config_due(&self) -> Option<Vec<u8>> {
        if !self.leading || self.members.len() < 2 {
            return None;
        }
        let wanted = self.config_wanted();
        (!self.shows(&wanted)).then_some(wanted)
    }

    fn shows(&self, text: &[u8]) -> bool {
        let shown = self.store.node(PATH).and_then(|node| node.data()).unwrap_or_default();
        shown.strip_prefix(text).is_some_and(|rest| rest.starts_with(b"version="))
    }

    /// `server.ID=HOST:PEER:PEER:ROLE[;CLIENTS]` for every member: one port serves for quorum and election.
    fn config_wanted(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for Member { node, votes, address } in &self.members {
            let port = address.rsplit(':').next().unwrap_or_default();
            let role = if *votes { "participant" } else { "observer" };
            text.extend_from_slice(format!("server.{}={address}:{port}:{role}", node.0).as_bytes());
            if let Some(clients) = self.store.tables[table::META].get(&key(*node)) {
                text.push(b';');
                text.extend_from_slice(clients);
            }
            text.push(b'\n');
        }
        text
    }

    pub(super) fn configure(&mut self, at: &Stamp, text: &[u8], effects: &mut Effects) {
        if self.shows(text) {
            return; // Proposed twice, over a change of leaders.
        }
        let mut head = self.head(PATH).expect("the configuration has its node");
        head.version = -1;
        head.mzxid = self.zxid;
        head.mtime = at.wall_ms;
        let text = [text, format!("version={:x}", self.zxid).as_bytes()].concat();
        self.store.put(PATH, &head, Some(&text));
        Event::Data { path: PATH, list: self.store.acl_list(head.acl) }.write(&mut effects.changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Life, Nanos, Origin};
    use crate::realms::Realm;
    use crate::realms::tree::ops::kind;
    use crate::state::{Command, Envelope};

    fn apply(tree: &mut Tree, node: u8, kind: u8, payload: &[u8]) {
        let origin = Origin::new(NodeId(node), 0, Life(1));
        let envelope = Envelope { realm: 2, kind, origin, ..Envelope::default() };
        let mut effects = Effects::default();
        let _ = tree.apply(&Stamp::default(), &Command { envelope, payload }, &mut effects);
    }

    fn due(tree: &mut Tree) -> Vec<(u8, Vec<u8>)> {
        let mut out = Vec::new();
        tree.due(Nanos(1), 10, &mut out);
        out
    }

    #[test]
    fn a_leader_keeps_the_configuration_true() {
        let member =
            |node, votes| Member { node: NodeId(node), votes, address: format!("10.0.0.{node}:2888") };
        let mut tree = Tree::new();
        tree.set_members(vec![member(1, true), member(2, true), member(3, false)]);
        apply(&mut tree, 1, kind::ANNOUNCE, b"10.0.0.1:2181");
        assert_eq!(due(&mut tree), [], "a follower says nothing");
        tree.lead(Nanos(0));
        assert_eq!(tree.next_due(), Nanos(0));
        let text = b"server.1=10.0.0.1:2888:2888:participant;10.0.0.1:2181\n\
            server.2=10.0.0.2:2888:2888:participant\nserver.3=10.0.0.3:2888:2888:observer\n";
        let asked = due(&mut tree);
        assert_eq!(asked, [(kind::CONFIG, text.to_vec())]);
        apply(&mut tree, 1, kind::CONFIG, &asked[0].1);
        let node = tree.store.node(PATH).unwrap();
        let stat = node.stat();
        assert_eq!((stat.version, stat.aversion, stat.mzxid), (-1, -1, 1));
        assert_eq!(node.data().unwrap(), [&text[..], b"version=1"].concat());
        apply(&mut tree, 1, kind::CONFIG, &asked[0].1);
        assert_eq!(tree.store.node(PATH).unwrap().stat().mzxid, 1, "twice is once");
        assert_eq!((due(&mut tree), tree.next_due()), (vec![], Nanos::MAX));
        apply(&mut tree, 2, kind::ANNOUNCE, b"10.0.0.2:2181");
        assert_eq!(due(&mut tree).len(), 1, "where node 2 takes clients is news");

        let mut alone = Tree::new();
        alone.set_members(vec![member(1, true)]);
        alone.lead(Nanos(0));
        assert_eq!(due(&mut alone), [], "a standalone server shows nothing");
    }
}
