//! Who belongs to the cluster. Changes go through the log, one member at a time.

use crate::base::planted::{self, Bug};
use crate::base::{Index, NodeId};

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Voter,
    /// Receives everything, counts for nothing.
    Learner,
}

/// A configuration: the members in order of their ids, each with the address of its peer port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    members: Vec<(NodeId, Role, String)>,
}

/// The most members a configuration holds; sets of nodes are bit masks elsewhere.
pub const MEMBERS_MAX: usize = 16;

impl Config {
    pub fn new(mut members: Vec<(NodeId, Role, String)>) -> Config {
        members.sort();
        members.dedup_by_key(|member| member.0);
        assert!(members.len() <= MEMBERS_MAX);
        Config { members }
    }

    /// Voters 1 to `count`, without addresses: for tests and the simulator.
    pub fn of_voters(count: u8) -> Config {
        Config::new((1..=count).map(|id| (NodeId(id), Role::Voter, String::new())).collect())
    }

    pub fn members(&self) -> &[(NodeId, Role, String)] {
        &self.members
    }

    pub fn role(&self, node: NodeId) -> Option<Role> {
        self.members.iter().find(|member| member.0 == node).map(|member| member.1)
    }

    pub fn is_voter(&self, node: NodeId) -> bool {
        self.role(node) == Some(Role::Voter)
    }

    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().filter(|member| member.1 == Role::Voter).map(|member| member.0)
    }

    pub fn address(&self, node: NodeId) -> Option<&str> {
        self.members.iter().find(|member| member.0 == node).map(|member| member.2.as_str())
    }

    /// How many voters decide.
    pub fn majority(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// How many voters without an entry prove that it was never committed. Not the N - majority + 1 that would do
    /// were the voters fixed: the entry may bring in a configuration of one voter more or fewer, or be counted by
    /// the one behind it. A majority meets every majority of such a neighbour; half of an even number does not.
    pub fn absence(&self) -> usize {
        self.majority()
    }

    /// The highest index that a majority of voters holds; `held` answers for each.
    pub fn quorum_index(&self, held: impl Fn(NodeId) -> Index) -> Index {
        let mut all: [Index; MEMBERS_MAX] = [Index(0); MEMBERS_MAX];
        let mut count = 0;
        for (node, role, _) in &self.members {
            if *role == Role::Voter || planted::is(Bug::CountLearners) {
                all[count] = held(*node);
                count += 1;
            }
        }
        if count == 0 {
            return Index(0);
        }
        let held = &mut all[..count];
        held.sort_unstable();
        held[count - self.majority()]
    }

    /// With a member added, changed or (`None`) removed.
    pub fn with(&self, node: NodeId, member: Option<(Role, String)>) -> Config {
        let mut members: Vec<_> = self.members.iter().filter(|member| member.0 != node).cloned().collect();
        members.extend(member.map(|(role, address)| (node, role, address)));
        Config::new(members)
    }

    /// True where both can be in force one after the other: their voters differ by one at most.
    pub fn follows(&self, before: &Config) -> bool {
        let gained = self.voters().filter(|&node| !before.is_voter(node)).count();
        let lost = before.voters().filter(|&node| !self.is_voter(node)).count();
        gained + lost <= 1 && self.voters().count() > 0
    }

    /// `count u8`, then for each member `id u8, role u8, length u8, address`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.members.len() as u8);
        for (node, role, address) in &self.members {
            out.extend_from_slice(&[node.0, *role as u8, address.len() as u8]);
            out.extend_from_slice(address.as_bytes());
        }
    }

    /// The reverse; `None` for bytes that are no configuration.
    pub fn decode(input: &mut &[u8]) -> Option<Config> {
        let (&count, mut rest) = input.split_first()?;
        let mut members = Vec::new();
        for _ in 0..count {
            let (&[node, role, len], tail) = rest.split_first_chunk::<3>()?;
            let (address, tail) = tail.split_at_checked(len as usize)?;
            let role = match role {
                0 => Role::Voter,
                1 => Role::Learner,
                _ => return None,
            };
            members.push((NodeId(node), role, std::str::from_utf8(address).ok()?.to_owned()));
            rest = tail;
        }
        *input = rest;
        (members.len() <= MEMBERS_MAX && members.is_sorted_by(|a, b| a.0 < b.0)).then_some(Config { members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_holds_the_quorum_index() {
        let held = |node: NodeId| Index([0, 5, 9, 7, 1, 3][node.0 as usize]);
        assert_eq!(Config::of_voters(1).quorum_index(held), Index(5));
        assert_eq!(Config::of_voters(2).quorum_index(held), Index(5));
        assert_eq!(Config::of_voters(3).quorum_index(held), Index(7));
        assert_eq!(Config::of_voters(5).quorum_index(held), Index(5));
        assert_eq!((Config::of_voters(5).absence(), Config::of_voters(4).absence()), (3, 3));
    }

    #[test]
    fn one_voter_at_a_time() {
        let three = Config::of_voters(3);
        let four = three.with(NodeId(4), Some((Role::Voter, "a:1".into())));
        assert!(four.follows(&three) && three.follows(&four));
        assert!(!three.with(NodeId(1), None).follows(&four));
        let mut bytes = Vec::new();
        four.encode(&mut bytes);
        assert_eq!(Config::decode(&mut &bytes[..]), Some(four));
    }
}
