//! `Net` on the ring.

use std::net::SocketAddr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use io_uring::{cqueue, opcode, squeue, types};

use crate::base::Nanos;
use crate::drive::ring::buffers::{Buffers, GROUP};
use crate::drive::ring::kernel::{Done, Kind, tag};
use crate::drive::ring::sockets::Phase;
use crate::drive::ring::{Ready, Ring};
use crate::drive::{clock, socket};
use crate::pipeline::ports::{Conn, Ended, Net, NetEvent};
use crate::pipeline::station::Station;

/// How long a closed connection may take to send its last bytes and to be closed by the other side.
const LINGER: Nanos = Nanos(2_000_000_000);

/// How long to leave a listener alone after an error that only time heals, such as too many open files.
const ACCEPT_REST: Nanos = Nanos(100_000_000);

/// What a socket's buffer takes at once, unless its receiver has not read for long.
const SHORT: usize = 16 << 10;

const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

impl Net for Ring {
    fn send(&mut self, conn: Conn, buffer: Vec<u8>) {
        let Some(slot) = self.sockets.find(conn) else { return };
        let socket = self.sockets.at(slot);
        assert!(!socket.sending, "a second send before the first came back");
        if buffer.is_empty() {
            self.ready.push_back(Ready::Sent(conn, buffer));
            return;
        }
        let is_short = buffer.len() <= SHORT;
        (socket.out, socket.sent, socket.sending) = (buffer, 0, true);
        self.start_send(slot, is_short);
    }

    fn pause(&mut self, conn: Conn, paused: bool) {
        let Some(slot) = self.sockets.find(conn) else { return };
        let socket = self.sockets.at(slot);
        if socket.paused == paused {
            return;
        }
        socket.paused = paused;
        if paused {
            self.cancel_receive(slot);
        } else if !socket.held.is_empty() || socket.ended.is_some() {
            self.ready.push_back(Ready::Resumed(conn));
        } else if !socket.receiving {
            self.start_receive(slot);
        }
    }

    fn close(&mut self, conn: Conn) {
        let Some(slot) = self.sockets.find(conn) else { return };
        let socket = self.sockets.at(slot);
        if socket.ended.is_some() {
            return self.finish(slot);
        }
        (socket.phase, socket.paused) = (Phase::Closing, false);
        socket.held = Vec::new();
        if socket.sending {
            self.parting = true;
        } else {
            socket::shutdown(socket.borrowed(), libc::SHUT_WR);
        }
        if !socket.receiving {
            self.start_receive(slot);
        }
        self.lingering.push_back((clock::now().plus(LINGER), conn));
    }

    fn start(&mut self) {
        self.kernel.start();
    }

    fn dial(&mut self, token: u64, to: SocketAddr) {
        let slot = match socket::tcp(to) {
            Ok(fd) => self.sockets.insert(fd, Phase::Dialling(token)),
            Err(_) => None,
        };
        let Some(slot) = slot else {
            self.ready.push_back(Ready::DialFailed(token));
            return;
        };
        let socket = self.sockets.at(slot);
        socket::no_delay(socket.borrowed());
        let address = socket.address.insert(Box::new(socket::RawAddr::of(to)));
        let (ptr, len) = (address.as_ptr(), address.len());
        socket.pending += 1;
        let connect = opcode::Connect::new(socket.fd(), ptr, len)
            .build()
            .user_data(tag(Kind::Connect, slot))
            .flags(squeue::Flags::IO_LINK);
        let limit =
            opcode::LinkTimeout::new(&raw const *self.dial_limit).build().user_data(tag(Kind::Ignored, 0));
        // SAFETY: the address stays in its box until the slot is released, after the last completion; the limit
        // lives as long as the ring.
        unsafe { self.kernel.push_all(&[connect, limit]) };
    }
}

impl Ring {
    pub(super) fn start_accept(&mut self, listener: usize) {
        let fd = types::Fd(std::os::fd::AsRawFd::as_raw_fd(&self.listeners[listener].1));
        let accept = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: points to nothing.
        unsafe { self.kernel.push(accept.user_data(tag(Kind::Accept, listener as u32))) };
    }

    pub(super) fn on_accept<S: Station>(&mut self, now: Nanos, done: Done, station: &mut S) {
        let listener = done.slot as usize;
        if done.result < 0 {
            self.counters.accept_faults.add(1);
            let passing = [libc::ECONNABORTED, libc::EINTR, libc::EAGAIN, libc::ENOBUFS];
            if !cqueue::more(done.flags) {
                let rest = if passing.contains(&-done.result) { Nanos(0) } else { ACCEPT_REST };
                self.resting.push((now.plus(rest), listener));
            }
            return;
        }
        // SAFETY: the kernel has just given us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(done.result) };
        if !cqueue::more(done.flags) {
            self.start_accept(listener);
        }
        socket::no_delay(fd.as_fd());
        let Ok(from) = socket::peer(fd.as_fd()) else { return }; // Gone before it was looked at.
        let Some(slot) = self.sockets.insert(fd, Phase::Open) else {
            self.counters.accepts_refused.add(1);
            return;
        };
        self.counters.accepted.add(1);
        let (conn, door) = (self.sockets.name(slot), self.listeners[listener].0);
        self.start_receive(slot);
        station.on_net(now, NetEvent::Accepted { conn, door, from, by: None }, self);
    }

    pub(super) fn on_connect<S: Station>(&mut self, now: Nanos, done: Done, station: &mut S) {
        let socket = self.sockets.at(done.slot);
        socket.pending -= 1;
        let Phase::Dialling(token) = socket.phase else { unreachable!("only a dial connects") };
        if done.result == 0 {
            socket.phase = Phase::Open;
            let conn = self.sockets.name(done.slot);
            self.start_receive(done.slot);
            station.on_net(now, NetEvent::Dialled { token, conn, by: None }, self);
        } else {
            self.sockets.release(done.slot);
            let why = if -done.result == libc::ECONNREFUSED { Ended::Refused } else { Ended::Broken };
            station.on_net(now, NetEvent::DialFailed { token, why }, self);
        }
    }

    fn start_receive(&mut self, slot: u32) {
        let socket = self.sockets.at(slot);
        assert!(!socket.receiving);
        socket.receiving = true;
        socket.pending += 1;
        let receive = opcode::RecvMulti::new(socket.fd(), GROUP).build();
        // SAFETY: the memory is the buffer group's, which outlives the ring.
        unsafe { self.kernel.push(receive.user_data(tag(Kind::Receive, slot))) };
    }

    fn cancel_receive(&mut self, slot: u32) {
        let socket = self.sockets.at(slot);
        if socket.receiving && !socket.cancelling {
            socket.cancelling = true;
            let cancel = opcode::AsyncCancel::new(tag(Kind::Receive, slot)).build();
            // SAFETY: points to nothing.
            unsafe { self.kernel.push(cancel.user_data(tag(Kind::Ignored, 0))) };
        }
    }

    pub(super) fn on_receive<S: Station>(
        &mut self,
        now: Nanos,
        done: Done,
        buffers: &mut Buffers,
        station: &mut S,
    ) {
        let slot = done.slot;
        let socket = self.sockets.at(slot);
        if !cqueue::more(done.flags) {
            (socket.receiving, socket.cancelling) = (false, false);
            socket.pending -= 1;
        }
        if let Some(id) = cqueue::buffer_select(done.flags) {
            let bytes = buffers.bytes(id, done.result.max(0) as usize);
            self.counters.bytes_in.add(bytes.len() as u64);
            if socket.phase == Phase::Open && !bytes.is_empty() {
                if socket.paused || !socket.held.is_empty() {
                    socket.held.extend_from_slice(bytes);
                } else {
                    let conn = self.sockets.name(slot);
                    station.on_net(now, NetEvent::Bytes { conn, bytes }, self);
                }
            }
            buffers.give_back(id);
        }
        match -done.result {
            0 => self.end(now, slot, Ended::Closed, station),
            ..0 | libc::ECANCELED => {}
            libc::ENOBUFS => self.counters.buffers_out.add(1),
            code => self.end(now, slot, reason(code), station),
        }
        let socket = self.sockets.at(slot);
        let wanted = match socket.phase {
            Phase::Open => !socket.paused && socket.ended.is_none(),
            Phase::Closing => true,
            _ => false,
        };
        if wanted && !socket.receiving {
            self.start_receive(slot);
        } else {
            self.release_if_done(slot);
        }
    }

    /// After a pause: what was held back, then the end if it came meanwhile.
    pub(super) fn on_resumed<S: Station>(&mut self, now: Nanos, conn: Conn, station: &mut S) {
        let Some(slot) = self.sockets.find(conn) else { return };
        let socket = self.sockets.at(slot);
        if socket.paused {
            return; // Paused again meanwhile; its resumption comes here anew.
        }
        let held = std::mem::take(&mut socket.held);
        if !held.is_empty() {
            station.on_net(now, NetEvent::Bytes { conn, bytes: &held }, self);
        }
        let Some(slot) = self.sockets.find(conn) else { return };
        let socket = self.sockets.at(slot);
        match socket.ended {
            Some(why) if !socket.paused => {
                self.finish(slot);
                station.on_net(now, NetEvent::Ended { conn, why }, self);
            }
            None if !socket.paused && !socket.receiving => self.start_receive(slot),
            _ => {}
        }
    }

    fn start_send(&mut self, slot: u32, is_short: bool) {
        let socket = self.sockets.at(slot);
        socket.pending += 1;
        let rest = &socket.out[socket.sent..];
        let send = opcode::Send::new(socket.fd(), rest.as_ptr(), rest.len() as u32).flags(SEND_FLAGS).build();
        // SAFETY: `out` is neither touched nor dropped before the completion: `sending` guards it.
        let send = send.user_data(tag(Kind::Send, slot));
        unsafe { if is_short { self.kernel.push_prompt(send) } else { self.kernel.push(send) } };
    }

    pub(super) fn on_send<S: Station>(&mut self, now: Nanos, done: Done, station: &mut S) {
        let slot = done.slot;
        let socket = self.sockets.at(slot);
        socket.pending -= 1;
        if done.result <= 0 {
            socket.sending = false;
            self.end(now, slot, reason(-done.result), station);
            return self.release_if_done(slot);
        }
        self.counters.bytes_out.add(done.result as u64);
        socket.sent += done.result as usize;
        if socket.sent < socket.out.len() && socket.phase != Phase::Dead {
            return self.start_send(slot, false);
        }
        socket.sending = false;
        match socket.phase {
            Phase::Open => {
                let mut buffer = std::mem::take(&mut socket.out);
                buffer.clear();
                let conn = self.sockets.name(slot);
                station.on_net(now, NetEvent::Sent { conn, buffer }, self);
            }
            Phase::Closing => socket::shutdown(socket.borrowed(), libc::SHUT_WR),
            _ => self.release_if_done(slot),
        }
    }

    /// The connection has ended by itself: tell the station, unless it has closed it or must first take bytes.
    fn end<S: Station>(&mut self, now: Nanos, slot: u32, why: Ended, station: &mut S) {
        let socket = self.sockets.at(slot);
        match socket.phase {
            Phase::Open if !socket.held.is_empty() => {
                socket.ended.get_or_insert(why);
            }
            Phase::Open => {
                let conn = self.sockets.name(slot);
                self.finish(slot);
                station.on_net(now, NetEvent::Ended { conn, why }, self);
            }
            Phase::Closing => self.finish(slot),
            _ => {}
        }
    }

    /// No more is said of it. Its requests come back at once, because both directions are shut.
    fn finish(&mut self, slot: u32) {
        let socket = self.sockets.at(slot);
        socket.phase = Phase::Dead;
        if socket.pending > 0 {
            socket::shutdown(socket.borrowed(), libc::SHUT_RDWR);
        } else {
            self.ready.push_back(Ready::Release(slot));
        }
    }

    pub(super) fn release_if_done(&mut self, slot: u32) {
        let socket = self.sockets.at(slot);
        if socket.phase == Phase::Dead && socket.pending == 0 {
            self.sockets.release(slot);
        }
    }

    /// Cuts what has lingered too long and wakes listeners that have rested.
    pub(super) fn on_time(&mut self, now: Nanos) {
        while let Some(&(due, conn)) = self.lingering.front()
            && due <= now
        {
            self.lingering.pop_front();
            let socket = self.sockets.at(conn.slot);
            if socket.generation == conn.generation && socket.phase == Phase::Closing {
                self.finish(conn.slot);
            }
        }
        while let Some(at) = self.resting.iter().position(|&(due, _)| due <= now) {
            let (_, listener) = self.resting.swap_remove(at);
            self.start_accept(listener);
        }
    }

    /// When `on_time` wants to be called next.
    pub(super) fn next_time(&self) -> Nanos {
        let resting = self.resting.iter().map(|r| r.0);
        resting.chain(self.lingering.front().map(|l| l.0)).min().unwrap_or(Nanos::MAX)
    }
}

/// A reset and a broken pipe are word from the other side's kernel: the process is gone.
fn reason(code: i32) -> Ended {
    match code {
        libc::ECONNRESET | libc::EPIPE => Ended::Closed,
        libc::ECONNREFUSED => Ended::Refused,
        _ => Ended::Broken,
    }
}
