//! etcd's `benchmark txn-mixed`, with the parameters of its rw-heatmap: every request is a transaction, which either
//! reads up to a hundred records or writes one.

use quorate::base::Rng;

use super::{MIX, Mix, Outcome};
use crate::crowd::{Ask, Crowd, Part, Talk};
use crate::jobs::Party;
use crate::run::Trouble;

/// Of 65,536 at full scale.
const KEYS: u64 = 6_554;
const KEY_SIZE: usize = 256;
const LIMIT: u32 = 100;

pub struct Mixed {
    root: String,
    rng: Rng,
    keys: u64,
    reads: f64,
}

impl Mixed {
    fn key(&self, nth: u64) -> String {
        let width = KEY_SIZE.saturating_sub(self.root.len() + 5).max(8);
        format!("{}/txn-{nth:0width$}", self.root)
    }
}

impl<T: Talk> Mix<T> for Mixed {
    const LANES: &'static [&'static str] = &["read", "write"];

    fn prepare(party: &mut Party<'_, T>, first: usize) -> Result<Mixed, Trouble> {
        let plan = party.plan;
        // As many reads as writes, unless --reads says otherwise.
        let reads = if plan.reads > 0.0 { plan.reads / 100.0 } else { 0.5 };
        let root = party.make_root(first)?;
        let mix = Mixed { root, rng: Rng::new(plan.seed), keys: plan.scale_up(KEYS), reads };
        party.make_all(first, mix.keys as usize, |nth| mix.key(nth as u64))?;
        Ok(mix)
    }

    fn ask(&mut self, crowd: &mut Crowd<T>, first: usize, client: usize) -> usize {
        let nth = self.rng.below(self.keys);
        let key = self.key(nth);
        let (part, lane) =
            if self.rng.chance(self.reads) { (Part::Page(&key, LIMIT), 0) } else { (Part::Put(&key), 1) };
        crowd.ask(first + client, Ask::All(&[part]), MIX);
        lane
    }

    fn on_done(&mut self, _: &mut Crowd<T>, _first: usize, _nth: usize, code: i32, _value: i64) -> Outcome {
        Outcome::of(code)
    }
}
