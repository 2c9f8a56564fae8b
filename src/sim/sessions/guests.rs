//! ZooKeeper's clients in a cluster's world: machines of their own on its network, whose frames go to the edge stage
//! that ships. They move, fall silent and come back while the nodes crash, stand still, lose each other and elect.
//!
//! In peace they play a scene that chance would hardly ever bring: nobody writes for a while, then the lead changes
//! hands with a write under way, and back again, and some have fallen silent.

use super::Tally;
use super::client::{Client, Until};
use super::roll::Roll;
use crate::base::{Nanos, NodeId, Rng};
use crate::pipeline::parcel::Ask;
use crate::pipeline::ports::{Conn, Net};
use crate::sim::faults::{Fault, Swarm};
use crate::sim::machine::Machine;
use crate::sim::net::{NetNews, address, guest as machine};
use crate::sim::phases::Phase;
use crate::sim::world::{Event, World};

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Out,
    Dialling(u64),
    In(Conn),
}

struct Guest {
    client: Client,
    place: Place,
    /// When its handshake set out.
    greeted: Nanos,
    outbox: Vec<u8>,
    sending: bool,
    dials: u64,
    silent_until: Nanos,
}

/// Where the scene of peace stands, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    NotYet,
    /// Nobody writes.
    Hush,
    /// A write is on its way, and the leader dies at this moment.
    Doomed(NodeId, Nanos),
    /// Another leads, or is about to.
    Handed(NodeId),
    /// The first one should lead again; some clients are silent for good.
    Back,
    Over,
}

pub struct Guests {
    list: Vec<Guest>,
    pub roll: Roll,
    timeout: Nanos,
    scene: Scene,
    since: Nanos,
    pub tally: Tally,
}

impl Guests {
    /// What a world with guests has of a swarm: always a majority to be cut off from, and an end in peace.
    pub fn swarm(rng: &mut Rng) -> Swarm {
        loop {
            let mut swarm = Swarm::draw(rng);
            if swarm.voters > 1 {
                swarm.kinds.retain(|kind| *kind != Fault::Members);
                (swarm.is_doomed, swarm.puts_back) = (false, false);
                return swarm;
            }
        }
    }

    pub fn new(rng: &mut Rng, swarm: &Swarm) -> Guests {
        let ms = rng.between(1_500, 3_000);
        let timeout = Nanos::from_millis(ms);
        let guest = |at| Guest {
            client: Client::new(at, ms as i32, rng.fork()),
            place: Place::Out,
            greeted: Nanos(0),
            outbox: Vec::new(),
            sending: false,
            dials: 0,
            silent_until: Nanos(0),
        };
        let list = (0..6).map(guest).collect();
        let roll = Roll::new(timeout, swarm);
        Guests { list, roll, timeout, scene: Scene::NotYet, since: Nanos(0), tally: Tally::default() }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Nobody is to write anything.
    fn is_hushed(&self) -> bool {
        matches!(self.scene, Scene::Hush | Scene::Back | Scene::Over)
    }

    /// Why it is too early to end.
    fn unrest(&self) -> Option<String> {
        let busy = self.list.iter().find(|guest| guest.client.open && guest.client.waits());
        busy.map(|guest| format!("guest {} waits for an answer", guest.client.at))
    }

    /// What clients hold against the state that all have at the end.
    fn judge(&self, machine: &Machine) -> Result<(), String> {
        let Some(process) = &machine.process else { return Ok(()) };
        let tree = process.core.apply.machine().tree();
        for Guest { client, .. } in &self.list {
            let at = client.at;
            for (path, seen) in client.watched() {
                let stands = tree.mzxid(path.as_bytes());
                if stands != Some(seen) {
                    return Err(format!(
                        "26: client {at}'s watch of {path} was set at zxid {seen}, it is at {stands:?}, and no event came"
                    ));
                }
            }
            if let Some(path) = client.owns().find(|path| tree.mzxid(path.as_bytes()).is_none()) {
                return Err(format!("23: client {at}'s session lives, and its {path} is gone"));
            }
            for doubt in &client.doubts {
                let until = match doubt.until {
                    Until::Answer => continue,
                    Until::Zxid(zxid) => zxid,
                    Until::End(session) => match self.roll.ends.get(&session) {
                        Some(&zxid) => zxid,
                        None => continue,
                    },
                };
                if let Some(zxid) = tree.mzxid(doubt.path.as_bytes()).filter(|&zxid| zxid > until) {
                    return Err(format!(
                        "22: client {at}'s {} was made at {zxid}; its session had left that server, or ended, by {until}",
                        doubt.path
                    ));
                }
            }
        }
        Ok(())
    }
}

impl World {
    pub(in crate::sim) fn is_hushed(&self) -> bool {
        self.guests.as_ref().is_some_and(|guests| guests.is_hushed())
    }

    pub(in crate::sim) fn guests_unrest(&self) -> Option<String> {
        self.guests.as_ref()?.unrest()
    }

    /// A client's time to act.
    pub(in crate::sim) fn step_guest(&mut self, at: usize) {
        let Some(mut guests) = self.guests.take() else { return };
        let doors = self.doors();
        let calm = self.phase != Phase::Storm && guests.scene != Scene::NotYet;
        let now = self.now;
        self.net.now = now;
        let timeout = guests.timeout;
        let known = guests.list.iter().map(|guest| guest.client.changed).max().unwrap_or(0);
        let guest = &mut guests.list[at];
        // Some only say that they live: who has a write under way hears nothing from a server that is cut off, pings included.
        let eager = if calm || at.is_multiple_of(3) { 0.0 } else { 0.4 };
        let idle = calm && guest.client.open && !guest.client.waits();
        let rng = &mut guest.client.rng;
        let pause = Nanos(rng.between(1_000_000, 20_000_000));
        match guest.place {
            _ if guest.silent_until > now => {}
            Place::Out if rng.chance(0.3) => {
                let to = *rng.pick(&doors);
                guest.dials += 1;
                guest.place = Place::Dialling(guest.dials);
                self.say(|| format!("  guest {at} turns to node {to}"));
                self.net.of(machine(at)).dial(guest.dials, address(to));
                guests.tally.returns += u64::from(guest.client.session != 0);
            }
            Place::In(_) if now.since(guest.client.heard) > Nanos(timeout.0 / 3 * 2) && !idle => {
                self.leave(guest);
            }
            Place::In(_) if guest.client.open && self.phase == Phase::Storm && rng.chance(0.004) => {
                // Some come back at once, some late, some hold their connection and say nothing.
                let ms = rng.below(timeout.as_millis() * 2);
                guest.silent_until = if rng.chance(0.3) { now.plus(Nanos::from_millis(ms)) } else { now };
                if rng.chance(0.8) {
                    self.leave(guest);
                }
            }
            Place::In(_) if guest.client.open => {
                let left = guest.client.leaves();
                let out = if left { Vec::new() } else { guest.client.talk(now, eager, known) };
                if guest.client.leaves() && !left {
                    self.say(|| format!("  guest {at} says goodbye"));
                    guests.roll.leaves(guest.client.session);
                }
                if !out.is_empty() {
                    self.say(|| format!("  guest {at} waits for {:?}", guest.client.pending));
                    guest.client.spoke = now;
                    guest.outbox.extend_from_slice(&out);
                    self.push(guest);
                }
            }
            _ => {}
        }
        self.guests = Some(guests);
        self.schedule(pause, Event::Guest(at));
    }

    fn push(&mut self, guest: &mut Guest) {
        if let Place::In(conn) = guest.place
            && !guest.sending
            && !guest.outbox.is_empty()
        {
            guest.sending = true;
            self.net.of(machine(guest.client.at)).send(conn, std::mem::take(&mut guest.outbox));
        }
    }

    fn leave(&mut self, guest: &mut Guest) {
        if let Place::In(conn) = guest.place {
            self.net.of(machine(guest.client.at)).close(conn);
        }
        guest.place = Place::Out;
        (guest.sending, guest.outbox) = (false, Vec::new());
        guest.client.disconnected();
    }

    /// News of the network for a client.
    pub(in crate::sim) fn tell_guest(&mut self, at: usize, news: NetNews) {
        let Some(mut guests) = self.guests.take() else { return };
        let now = self.now;
        self.net.now = now;
        let guest = &mut guests.list[at];
        match news {
            NetNews::Dialled { token, conn } if guest.place == Place::Dialling(token) => {
                guest.place = Place::In(conn);
                guest.greeted = now;
                guest.outbox = guest.client.connect(now);
                self.push(guest);
            }
            NetNews::Dialled { conn, .. } => self.net.of(machine(at)).close(conn),
            NetNews::DialFailed { token, .. } if guest.place == Place::Dialling(token) => {
                guest.place = Place::Out
            }
            NetNews::Sent { conn, .. } if guest.place == Place::In(conn) => {
                guest.sending = false;
                self.push(guest);
            }
            NetNews::Bytes { conn, bytes } if guest.place == Place::In(conn) => {
                let was_open = guest.client.open;
                let id = guest.client.session;
                let (roll, machines) = (&guests.roll, &self.machines);
                let lives = |session| roll.lives(session, machines);
                let heard = guest.client.hear(&bytes, false, now, lives, &mut guests.tally);
                if guest.client.open && !was_open {
                    guests.roll.opened(guest.client.session, guest.greeted);
                }
                if guest.client.session != id || guest.client.open != was_open {
                    let (open, now) = (guest.client.open, guest.client.session);
                    self.say(|| format!("  guest {at}: session {id:x}, now {now:x}, open {open}"));
                }
                if guest.client.is_off() {
                    self.leave(guest);
                }
                if let Err(why) = heard {
                    self.fail(why);
                }
            }
            NetNews::Ended { conn, .. } if guest.place == Place::In(conn) => {
                self.say(|| format!("  guest {at} is cut off"));
                guest.place = Place::Out;
                (guest.sending, guest.outbox) = (false, Vec::new());
                guest.client.disconnected();
            }
            _ => {}
        }
        self.guests = Some(guests);
    }

    /// A node takes in bytes of a client, by the connection that this one speaks over, or by an older one.
    pub(in crate::sim) fn overhear(&mut self, node: NodeId, from: usize, current: bool) {
        let Some(guests) = &mut self.guests else { return };
        let client = &guests.list[from].client;
        let open = current && client.open && !client.leaves();
        guests.roll.heard(client.session, open, node, self.now, &self.machines, &self.net);
    }

    /// After a turn of a node in which its edge sent something, or nothing.
    pub(in crate::sim) fn judge_sessions(&mut self, node: NodeId, spoke: bool) {
        let Some(guests) = &mut self.guests else { return };
        let machine = &self.machines[usize::from(node.0) - 1];
        let calm = (self.phase != Phase::Storm).then(|| self.since_storm.max(self.net.shaken_at));
        let mut result = guests.roll.look(machine, self.now, calm, &self.oracles, &self.net);
        if spoke && result.is_ok() {
            result = guests.roll.judge_words(machine, self.now);
        }
        if let Err(why) = result {
            self.fail(why);
        }
    }

    pub(in crate::sim) fn watch_links(&mut self) {
        if let Some(guests) = &mut self.guests {
            guests.roll.watch_links(&self.net, self.swarm.voters, self.now);
        }
    }

    pub(in crate::sim) fn judge_guests(&self) -> Result<(), String> {
        let Some(guests) = &self.guests else { return Ok(()) };
        let found = self.machines.iter().filter(|machine| machine.wanted);
        found.map(|machine| guests.judge(machine)).find(Result::is_err).unwrap_or(Ok(()))
    }

    pub(in crate::sim) fn close_guests(&mut self) {
        let Some(guests) = &self.guests else { return };
        let Tally { replies, events, missed, returns, .. } = guests.tally;
        self.tally.session_replies = replies;
        self.tally.session_events = events;
        self.tally.session_missed = missed;
        self.tally.session_returns = returns;
        self.tally.sessions_expired = guests.roll.expired;
    }

    /// The scene of peace goes on. True: it is over. `served`: peace has begun to show.
    pub(in crate::sim) fn play_scene(&mut self, served: bool) -> bool {
        let Some(guests) = &self.guests else { return served };
        let (now, timeout, scene) = (self.now, guests.timeout, guests.scene);
        let spent = now.since(guests.since);
        let next = match (scene, self.leader()) {
            (Scene::NotYet, Some(_)) if served => Scene::Hush,
            // So long that what nobody has heard of since would be over, had nobody led since.
            (Scene::Hush, Some(leader)) if spent > Nanos(timeout.0 * 2) => {
                if self.dice.chance(0.5) {
                    Scene::Doomed(leader, now.plus(Nanos(1_000 * self.dice.between(500, 60_000))))
                } else {
                    self.ask(leader, Ask::Transfer(None));
                    Scene::Handed(leader)
                }
            }
            (Scene::Doomed(leader, at), _) if now >= at => {
                self.crash(leader, false, false);
                Scene::Handed(leader)
            }
            (Scene::Handed(first), Some(leader)) if leader != first && spent > Nanos(timeout.0 / 2) => {
                self.ask(leader, Ask::Transfer(Some(first)));
                Scene::Back
            }
            // It may lead on, or again.
            (Scene::Handed(_), Some(_)) if spent > timeout => Scene::Back,
            (Scene::Back, Some(_)) if spent > Nanos(timeout.0 * 2).plus(Nanos::from_millis(1_500)) => {
                Scene::Over
            }
            (scene, _) => scene,
        };
        if next == scene {
            return next == Scene::Over;
        }
        self.say(|| format!("guests: {next:?}"));
        let guests = self.guests.as_mut().expect("seen above");
        (guests.scene, guests.since) = (next, now);
        if next == Scene::Back {
            // They hold their connections and say nothing any more.
            guests.list.iter_mut().take(2).for_each(|guest| guest.silent_until = Nanos::MAX);
        }
        false
    }
}
