//! Lists that are too long to be kept up to date for the admin pages: whoever has one makes it when somebody asks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Paths by session.
pub type Paths = Vec<(u64, Vec<String>)>;

/// What the state has to tell: sessions by when they end, by the cluster's clock in milliseconds, and their ephemerals.
#[derive(Debug, Default)]
pub struct Dump {
    pub ends: Vec<(u64, u64)>,
    pub ephemerals: Paths,
}

/// A place for one list, and which question it answers.
#[derive(Debug, Default)]
pub struct Slot<T> {
    answers: AtomicU64,
    list: Mutex<Option<T>>,
}

impl<T> Slot<T> {
    /// Costs two loads unless somebody has asked anew.
    pub fn fill(&self, asked: u64, make: impl FnOnce() -> T) {
        if self.answers.load(Ordering::Relaxed) != asked {
            *self.list.lock().expect("nobody panics while listing") = Some(make());
            self.answers.store(asked, Ordering::Release);
        }
    }

    fn answers(&self, asked: u64) -> bool {
        self.answers.load(Ordering::Acquire) >= asked
    }

    fn take(&self) -> Option<T> {
        self.list.lock().expect("nobody panics while listing").take()
    }
}

/// The lists of a node.
#[derive(Debug, Default)]
pub struct Lists {
    asked: AtomicU64,
    pub dump: Slot<Dump>,
    /// By lane: watches of the data table, as the reference lists them.
    pub watches: Vec<Slot<Paths>>,
}

impl Lists {
    pub fn new(lanes: usize) -> Lists {
        Lists { watches: (0..lanes).map(|_| Slot::default()).collect(), ..Lists::default() }
    }

    /// Asks for all of them; returns the question's number.
    pub fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Everybody has answered.
    pub fn are_there(&self, asked: u64) -> bool {
        self.dump.answers(asked) && self.watches.iter().all(|slot| slot.answers(asked))
    }

    /// Each list is given out once.
    pub fn take_dump(&self) -> Option<Dump> {
        self.dump.take()
    }

    pub fn take_watches(&self) -> Option<Paths> {
        let lists: Vec<Option<Paths>> = self.watches.iter().map(Slot::take).collect();
        let mut all: Paths = lists.into_iter().collect::<Option<Vec<_>>>()?.concat();
        all.sort_unstable();
        Some(all)
    }
}
