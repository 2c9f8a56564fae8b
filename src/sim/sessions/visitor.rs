//! A client in the world of the ideal log: where it sits, and when it moves.

use std::collections::BTreeMap;

use super::client::Client;
use super::node::Node;
use super::{TIMEOUT_MS, Tally, Verdict};
use crate::base::{Nanos, Rng};

pub struct Visitor {
    pub client: Client,
    pub seat: Option<(usize, u32)>,
    /// Not before this does it do anything, not even ping.
    silent_until: Nanos,
    calm: bool,
}

impl Visitor {
    pub fn new(at: usize, rng: Rng) -> Visitor {
        let client = Client::new(at, TIMEOUT_MS, rng);
        Visitor { client, seat: None, silent_until: Nanos(0), calm: false }
    }

    /// From now on it only stays alive.
    pub fn calm(&mut self) {
        (self.calm, self.silent_until) = (true, Nanos(0));
    }

    pub fn act(
        &mut self,
        now: Nanos,
        nodes: &mut [Node],
        doors: &[usize],
        heard: &mut BTreeMap<u64, Nanos>,
        tally: &mut Tally,
    ) {
        if self.silent_until > now {
            return;
        }
        let Some((at, slot)) = self.seat else {
            if self.client.rng.chance(0.05) {
                let at = *self.client.rng.pick(doors);
                self.connect(now, at, &mut nodes[at], heard, tally);
            }
            return;
        };
        if !self.client.open {
            return;
        }
        let node = &mut nodes[at];
        if !self.calm && self.client.rng.chance(0.001) {
            return self.leave(node, slot);
        }
        if !self.calm && self.client.rng.chance(0.0003) {
            // Longer than its timeout, or nearly so: it may or may not find its session again.
            self.leave(node, slot);
            let ms = self.client.rng.between(TIMEOUT_MS as u64 * 7 / 10, TIMEOUT_MS as u64 * 2);
            self.silent_until = now.plus(Nanos::from_millis(ms));
            return;
        }
        let out = self.client.talk(now, if self.calm { 0.0 } else { 0.08 }, 0);
        if !out.is_empty() {
            self.say(now, node, slot, &out, heard, self.client.session);
        }
    }

    fn leave(&mut self, node: &mut Node, slot: u32) {
        node.end(slot);
        self.seat = None;
        self.client.disconnected();
    }

    /// `session`: whom this keeps alive; 0: nobody.
    fn say(
        &mut self,
        now: Nanos,
        node: &mut Node,
        slot: u32,
        out: &[u8],
        heard: &mut BTreeMap<u64, Nanos>,
        session: u64,
    ) {
        if !node.bytes(slot, out, now) {
            return self.leave(node, slot); // Bytes on the way when the connection broke.
        }
        if node.serves() && session != 0 && !self.client.leaves() {
            heard.insert(session, now);
        }
        self.client.spoke = now;
    }

    fn connect(
        &mut self,
        now: Nanos,
        at: usize,
        node: &mut Node,
        heard: &mut BTreeMap<u64, Nanos>,
        tally: &mut Tally,
    ) {
        let slot = node.connect();
        self.seat = Some((at, slot));
        tally.returns += u64::from(self.client.session != 0);
        let out = self.client.connect(now);
        // A handshake is no sign of life before the log has it.
        self.say(now, node, slot, &out, heard, 0);
    }

    pub fn hear(
        &mut self,
        bytes: &[u8],
        closed: bool,
        now: Nanos,
        lives: impl Fn(u64) -> bool,
        tally: &mut Tally,
    ) -> Verdict {
        self.client.hear(bytes, closed, now, lives, tally)?;
        if self.client.is_off() {
            self.seat = None;
        }
        Ok(())
    }
}
