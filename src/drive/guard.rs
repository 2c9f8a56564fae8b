//! TLS between the sockets and a station: it sees the bytes that were meant, and connections only once the other
//! side has proven itself. The same over every drive; a connection in the clear passes by.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

use crate::base::{Block, Identity, Nanos};
use crate::drive::memory;
use crate::observe::LoopCounters;
use crate::pipeline::ports::{Conn, Disk, DiskEvent, Door, Ended, File, Net, NetEvent, Turn};
use crate::pipeline::station::{Ports, Station};
use crate::tls;

/// For a handshake to be done, and for a farewell to go out. One span for both, so that they fall due in order.
const HANDSHAKE: Nanos = Nanos(5_000_000_000);

/// What the sides of a node's connections prove themselves with.
#[derive(Clone)]
pub struct Keys {
    pub doors: Arc<ServerConfig>,
    pub peers: Arc<ServerConfig>,
    pub dials: Arc<ClientConfig>,
}

/// A station behind TLS, if there are keys.
pub struct Guard<S> {
    station: S,
    tls: Option<Box<Tls>>,
}

impl<S> Guard<S> {
    pub fn new(station: S, keys: Option<Keys>, counters: Arc<LoopCounters>) -> Guard<S> {
        let tls = keys.map(|keys| {
            let (talks, plain) = (Vec::new(), Vec::new());
            Box::new(Tls { keys, counters, talks, due: VecDeque::new(), plain })
        });
        Guard { station, tls }
    }

    pub fn into_station(self) -> S {
        self.station
    }
}

struct Tls {
    keys: Keys,
    counters: Arc<LoopCounters>,
    /// By the connection's slot.
    talks: Vec<Option<Box<Talk>>>,
    /// Handshakes and farewells that must end, in the order of their beginning.
    due: VecDeque<(Nanos, Conn)>,
    /// What has just been deciphered.
    plain: Vec<u8>,
}

/// One connection.
struct Talk {
    conn: Conn,
    session: Connection,
    stage: Stage,
    /// The station's buffer, whose content is in the session by now; it goes back once that is out.
    lent: Option<Vec<u8>>,
    /// What is on its way carries the end of `lent`.
    carries: bool,
    sending: bool,
    /// The buffer that is not under way.
    spare: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The station has not heard of it.
    Accepted {
        door: Door,
        from: SocketAddr,
    },
    Dialled {
        token: u64,
    },
    Open,
    /// The station has closed it; its last bytes are on their way.
    Closing,
}

/// The station's view of its ports.
struct Through<'a, P> {
    now: Nanos,
    ports: &'a mut P,
    tls: Option<&'a mut Tls>,
}

impl<S: Station> Guard<S> {
    /// Tells the station.
    fn tell<P: Ports>(&mut self, now: Nanos, event: NetEvent<'_>, ports: &mut P) {
        let mut through = Through { now, ports, tls: self.tls.as_deref_mut() };
        self.station.on_net(now, event, &mut through);
    }

    fn is_ours(&self, conn: Conn) -> bool {
        let slot = |tls: &Tls| tls.talks.get(conn.slot as usize)?.as_ref().map(|talk| talk.conn);
        self.tls.as_deref().and_then(slot) == Some(conn)
    }

    fn on_cipher<P: Ports>(&mut self, now: Nanos, conn: Conn, mut bytes: &[u8], ports: &mut P) {
        while !bytes.is_empty() {
            let Some(tls) = self.tls.as_deref_mut() else { return };
            let Some(talk) = find(&mut tls.talks, conn) else { return };
            let taken = talk.session.read_tls(&mut bytes).map_err(|_| None);
            let read = taken.and_then(|_| talk.session.process_new_packets().map_err(Some));
            if let Err(why) = read {
                let why = why.map_or("more came than fits".into(), |why| tls::words(&why));
                return self.fail(now, conn, &why, ports);
            }
            let greeted = talk.stage.is_early() && !talk.session.is_handshaking();
            talk.flush(ports);
            if greeted {
                let by = tls::identity(talk.session.peer_certificates());
                let stage = std::mem::replace(&mut talk.stage, Stage::Open);
                tls.counters.handshakes.add(1);
                self.greet(now, conn, stage, by, ports);
            }
            self.hand_over(now, conn, ports);
        }
    }

    fn greet<P: Ports>(
        &mut self,
        now: Nanos,
        conn: Conn,
        stage: Stage,
        by: Option<Arc<Identity>>,
        ports: &mut P,
    ) {
        match stage {
            Stage::Accepted { door, from } => {
                let door = if door == Door::ZkTls { Door::Zk } else { door };
                self.tell(now, NetEvent::Accepted { conn, door, from, by }, ports);
            }
            Stage::Dialled { token } => self.tell(now, NetEvent::Dialled { token, conn, by }, ports),
            Stage::Open | Stage::Closing => unreachable!("it is greeted once"),
        }
    }

    /// What has been deciphered, to the station.
    fn hand_over<P: Ports>(&mut self, now: Nanos, conn: Conn, ports: &mut P) {
        let Some(tls) = self.tls.as_deref_mut() else { return };
        let Some(talk) = find(&mut tls.talks, conn).filter(|talk| talk.stage == Stage::Open) else { return };
        let mut plain = std::mem::take(&mut tls.plain);
        plain.clear();
        // Ends with `WouldBlock`, or with the other side's goodbye, after which its socket closes too.
        let _ = talk.session.reader().read_to_end(&mut plain);
        if !plain.is_empty() {
            self.tell(now, NetEvent::Bytes { conn, bytes: &plain }, ports);
        }
        if let Some(tls) = &mut self.tls {
            tls.plain = plain;
        }
    }

    /// It cannot go on: an alert, the end, and word to the station if that knows it.
    fn fail<P: Ports>(&mut self, now: Nanos, conn: Conn, why: &str, ports: &mut P) {
        let Some(tls) = self.tls.as_deref_mut() else { return };
        let Some(talk) = find(&mut tls.talks, conn) else { return };
        talk.flush(ports);
        let stage = talk.stage;
        tls.talks[conn.slot as usize] = None;
        ports.close(conn);
        if stage.is_early() {
            tls.counters.handshakes_failed.add(1);
        }
        match stage {
            Stage::Accepted { door: Door::Peer, from } => {
                tracing::warn!(%from, why, "a peer could not prove itself");
            }
            Stage::Accepted { door, from } => tracing::debug!(?door, %from, why, "no TLS with a client"),
            Stage::Dialled { token } => {
                tracing::warn!(why, "no TLS with the peer that was dialled");
                self.tell(now, NetEvent::DialFailed { token, why: Ended::Broken }, ports);
            }
            Stage::Open => self.tell(now, NetEvent::Ended { conn, why: Ended::Broken }, ports),
            Stage::Closing => {}
        }
    }

    fn on_cipher_sent<P: Ports>(&mut self, now: Nanos, conn: Conn, buffer: Vec<u8>, ports: &mut P) {
        let Some(tls) = self.tls.as_deref_mut() else { return };
        let Some(talk) = find(&mut tls.talks, conn) else { return };
        (talk.spare, talk.sending) = (buffer, false);
        let lent = if std::mem::take(&mut talk.carries) { talk.lent.take() } else { None };
        talk.flush(ports);
        if talk.stage == Stage::Closing && !talk.sending {
            tls.talks[conn.slot as usize] = None;
            return ports.close(conn);
        }
        if let Some(mut buffer) = lent.filter(|_| talk.stage == Stage::Open) {
            buffer.clear();
            self.tell(now, NetEvent::Sent { conn, buffer }, ports);
        }
    }

    fn on_cipher_ended<P: Ports>(&mut self, now: Nanos, conn: Conn, why: Ended, ports: &mut P) {
        let Some(tls) = self.tls.as_deref_mut() else { return };
        let Some(stage) = find(&mut tls.talks, conn).map(|talk| talk.stage) else { return };
        tls.talks[conn.slot as usize] = None;
        if stage.is_early() {
            tls.counters.handshakes_failed.add(1);
        }
        match stage {
            Stage::Open => self.tell(now, NetEvent::Ended { conn, why }, ports),
            // Whoever answered the dial is alive: this is no refusal of its kernel's.
            Stage::Dialled { token } => {
                self.tell(now, NetEvent::DialFailed { token, why: Ended::Broken }, ports);
            }
            Stage::Accepted { .. } | Stage::Closing => {}
        }
    }

    /// Ends what has taken too long. Returns when to look again.
    fn on_due<P: Ports>(&mut self, now: Nanos, ports: &mut P) -> Nanos {
        while let Some(tls) = self.tls.as_deref_mut() {
            let Some(&(at, conn)) = tls.due.front() else { break };
            if at > now {
                return at;
            }
            tls.due.pop_front();
            if find(&mut tls.talks, conn).is_some_and(|talk| talk.stage != Stage::Open) {
                self.fail(now, conn, "it took too long", ports);
            }
        }
        Nanos::MAX
    }
}

impl<S: Station> Station for Guard<S> {
    fn on_net<P: Ports>(&mut self, now: Nanos, event: NetEvent<'_>, ports: &mut P) {
        let Some(tls) = self.tls.as_deref_mut() else {
            return self.station.on_net(now, event, &mut Through { now, ports, tls: None });
        };
        match event {
            NetEvent::Accepted { conn, door, from, .. } if door != Door::Zk => {
                let config = if door == Door::Peer { &tls.keys.peers } else { &tls.keys.doors };
                match ServerConnection::new(config.clone()) {
                    Ok(session) => tls.seat(now, conn, session.into(), Stage::Accepted { door, from }),
                    Err(_) => ports.close(conn), // A configuration that was tried at the start makes sessions.
                }
            }
            NetEvent::Dialled { token, conn, .. } => {
                // Which node it is says its certificate; nobody looks for this name in it.
                let nobody = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                match ClientConnection::new(tls.keys.dials.clone(), nobody) {
                    Ok(session) => {
                        tls.seat(now, conn, session.into(), Stage::Dialled { token });
                        find(&mut tls.talks, conn).expect("just seated").flush(ports);
                    }
                    Err(_) => ports.close(conn),
                }
            }
            NetEvent::Bytes { conn, bytes } if self.is_ours(conn) => self.on_cipher(now, conn, bytes, ports),
            NetEvent::Sent { conn, buffer } if self.is_ours(conn) => {
                self.on_cipher_sent(now, conn, buffer, ports);
            }
            NetEvent::Ended { conn, why } if self.is_ours(conn) => {
                self.on_cipher_ended(now, conn, why, ports)
            }
            event => self.tell(now, event, ports),
        }
    }

    fn on_disk<P: Ports>(&mut self, now: Nanos, event: DiskEvent, ports: &mut P) {
        self.station.on_disk(now, event, &mut Through { now, ports, tls: self.tls.as_deref_mut() });
    }

    fn turn<P: Ports>(&mut self, now: Nanos, ports: &mut P) -> Turn {
        memory::heed();
        let due = self.on_due(now, ports);
        let turn = self.station.turn(now, &mut Through { now, ports, tls: self.tls.as_deref_mut() });
        turn.and(Turn { again: false, deadline: due })
    }

    fn is_quiet(&mut self) -> bool {
        self.station.is_quiet()
    }

    /// What goes out may be a session's own, or wait in it.
    fn awaits_sent(&self) -> bool {
        self.tls.is_some() || self.station.awaits_sent()
    }

    fn on_stop(&mut self, now: Nanos) {
        self.station.on_stop(now);
    }

    fn is_done(&self) -> bool {
        self.station.is_done()
    }
}

impl Tls {
    fn seat(&mut self, now: Nanos, conn: Conn, mut session: Connection, stage: Stage) {
        session.set_buffer_limit(None); // The station bounds what it sends.
        let slot = conn.slot as usize;
        if self.talks.len() <= slot {
            self.talks.resize_with(slot + 1, || None);
        }
        let talk =
            Talk { conn, session, stage, lent: None, carries: false, sending: false, spare: Vec::new() };
        self.talks[slot] = Some(Box::new(talk));
        self.due.push_back((now.plus(HANDSHAKE), conn));
    }
}

fn find(talks: &mut [Option<Box<Talk>>], conn: Conn) -> Option<&mut Talk> {
    talks.get_mut(conn.slot as usize)?.as_deref_mut().filter(|talk| talk.conn == conn)
}

impl Stage {
    fn is_early(self) -> bool {
        !matches!(self, Stage::Open | Stage::Closing)
    }
}

impl Talk {
    /// Sends what the session has for the other side, if nothing is under way.
    fn flush(&mut self, net: &mut impl Net) {
        if self.sending || !self.session.wants_write() && self.lent.is_none() {
            return;
        }
        let mut out = std::mem::take(&mut self.spare);
        out.clear();
        while self.session.wants_write() {
            self.session.write_tls(&mut out).expect("memory takes all");
        }
        (self.sending, self.carries) = (true, self.lent.is_some());
        net.send(self.conn, out);
    }
}

impl<P: Ports> Net for Through<'_, P> {
    fn send(&mut self, conn: Conn, buffer: Vec<u8>) {
        let talk = self.tls.as_deref_mut().and_then(|tls| find(&mut tls.talks, conn));
        let Some(talk) = talk else { return self.ports.send(conn, buffer) };
        assert!(talk.lent.is_none(), "a second send before the first came back");
        talk.session.writer().write_all(&buffer).expect("a session without a limit takes all");
        talk.lent = Some(buffer);
        talk.flush(self.ports);
    }

    fn pause(&mut self, conn: Conn, paused: bool) {
        self.ports.pause(conn, paused);
    }

    fn close(&mut self, conn: Conn) {
        let Some(tls) = self.tls.as_deref_mut() else { return self.ports.close(conn) };
        let Some(talk) = find(&mut tls.talks, conn) else { return self.ports.close(conn) };
        talk.session.send_close_notify();
        talk.flush(self.ports);
        if talk.sending {
            // Closed once it is out, or when it takes too long.
            talk.stage = Stage::Closing;
            self.ports.pause(conn, false);
            tls.due.push_back((self.now.plus(HANDSHAKE), conn));
        } else {
            tls.talks[conn.slot as usize] = None;
            self.ports.close(conn);
        }
    }

    fn start(&mut self) {
        self.ports.start();
    }

    fn dial(&mut self, token: u64, to: SocketAddr) {
        self.ports.dial(token, to);
    }
}

impl<P: Ports> Disk for Through<'_, P> {
    fn write(&mut self, token: u64, file: File, offset: u64, block: Block) {
        self.ports.write(token, file, offset, block);
    }

    fn read(&mut self, token: u64, file: File, offset: u64, len: usize) {
        self.ports.read(token, file, offset, len);
    }

    fn create(&mut self, token: u64, file: File, len: u64) {
        self.ports.create(token, file, len);
    }

    fn end(&mut self, token: u64, file: File, len: u64) {
        self.ports.end(token, file, len);
    }

    fn remove(&mut self, token: u64, file: File) {
        self.ports.remove(token, file);
    }
}

impl<P: Ports> Ports for Through<'_, P> {
    fn wall_ms(&self) -> u64 {
        self.ports.wall_ms()
    }
}
