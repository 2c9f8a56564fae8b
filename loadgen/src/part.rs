//! Load from several processes. The parent leads: each child is told on its standard input what to do, says on its
//! standard output that it has come to the end of a step, and hands in its seconds there. All count time from the same
//! moment, so that their histograms, gaps and histories can be put together.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, Scope};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::args::Credentials;
use crate::book::Tick;
use crate::clock::{Clock, SECOND};
use crate::driver::consul::Consul;
use crate::driver::etcd::Etcd;
use crate::driver::native::Native;
use crate::driver::zk::Zk;
use crate::driver::{Driver, Protocol};
use crate::plan::Plan;
use crate::procfs;
use crate::record::{Gap, Stored};
use crate::run::{Shared, Trouble, labour};
use crate::worker::STEPS;

/// The first line that a child reads.
#[derive(Serialize, Deserialize)]
struct Order {
    plan: Plan,
    credentials: Credentials,
    names: Vec<(String, SocketAddr)>,
    history: Option<PathBuf>,
    /// Which of the processes this is.
    part: usize,
    /// When the parent's clock stood at zero, on the machine's.
    epoch: u64,
}

/// The lines after it.
#[derive(Serialize, Deserialize)]
enum Word {
    GoOn,
    Begin { origin: u64 },
}

/// What a child says, one a line.
#[derive(Serialize, Deserialize)]
enum Said {
    StepDone,
    Failed(Trouble),
    Tick {
        from: u64,
        tally: Stored,
    },
    Ended {
        gaps: Vec<(u64, u64)>,
        trouble: Option<Trouble>,
        last_trouble: Option<String>,
        notes: Vec<String>,
    },
}

type Lines = BufReader<std::process::ChildStdout>;

/// The children, in the eyes of the parent.
pub struct Crew {
    pids: Vec<Pid>,
    hands: Mutex<Vec<(Child, ChildStdin, Lines)>>,
    /// Of each that has ended, its longer times without an acknowledged write.
    gaps: Mutex<Vec<Vec<(u64, u64)>>>,
}

impl Crew {
    pub fn hire(plan: &Plan, history: Option<&PathBuf>, clock: Clock) -> Result<Crew, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program's own file: {error}"))?;
        let mut hands = Vec::new();
        for part in 0..plan.procs {
            let mut child = Command::new(&program)
                .arg("part")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|error| format!("{}: {error}", program.display()))?;
            let order = Order {
                plan: plan.clone(),
                credentials: plan.credentials.clone(),
                names: plan.names.clone(),
                history: history.cloned(),
                part,
                epoch: clock.epoch(),
            };
            let mut input = child.stdin.take().expect("piped");
            let output = BufReader::new(child.stdout.take().expect("piped"));
            say(&mut input, &order).map_err(|error| format!("a process of ours: {error}"))?;
            hands.push((child, input, output));
        }
        let pids = hands.iter().map(|(child, ..)| Pid::from_child(child)).collect();
        Ok(Crew { pids, hands: Mutex::new(hands), gaps: Mutex::new(Vec::new()) })
    }

    /// A thread for each child stands for it among the members of this run.
    pub fn lead<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        shared: &'env Shared,
        send: &Sender<Tick>,
    ) {
        for (child, input, lines) in self.hands.lock().expect("no thread panics with it").drain(..) {
            let send = send.clone();
            scope.spawn(move || self.stand_for(child, input, lines, shared, send));
        }
    }

    fn stand_for(
        &self,
        mut child: Child,
        mut input: ChildStdin,
        mut lines: Lines,
        shared: &Shared,
        send: Sender<Tick>,
    ) {
        let lost = || Trouble::Local("a process of this run has died".into());
        for _ in 0..STEPS {
            let step = match hear(&mut lines) {
                Some(Said::StepDone) => Ok(()),
                Some(Said::Failed(trouble)) => Err(trouble),
                _ => Err(lost()),
            };
            let go = shared.meet(step);
            if !go || say(&mut input, &Word::GoOn).is_err() {
                let _ = (child.kill(), child.wait());
                return;
            }
        }
        shared.meet(Ok(())); // The main thread has chosen the time.
        let _ = say(&mut input, &Word::Begin { origin: shared.origin.load(Ordering::SeqCst) });
        loop {
            match hear(&mut lines) {
                Some(Said::Tick { from, tally }) => {
                    let _ = send.send(Tick { from, tally: Box::new(tally.open()) });
                }
                Some(Said::Ended { gaps, trouble, last_trouble, notes }) => {
                    self.gaps.lock().expect("no thread panics with it").push(gaps);
                    if let Some(trouble) = trouble {
                        shared.note(trouble.why());
                    }
                    if last_trouble.is_some() {
                        *shared.last_trouble.lock().expect("no thread panics with it") = last_trouble;
                    }
                    notes.into_iter().for_each(|note| shared.note(note));
                    break;
                }
                _ => {
                    shared.note("a process of this run has died; its share is missing".into());
                    break;
                }
            }
        }
        let _ = child.wait();
    }

    pub fn cpu_us(&self) -> u64 {
        let pids = self.pids.iter().map(|pid| pid.as_raw_nonzero().get() as u32);
        pids.filter_map(procfs::usage).map(|usage| usage.cpu_us).sum()
    }

    /// All shall end early and hand in what they have.
    pub fn interrupt(&self) {
        for &pid in &self.pids {
            let _ = kill_process(pid, Signal::INT);
        }
    }

    /// Nothing will come of this run.
    pub fn dismiss(&self) {
        for (mut child, ..) in self.hands.lock().expect("no thread panics with it").drain(..) {
            let _ = (child.kill(), child.wait());
        }
    }

    /// The longest time in which none of them had a write acknowledged, and when it began.
    pub fn longest_gap(&self) -> (u64, u64) {
        let longest = self.gaps().into_iter().max_by_key(|(from, to)| to - from);
        longest.map_or((Gap::KEPT, 0), |(from, to)| (to - from, from))
    }

    pub fn gaps(&self) -> Vec<(u64, u64)> {
        let all = self.gaps.lock().expect("no thread panics with it");
        let mut common = all.first().cloned().unwrap_or_default();
        for other in all.iter().skip(1) {
            common = overlaps(&common, other);
        }
        common
    }
}

/// Where both have an interval; each list in order.
fn overlaps(one: &[(u64, u64)], other: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (mut at, mut found) = (0, Vec::new());
    for &(from, to) in one {
        while at < other.len() && other[at].1 <= from {
            at += 1;
        }
        let inside = other[at..].iter().take_while(|(begin, _)| *begin < to);
        found.extend(inside.map(|&(begin, end)| (begin.max(from), end.min(to))));
    }
    found
}

fn say(to: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

fn hear<T: for<'a> Deserialize<'a>>(from: &mut impl BufRead) -> Option<T> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|length| *length > 0)?;
    serde_json::from_str(&line).ok()
}

/// The child: `loadgen part`.
pub fn obey() -> Result<(), String> {
    let mut input = io::stdin().lock();
    let mut order: Order =
        hear(&mut input).ok_or("this is for processes that `loadgen run --procs` starts")?;
    order.plan.access = Access::read(&order.credentials, order.plan.target, &order.names)?;
    match order.plan.target {
        Protocol::Zk => obey_with::<Zk>(&order, &mut input),
        Protocol::Native => obey_with::<Native>(&order, &mut input),
        Protocol::Etcd => obey_with::<Etcd>(&order, &mut input),
        Protocol::Consul => obey_with::<Consul>(&order, &mut input),
    }
    Ok(())
}

fn obey_with<D: Driver>(order: &Order, input: &mut impl BufRead) {
    let plan = &order.plan;
    let clock = Clock::since(order.epoch);
    let shared = Shared::new(plan.threads + 1);
    let gap = Arc::new(Gap::keeping());
    let (send, ticks) = channel();
    thread::scope(|scope| {
        for nth in 0..plan.threads {
            let thread = order.part * plan.threads + nth;
            let (gap, send, shared) = (gap.clone(), send.clone(), &shared);
            scope.spawn(move || labour::<D>(plan, order.history.as_ref(), clock, thread, gap, send, shared));
        }
        drop(send);
        let mut out = io::stdout();
        let orphaned = || Trouble::Local("the parent is gone".into());
        for _ in 0..STEPS {
            let go = shared.meet_and(Ok(()), |so_far| {
                let failed = shared.trouble.lock().expect("no thread panics with it").take();
                let word =
                    if so_far { Said::StepDone } else { Said::Failed(failed.unwrap_or_else(orphaned)) };
                say(&mut out, &word).map_err(|_| orphaned())?;
                match hear(input) {
                    Some(Word::GoOn) if so_far => Ok(()),
                    _ => Err(orphaned()),
                }
            });
            if !go {
                return;
            }
        }
        let Some(Word::Begin { origin }) = hear(input) else { std::process::exit(1) };
        gap.on_write(origin + plan.warmup * SECOND);
        shared.origin.store(origin, Ordering::SeqCst);
        shared.meet(Ok(()));
        while let Ok(tick) = ticks.recv() {
            let _ = say(&mut out, &Said::Tick { from: tick.from, tally: Stored::of(&tick.tally) });
        }
        gap.on_write((origin + (plan.warmup + plan.secs) * SECOND).min(clock.now()));
        let take = |of: &Mutex<Option<String>>| of.lock().expect("no thread panics with it").take();
        let ended = Said::Ended {
            gaps: gap.kept(),
            trouble: shared.trouble.lock().expect("no thread panics with it").take(),
            last_trouble: take(&shared.last_trouble),
            notes: std::mem::take(&mut *shared.notes.lock().expect("no thread panics with it")),
        };
        let _ = say(&mut out, &ended);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_all_is_where_the_gaps_of_each_overlap() {
        let one = [(0, 10), (20, 30), (50, 90)];
        let other = [(5, 25), (40, 60), (70, 71), (85, 100)];
        assert_eq!(overlaps(&one, &other), [(5, 10), (20, 25), (50, 60), (70, 71), (85, 90)]);
        assert_eq!(overlaps(&one, &[]), []);
    }
}
