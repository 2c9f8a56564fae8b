//! Null servers: valid answers from a constant, so that what is measured against them is the client.

mod consul;
mod etcd;
mod native;
mod zk;

use std::io;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::driver::Protocol;
use crate::pipe::{Filled, Pipe};
use crate::poll::{Poll, Ready};

/// One connection's protocol, the server's side.
pub trait Answer {
    fn new(value_size: usize) -> Self;

    /// Returns how many bytes it took; `None`: hang up.
    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<usize>;

    /// Whether an operation was seen, not only a greeting.
    fn asked(&self) -> bool;
}

#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// After the first operation.
    pub at: Duration,
    pub length: Duration,
}

pub fn serve(
    protocol: Protocol,
    listener: TcpListener,
    value_size: usize,
    stall: Option<Stall>,
) -> io::Result<()> {
    match protocol {
        Protocol::Zk => serve_with::<zk::Zk>(listener, value_size, stall),
        Protocol::Native => serve_with::<native::Native>(listener, value_size, stall),
        Protocol::Etcd => serve_with::<etcd::Etcd>(listener, value_size, stall),
        Protocol::Consul => serve_with::<consul::Consul>(listener, value_size, stall),
    }
}

struct Guest<A> {
    pipe: Pipe,
    answer: A,
    wants_write: bool,
}

const LISTENER: usize = usize::MAX;

fn serve_with<A: Answer>(listener: TcpListener, value_size: usize, stall: Option<Stall>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut poll = Poll::open()?;
    poll.add(&listener, LISTENER, false)?;
    let mut guests: Vec<Option<Guest<A>>> = Vec::new();
    let mut ready: Vec<Ready> = Vec::new();
    let mut stall = stall.map(|stall| (stall, None::<Instant>));
    loop {
        let until = stall
            .and_then(|(stall, since)| Some((since? + stall.at).saturating_duration_since(Instant::now())));
        poll.wait(until.map(|wait| wait.as_nanos() as u64), &mut ready)?;
        if let Some((plan, Some(since))) = stall
            && since.elapsed() >= plan.at
        {
            // Deaf and dumb, as a long collection of garbage is.
            thread::sleep(plan.length);
            stall = None;
        }
        for event in ready.drain(..) {
            if event.token == LISTENER {
                accept(&listener, &poll, &mut guests, value_size)?;
                continue;
            }
            let Some(guest) = guests[event.token].as_mut() else { continue };
            if !attend(guest, &poll, event) {
                guests[event.token] = None;
                continue;
            }
            if let Some((_, since @ None)) = &mut stall
                && guest.answer.asked()
            {
                *since = Some(Instant::now());
            }
        }
    }
}

fn accept<A: Answer>(
    listener: &TcpListener,
    poll: &Poll,
    guests: &mut Vec<Option<Guest<A>>>,
    value_size: usize,
) -> io::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        let pipe = Pipe::new(stream)?;
        let token = guests.iter().position(Option::is_none).unwrap_or(guests.len());
        poll.add(pipe.socket(), token, false)?;
        let guest = Some(Guest { pipe, answer: A::new(value_size), wants_write: false });
        if token == guests.len() { guests.push(guest) } else { guests[token] = guest }
    }
    Ok(())
}

/// `false`: the connection is over.
fn attend<A: Answer>(guest: &mut Guest<A>, poll: &Poll, event: Ready) -> bool {
    if event.readable {
        match guest.pipe.fill() {
            Ok(Filled::Some) => {
                let (input, out) = guest.pipe.both();
                let Some(taken) = guest.answer.take(input, out) else { return false };
                guest.pipe.consume(taken);
            }
            Ok(Filled::Nothing) => {}
            Ok(Filled::Closed) | Err(_) => return false,
        }
    }
    match guest.pipe.flush() {
        Ok(sent) => {
            if sent == guest.wants_write {
                guest.wants_write = !sent;
                return poll.modify(guest.pipe.socket(), event.token, !sent).is_ok();
            }
            true
        }
        Err(_) => false,
    }
}
