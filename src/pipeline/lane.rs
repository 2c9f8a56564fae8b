//! A lane: a bounded queue of parcels from one stage to another.
//!
//! A parcel is one turn's work, so the cost of the hand-over is paid per turn, not per command. The sender rings
//! the receiver's bell only when its parcel is the lane's only one; inside one loop the bell is silent.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

/// Wakes the thread on which the receiver lives.
pub trait Bell: Send + Sync {
    fn ring(&self);
}

/// Sender and receiver share a loop: it looks again anyway.
struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

/// For a lane whose ends share a loop.
pub fn silent() -> Arc<dyn Bell> {
    Arc::new(Silent)
}

/// How full a lane is and how full it can be; any thread may ask.
pub type Depth = Box<dyn Fn() -> (usize, usize) + Send>;

pub struct Tx<T> {
    queue: Arc<ArrayQueue<T>>,
    bell: Arc<dyn Bell>,
    /// Posted while the lane was full.
    waiting: VecDeque<T>,
}

pub struct Rx<T> {
    queue: Arc<ArrayQueue<T>>,
}

/// A lane within one loop.
pub fn lane<T>(capacity: usize) -> (Tx<T>, Rx<T>) {
    lane_with_bell(capacity, silent())
}

/// A lane to another thread, which `bell` wakes.
pub fn lane_with_bell<T>(capacity: usize, bell: Arc<dyn Bell>) -> (Tx<T>, Rx<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Tx { queue: queue.clone(), bell, waiting: VecDeque::new() }, Rx { queue })
}

impl<T> fmt::Debug for Tx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tx({} of {})", self.queue.len(), self.queue.capacity())
    }
}

impl<T> fmt::Debug for Rx<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rx({} of {})", self.queue.len(), self.queue.capacity())
    }
}

impl<T> Tx<T> {
    /// Slots free now. Only this sender fills them, so they stay free until it sends.
    pub fn room(&self) -> usize {
        if self.waiting.is_empty() { self.queue.capacity() - self.queue.len() } else { 0 }
    }

    pub fn depth(&self) -> Depth
    where
        T: Send + 'static,
    {
        let queue = self.queue.clone();
        Box::new(move || (queue.len(), queue.capacity()))
    }

    /// Sends a parcel; the caller has checked `room`. A full lane here is our own bug.
    pub fn send(&mut self, parcel: T) {
        assert!(self.queue.push(parcel).is_ok(), "a lane was overfilled: its sender did not check its room");
        // Asked before the push, it could be emptied in between, by a receiver that then falls asleep for good. Whoever
        // still has an earlier parcel to take comes to this one by itself.
        if self.queue.len() == 1 {
            self.bell.ring();
        }
    }
}

/// For a stage that takes in what comes, however much, and passes it on: order. What does not fit waits beside the lane,
/// in its place in the order, until the stage's next turn. It is bounded by what one turn takes in.
impl<T> Tx<T> {
    pub fn post(&mut self, parcel: T) {
        if self.room() > 0 { self.send(parcel) } else { self.waiting.push_back(parcel) }
    }

    /// Moves on what waits. False: some still does.
    pub fn settle(&mut self) -> bool {
        while !self.waiting.is_empty()
            && self.queue.len() < self.queue.capacity()
            && let Some(parcel) = self.waiting.pop_front()
        {
            self.send(parcel);
        }
        self.waiting.is_empty()
    }
}

impl<T> Rx<T> {
    pub fn take(&mut self) -> Option<T> {
        // Most lanes are empty most of the time, and to find that out `pop` needs a full barrier.
        if self.queue.is_empty() { None } else { self.queue.pop() }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Parcels that are here now.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread::Thread;
    use std::time::{Duration, Instant};

    struct Count(AtomicU32);

    impl Bell for Count {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_posted_to_a_full_lane_follows_in_order() {
        let (mut tx, mut rx) = lane(2);
        (1..=5).for_each(|n| tx.post(n));
        assert_eq!((tx.room(), rx.take()), (0, Some(1)));
        assert!(!tx.settle());
        tx.post(6);
        let mut rest = Vec::new();
        loop {
            while let Some(n) = rx.take() {
                rest.push(n);
            }
            if tx.settle() && rx.is_empty() {
                break;
            }
        }
        assert_eq!(rest, [2, 3, 4, 5, 6]);
    }

    /// A receiver that sleeps as a loop does: only if nobody rang since it began to look.
    struct Sleeper(AtomicU32, Thread);

    const AWAKE: u32 = 0;
    const ASLEEP: u32 = 1;
    const RUNG: u32 = 2;

    impl Bell for Sleeper {
        fn ring(&self) {
            if self.0.swap(RUNG, Ordering::SeqCst) == ASLEEP {
                self.1.unpark();
            }
        }
    }

    /// The lane ran dry, and its receiver fell asleep, between the sender's look and its parcel: nobody rang, then or
    /// later, since the lane was never empty again. A machine with much else to do took seconds for what it had to
    /// pass between two loops, or for ever.
    #[test]
    fn no_parcel_comes_while_its_receiver_sleeps() {
        const COUNT: u32 = 300_000;
        let (ends, theirs) = std::sync::mpsc::channel();
        let receiver = std::thread::spawn(move || {
            let (bell, mut rx): (Arc<Sleeper>, Rx<u32>) = theirs.recv().unwrap();
            let mut taken = 0;
            while taken < COUNT {
                bell.0.store(AWAKE, Ordering::SeqCst);
                while let Some(n) = rx.take() {
                    assert_eq!(n, taken);
                    taken += 1;
                }
                if bell.0.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                    continue;
                }
                let begin = Instant::now();
                while taken < COUNT && bell.0.load(Ordering::SeqCst) == ASLEEP {
                    std::thread::park_timeout(Duration::from_secs(1));
                    // A sender that has not come to ring yet is slow; one that never will has filled the lane since.
                    let lost = rx.len() > 1 || begin.elapsed() > Duration::from_secs(60);
                    assert!(!lost || bell.0.load(Ordering::SeqCst) != ASLEEP, "parcel {taken} rang no bell");
                }
            }
        });
        let bell = Arc::new(Sleeper(AtomicU32::new(AWAKE), receiver.thread().clone()));
        let (mut tx, rx) = lane_with_bell(64, bell.clone());
        ends.send((bell, rx)).unwrap();
        for n in 0..COUNT {
            while tx.room() == 0 && !receiver.is_finished() {
                std::thread::yield_now();
            }
            if receiver.is_finished() {
                break;
            }
            tx.send(n);
        }
        receiver.join().unwrap();
    }

    #[test]
    fn the_bell_rings_only_for_the_first_parcel() {
        let bell = Arc::new(Count(AtomicU32::new(0)));
        let (mut tx, mut rx) = lane_with_bell(4, bell.clone());
        (0..3).for_each(|n| tx.send(n));
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        assert_eq!(tx.depth()(), (3, 4));
        assert_eq!((rx.take(), tx.room()), (Some(0), 2));
    }
}
