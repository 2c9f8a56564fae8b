//! Is this history of one register linearizable? Wing and Gong's search with Lowe's memory of configurations:
//! take any operation that no other has surely preceded, see whether the register allows it, undo when stuck.

use std::collections::HashSet;

use crate::history::{Deed, Line, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    Linearizable,
    Not,
    /// The search took too long; nothing is known.
    Undecided,
}

/// Configurations visited before the search gives up.
const STEPS_MAX: usize = 300_000;

#[derive(Clone, Copy)]
struct Node {
    /// Of which operation, and whether this is its end.
    op: usize,
    end: bool,
    prev: usize,
    next: usize,
}

/// Lines of one key. Failed operations must be left out; unknown writes may or may not have happened.
pub fn judge(lines: &[Line]) -> Judgement {
    let ops: Vec<&Line> = lines.iter().filter(|line| keeps(line)).collect();
    let mut nodes = events(&ops);
    let ends: Vec<usize> = {
        let mut ends = vec![usize::MAX; ops.len()];
        for (at, node) in nodes.iter().enumerate().skip(1) {
            if node.end {
                ends[node.op] = at;
            }
        }
        ends
    };
    let mut waiting = ops.iter().filter(|op| op.outcome == Outcome::Ok).count();
    let mut value = 0u64;
    let mut taken = vec![0u64; ops.len().div_ceil(64)];
    let mut seen: HashSet<(Vec<u64>, u64)> = HashSet::new();
    let mut trail: Vec<(usize, u64)> = Vec::new();
    let mut at = nodes[0].next;
    loop {
        if waiting == 0 {
            return Judgement::Linearizable;
        }
        if at != 0 && !nodes[at].end {
            let op = nodes[at].op;
            let line = ops[op];
            let after = if line.op == Deed::Write { line.value } else { value };
            let allowed = line.op == Deed::Write || line.value == value;
            if allowed {
                taken[op / 64] |= 1 << (op % 64);
                if seen.insert((taken.clone(), after)) {
                    if seen.len() > STEPS_MAX {
                        return Judgement::Undecided;
                    }
                    trail.push((at, value));
                    value = after;
                    waiting -= usize::from(line.outcome == Outcome::Ok);
                    lift(&mut nodes, at);
                    if ends[op] != usize::MAX {
                        lift(&mut nodes, ends[op]);
                    }
                    at = nodes[0].next;
                    continue;
                }
                taken[op / 64] &= !(1 << (op % 64));
            }
            at = nodes[at].next;
            continue;
        }
        // An operation has ended that was not taken, or nothing is left to try: go back.
        let Some((back, before)) = trail.pop() else { return Judgement::Not };
        let op = nodes[back].op;
        value = before;
        taken[op / 64] &= !(1 << (op % 64));
        waiting += usize::from(ops[op].outcome == Outcome::Ok);
        if ends[op] != usize::MAX {
            put_back(&mut nodes, ends[op]);
        }
        put_back(&mut nodes, back);
        at = nodes[back].next;
    }
}

fn keeps(line: &Line) -> bool {
    match line.op {
        Deed::Write => line.outcome != Outcome::Fail,
        Deed::Read => line.outcome == Outcome::Ok,
        Deed::LocalRead => false,
    }
}

/// Beginnings and ends in the order of time, as a ring whose node 0 is the head. What has no known end has none.
fn events(ops: &[&Line]) -> Vec<Node> {
    let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(ops.len() * 2);
    for (op, line) in ops.iter().enumerate() {
        order.push((line.start_ns, false, op));
        if line.outcome == Outcome::Ok {
            order.push((line.end_ns, true, op));
        }
    }
    order.sort_unstable(); // At the same time beginnings come first: such operations overlap.
    let count = order.len() + 1;
    let mut nodes = vec![Node { op: usize::MAX, end: true, prev: count - 1, next: 1 % count }];
    for (nth, &(_, end, op)) in order.iter().enumerate() {
        nodes.push(Node { op, end, prev: nth, next: (nth + 2) % count });
    }
    nodes
}

fn lift(nodes: &mut [Node], at: usize) {
    let Node { prev, next, .. } = nodes[at];
    nodes[prev].next = next;
    nodes[next].prev = prev;
}

fn put_back(nodes: &mut [Node], at: usize) {
    let Node { prev, next, .. } = nodes[at];
    nodes[prev].next = at;
    nodes[next].prev = at;
}

#[cfg(test)]
mod tests {
    use quorate::base::Rng;

    use super::*;

    fn line(op: Deed, value: u64, start_ns: u64, end_ns: u64, outcome: Outcome) -> Line {
        Line { client: 0, op, key: 1, value, start_ns, end_ns, outcome, revision: 0 }
    }

    fn write(value: u64, from: u64, to: u64) -> Line {
        line(Deed::Write, value, from, to, Outcome::Ok)
    }

    fn read(value: u64, from: u64, to: u64) -> Line {
        line(Deed::Read, value, from, to, Outcome::Ok)
    }

    #[test]
    fn known_good_histories() {
        for good in [
            vec![],
            vec![read(0, 0, 1)],
            vec![write(1, 0, 10), read(0, 1, 2), read(1, 3, 4)],
            vec![write(1, 0, 10), write(2, 0, 10), read(2, 11, 12), read(2, 13, 14)],
            vec![
                write(1, 0, 10),
                line(Deed::Write, 2, 20, 21, Outcome::Unknown),
                read(1, 22, 23),
                read(2, 50, 60),
            ],
            vec![write(1, 0, 10), line(Deed::Write, 2, 20, 21, Outcome::Unknown), read(1, 50, 60)],
        ] {
            assert_eq!(judge(&good), Judgement::Linearizable, "{good:?}");
        }
    }

    #[test]
    fn known_bad_histories() {
        for bad in [
            vec![read(7, 0, 1)],
            vec![write(1, 0, 1), read(0, 2, 3)],
            vec![write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)],
            vec![write(1, 0, 10), read(1, 1, 2), read(0, 3, 4)],
            vec![write(1, 0, 10), write(2, 0, 10), read(2, 11, 12), read(1, 13, 14)],
            vec![write(1, 0, 1), line(Deed::Write, 2, 2, 3, Outcome::Unknown), read(2, 4, 5), read(1, 6, 7)],
        ] {
            assert_eq!(judge(&bad), Judgement::Not, "{bad:?}");
        }
    }

    /// Every order, for histories of a few operations.
    fn brute(ops: &[Line], taken: u32, value: u64) -> bool {
        let left = |nth: usize| taken & 1 << nth == 0;
        if (0..ops.len()).all(|nth| !left(nth) || ops[nth].outcome != Outcome::Ok) {
            return true;
        }
        (0..ops.len()).filter(|&nth| left(nth)).any(|nth| {
            let first = (0..ops.len()).all(|other| {
                other == nth
                    || !left(other)
                    || ops[other].outcome != Outcome::Ok
                    || ops[other].end_ns >= ops[nth].start_ns
            });
            let fits = ops[nth].op == Deed::Write || ops[nth].value == value;
            let after = if ops[nth].op == Deed::Write { ops[nth].value } else { value };
            first && fits && brute(ops, taken | 1 << nth, after)
        })
    }

    #[test]
    fn agrees_with_trying_every_order() {
        let mut rng = Rng::new(42);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let count = rng.between(2, 7);
            let ops: Vec<Line> = (0..count)
                .map(|nth| {
                    let from = rng.below(20);
                    let to = from + rng.below(8);
                    match rng.below(5) {
                        0 | 1 => write(nth + 1, from, to),
                        2 => line(Deed::Write, nth + 1, from, to, Outcome::Unknown),
                        _ => read(rng.below(count + 1), from, to),
                    }
                })
                .collect();
            let want = if brute(&ops, 0, 0) { Judgement::Linearizable } else { Judgement::Not };
            assert_eq!(judge(&ops), want, "{ops:?}");
            if want == Judgement::Not { bad += 1 } else { good += 1 }
        }
        assert!(good > 1_000 && bad > 1_000, "{good} {bad}");
    }

    #[test]
    fn a_long_history_of_a_real_register_is_accepted() {
        let mut rng = Rng::new(5);
        let (mut value, mut lines) = (0, Vec::new());
        // Operations take effect at whole times and lie around them, so neighbours overlap.
        for at in 1..2_000u64 {
            let (from, to) = (at * 10 - rng.below(25).min(at * 10), at * 10 + rng.below(25));
            if rng.chance(0.3) {
                value = at;
                lines.push(write(at, from, to));
            } else {
                lines.push(read(value, from, to));
            }
        }
        assert_eq!(judge(&lines), Judgement::Linearizable);
    }
}
