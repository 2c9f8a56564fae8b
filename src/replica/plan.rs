//! A request that changes several members: a plan of steps that travels in the configuration. Each entry carries
//! out the first step and names the rest, so whoever leads when one is committed goes on with the next.

use crate::base::{Incarnation, Index, Nanos, NodeId};
use crate::replica::core::Replica;
use crate::replica::{Config, MEMBERS_MAX, Member, Refusal, Role};

/// One change of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It follows from now on and counts for nothing. Of whoever has this id the vote is taken away.
    Learner {
        id: NodeId,
        incarnation: Incarnation,
        address: String,
    },
    /// The learner votes from now on: waits until it has all but the last few batches.
    Voter {
        id: NodeId,
    },
    Remove {
        id: NodeId,
    },
}

/// The most steps of one plan: a configuration must fit the superblock.
pub const STEPS_MAX: usize = 12;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The entry that began it: its name.
    pub since: Index,
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn new(since: Index, steps: Vec<Step>) -> Plan {
        assert!(steps.len() <= STEPS_MAX);
        Plan { since, steps }
    }

    /// `since u64, count u8`, then for each step `kind u8, id u8, incarnation u64, length u8, address`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.since.0.to_le_bytes());
        out.push(self.steps.len() as u8);
        for step in &self.steps {
            let (kind, id, incarnation, address) = match step {
                Step::Learner { id, incarnation, address } => (0, id, *incarnation, address.as_str()),
                Step::Voter { id } => (1, id, Incarnation::OPEN, ""),
                Step::Remove { id } => (2, id, Incarnation::OPEN, ""),
            };
            out.extend_from_slice(&[kind, id.0]);
            out.extend_from_slice(&incarnation.0.to_le_bytes());
            out.push(address.len() as u8);
            out.extend_from_slice(address.as_bytes());
        }
    }

    pub fn decode(input: &mut &[u8]) -> Option<Plan> {
        let (since, rest) = input.split_first_chunk::<8>()?;
        let (&count, mut rest) = rest.split_first()?;
        let mut steps = Vec::new();
        for _ in 0..count {
            let (&[kind, id], tail) = rest.split_first_chunk::<2>()?;
            let (incarnation, tail) = tail.split_first_chunk::<8>()?;
            let (&len, tail) = tail.split_first()?;
            let (address, tail) = tail.split_at_checked(len as usize)?;
            let (id, address) = (NodeId(id), std::str::from_utf8(address).ok()?.to_owned());
            steps.push(match kind {
                0 => {
                    Step::Learner { id, incarnation: Incarnation(u64::from_le_bytes(*incarnation)), address }
                }
                1 => Step::Voter { id },
                2 => Step::Remove { id },
                _ => return None,
            });
            rest = tail;
        }
        *input = rest;
        (steps.len() <= STEPS_MAX).then_some(Plan { since: Index(u64::from_le_bytes(*since)), steps })
    }
}

/// The members after one step. `heard` knows which incarnation of a node speaks.
fn after(
    before: &Config,
    step: &Step,
    heard: impl Fn(NodeId) -> Option<Incarnation>,
) -> Result<Config, Refusal> {
    Ok(match step {
        Step::Learner { id, incarnation, address } => {
            if before.member(*id).is_none() && before.members().len() == MEMBERS_MAX {
                return Err(Refusal::TooMany);
            }
            before.with(Member::new(*id, *incarnation, Role::Learner, address.clone()))
        }
        Step::Voter { id } => {
            let member = before.member(*id).ok_or(Refusal::NotReady)?;
            let incarnation = heard(*id).ok_or(Refusal::NotReady)?;
            let incarnation = if member.is(incarnation) { incarnation } else { member.incarnation };
            before.with(Member { incarnation, role: Role::Voter, ..member.clone() })
        }
        Step::Remove { id } => before.without(*id),
    })
}

/// How far a plan has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    UnderWay,
    /// Its last step is committed.
    Done,
    /// Another plan stands in its place, or nothing: its leader lost the log that it was in.
    Replaced,
}

impl Replica {
    /// Begins a plan: proposes its first step. Returns the plan's name.
    pub fn begin_plan(&mut self, now: Nanos, wall_ms: u64, steps: Vec<Step>) -> Result<Index, Refusal> {
        if !self.config().plan.steps.is_empty() && !steps.is_empty() {
            return Err(Refusal::Pending);
        }
        if steps.len() > STEPS_MAX {
            return Err(Refusal::TooLong);
        }
        // All of it must be possible, but for what only time can tell: whether a learner catches up.
        let mut config = self.config().clone();
        for step in &steps {
            let next = after(&config, step, |_| Some(Incarnation(u64::MAX)))?;
            if !next.follows(&config) {
                return Err(Refusal::TwoAtOnce);
            }
            config = next;
        }
        let since = self.last().next();
        let plan = Plan::new(since, steps);
        let config = self.next_config(plan)?;
        self.propose_config(now, wall_ms, &config)
    }

    /// The leader's next move in what is planned: founders get their names as soon as they have met, then the next
    /// step is proposed once the one before is committed and it can be taken.
    pub fn go_on_with_plan(&mut self, now: Nanos, wall_ms: u64) {
        if self.leads().is_none() || self.log().config_at() > self.commit() || !self.may_propose() {
            return;
        }
        if self.config().is_open() {
            let named = self.named();
            if !named.is_open() {
                let _ = self.propose_config(now, wall_ms, &named);
            }
        } else if !self.config().plan.steps.is_empty()
            && let Ok(config) = self.next_config(self.config().plan.clone())
        {
            let _ = self.propose_config(now, wall_ms, &config);
        }
    }

    /// The founders, as they have been heard.
    fn named(&self) -> Config {
        let mut config = self.config().clone();
        for member in self.config().voters().filter(|member| member.incarnation == Incarnation::OPEN) {
            if let Some(incarnation) = self.heard_of(member.id) {
                config = config.with(Member { incarnation, ..member.clone() });
            }
        }
        config
    }

    /// The configuration after a plan's first step, which carries the rest.
    fn next_config(&self, mut plan: Plan) -> Result<Config, Refusal> {
        let mut config = self.config().clone();
        if !plan.steps.is_empty() {
            let step = plan.steps.remove(0);
            if matches!(step, Step::Voter { id } if !self.is_caught_up(id)) {
                return Err(Refusal::NotReady);
            }
            config = after(&config, &step, |id| self.heard_of(id))?;
        }
        config.plan = plan;
        Ok(config)
    }

    /// What has become of the plan of this name, by what is committed here.
    pub fn plan_progress(&self, since: Index) -> Progress {
        let commit = self.commit();
        let decided =
            || self.log().configs().iter().filter(|(at, _)| *at <= commit).map(|(_, config)| &config.plan);
        if decided().any(|plan| plan.since == since && plan.steps.is_empty()) {
            return Progress::Done;
        }
        let known = self.log().configs().iter().any(|(_, config)| config.plan.since == since);
        let over = decided().any(|plan| plan.since > since) || (commit >= since && !known);
        if over { Progress::Replaced } else { Progress::UnderWay }
    }
}
