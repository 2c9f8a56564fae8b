//! Judges a history of register operations from the clients' side only.
//!
//! `linearizable` is the search of Wing and Gong with Lowe's memo, per register (operations on one register say
//! nothing of another). `in_order_of_revisions` is the cheap check, O(n log n), for histories of any length; it
//! believes the revisions that the server reports, so the search, which does not look at them, judges beside it.

use std::collections::HashSet;
use std::fmt;

/// What was asked of one register. Values are unique per history; 0 is what a register holds at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Read,
    Write(u64),
    /// Set to `to` if it holds `from`.
    Swap {
        from: u64,
        to: u64,
    },
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the register held before the operation; of a plain write nothing is told.
    pub before: Option<u64>,
    /// The realm's revision after a change, or at which the read was answered.
    pub revision: u64,
}

/// One operation as its client saw it.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub client: u32,
    pub register: u32,
    pub ask: Ask,
    /// Virtual times; an operation whose fate is unknown has no end: it may take effect at any later time.
    pub start: u64,
    pub end: Option<u64>,
    pub reply: Option<Reply>,
}

/// Why a history is refused.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// No order explains this register's operations; the longest explained prefix ends before these.
    NotLinearizable {
        register: u32,
        stuck: Vec<Operation>,
    },
    /// The search was given up: that proves nothing, and counts as a failure.
    TooHard {
        register: u32,
        operations: usize,
    },
    Revision {
        what: &'static str,
        first: Operation,
        second: Operation,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotLinearizable { register, stuck } => {
                write!(f, "register {register} is not linearizable; no order goes past {stuck:?}")
            }
            Refusal::TooHard { register, operations } => {
                write!(f, "register {register}: the search over {operations} operations was given up")
            }
            Refusal::Revision { what, first, second } => write!(f, "{what}: {first:?}, then {second:?}"),
        }
    }
}

/// Configurations visited per register before the search gives up.
const PATIENCE: usize = 2_000_000;

/// Whether some order of the operations, consistent with real time, explains every answer.
pub fn linearizable(history: &[Operation]) -> Result<(), Box<Refusal>> {
    let mut registers: Vec<u32> = history.iter().map(|op| op.register).collect();
    registers.sort_unstable();
    registers.dedup();
    for register in registers {
        let mine: Vec<Operation> = history.iter().filter(|op| op.register == register).copied().collect();
        search(register, &relevant(&mine))?;
    }
    Ok(())
}

/// Unknown reads say nothing. An unknown change whose value nobody ever saw can be left out: no answer depends on
/// it, so an order with the change in it is still one without.
fn relevant(history: &[Operation]) -> Vec<Operation> {
    let seen: HashSet<u64> = history
        .iter()
        .filter_map(|op| op.reply.and_then(|reply| reply.before))
        .chain(history.iter().filter_map(|op| match op.ask {
            Ask::Swap { from, .. } => Some(from),
            _ => None,
        }))
        .collect();
    let mut kept: Vec<Operation> = history
        .iter()
        .filter(|op| match (op.reply, op.ask) {
            (Some(_), _) => true,
            (None, Ask::Read) => false,
            (None, Ask::Write(value) | Ask::Swap { to: value, .. }) => seen.contains(&value),
        })
        .copied()
        .collect();
    kept.sort_by_key(|op| (op.start, op.end.unwrap_or(u64::MAX)));
    kept
}

/// The register after the operation, or `None` where the answer contradicts `value`.
fn step(op: &Operation, value: u64) -> Option<u64> {
    if op.reply.and_then(|reply| reply.before).is_some_and(|before| before != value) {
        return None;
    }
    Some(match op.ask {
        Ask::Read => value,
        Ask::Write(to) => to,
        Ask::Swap { from, to } if from == value => to,
        Ask::Swap { .. } => value,
    })
}

/// Which operations are in the order so far.
struct Bits {
    words: Vec<u64>,
    /// Words before this one are full; from `end` on all are empty.
    full: usize,
    end: usize,
}

impl Bits {
    fn has(&self, n: usize) -> bool {
        self.words[n / 64] >> (n % 64) & 1 == 1
    }

    fn flip(&mut self, n: usize) {
        self.words[n / 64] ^= 1 << (n % 64);
        let word = n / 64;
        if self.words[word] != u64::MAX {
            self.full = self.full.min(word);
        }
        while self.words.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
        self.end = self.end.max(word + 1);
        while self.end > 0 && self.words[self.end - 1] == 0 {
            self.end -= 1;
        }
    }

    fn first_hole(&self) -> usize {
        self.full * 64 + self.words.get(self.full).map_or(0, |word| word.trailing_ones() as usize)
    }

    /// The words from that of `low` on, as far as anything is placed.
    fn behind(&self, low: usize) -> Vec<u64> {
        self.words.get(low / 64..self.end).unwrap_or(&[]).to_vec()
    }
}

/// Depth first: take any operation that none of the others left over precedes, if its answer fits.
///
/// Two rules keep the tree narrow and lose nothing. An operation that fits and changes nothing is taken at once:
/// whatever order exists without it here exists with it here. One of unknown fate is taken only where somebody
/// who may come next depends on its value: elsewhere it would be overwritten unseen, and can be left out.
fn search(register: u32, ops: &[Operation]) -> Result<(), Box<Refusal>> {
    let mut placed = Bits { words: vec![0; ops.len().div_ceil(64)], full: 0, end: 0 };
    // A set is told from others by where it begins to have holes, and by what is placed behind.
    let mut memo: HashSet<(usize, Vec<u64>, u64)> = HashSet::new();
    let mut path: Vec<Choice> = Vec::new();
    let (mut value, mut candidate, mut best) = (0, 0, 0);
    let mut stuck: Vec<usize> = Vec::new();
    // Operations without an end need not be placed at all.
    let must = ops.iter().filter(|op| op.end.is_some()).count();
    let mut done = 0;
    while done < must {
        if memo.len() > PATIENCE {
            return Err(Box::new(Refusal::TooHard { register, operations: ops.len() }));
        }
        let chosen = choose(ops, &mut placed, value, candidate, &mut memo);
        let Some((n, after, forced)) = chosen else {
            // Back to the last choice that had an alternative.
            loop {
                let Some(Choice { n, before, forced }) = path.pop() else {
                    let stuck = stuck.into_iter().map(|n| ops[n]).collect();
                    return Err(Box::new(Refusal::NotLinearizable { register, stuck }));
                };
                placed.flip(n);
                done -= usize::from(ops[n].end.is_some());
                (value, candidate) = (before, n + 1);
                if !forced {
                    break;
                }
            }
            continue;
        };
        placed.flip(n);
        path.push(Choice { n, before: value, forced });
        done += usize::from(ops[n].end.is_some());
        (value, candidate) = (after, 0);
        if done > best {
            best = done;
            stuck = (0..ops.len()).filter(|&n| !placed.has(n)).take(4).collect();
        }
    }
    Ok(())
}

/// One step of an order: what was placed, the value before it, and whether nothing else needs to be tried.
struct Choice {
    n: usize,
    before: u64,
    forced: bool,
}

/// The next operation from `candidate` on that may come now and leads to a state not seen before.
fn choose(
    ops: &[Operation],
    placed: &mut Bits,
    value: u64,
    candidate: usize,
    memo: &mut HashSet<(usize, Vec<u64>, u64)>,
) -> Option<(usize, u64, bool)> {
    // No operation may come after one that ended before it began: of those left, the earliest end bounds the
    // starts. Sorted by start, so the scan is short.
    let mut horizon = u64::MAX;
    let mut open: Vec<usize> = Vec::new();
    for (n, op) in ops.iter().enumerate().skip(placed.first_hole()) {
        if op.start > horizon {
            break;
        }
        if !placed.has(n) {
            open.push(n);
            horizon = horizon.min(op.end.unwrap_or(u64::MAX));
        }
    }
    open.retain(|&n| ops[n].start <= horizon);
    let fits = |n: usize| step(&ops[n], value);
    if candidate == 0
        && let Some(&n) = open.iter().find(|&&n| ops[n].reply.is_some() && fits(n) == Some(value))
    {
        return Some((n, value, true));
    }
    for &n in open.iter().filter(|&&n| n >= candidate) {
        let Some(after) = fits(n) else { continue };
        let wanted = |m: &usize| *m != n && wants(&ops[*m], after);
        if ops[n].reply.is_none() && (after == value || !open.iter().any(wanted)) {
            continue;
        }
        placed.flip(n);
        let low = placed.first_hole();
        let fresh = memo.insert((low, placed.behind(low), after));
        placed.flip(n);
        if fresh {
            return Some((n, after, false));
        }
    }
    None
}

/// Whether this operation may come right after `value` was written, and shows it or needs it.
fn wants(op: &Operation, value: u64) -> bool {
    match (op.reply, op.ask) {
        (Some(reply), _) => reply.before.is_none_or(|before| before == value),
        (None, Ask::Swap { from, .. }) => from == value,
        (None, _) => false,
    }
}

/// Believing the revisions: changes replayed in their order give every answer; whatever ended before another
/// operation began has no higher revision (a change: a lower one).
pub fn in_order_of_revisions(history: &[Operation]) -> Result<(), Box<Refusal>> {
    let refuse = |what, first: &Operation, second: &Operation| {
        Err(Box::new(Refusal::Revision { what, first: *first, second: *second }))
    };
    let mut known: Vec<(&Operation, Reply)> =
        history.iter().filter_map(|op| op.reply.map(|reply| (op, reply))).collect();
    // Real time: going through starts, the highest revision that had been answered before.
    let mut by_end = known.clone();
    by_end.sort_by_key(|(op, _)| op.end);
    known.sort_by_key(|(op, _)| op.start);
    let (mut ended, mut highest): (usize, Option<(&Operation, Reply)>) = (0, None);
    for &(op, reply) in &known {
        while ended < by_end.len() && by_end[ended].0.end < Some(op.start) {
            if highest.is_none_or(|(_, high)| by_end[ended].1.revision > high.revision) {
                highest = Some(by_end[ended]);
            }
            ended += 1;
        }
        let Some((earlier, high)) = highest else { continue };
        if reply.revision < high.revision {
            return refuse("an answer is older than one that ended before it began", earlier, op);
        }
        if changes(op, reply) && reply.revision == high.revision {
            return refuse("two answers claim one revision, and one is a later change", earlier, op);
        }
    }
    // Model: between two known changes of a register that touch, the answers must agree.
    let mut changed: Vec<(&Operation, Reply)> =
        known.iter().filter(|(op, reply)| changes(op, *reply)).copied().collect();
    changed.sort_by_key(|(_, reply)| reply.revision);
    if let Some(pair) = changed.windows(2).find(|pair| pair[0].1.revision == pair[1].1.revision) {
        return refuse("two changes claim one revision", pair[0].0, pair[1].0);
    }
    let unknown = history.iter().filter(|op| op.reply.is_none() && op.ask != Ask::Read);
    let perhaps: HashSet<(u32, u64)> = unknown.map(|op| (op.register, to(op.ask))).collect();
    known.sort_by_key(|(op, reply)| (reply.revision, !changes(op, *reply)));
    let mut last: std::collections::BTreeMap<u32, &Operation> = Default::default();
    for &(op, reply) in &known {
        let expected = last.get(&op.register).map_or(0, |op| to(op.ask));
        if reply.before.is_some_and(|before| before != expected && !perhaps.contains(&(op.register, before)))
        {
            let earlier = last.get(&op.register).copied().unwrap_or(op);
            return refuse("an answer contradicts the changes before its revision", earlier, op);
        }
        if changes(op, reply) {
            last.insert(op.register, op);
        }
    }
    Ok(())
}

fn to(ask: Ask) -> u64 {
    match ask {
        Ask::Write(to) | Ask::Swap { to, .. } => to,
        Ask::Read => 0,
    }
}

fn changes(op: &Operation, reply: Reply) -> bool {
    match op.ask {
        Ask::Read => false,
        Ask::Write(_) => true,
        Ask::Swap { from, .. } => reply.before == Some(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    /// Runs operations against one true register set; answers are right, overlaps are drawn.
    fn good(seed: u64, count: usize) -> Vec<Operation> {
        let mut rng = Rng::new(seed);
        let mut held = [0u64; 3];
        let mut revision = 0;
        let mut clients = [0u64; 6]; // When each is free again.
        let mut now = 0;
        (0..count as u64)
            .map(|n| {
                now += rng.below(4) + 1; // The instant at which this one takes effect.
                let client = rng.below(6) as usize;
                let register = rng.below(3) as usize;
                let start = clients[client].max(now.saturating_sub(rng.below(12))).min(now);
                let end = now + rng.below(12);
                clients[client] = end + 1;
                now = now.max(start);
                let ask = match rng.below(3) {
                    0 => Ask::Read,
                    1 => Ask::Write(n + 1),
                    _ => Ask::Swap { from: if rng.chance(0.5) { held[register] } else { 1 }, to: n + 1 },
                };
                let before = held[register];
                let told = (!matches!(ask, Ask::Write(_)) || rng.chance(0.5)).then_some(before);
                let mut op = Operation {
                    client: client as u32,
                    register: register as u32,
                    ask,
                    start,
                    end: Some(end),
                    reply: Some(Reply { before: told, revision }),
                };
                // Unknown outcomes: some took effect, some did not.
                let unknown = rng.chance(0.1);
                if !unknown || rng.chance(0.5) {
                    held[register] = step(&op, before).unwrap();
                    revision += u64::from(changes(&op, op.reply.unwrap()));
                }
                op.reply = Some(Reply { before: told, revision });
                if unknown {
                    (op.end, op.reply) = (None, None);
                }
                op
            })
            .filter(|op| op.end.is_none_or(|end| end >= op.start))
            .collect()
    }

    #[test]
    fn true_histories_pass_both_checks() {
        for seed in 0..300 {
            let history = good(seed, 150);
            linearizable(&history).unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}"));
            in_order_of_revisions(&history).unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}"));
        }
    }

    /// Every small history: the search and plain enumeration of all orders agree.
    #[test]
    fn the_search_agrees_with_trying_all_orders() {
        fn any_order(ops: &[Operation], left: &mut Vec<usize>, value: u64) -> bool {
            if left.iter().all(|&n| ops[n].end.is_none()) {
                return true;
            }
            let earliest = left.iter().filter_map(|&n| ops[n].end).min().unwrap_or(u64::MAX);
            (0..left.len()).any(|at| {
                let n = left[at];
                if ops[n].start > earliest {
                    return false;
                }
                let Some(after) = step(&ops[n], value) else { return false };
                left.remove(at);
                let found = any_order(ops, left, after);
                left.insert(at, n);
                found
            })
        }
        let mut verdicts = [0, 0];
        for seed in 0..4000 {
            let mut rng = Rng::new(seed);
            let ops: Vec<Operation> = (0..6)
                .map(|n| {
                    let start = rng.below(12);
                    let end = rng.chance(0.85).then(|| start + rng.below(8));
                    let ask = match rng.below(3) {
                        0 => Ask::Read,
                        1 => Ask::Write(n + 1),
                        _ => Ask::Swap { from: rng.below(7), to: n + 1 },
                    };
                    let reply = end.map(|_| Reply { before: Some(rng.below(3)), revision: 0 });
                    Operation { client: n as u32, register: 0, ask, start, end, reply }
                })
                .collect();
            let truth = any_order(&ops, &mut (0..ops.len()).collect(), 0);
            assert_eq!(linearizable(&ops).is_ok(), truth, "seed {seed}: {ops:?}");
            verdicts[usize::from(truth)] += 1;
        }
        assert!(verdicts.iter().all(|&n| n > 50), "both verdicts must occur: {verdicts:?}");
    }

    /// Breaks true histories in the ways a server would, and counts which check notices.
    #[test]
    fn broken_histories_are_refused() {
        let (mut by_search, mut by_revision, mut tried) = (0, 0, 0);
        for seed in 0..200 {
            let mut history = good(seed, 150);
            let mut rng = Rng::new(seed ^ 0xbad);
            // A stale read: the answer of an operation long gone.
            let Some(late) = (100..history.len()).find(|&n| {
                history[n].ask == Ask::Read && history[n].reply.is_some_and(|reply| reply.before > Some(20))
            }) else {
                continue;
            };
            let register = history[late].register;
            let old: Vec<Reply> = history[..40]
                .iter()
                .filter(|op| op.register == register && op.ask == Ask::Read)
                .filter_map(|op| op.reply)
                .collect();
            if old.is_empty() {
                continue;
            }
            history[late].reply = Some(*rng.pick(&old));
            tried += 1;
            by_search += u32::from(linearizable(&history).is_err());
            by_revision += u32::from(in_order_of_revisions(&history).is_err());
        }
        assert!(tried > 100);
        assert_eq!((by_search, by_revision), (tried, tried));
    }

    #[test]
    fn a_lost_write_and_a_double_write_are_refused() {
        let op = |ask, start, end, before| Operation {
            client: 0,
            register: 0,
            ask,
            start,
            end: Some(end),
            reply: Some(Reply { before: Some(before), revision: start }),
        };
        let lost = [op(Ask::Write(5), 1, 2, 0), op(Ask::Read, 3, 4, 0)];
        assert!(linearizable(&lost).is_err());
        let doubled = [op(Ask::Write(5), 1, 2, 0), op(Ask::Write(6), 3, 4, 5), op(Ask::Read, 5, 6, 5)];
        assert!(linearizable(&doubled).is_err());
        // An unknown write may come true late, but only once.
        let mut late = vec![op(Ask::Write(5), 1, 1, 0), op(Ask::Write(6), 2, 3, 0), op(Ask::Read, 4, 5, 5)];
        (late[0].end, late[0].reply) = (None, None);
        assert!(linearizable(&late).is_ok());
        late.extend([op(Ask::Write(7), 6, 7, 5), op(Ask::Read, 8, 9, 5)]);
        assert!(linearizable(&late).is_err());
    }
}
