//! A crowd with the steps that jobs have in common.

use std::ops::Range;

use hdrhistogram::Histogram;

use super::{CONNECT_PATIENCE, NODE_EXISTS, local};
use crate::clock::Clock;
use crate::crowd::{Ask, Crowd, Heard, Manner, Said, Talk};
use crate::driver::Protocol;
use crate::plan::Plan;
use crate::record::{code_name, histogram, record};
use crate::run::Trouble;

pub(super) struct WorkedOff {
    pub errors: u64,
    /// Watches that told of something meanwhile.
    pub fired: u64,
}

/// A crowd with the steps that jobs have in common.
pub(super) struct Party<'a, T> {
    pub plan: &'a Plan,
    pub clock: Clock,
    pub crowd: Crowd<T>,
    pub heard: Vec<Heard>,
}

impl<'a, T: Talk> Party<'a, T> {
    pub(super) fn new(plan: &'a Plan, session_ms: u32) -> Result<Party<'a, T>, Trouble> {
        let clock = Clock::start();
        let manner = Manner { value: vec![b'v'; plan.value_size], session_ms, access: plan.access.clone() };
        let crowd = Crowd::new(clock, manner).map_err(local)?;
        Ok(Party { plan, clock, crowd, heard: Vec::new() })
    }

    /// Connects `count` members, spread evenly over the servers; the first of them has the number returned.
    pub(super) fn invite(&mut self, count: usize) -> Result<usize, Trouble> {
        let servers = &self.plan.servers;
        let first = (0..count).map(|nth| self.crowd.add(servers[nth % servers.len()])).min().unwrap_or(0);
        let until = self.clock.now() + CONNECT_PATIENCE;
        let mut missing = count;
        self.hear_until(until, |_, heard| {
            missing -= usize::from(heard.said == Said::Ready);
            if heard.said == Said::Lost { Err(()) } else { Ok(missing == 0) }
        })
        .map_err(|why| {
            Trouble::Connect(why.unwrap_or("the servers do not greet all clients in time".into()))
        })?;
        Ok(first)
    }

    /// Waits until one that has dialled anew is greeted.
    pub(super) fn greet(&mut self, member: usize) -> Result<(), Trouble> {
        let greeted = self.hear_until(self.clock.now() + self.plan.timeout(), |_, heard| match heard.said {
            Said::Ready if heard.member == member => Ok(true),
            Said::Lost if heard.member == member => Err(()),
            _ => Ok(false),
        });
        greeted.map_err(|why| Trouble::Connect(why.unwrap_or("the server does not greet in time".into())))
    }

    /// A session or lease for each of these members.
    pub(super) fn open_all(&mut self, first: usize, count: usize) -> Result<(), Trouble> {
        const TAG: u32 = 0x7fff_0002;
        (first..first + count).for_each(|member| self.crowd.ask(member, Ask::Open, TAG));
        let (mut missing, mut refused) = (count, 0);
        let until = self.clock.now() + CONNECT_PATIENCE;
        let opened = self.hear_until(until, |_, heard| match heard.said {
            Said::Done { tag: TAG, code, .. } => {
                refused = code;
                missing -= 1;
                if code == 0 { Ok(missing == 0) } else { Err(()) }
            }
            Said::Lost => Err(()),
            _ => Ok(false),
        });
        opened.map_err(|why| {
            let why = match refused {
                0 => why.unwrap_or("no answer in time".into()),
                code => code_name(self.plan.target, code),
            };
            Trouble::Prepare(format!("{missing} sessions or leases could not be opened: {why}"))
        })
    }

    /// Hands out what is heard until `enough` says so; `Err(None)`: time is up; `Err(Some)`: `enough` gave up.
    pub(super) fn hear_until(
        &mut self,
        until: u64,
        mut enough: impl FnMut(&mut Crowd<T>, Heard) -> Result<bool, ()>,
    ) -> Result<(), Option<String>> {
        loop {
            self.crowd.turn(until, &mut self.heard).map_err(|error| Some(error.to_string()))?;
            for heard in std::mem::take(&mut self.heard) {
                match enough(&mut self.crowd, heard) {
                    Ok(false) => {}
                    // What else was heard in this turn is of the step that is over.
                    Ok(true) => return Ok(()),
                    Err(()) => return Err(Some(self.crowd.trouble())),
                }
            }
            if self.clock.now() >= until {
                return Err(None);
            }
        }
    }

    /// Lets time pass, with heartbeats; what is heard is nobody's.
    pub(super) fn pause(&mut self, nanos: u64) {
        let _ = self.hear_until(self.clock.now() + nanos, |_, _| Ok(false));
    }

    /// Asks once and waits for the answer; a failure is the server's word against the whole job.
    pub(super) fn demand(&mut self, member: usize, ask: Ask<'_>, what: &str) -> Result<u64, Trouble> {
        const TAG: u32 = 0x7fff_0001;
        self.crowd.ask(member, ask, TAG);
        let until = self.clock.now() + self.plan.timeout();
        let (mut failed, mut at) = (0, 0);
        let waited = self.hear_until(until, |_, heard| match heard.said {
            Said::Done { tag: TAG, code, .. } if heard.member == member => {
                (failed, at) = (code, heard.now);
                Ok(true)
            }
            Said::Lost if heard.member == member => Err(()),
            _ => Ok(false),
        });
        match waited {
            Ok(()) if failed == 0 || failed == NODE_EXISTS => Ok(at),
            Ok(()) => {
                let code = code_name(self.plan.target, failed);
                Err(Trouble::Prepare(format!("the server refuses to {what} with {code}")))
            }
            Err(why) => {
                Err(Trouble::Prepare(format!("{what}: {}", why.unwrap_or("no answer in time".into()))))
            }
        }
    }

    /// Asks once for what has a number for its answer.
    pub(super) fn look(&mut self, member: usize, ask: Ask<'_>) -> Result<i64, Trouble> {
        const TAG: u32 = 0x7fff_0003;
        self.crowd.ask(member, ask, TAG);
        let mut found = None;
        let waited = self.hear_until(self.clock.now() + self.plan.timeout(), |_, heard| match heard.said {
            Said::Done { tag: TAG, value, .. } if heard.member == member => {
                found = Some(value);
                Ok(true)
            }
            Said::Lost if heard.member == member => Err(()),
            _ => Ok(false),
        });
        let no_answer = |why: Option<String>| Trouble::Prepare(why.unwrap_or("no answer in time".into()));
        waited.map_err(no_answer)?;
        found.ok_or_else(|| no_answer(None))
    }

    /// Has these members ask `count` things, each so many at a time, with the thing's number for a tag.
    pub(super) fn work_off(
        &mut self,
        members: Range<usize>,
        count: usize,
        flight: usize,
        mut ask: impl FnMut(&mut Crowd<T>, usize, usize),
        latency: &mut Histogram<u64>,
    ) -> Result<WorkedOff, Trouble> {
        let clock = self.clock;
        let (mut since, mut next, mut missing) = (vec![0; count], 0, count);
        let mut done = WorkedOff { errors: 0, fired: 0 };
        let mut ask_next = |crowd: &mut Crowd<T>, member: usize, since: &mut Vec<u64>| {
            if next < count {
                since[next] = clock.now();
                ask(crowd, member, next);
                next += 1;
            }
        };
        let at_once = flight.saturating_mul(members.len()).min(count);
        for member in members.cycle().take(at_once) {
            ask_next(&mut self.crowd, member, &mut since);
        }
        let mut patience = clock.now() + self.plan.timeout();
        while missing > 0 {
            let left = missing;
            let gave_up = |why: String| Trouble::Prepare(format!("{left} of {count} requests: {why}"));
            if clock.now() >= patience {
                return Err(gave_up("no answer in time".into()));
            }
            self.crowd.turn(patience, &mut self.heard).map_err(local)?;
            // All of a turn counts: a watch may tell behind the last answer.
            for heard in std::mem::take(&mut self.heard) {
                match heard.said {
                    Said::Done { tag, code, .. } if (tag as usize) < count => {
                        record(latency, heard.now - since[tag as usize]);
                        done.errors += u64::from(code != 0 && code != NODE_EXISTS);
                        missing -= 1;
                        patience = heard.now + self.plan.timeout();
                        ask_next(&mut self.crowd, heard.member, &mut since);
                    }
                    Said::Fired => done.fired += 1,
                    Said::Lost => return Err(gave_up(self.crowd.trouble())),
                    _ => {}
                }
            }
        }
        Ok(done)
    }

    /// Makes keys, by all clients.
    pub(super) fn make_all(
        &mut self,
        first: usize,
        count: usize,
        key: impl Fn(usize) -> String,
    ) -> Result<(), Trouble> {
        let members = first..first + self.plan.conns;
        let make = |crowd: &mut Crowd<T>, member, nth| {
            crowd.ask(member, Ask::Make { key: &key(nth), ephemeral: false }, nth as u32);
        };
        match self.work_off(members, count, 1, make, &mut histogram())?.errors {
            0 => Ok(()),
            errors => Err(Trouble::Prepare(format!("{errors} of {count} keys could not be made"))),
        }
    }

    /// Where keys lie, made if the protocol has directories.
    pub(super) fn make_root(&mut self, member: usize) -> Result<String, Trouble> {
        let prefix = &self.plan.prefix;
        let root = prefix.rsplit_once('/').map_or("loadgen", |(root, _)| root).to_string();
        if self.plan.target == Protocol::Zk {
            self.demand(
                member,
                Ask::Make { key: &root, ephemeral: false },
                "make the directory of the keys",
            )?;
        }
        Ok(root)
    }
}
