//! Small worlds, exhausted: every order of deliveries, flushes, time-outs and crashes within small bounds, over the
//! replica that ships.
//!
//! An explorer of our own and not `stateright`: that crate wants a model's states to be hashed and compared as
//! values, with its own actors or its own network; here the state is the replica itself, with clocks in it that
//! must not tell states apart, and effects that have to go through a disk with flushes under way. What is needed
//! of a checker (a stack, a set of fingerprints, a path to print) is shorter than the adapter would be.
//!
//! Two states count as one if they differ in their clocks only as far as nobody can tell: a time is past, within
//! patience, or ahead. So a violation found is real, and what is exhausted is exhausted up to that.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write as _;

use crate::base::{Chain, ClusterId, Epoch, Incarnation, Index, Nanos, NodeId, sum};
use crate::journal::{Batch, Builder, SlotState, flag};
use crate::pipeline::parcel::{Marks, StoreIn};
use crate::replica::{Config, Effect, Found, Msg, Options, Replica, Role, Timing};

/// How often each thing may happen along one path.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub nodes: u8,
    /// Patience ends somewhere, with or without reason.
    pub timeouts: u8,
    /// A leader's heartbeat, which is also how followers learn of commits.
    pub beats: u8,
    pub proposals: u8,
    pub crashes: u8,
    /// A link breaks and all on it is lost.
    pub breaks: u8,
    /// The last member's disk is replaced by an empty one. Where this may happen it does not stand by itself.
    pub wipes: u8,
    /// The leader proposes the next of these configurations.
    pub changes: u8,
    /// States after which the search gives up, and says so.
    pub states: usize,
}

/// What the search came to.
#[derive(Debug)]
pub struct Outcome {
    pub states: usize,
    /// All there is within the bounds was seen.
    pub exhausted: bool,
    /// How many states had a leader that had committed in its epoch, and a decided change: both must occur.
    pub led: usize,
    pub changed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Deliver {
        from: usize,
        to: usize,
    },
    /// The oldest append (or cut) of this disk is done.
    Flush(usize),
    Mark(usize),
    Timeout(usize),
    /// Time passes for this node alone: it trusts its leader no more.
    Doubt(usize),
    Beat(usize),
    Propose(usize),
    Change(usize),
    Crash {
        node: usize,
        landed: usize,
    },
    Break {
        a: usize,
        b: usize,
    },
    Wipe,
}

#[derive(Clone)]
struct Member {
    replica: Replica,
    now: Nanos,
    appends: VecDeque<StoreIn>,
    marking: VecDeque<Marks>,
    log: Vec<Batch>,
    marks: Marks,
    doubted: bool,
}

#[derive(Clone)]
struct Small {
    members: Vec<Member>,
    /// By sender, then receiver.
    links: Vec<VecDeque<Msg>>,
    left: Bounds,
    /// What somebody has called decided.
    decided: BTreeMap<Index, Chain>,
    leaders: BTreeMap<Epoch, NodeId>,
    /// What disks that were replaced held: their acknowledgements were good when they were given.
    former: Vec<(NodeId, Chain)>,
    /// Whether a disk may be replaced in this world.
    wiping: bool,
}

const TIMING: Timing = Timing { heartbeat: Nanos(100), patience: Nanos(1_000), lease: false };

fn options(me: usize) -> Options {
    Options {
        me: NodeId(me as u8 + 1),
        cluster: ClusterId(7),
        timing: TIMING,
        window_bytes: 1 << 20,
        window_count: 4,
        cache_bytes: 1 << 20,
        seed: 1,
    }
}

impl Small {
    fn new(bounds: Bounds) -> Small {
        let count = usize::from(bounds.nodes);
        let marks = |me: usize| Marks {
            config: Config::of_voters(bounds.nodes),
            incarnation: Incarnation(me as u64 + 1),
            ..Marks::default()
        };
        let member = |me| {
            let found =
                Found { marks: marks(me), heads: vec![], configs: vec![], debris: vec![], stateless: false };
            Member {
                replica: Replica::new(options(me), found, Nanos(1)),
                now: Nanos(1),
                appends: VecDeque::new(),
                marking: VecDeque::new(),
                log: vec![],
                marks: marks(me),
                doubted: false,
            }
        };
        let mut world = Small {
            members: (0..count).map(member).collect(),
            links: vec![VecDeque::new(); count * count],
            left: bounds,
            decided: BTreeMap::new(),
            leaders: BTreeMap::new(),
            former: Vec::new(),
            wiping: bounds.wipes > 0,
        };
        for a in 0..count {
            for b in (0..count).filter(|&b| b != a) {
                world.members[a].replica.on_link_up(Nanos(1), NodeId(b as u8 + 1));
            }
            world.carry_out(a).expect("nothing has happened yet");
        }
        world
    }

    fn actions(&self) -> Vec<Action> {
        let count = self.members.len();
        let mut actions = Vec::new();
        for (node, member) in self.members.iter().enumerate() {
            if !member.appends.is_empty() {
                actions.push(Action::Flush(node));
            }
            if !member.marking.is_empty() {
                actions.push(Action::Mark(node));
            }
            for to in (0..count).filter(|&to| !self.links[node * count + to].is_empty()) {
                actions.push(Action::Deliver { from: node, to });
            }
            let leads = member.replica.is_leader();
            if self.left.timeouts > 0 && !(self.wiping && node + 1 == count) {
                actions.push(Action::Timeout(node));
            }
            if leads && self.left.beats > 0 {
                actions.push(Action::Beat(node));
            }
            if leads && self.left.proposals > 0 && member.replica.may_propose() {
                actions.push(Action::Propose(node));
            }
            if leads && self.left.changes > 0 {
                actions.push(Action::Change(node));
            }
            if !leads && !member.doubted && member.replica.leader().is_some() {
                actions.push(Action::Doubt(node));
            }
            if self.left.crashes > 0 {
                actions.extend((0..=member.appends.len()).map(|landed| Action::Crash { node, landed }));
            }
            if self.left.wipes > 0 && node + 1 == count {
                actions.push(Action::Wipe);
            }
            if self.left.breaks > 0 {
                actions.extend((node + 1..count).map(|b| Action::Break { a: node, b }));
            }
        }
        actions
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        let count = self.members.len();
        match action {
            Action::Deliver { from, to } => {
                let msg = self.links[from * count + to].pop_front().expect("offered only if there is one");
                let from = self.members[from].replica.voice();
                let member = &mut self.members[to];
                member.replica.on_message(member.now, from, msg);
                self.carry_out(to)
            }
            Action::Flush(node) => {
                let member = &mut self.members[node];
                match member.appends.pop_front().expect("offered only if there is one") {
                    StoreIn::Append { batch, .. } => {
                        let index = batch.index();
                        member.log.push(batch);
                        assert_eq!(member.log.len() as u64, index.0, "the model's disk has no gaps");
                        member.replica.on_durable(member.now, index);
                    }
                    StoreIn::Cut { after, .. } => {
                        member.log.truncate(after.0 as usize);
                        member.replica.on_cut_done(member.now, after);
                    }
                    other => unreachable!("{other:?} is not kept"),
                }
                self.carry_out(node)
            }
            Action::Mark(node) => {
                let member = &mut self.members[node];
                member.marks = member.marking.pop_front().expect("offered only if there is one");
                let marks = member.marks.clone();
                member.replica.on_marked(member.now, &marks);
                self.carry_out(node)
            }
            Action::Timeout(node) => {
                self.left.timeouts -= 1;
                let member = &mut self.members[node];
                let now = member.now.plus(TIMING.patience).plus(TIMING.patience);
                member.now = now.max(member.replica.deadline());
                member.replica.on_tick(member.now);
                self.carry_out(node)
            }
            Action::Doubt(node) => {
                let member = &mut self.members[node];
                member.doubted = true;
                member.now = member.now.plus(TIMING.patience);
                Ok(())
            }
            Action::Beat(node) => {
                self.left.beats -= 1;
                let member = &mut self.members[node];
                member.now = member.now.plus(TIMING.heartbeat);
                member.replica.on_tick(member.now);
                self.carry_out(node)
            }
            Action::Propose(node) => {
                self.left.proposals -= 1;
                let member = &mut self.members[node];
                let mut body = Builder::default();
                body.push(&[self.left.proposals; 64], 1);
                member.replica.propose(member.now, 0, body, 0).map_err(|refusal| refusal.to_string())?;
                self.carry_out(node)
            }
            Action::Change(node) => {
                self.left.changes -= 1;
                // The highest other member alternates between voter and learner: quorums shift each time.
                let other = if node + 1 == count { node } else { count };
                let other = NodeId(other as u8);
                let config = self.members[node].replica.config();
                let other = config.member(other).expect("nobody is ever removed").clone();
                let role = if other.role == Role::Voter { Role::Learner } else { Role::Voter };
                // Under the name that its disk has now.
                let incarnation = self.members[usize::from(other.id.0) - 1].replica.incarnation();
                let config = config.with(crate::replica::Member { role, incarnation, ..other });
                let member = &mut self.members[node];
                let _ = member.replica.propose_config(member.now, 0, &config);
                self.carry_out(node)
            }
            Action::Crash { node, landed } => {
                self.left.crashes -= 1;
                let member = &mut self.members[node];
                for work in std::mem::take(&mut member.appends).into_iter().take(landed) {
                    match work {
                        StoreIn::Append { batch, .. } => member.log.push(batch),
                        StoreIn::Cut { after, .. } => member.log.truncate(after.0 as usize),
                        other => unreachable!("{other:?} is not kept"),
                    }
                }
                member.marking.clear();
                let found = Found {
                    stateless: false,
                    debris: Vec::new(),
                    marks: member.marks.clone(),
                    heads: member.log.iter().map(|batch| (Some(*batch.head()), SlotState::Present)).collect(),
                    configs: member.log.iter().filter(|batch| batch.has(flag::CONFIG)).cloned().collect(),
                };
                member.replica = Replica::new(options(node), found, member.now);
                // Batches below the cache come from the disk.
                member.replica.on_fetched(member.now, 0, &member.log.clone());
                for other in (0..count).filter(|&other| other != node) {
                    self.break_link(node, other)?;
                }
                self.carry_out(node)
            }
            Action::Wipe => {
                self.left.wipes -= 1;
                let node = count - 1;
                let member = &mut self.members[node];
                let id = NodeId(node as u8 + 1);
                self.former.extend(member.log.drain(..).map(|batch| (id, batch.chain())));
                member.appends.clear();
                member.marking.clear();
                // Formatted to join: another incarnation, without a configuration.
                member.marks = Marks { incarnation: Incarnation(100 + count as u64), ..Marks::default() };
                let found = Found {
                    marks: member.marks.clone(),
                    heads: vec![],
                    configs: vec![],
                    debris: vec![],
                    stateless: false,
                };
                member.replica = Replica::new(options(node), found, member.now);
                for other in 0..node {
                    self.break_link(node, other)?;
                }
                self.carry_out(node)
            }
            Action::Break { a, b } => {
                self.left.breaks -= 1;
                self.break_link(a, b)
            }
        }
    }

    fn break_link(&mut self, a: usize, b: usize) -> Result<(), String> {
        let count = self.members.len();
        for (here, there) in [(a, b), (b, a)] {
            self.links[here * count + there].clear();
        }
        for (here, there) in [(a, b), (b, a)] {
            let member = &mut self.members[here];
            member.replica.on_link_down(member.now, NodeId(there as u8 + 1), false);
            member.replica.on_link_up(member.now, NodeId(there as u8 + 1));
            self.carry_out(here)?;
        }
        Ok(())
    }

    /// Does what a node wants of the world, and holds it against what must be true.
    fn carry_out(&mut self, node: usize) -> Result<(), String> {
        let count = self.members.len();
        let me = NodeId(node as u8 + 1);
        let now = self.members[node].now;
        self.members[node].replica.flush(now);
        let effects: Vec<Effect> = self.members[node].replica.poll_effects().collect();
        for effect in effects {
            let member = &mut self.members[node];
            match effect {
                Effect::Send { to, msg } => {
                    if let Msg::Voted { epoch, .. } = msg
                        && member.marks.promised < epoch
                    {
                        return Err(format!(
                            "{me} answers for epoch {epoch}, its disk has {}",
                            member.marks.promised
                        ));
                    }
                    self.links[node * count + usize::from(to.0) - 1].push_back(msg);
                }
                Effect::Store(StoreIn::Mark(marks)) => member.marking.push_back(marks),
                Effect::Store(work @ (StoreIn::Append { .. } | StoreIn::Cut { .. })) => {
                    member.appends.push_back(work);
                }
                Effect::Store(StoreIn::Fetch { ticket, from, .. }) => {
                    let batches: Vec<Batch> = member.log.iter().skip(from.0 as usize - 1).cloned().collect();
                    member.replica.on_fetched(member.now, ticket, &batches);
                    self.carry_out(node)?;
                }
                Effect::Leading { epoch } => {
                    if let Some(other) = self.leaders.insert(epoch, me).filter(|&other| other != me) {
                        return Err(format!("{me} and {other} both lead epoch {epoch}"));
                    }
                    if !member.replica.config().is_voter(member.replica.voice()) {
                        return Err(format!("{me} leads epoch {epoch} and is no voter"));
                    }
                }
                Effect::Committed(upto) => self.judge_commit(node, upto)?,
                Effect::Halt(why) => return Err(format!("{me} halts: {why}")),
                _ => {}
            }
        }
        let member = &mut self.members[node];
        member.doubted &= member.replica.leader().is_none();
        member.replica.invariants().map_err(|why| format!("{me}: {why}"))
    }

    /// Agreement, and for a leader: a majority of the configuration in force at the index has it on disk.
    fn judge_commit(&mut self, node: usize, upto: Index) -> Result<(), String> {
        let replica = &self.members[node].replica;
        let first = self.decided.keys().next_back().map_or(Index(1), |last| last.next());
        for index in (1..=upto.0).map(Index) {
            let Some(chain) = replica.log().chain(index) else { continue };
            if index >= first && replica.is_leader() {
                let holds = |id: NodeId| {
                    let log = &self.members[usize::from(id.0) - 1].log;
                    log.get(index.0 as usize - 1).is_some_and(|batch| batch.chain() == chain)
                        || self.former.contains(&(id, chain))
                };
                // A later configuration may be what decided it: one of the two majorities must be there.
                let enough =
                    replica.log().configs().iter().filter(|(at, _)| *at <= upto).any(|(_, config)| {
                        config.voters().filter(|voter| holds(voter.id)).count() >= config.majority()
                    });
                if !enough {
                    return Err(format!("batch {index} is called committed and no majority has it on disk"));
                }
            }
            let known = *self.decided.entry(index).or_insert(chain);
            if known != chain {
                return Err(format!("two different batches are committed at {index}"));
            }
        }
        Ok(())
    }

    /// Names the state up to what clocks cannot tell apart.
    fn fingerprint(&self, text: &mut String) -> u128 {
        text.clear();
        for member in &self.members {
            let start = text.len();
            let _ = write!(text, "{:?}", member.replica);
            blur(text, start, member.now);
            let _ = write!(text, "{:?}{:?}{:?}", member.marks.promised, member.marks.vote, member.doubted);
            for batch in &member.log {
                let _ = write!(text, "{:x}", batch.chain().0);
            }
            let start = text.len();
            let _ = write!(text, "{:?}{:?}", member.appends, member.marking);
            blur(text, start, Nanos(0));
        }
        let start = text.len();
        let left = (self.left.timeouts, self.left.beats, self.left.proposals, self.left.crashes);
        let rest = (self.left.breaks, self.left.changes, self.left.wipes);
        let _ = write!(text, "{:?}{left:?}{rest:?}{:?}", self.links, self.former);
        blur(text, start, Nanos(0));
        sum::hash128(text.as_bytes())
    }
}

/// From `start` on: times become past, recent or ahead; what was drawn, nothing.
fn blur(text: &mut String, start: usize, now: Nanos) {
    let tail = text.split_off(start);
    let mut rest = tail.as_str();
    while let Some(at) = [rest.find("Nanos("), rest.find("Rng([")].into_iter().flatten().min() {
        let end = at + rest[at..].find(')').expect("Debug closes what it opens");
        text.push_str(&rest[..at]);
        if let Some(number) = rest[at..end].strip_prefix("Nanos(") {
            let time = Nanos(number.parse().expect("a time is a number"));
            text.push(match time {
                Nanos(0) => '0',
                _ if time > now => '>',
                _ if now.since(time) < TIMING.patience => '=',
                _ => '<',
            });
        }
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
}

/// Goes through everything within the bounds, or stops at the first violation with the path to it.
pub fn explore(bounds: Bounds) -> Result<Outcome, String> {
    let mut seen = HashSet::new();
    let mut text = String::new();
    let mut outcome = Outcome { states: 0, exhausted: true, led: 0, changed: 0 };
    let world = Small::new(bounds);
    seen.insert(world.fingerprint(&mut text));
    let actions = world.actions();
    let mut stack = vec![(world, actions)];
    let mut path: Vec<Action> = Vec::new();
    while let Some((world, actions)) = stack.last_mut() {
        let Some(action) = actions.pop() else {
            stack.pop();
            path.pop();
            continue;
        };
        let mut next = world.clone();
        path.push(action);
        next.act(action).map_err(|why| format!("{why}; after {path:?}"))?;
        if seen.len() < bounds.states && seen.insert(next.fingerprint(&mut text)) {
            outcome.led += usize::from(next.members.iter().any(|member| member.replica.leads().is_some()));
            outcome.changed += usize::from(next.members.iter().any(|member| {
                let at = member.replica.log().config_at();
                at.0 > 0 && at <= member.replica.commit()
            }));
            let actions = next.actions();
            stack.push((next, actions));
        } else {
            outcome.exhausted &= seen.len() < bounds.states;
            path.pop();
        }
    }
    outcome.states = seen.len();
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Bounds = Bounds {
        nodes: 3,
        timeouts: 0,
        beats: 0,
        proposals: 0,
        crashes: 0,
        breaks: 0,
        changes: 0,
        wipes: 0,
        states: 60_000,
    };

    /// Two members: an election, a batch, a crash in the midst of it, whatever comes first.
    #[test]
    fn two_members_with_a_crash_are_exhausted() {
        let outcome =
            explore(Bounds { nodes: 2, timeouts: 2, proposals: 1, crashes: 1, states: 100_000, ..NONE })
                .unwrap();
        assert!(outcome.exhausted && outcome.led > 0, "{outcome:?}");
    }

    /// Three members elect one and bring each other in step.
    #[test]
    fn an_election_of_three_is_exhausted() {
        let outcome = explore(Bounds { timeouts: 1, ..NONE }).unwrap();
        assert!(outcome.exhausted && outcome.led > 0, "{outcome:?}");
    }

    /// A voter loses its disk in the midst of two elections, and comes back empty: whatever it is asked then, and
    /// whatever its former self has promised, no epoch gets two leaders.
    #[test]
    fn a_voter_that_loses_its_disk_never_votes_twice() {
        let outcome = explore(Bounds { timeouts: 2, wipes: 1, states: 150_000, ..NONE }).unwrap();
        assert!(outcome.led > 0, "{outcome:?}");
    }

    /// The same with its return: it is made a learner under its new name, then a voter.
    #[test]
    fn a_voter_that_lost_its_disk_is_named_anew() {
        let outcome = explore(Bounds { timeouts: 1, changes: 2, wipes: 1, states: 60_000, ..NONE }).unwrap();
        assert!(outcome.led > 0 && outcome.changed > 0, "{outcome:?}");
    }

    /// A voter becomes a learner and back: old and new majorities meet. Two elections, two changes and a crash at once
    /// are more than a test can visit, so one of them is left out at a time.
    #[test]
    fn changes_of_two_members_are_exhausted() {
        let all = Bounds { nodes: 2, timeouts: 2, changes: 2, crashes: 1, states: 100_000, ..NONE };
        let fewer =
            [Bounds { timeouts: 1, ..all }, Bounds { changes: 1, ..all }, Bounds { crashes: 0, ..all }];
        for bounds in fewer {
            let outcome = explore(bounds).unwrap();
            assert!(outcome.exhausted && outcome.led > 0 && outcome.changed > 0, "{bounds:?}: {outcome:?}");
        }
    }
}
