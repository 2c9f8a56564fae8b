//! Who belongs to the cluster: each member a node *and* the incarnation of it that is meant. Changes go through the
//! log, one voter at a time.

use crate::base::planted::{self, Bug};
use crate::base::{Incarnation, Index, NodeId, Voice};
use crate::replica::Plan;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Voter,
    /// Receives everything, counts for nothing.
    Learner,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub id: NodeId,
    /// `OPEN` while it is not known: of founders until they have met, of a learner until it has spoken.
    pub incarnation: Incarnation,
    pub role: Role,
    /// Of its peer port.
    pub address: String,
}

impl Member {
    pub fn new(id: NodeId, incarnation: Incarnation, role: Role, address: impl Into<String>) -> Member {
        Member { id, incarnation, role, address: address.into() }
    }

    /// Whether this incarnation of it is the member.
    pub fn is(&self, incarnation: Incarnation) -> bool {
        self.is_open() || self.incarnation == incarnation || planted::is(Bug::VoteAfterWipe)
    }

    fn is_open(&self) -> bool {
        self.incarnation == Incarnation::OPEN
    }
}

/// A configuration: the members in order of their ids, and what is still to be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    members: Vec<Member>,
    pub plan: Plan,
}

/// The most members a configuration holds; sets of nodes are bit masks elsewhere.
pub const MEMBERS_MAX: usize = 16;

impl Config {
    pub fn new(mut members: Vec<Member>) -> Config {
        members.sort();
        members.dedup_by_key(|member| member.id);
        assert!(members.len() <= MEMBERS_MAX);
        Config { members, plan: Plan::default() }
    }

    /// Voters 1 to `count`, each of an incarnation of its own number, without addresses: for tests.
    pub fn of_voters(count: u8) -> Config {
        let voter = |id| Member::new(NodeId(id), Incarnation(u64::from(id)), Role::Voter, "");
        Config::new((1..=count).map(voter).collect())
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// What this incarnation of the node may do here. `None` for one that the configuration does not name.
    pub fn role(&self, voice: Voice) -> Option<Role> {
        self.member(voice.id).filter(|member| member.is(voice.incarnation)).map(|member| member.role)
    }

    pub fn names(&self, voice: Voice) -> bool {
        self.role(voice).is_some()
    }

    pub fn is_voter(&self, voice: Voice) -> bool {
        self.role(voice) == Some(Role::Voter)
    }

    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role == Role::Voter)
    }

    /// This incarnation is the only voter.
    pub fn is_alone(&self, voice: Voice) -> bool {
        self.voters().count() == 1 && self.is_voter(voice)
    }

    /// Founders whose incarnations are not named yet: any disk formatted for them would do.
    pub fn is_open(&self) -> bool {
        self.voters().any(Member::is_open)
    }

    /// How many voters decide. As long as founders are not named all of them must: whoever is replaced meanwhile
    /// could vote twice, but the others do not, so two leaders, or two decisions, cannot both have everybody.
    pub fn majority(&self) -> usize {
        let voters = self.voters().count();
        if self.is_open() { voters } else { voters / 2 + 1 }
    }

    /// How many voters without an entry prove that it was never committed. Not the N - majority + 1 that would do
    /// were the voters fixed: the entry may bring in a configuration of one voter more or fewer, or be counted by
    /// the one behind it. A majority meets every majority of such a neighbour; half of an even number does not.
    pub fn absence(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// The highest index that a majority of voters holds; `held` answers for each.
    pub fn quorum_index(&self, held: impl Fn(&Member) -> Index) -> Index {
        let mut all: [Index; MEMBERS_MAX] = [Index(0); MEMBERS_MAX];
        let mut count = 0;
        for member in &self.members {
            if member.role == Role::Voter || planted::is(Bug::CountLearners) {
                all[count] = held(member);
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

    /// With this member, in place of whoever has its id.
    pub fn with(&self, member: Member) -> Config {
        let mut config = self.without(member.id);
        config.members.push(member);
        config.members.sort();
        assert!(config.members.len() <= MEMBERS_MAX);
        config
    }

    pub fn without(&self, id: NodeId) -> Config {
        let mut config = self.clone();
        config.members.retain(|member| member.id != id);
        config
    }

    /// True where both can be in force one after the other: their voters differ by one at most. Another incarnation
    /// is another voter; a name for a founder that had none is no change.
    pub fn follows(&self, before: &Config) -> bool {
        let same = |new: &Member, old: &Member| {
            new.id == old.id && (old.is_open() || old.incarnation == new.incarnation)
        };
        let gained = self.voters().filter(|new| !before.voters().any(|old| same(new, old))).count();
        let lost = before.voters().filter(|old| !self.voters().any(|new| same(new, old))).count();
        gained + lost <= 1 && self.voters().count() > 0
    }

    /// `count u8`, for each member `id u8, role u8, incarnation u64, length u8, address`, then the plan.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.members.len() as u8);
        for member in &self.members {
            out.extend_from_slice(&[member.id.0, member.role as u8]);
            out.extend_from_slice(&member.incarnation.0.to_le_bytes());
            out.push(member.address.len() as u8);
            out.extend_from_slice(member.address.as_bytes());
        }
        self.plan.encode(out);
    }

    /// The reverse; `None` for bytes that are no configuration.
    pub fn decode(input: &mut &[u8]) -> Option<Config> {
        let (&count, mut rest) = input.split_first()?;
        let mut members = Vec::new();
        for _ in 0..count {
            let (&[id, role], tail) = rest.split_first_chunk::<2>()?;
            let role = match role {
                0 => Role::Voter,
                1 => Role::Learner,
                _ => return None,
            };
            let (incarnation, tail) = tail.split_first_chunk::<8>()?;
            let (&len, tail) = tail.split_first()?;
            let (address, tail) = tail.split_at_checked(len as usize)?;
            let address = std::str::from_utf8(address).ok()?.to_owned();
            let incarnation = Incarnation(u64::from_le_bytes(*incarnation));
            members.push(Member { id: NodeId(id), incarnation, role, address });
            rest = tail;
        }
        let plan = Plan::decode(&mut rest)?;
        *input = rest;
        let valid = members.len() <= MEMBERS_MAX && members.is_sorted_by(|a, b| a.id < b.id);
        valid.then_some(Config { members, plan })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Step;

    #[test]
    fn the_majority_holds_the_quorum_index() {
        let held = |member: &Member| Index([0, 5, 9, 7, 1, 3][member.id.0 as usize]);
        assert_eq!(Config::of_voters(1).quorum_index(held), Index(5));
        assert_eq!(Config::of_voters(2).quorum_index(held), Index(5));
        assert_eq!(Config::of_voters(3).quorum_index(held), Index(7));
        assert_eq!(Config::of_voters(5).quorum_index(held), Index(5));
        assert_eq!((Config::of_voters(5).absence(), Config::of_voters(4).absence()), (3, 3));
    }

    #[test]
    fn one_voter_at_a_time() {
        let three = Config::of_voters(3);
        let four = three.with(Member::new(NodeId(4), Incarnation(4), Role::Voter, "a:1"));
        assert!(four.follows(&three) && three.follows(&four));
        assert!(!three.without(NodeId(1)).follows(&four));
        let mut bytes = Vec::new();
        four.encode(&mut bytes);
        assert_eq!(Config::decode(&mut &bytes[..]), Some(four));
    }

    #[test]
    fn another_incarnation_is_another_voter() {
        let three = Config::of_voters(3);
        let again = Member::new(NodeId(3), Incarnation(33), Role::Voter, "");
        let (old, new) = (
            Voice { id: NodeId(3), incarnation: Incarnation(3) },
            Voice { id: NodeId(3), incarnation: Incarnation(33) },
        );
        assert!(three.is_voter(old) && !three.names(new));
        let swapped = three.with(again.clone());
        assert!(!swapped.follows(&three), "one lost and one gained are two");
        let learner = three.with(Member { role: Role::Learner, ..again });
        assert!(learner.follows(&three) && swapped.follows(&learner));
    }

    #[test]
    fn founders_without_names_decide_all_together() {
        let open = |id| Member::new(NodeId(id), Incarnation::OPEN, Role::Voter, "");
        let founding = Config::new((1..=3).map(open).collect());
        assert_eq!((founding.majority(), founding.absence()), (3, 2));
        assert!(founding.is_voter(Voice { id: NodeId(2), incarnation: Incarnation(77) }));
        let named = Config::of_voters(3);
        assert!(named.follows(&founding) && !founding.follows(&named));
        assert_eq!(named.majority(), 2);
    }

    #[test]
    fn a_plan_travels_with_it() {
        let mut config = Config::of_voters(3);
        config.plan = Plan::new(
            Index(9),
            vec![
                Step::Learner { id: NodeId(4), incarnation: Incarnation::OPEN, address: "b:2".into() },
                Step::Voter { id: NodeId(4) },
                Step::Remove { id: NodeId(1) },
            ],
        );
        let mut bytes = Vec::new();
        config.encode(&mut bytes);
        assert_eq!(Config::decode(&mut &bytes[..]), Some(config));
        for end in 0..bytes.len() {
            assert_eq!(Config::decode(&mut &bytes[..end]), None, "{end} bytes");
        }
    }
}
