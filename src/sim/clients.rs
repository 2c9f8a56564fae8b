//! Virtual clients: each does one thing at a time, remembers when it began and ended and what came of it, and
//! never takes silence for a "no".
//!
//! They stand behind virtual edges: lanes of commands stamped with origin and sequence, as a door's sessions would
//! send them. When an edge's node dies, whatever it had under way is unknown for good.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Life, Nanos, NodeId, Origin, Rng};
use crate::sim::check::{Ask, Operation, Reply};

/// What a client wants put into a node.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub client: usize,
    /// Tells a late answer to something given up from the answer to what came after.
    pub ticket: u64,
    pub node: NodeId,
    pub register: u32,
    pub ask: Ask,
    /// A read from this node's own state, whatever its age.
    pub local: bool,
    /// Which of its client's changes it is, where changes are sent again; 0: this one never is.
    pub number: u64,
}

/// Who waits for something, and for which of the things that it has asked.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    pub client: usize,
    pub ticket: u64,
}

/// A local read and its answer: never linearizable, but of one state, and never older than this node's last.
#[derive(Clone, Copy, Debug)]
pub struct LocalRead {
    pub node: NodeId,
    pub life: u64,
    pub register: u32,
    pub value: u64,
    pub revision: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    Waiting {
        operation: Option<usize>,
        request: Request,
        until: Nanos,
    },
    /// Its fate is unknown: the same once more, elsewhere.
    Again {
        operation: Option<usize>,
        request: Request,
    },
}

struct Client {
    state: State,
    /// Where it sends next: it stays with a node that answers.
    node: NodeId,
    /// Changes so far.
    number: u64,
}

/// How clients behave in one world.
#[derive(Clone, Debug)]
pub struct Manners {
    pub count: usize,
    pub registers: u32,
    pub reads: f64,
    pub swaps: f64,
    pub local: f64,
    /// Rests between operations, at most.
    pub rest_us: u64,
    pub timeout: Nanos,
    /// Chance that a change of unknown fate is sent again. Above 0 changes carry their client's session.
    pub resends: f64,
}

pub struct Clients {
    list: Vec<Client>,
    pub manners: Manners,
    rng: Rng,
    next_value: u64,
    tickets: u64,
    /// Operations that were sent more than once.
    again: BTreeSet<usize>,
    /// Last value that anybody saw in each register: swaps that never succeed prove little.
    seen: Vec<u64>,
    pub history: Vec<Operation>,
    pub locals: Vec<LocalRead>,
    /// Operations answered.
    pub acked: u64,
    pub unknown: u64,
    /// Changes sent again.
    pub resent: u64,
}

impl Clients {
    pub fn new(mut rng: Rng, manners: Manners, nodes: &[NodeId]) -> Clients {
        let list = (0..manners.count)
            .map(|_| Client { state: State::Idle, node: *rng.pick(nodes), number: 0 })
            .collect();
        Clients {
            list,
            again: BTreeSet::new(),
            seen: vec![0; manners.registers as usize],
            manners,
            rng,
            next_value: 0,
            tickets: 0,
            history: Vec::new(),
            locals: Vec::new(),
            acked: 0,
            unknown: 0,
            resent: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Time for this client: it begins something (`Some`), waits on, or gives up. Returns when to call again.
    pub fn step(&mut self, now: Nanos, client: usize, nodes: &[NodeId]) -> (Option<Request>, Nanos) {
        let rest = Nanos(1_000 * self.rng.between(1, self.manners.rest_us.max(1)));
        if let State::Waiting { until, .. } = self.list[client].state {
            if now < until {
                return (None, until);
            }
            self.give_up(client, nodes);
            return (None, now.plus(rest));
        }
        if let State::Again { operation, request } = self.list[client].state {
            self.tickets += 1;
            self.resent += 1;
            let request = Request { ticket: self.tickets, node: self.list[client].node, ..request };
            let until = now.plus(self.manners.timeout);
            self.list[client].state = State::Waiting { operation, request, until };
            return (Some(request), until);
        }
        let request = self.think(client);
        let operation = (!request.local).then(|| {
            self.history.push(Operation {
                client: client as u32,
                register: request.register,
                ask: request.ask,
                start: now.0,
                end: None,
                reply: None,
            });
            self.history.len() - 1
        });
        let until = now.plus(self.manners.timeout);
        self.list[client].state = State::Waiting { operation, request, until };
        (Some(request), until)
    }

    fn think(&mut self, client: usize) -> Request {
        let register = self.rng.below(u64::from(self.manners.registers)) as u32;
        self.tickets += 1;
        let ticket = self.tickets;
        let node = self.list[client].node;
        if self.rng.chance(self.manners.reads) {
            let local = self.rng.chance(self.manners.local);
            return Request { client, ticket, node, register, ask: Ask::Read, local, number: 0 };
        }
        self.next_value += 1;
        let to = self.next_value;
        let ask = match self.rng.chance(self.manners.swaps) {
            true => Ask::Swap { from: self.seen[register as usize], to },
            false => Ask::Write(to),
        };
        let number = match self.manners.resends > 0.0 {
            true => self.list[client].number + 1,
            false => 0,
        };
        self.list[client].number = number;
        Request { client, ticket, node, register, ask, local: false, number }
    }

    /// No answer will come: the same again, or its fate stays open, and the history has it without an end.
    fn give_up(&mut self, client: usize, nodes: &[NodeId]) {
        let State::Waiting { operation, request, .. } = self.list[client].state else { return };
        self.leave(client, nodes);
        if request.number > 0 && self.rng.chance(self.manners.resends) {
            self.again.extend(operation);
            self.list[client].state = State::Again { operation, request };
        } else {
            self.unknown += u64::from(operation.is_some());
        }
    }

    fn leave(&mut self, client: usize, nodes: &[NodeId]) {
        self.list[client].state = State::Idle;
        self.list[client].node = *self.rng.pick(nodes);
    }

    /// The answer: what the register held before, and the revision since. False: nobody waits for it any more.
    pub fn on_reply(&mut self, now: Nanos, at: Ticket, life: u64, before: u64, revision: u64) -> bool {
        let State::Waiting { operation, request, .. } = self.list[at.client].state else { return false };
        if request.ticket != at.ticket {
            return false;
        }
        self.list[at.client].state = State::Idle;
        self.seen[request.register as usize] = match request.ask {
            Ask::Write(to) => to,
            Ask::Swap { from, to } if from == before => to,
            _ => before,
        };
        match operation {
            Some(operation) => {
                self.history[operation].end = Some(now.0);
                self.history[operation].reply = Some(Reply { before: Some(before), revision });
                self.acked += 1;
            }
            None => {
                let (node, register, value) = (request.node, request.register, before);
                self.locals.push(LocalRead { node, life, register, value, revision });
            }
        }
        true
    }

    /// The node has taken the request and will never answer it. True: its client is free again.
    pub fn on_unknown(&mut self, at: Ticket, nodes: &[NodeId]) -> bool {
        if !self.waits_for(at) {
            return false;
        }
        self.give_up(at.client, nodes);
        true
    }

    /// The node did not take the request: nothing has happened.
    pub fn on_refused(&mut self, client: usize, nodes: &[NodeId]) {
        let State::Waiting { operation, request, .. } = self.list[client].state else { return };
        self.leave(client, nodes);
        match operation {
            // It was sent before: that one's fate is still open.
            Some(operation) if self.again.contains(&operation) => {
                self.list[client].state = State::Again { operation: Some(operation), request };
            }
            Some(operation) => {
                assert_eq!(operation + 1, self.history.len(), "refused at once, or not at all");
                self.history.pop();
            }
            None => {}
        }
    }

    /// This very request is what its client waits for.
    pub fn waits_for(&self, at: Ticket) -> bool {
        matches!(self.list[at.client].state, State::Waiting { request, .. } if request.ticket == at.ticket)
    }

    /// Whether this client has something under way.
    pub fn waits(&self, client: usize) -> bool {
        !matches!(self.list[client].state, State::Idle)
    }

    /// Local reads show states that were, each node's in their order.
    pub fn judge_locals(&self) -> Result<(), String> {
        let mut last: BTreeMap<(NodeId, u64), u64> = BTreeMap::new();
        let writes: BTreeMap<u64, &Operation> = self
            .history
            .iter()
            .filter_map(|op| match op.ask {
                Ask::Write(to) | Ask::Swap { to, .. } => Some((to, op)),
                Ask::Read => None,
            })
            .collect();
        for read in &self.locals {
            let before = last.entry((read.node, read.life)).or_default();
            if read.revision < *before {
                return Err(format!("a local read went back in time: revision {before}, then {read:?}"));
            }
            *before = read.revision;
            if read.value == 0 {
                continue;
            }
            let Some(write) = writes.get(&read.value) else {
                return Err(format!("a local read shows what nobody wrote: {read:?}"));
            };
            let ahead = write.reply.is_some_and(|reply| reply.revision > read.revision);
            if write.register != read.register || ahead {
                return Err(format!(
                    "a local read shows another register or a later write: {read:?}, {write:?}"
                ));
            }
        }
        Ok(())
    }
}

/// One edge of one life of a node: what it has under way.
#[derive(Debug)]
pub struct Desk {
    pub origin: Origin,
    pub lane: u8,
    /// Sequence of the next command.
    pub next: u64,
    pub commands: BTreeMap<u64, Ticket>,
    pub reads: BTreeMap<u64, Ticket>,
    pub next_tag: u64,
}

impl Desk {
    pub fn new(node: NodeId, lane: u8, life: Life) -> Desk {
        Desk {
            origin: Origin::new(node, lane, life),
            lane,
            next: 1,
            commands: BTreeMap::new(),
            reads: BTreeMap::new(),
            next_tag: 1,
        }
    }

    /// Everybody whose request died with this life.
    pub fn orphans(&self) -> Vec<Ticket> {
        self.commands.values().chain(self.reads.values()).copied().collect()
    }
}
