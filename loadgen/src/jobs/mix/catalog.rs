//! Instances of a service that join and leave Consul's catalog: each client registers one and deregisters it.

use super::{MIX, Mix, Outcome};
use crate::crowd::{Ask, Crowd, Talk};
use crate::jobs::Party;
use crate::run::Trouble;

pub struct Catalog {
    /// Whether each client's instance is there.
    there: Vec<bool>,
}

impl<T: Talk> Mix<T> for Catalog {
    const LANES: &'static [&'static str] = &["register", "deregister"];

    fn prepare(party: &mut Party<'_, T>, _first: usize) -> Result<Catalog, Trouble> {
        Ok(Catalog { there: vec![false; party.plan.conns] })
    }

    fn ask(&mut self, crowd: &mut Crowd<T>, first: usize, nth: usize) -> usize {
        let name = format!("load-{nth}");
        let there = self.there[nth];
        let ask = if there { Ask::Deregister(&name) } else { Ask::Register(&name) };
        crowd.ask(first + nth, ask, MIX);
        self.there[nth] = !there;
        usize::from(there)
    }

    fn on_done(&mut self, _: &mut Crowd<T>, _first: usize, _nth: usize, code: i32, _value: i64) -> Outcome {
        Outcome::of(code)
    }
}
