//! What Kubernetes asks of its store, with the weights of etcd's robustness tests: writes that hold only if the object
//! is as it was seen last, lists, watches, reads of now, of back then and of whatever the asked server has. One table
//! of what was seen last stands for the API server's cache. Half of the clients write, half read.

use std::marker::PhantomData;

use quorate::base::Rng;

use super::{MIX, Mix, Outcome, WATCH};
use crate::crowd::{Ask, CHANGED, Crowd, Talk};
use crate::jobs::Party;
use crate::run::Trouble;

/// Of 10,000 objects at full scale.
const OBJECTS: u64 = 1000;
const NAMESPACES: u64 = 10;
const PAGE: u32 = 500;

/// Weights of update, delete and create; whether half of the clients read.
pub trait Traffic {
    const WRITES: [u64; 3];
    const READS: bool;
}

pub struct Kube<W> {
    root: String,
    rng: Rng,
    /// Each object's revision as it was seen last; 0: it is not there.
    seen: Vec<i64>,
    /// What each client's write is about: the object, and whether it puts.
    writing: Vec<Option<(usize, bool)>>,
    watching: Vec<bool>,
    newest: i64,
    traffic: PhantomData<W>,
}

impl<W: Traffic> Kube<W> {
    fn namespace(&self, nth: u64) -> String {
        format!("{}/registry/pods/ns-{nth}", self.root)
    }

    fn key(&self, object: usize) -> String {
        format!("{}/pod-{object:06}", self.namespace(object as u64 % NAMESPACES))
    }

    /// An object that is there, or one that is not, as far as we have seen; a new one where all are there.
    fn draw(&mut self, there: bool) -> usize {
        let count = self.seen.len();
        let from = self.rng.below(count as u64) as usize;
        let found = (from..count).chain(0..from).find(|object| (self.seen[*object] > 0) == there);
        if found.is_none() && !there {
            self.seen.push(0);
        }
        found.unwrap_or(if there { from } else { count })
    }

    fn write<T: Talk>(&mut self, crowd: &mut Crowd<T>, member: usize, nth: usize, object: usize, put: bool) {
        let revision = self.seen[object] as u64;
        crowd.ask(member, Ask::Guard { key: &self.key(object), revision, put }, MIX);
        self.writing[nth] = Some((object, put));
    }

    fn read<T: Talk>(&mut self, crowd: &mut Crowd<T>, member: usize, nth: usize) -> usize {
        let namespace = self.rng.below(NAMESPACES);
        let below = self.namespace(namespace);
        let object = self.draw(true);
        let key = self.key(object);
        let drawn = self.rng.below(100);
        let stale = matches!(drawn, 93..);
        match drawn {
            0..80 | 93..98 => {
                crowd.ask(member, Ask::List { below: &below, limit: PAGE, stale }, MIX);
                // A watch goes on from what was listed, until it tells of something.
                if !stale && !std::mem::replace(&mut self.watching[nth], true) {
                    crowd.ask(member, Ask::WatchBelow { key: &below, once: true }, WATCH);
                }
                3
            }
            80..88 => {
                crowd.ask(member, Ask::Get { key: &key, revision: self.newest as u64, stale: false }, MIX);
                4
            }
            _ => {
                crowd.ask(member, Ask::Get { key: &key, revision: 0, stale }, MIX);
                4
            }
        }
    }
}

impl<T: Talk, W: Traffic> Mix<T> for Kube<W> {
    const LANES: &'static [&'static str] = &["update", "delete", "create", "list", "get"];

    fn prepare(party: &mut Party<'_, T>, first: usize) -> Result<Kube<W>, Trouble> {
        let plan = party.plan;
        let root = party.make_root(first)?;
        let objects = plan.scale_up(OBJECTS) as usize;
        let mut kube = Kube {
            root,
            rng: Rng::new(plan.seed),
            seen: vec![0; objects],
            writing: vec![None; plan.conns],
            watching: vec![false; plan.conns],
            newest: 0,
            traffic: PhantomData,
        };
        let keys: Vec<String> = (0..objects).map(|object| kube.key(object)).collect();
        party.make_all(first, objects, |nth| keys[nth].clone())?;
        // A guard that cannot hold tells the revisions.
        for (object, key) in keys.iter().enumerate() {
            kube.seen[object] =
                party.look(first, Ask::Guard { key, revision: u64::from(u32::MAX), put: true })?;
        }
        kube.newest = kube.seen.iter().copied().max().unwrap_or(0);
        Ok(kube)
    }

    fn ask(&mut self, crowd: &mut Crowd<T>, first: usize, nth: usize) -> usize {
        if W::READS && nth % 2 == 1 {
            return self.read(crowd, first + nth, nth);
        }
        let [update, delete, _] = W::WRITES;
        let drawn = self.rng.below(W::WRITES.iter().sum());
        let lane = if drawn < update { 0 } else { 1 + usize::from(drawn >= update + delete) };
        let object = self.draw(lane != 2);
        self.write(crowd, first + nth, nth, object, lane != 1);
        lane
    }

    fn on_done(&mut self, crowd: &mut Crowd<T>, first: usize, nth: usize, code: i32, value: i64) -> Outcome {
        let Some((object, put)) = self.writing[nth].take() else { return Outcome::of(code) };
        match code {
            0 => {
                self.seen[object] = if put { value } else { 0 };
                self.newest = self.newest.max(value);
                Outcome::Done
            }
            CHANGED => {
                self.seen[object] = value;
                self.write(crowd, first + nth, nth, object, put);
                Outcome::Again
            }
            _ => Outcome::Failed,
        }
    }

    fn on_fired(&mut self, nth: usize) {
        self.watching[nth] = false;
    }
}
