//! Whole frames back, one write per connection and turn.

use quorate::base::Nanos;
use quorate::pipeline::ports::{Conn, DiskEvent, NetEvent, Turn};
use quorate::pipeline::station::{Ports, Station};

use super::{Table, whole_frames};

/// Unanswered bytes of a connection above which its reading waits.
const OUT_MAX: usize = 1 << 20;

#[derive(Default)]
pub struct Echo {
    guests: Table<Guest>,
    /// Connections with whole frames to send.
    dirty: Vec<Conn>,
    /// Buffers that connections do not need while they are idle.
    spare: Vec<Vec<u8>>,
    pub frames: u64,
    stopping: bool,
}

#[derive(Default)]
struct Guest {
    /// Whole frames to send back.
    out: Vec<u8>,
    /// The beginning of a frame.
    part: Vec<u8>,
    sending: bool,
    paused: bool,
}

impl Station for Echo {
    fn on_net<P: Ports>(&mut self, _: Nanos, event: NetEvent<'_>, ports: &mut P) {
        match event {
            NetEvent::Accepted { conn, .. } => self.guests.insert(conn.slot, Guest::default()),
            NetEvent::Ended { conn, .. } => self.guests.remove(conn.slot),
            NetEvent::Bytes { conn, bytes } => {
                let Some(guest) = self.guests.at(conn.slot) else { return };
                if guest.out.is_empty() {
                    self.dirty.push(conn);
                    if guest.out.capacity() == 0 {
                        guest.out = self.spare.pop().unwrap_or_default();
                    }
                }
                if guest.part.is_empty() {
                    let (whole, count) = whole_frames(bytes);
                    guest.out.extend_from_slice(&bytes[..whole]);
                    guest.part.extend_from_slice(&bytes[whole..]);
                    self.frames += count;
                } else {
                    guest.part.extend_from_slice(bytes);
                    let (whole, count) = whole_frames(&guest.part);
                    guest.out.extend_from_slice(&guest.part[..whole]);
                    guest.part.drain(..whole);
                    self.frames += count;
                }
                if guest.out.len() > OUT_MAX && !guest.paused {
                    guest.paused = true;
                    ports.pause(conn, true);
                }
            }
            NetEvent::Sent { conn, buffer } => {
                self.spare.push(buffer);
                let Some(guest) = self.guests.at(conn.slot) else { return };
                guest.sending = false;
                if std::mem::take(&mut guest.paused) {
                    ports.pause(conn, false);
                }
                if !guest.out.is_empty() {
                    self.dirty.push(conn);
                }
            }
            NetEvent::Dialled { .. } | NetEvent::DialFailed { .. } => unreachable!("the echo dials nobody"),
        }
    }

    fn on_disk<P: Ports>(&mut self, _: Nanos, _: DiskEvent, _: &mut P) {
        unreachable!("the echo has no disk")
    }

    fn turn<P: Ports>(&mut self, _: Nanos, ports: &mut P) -> Turn {
        for conn in self.dirty.drain(..) {
            let Some(guest) = self.guests.at(conn.slot) else { continue };
            if !guest.sending && !guest.out.is_empty() {
                guest.sending = true;
                ports.send(conn, std::mem::take(&mut guest.out));
            }
        }
        Turn::IDLE
    }

    fn is_quiet(&mut self) -> bool {
        false
    }

    fn awaits_sent(&self) -> bool {
        true
    }

    fn on_stop(&mut self, _: Nanos) {
        self.stopping = true;
    }

    fn is_done(&self) -> bool {
        self.stopping
    }
}
