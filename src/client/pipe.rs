//! Many requests under way over one connection, which is replaced when it breaks.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::config::Config;
use super::error::Error;
use super::link::Link;
use super::watch::{Changes, WatchId, Watches};
use crate::doors::native::wire::{self, Ask, Fault, HEAD, REQUEST_MAX, Say};
use crate::realms::core::Open;
use crate::realms::kv::ops::{self, History, Op, Query};
use crate::realms::reply::{Reply, Status};

/// Stands for a request until it is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use]
pub struct Ticket(u64);

/// A request that has ended, and in what.
pub type Finished = (Ticket, Result<Vec<u8>, Error>);

/// A connection with any number of requests under way.
pub struct Pipe {
    config: Config,
    link: Option<Link>,
    /// Next server to try.
    server: usize,
    session: Option<Opened>,
    /// Number of the session's next write. It goes on over sessions, so that no two tickets are the same.
    next: u64,
    /// Last number outside the session's writes.
    free: u64,
    outstanding: BTreeMap<u64, Sent>,
    done: BTreeMap<u64, Result<Vec<u8>, Error>>,
    pub(super) watches: Watches,
    gone_leases: Vec<u64>,
    connections: u64,
}

/// The exactly-once session.
struct Opened {
    id: u64,
    window: u64,
    ttl_ms: u32,
}

struct Sent {
    frame: Vec<u8>,
    again: Again,
    /// Nobody waits any more; kept because a session's writes must be known to have ended before their slot is
    /// used again.
    abandoned: bool,
}

/// Whether it may be sent again on another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Yes,
    /// A write outside a session.
    No,
}

/// Numbers of requests other than a session's writes begin here.
const FREE: u64 = REQUEST_MAX / 2;

/// The first pause between two rounds over all servers; it doubles up to the second.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);

impl Pipe {
    /// Connects, and opens the exactly-once session if the configuration asks for one.
    pub fn connect(config: Config) -> Result<Pipe, Error> {
        let mut pipe = Pipe {
            config,
            link: None,
            server: 0,
            session: None,
            next: 1,
            free: FREE,
            outstanding: BTreeMap::new(),
            done: BTreeMap::new(),
            watches: Watches::default(),
            gone_leases: Vec::new(),
            connections: 0,
        };
        let deadline = pipe.deadline();
        pipe.ensure_link(deadline)?;
        pipe.ensure_session()?;
        Ok(pipe)
    }

    /// Starts one command: the operations are carried out together in the log, each with a revision of its own.
    /// `finish` returns one reply for each of them, end to end.
    pub fn start_write(&mut self, ops: &[Op]) -> Result<Ticket, Error> {
        self.start_write_bytes(&ops::Write { ops: ops.to_vec() }.encode())
    }

    /// As `start_write`, with the archive of a `Write`.
    pub fn start_write_bytes(&mut self, archive: &[u8]) -> Result<Ticket, Error> {
        self.ensure_session()?;
        let Some(session) = &self.session else {
            let number = self.free_number();
            return self.start(Ask::Write, number, archive, Again::No);
        };
        // A slot of the session's window is used again only when the write that had it has ended.
        let (number, window) = (self.next, session.window);
        while self.outstanding.first_key_value().is_some_and(|(oldest, _)| *oldest + window <= number) {
            let deadline = self.deadline();
            self.wait_for_news(deadline)?;
        }
        let ticket = self.start(Ask::Write, number, archive, Again::Yes)?;
        self.next = number + 1;
        Ok(ticket)
    }

    /// Starts a query. `local`: answered from the server's own state, which may lag behind.
    pub fn start_query(&mut self, query: &Query, local: bool) -> Result<Ticket, Error> {
        let number = self.free_number();
        let ask = if local { Ask::ReadLocal } else { Ask::Read };
        self.start(ask, number, &query.encode(), Again::Yes)
    }

    /// Tells the leader that the lease's holder is alive. The reply is that to `Query::Lease`.
    pub fn start_keep_alive(&mut self, lease: u64) -> Result<Ticket, Error> {
        let number = self.free_number();
        self.start(Ask::KeepAlive, number, &lease.to_le_bytes(), Again::Yes)
    }

    /// Asks the server at the other end, and nobody else, for a sign of life.
    pub fn start_ping(&mut self) -> Result<Ticket, Error> {
        let number = self.free_number();
        self.start(Ask::Ping, number, &[], Again::Yes)
    }

    /// Sends what has gathered.
    pub fn flush(&mut self) -> Result<(), Error> {
        if let Some(link) = &mut self.link
            && link.flush().is_err()
        {
            self.lose_link();
        }
        let deadline = self.deadline();
        self.ensure_link(deadline)
    }

    /// Waits for the request's replies: see `realms::reply` and `said`.
    pub fn finish(&mut self, ticket: Ticket) -> Result<Vec<u8>, Error> {
        let deadline = self.deadline();
        loop {
            if let Some(result) = self.done.remove(&ticket.0) {
                return result;
            }
            match self.outstanding.get_mut(&ticket.0) {
                None => return Err(Error::Protocol("the ticket was finished before")),
                Some(sent) if Instant::now() >= deadline => {
                    sent.abandoned = true;
                    self.leave_silent_server();
                    return Err(Error::TimedOut(self.config.timeout));
                }
                Some(_) => {}
            }
            self.wait_for_news(deadline)?;
        }
    }

    /// Some request that has ended, waiting up to `timeout` for one.
    pub fn finish_any(&mut self, timeout: Duration) -> Result<Option<Finished>, Error> {
        let deadline = Instant::now() + timeout;
        while self.done.is_empty() && Instant::now() < deadline {
            self.wait_for_news(deadline)?;
        }
        Ok(self.done.pop_first().map(|(number, result)| (Ticket(number), result)))
    }

    /// Requests without an answer.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The exactly-once session's id; `None` without one.
    pub fn session(&self) -> Option<u64> {
        self.session.as_ref().map(|session| session.id)
    }

    /// How often the connection was replaced.
    pub fn reconnects(&self) -> u64 {
        self.connections.saturating_sub(1)
    }

    /// Leases kept alive here that the leader has since said are gone.
    pub fn take_gone_leases(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.gone_leases)
    }

    /// Watches a range from a revision on; revision 0: from now on. It goes on over reconnections.
    pub fn watch(&mut self, history: History) -> Result<WatchId, Error> {
        let number = self.free_number();
        let ticket = self.start(Ask::Watch, number, &history.encode(), Again::Yes)?;
        self.watches.open(number, history);
        let result = self.finish(ticket);
        if result.is_err() {
            self.watches.forget(number);
        }
        result.map(|_| WatchId(number))
    }

    /// No event of it comes any more.
    pub fn cancel_watch(&mut self, watch: WatchId) -> Result<(), Error> {
        if self.watches.is_live(watch.0) {
            let number = self.free_number();
            // It has no reply of its own: the watch's end is the answer, and a broken connection is one too.
            let ticket = self.start(Ask::CancelWatch, number, &watch.0.to_le_bytes(), Again::No)?;
            self.outstanding.remove(&ticket.0);
            let deadline = self.deadline();
            while self.watches.is_live(watch.0) && Instant::now() < deadline {
                let connections = self.connections;
                self.wait_for_news(deadline)?;
                if self.connections != connections {
                    return self.cancel_watch(watch); // It was opened again.
                }
            }
        }
        self.watches.forget(watch.0);
        Ok(())
    }

    /// The next changes of a watch; `None`: there were none within `timeout`.
    pub fn next_changes(&mut self, watch: WatchId, timeout: Duration) -> Result<Option<Changes>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.watches.take(watch.0) {
                // It ended only because nobody read: somebody does now.
                Some(Err(Error::Door(Fault::WatchTooSlow))) => self.watch_again(watch)?,
                Some(result) => return result.map(Some),
                None => {}
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            self.wait_for_news(deadline)?;
        }
    }

    fn watch_again(&mut self, watch: WatchId) -> Result<(), Error> {
        let Some(history) = self.watches.reopen(watch.0) else { return Ok(()) };
        let ticket = self.start(Ask::Watch, watch.0, &history.encode(), Again::Yes)?;
        if let Some(sent) = self.outstanding.get_mut(&ticket.0) {
            sent.abandoned = true;
        }
        Ok(())
    }

    /// Ends the exactly-once session, after the writes under way in it; what it remembers of results is freed.
    pub fn close_session(&mut self) -> Result<(), Error> {
        self.config.session = None;
        let deadline = self.deadline();
        while self.outstanding.first_key_value().is_some_and(|(oldest, _)| *oldest < FREE) {
            if Instant::now() >= deadline {
                return Err(Error::TimedOut(self.config.timeout));
            }
            self.wait_for_news(deadline)?;
        }
        let Some(session) = self.session.take() else { return Ok(()) };
        let number = self.free_number();
        let ticket = self.start(Ask::CloseSession, number, &session.id.to_le_bytes(), Again::No)?;
        self.finish(ticket).map(|_| ())
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.config.timeout
    }

    fn free_number(&mut self) -> u64 {
        self.free += 1;
        self.free
    }

    fn start(&mut self, ask: Ask, number: u64, body: &[u8], again: Again) -> Result<Ticket, Error> {
        let max = self.link.as_ref().map_or(wire::BODY_MAX as usize, |link| link.body_max);
        if body.len() > max {
            return Err(Error::TooLong { length: body.len(), max });
        }
        while self.outstanding.len() >= self.config.outstanding {
            let deadline = self.deadline();
            self.wait_for_news(deadline)?;
        }
        let deadline = self.deadline();
        self.ensure_link(deadline)?;
        let mut frame = Vec::with_capacity(HEAD + body.len());
        wire::put_frame(&mut frame, ask as u8, number, body);
        let result = self.link.as_mut().map_or(Ok(()), |link| link.put(&frame));
        self.outstanding.insert(number, Sent { frame, again, abandoned: false });
        if result.is_err() {
            self.lose_link();
        }
        Ok(Ticket(number))
    }

    fn ensure_session(&mut self) -> Result<(), Error> {
        let (None, Some(wanted)) = (&self.session, self.config.session) else { return Ok(()) };
        let ttl_ms = u32::try_from(wanted.ttl.as_millis()).unwrap_or(u32::MAX);
        let open = Open { window: wanted.window, ttl_ms };
        let deadline = self.deadline();
        loop {
            let number = self.free_number();
            let ticket = self.start(Ask::OpenSession, number, &open.encode(), Again::No)?;
            match self.finish(ticket) {
                Ok(reply) => {
                    let (id, open) = opened(&reply)?;
                    self.session = Some(Opened { id, window: u64::from(open.window), ttl_ms: open.ttl_ms });
                    return Ok(());
                }
                // A session that was opened unheard dies of its age.
                Err(Error::Unknown) if Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what has gathered and takes in what comes, if need be over another connection.
    fn wait_for_news(&mut self, deadline: Instant) -> Result<(), Error> {
        self.ensure_link(deadline)?;
        if self.exchange(deadline).is_err() {
            self.lose_link(); // The caller comes again until its own deadline.
        }
        Ok(())
    }

    fn exchange(&mut self, deadline: Instant) -> io::Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.flush()?;
        if self.take_frames()? > 0 {
            return Ok(());
        }
        if let Some(link) = &mut self.link {
            link.receive(deadline)?;
        }
        self.take_frames().map(|_| ())
    }

    fn take_frames(&mut self) -> io::Result<usize> {
        let mut taken = 0;
        while let Some(link) = &mut self.link
            && let Some((head, body)) = link.next_frame()?
        {
            let body = body.to_vec();
            self.on_frame(&head, body);
            taken += 1;
        }
        Ok(taken)
    }

    fn on_frame(&mut self, head: &wire::Head, body: Vec<u8>) {
        let code = || Error::from_code(body.first_chunk().map_or(u16::MAX, |code| u16::from_le_bytes(*code)));
        match Say::from_byte(head.kind) {
            Some(Say::Reply | Say::Pong) => {
                self.watches.on_opened(head.request, &body);
                self.on_done(head.request, Ok(body));
            }
            Some(Say::Error) if self.outstanding.contains_key(&head.request) => {
                self.on_done(head.request, Err(code()));
            }
            // Of a watch that was to be opened again.
            Some(Say::Error) => self.watches.on_ended(head.request, code()),
            Some(Say::Event) => self.watches.on_event(head.request, &body),
            Some(Say::WatchEnded) => {
                let ended = code();
                self.on_done(head.request, Err(ended.clone())); // If it never opened.
                self.watches.on_ended(head.request, ended);
            }
            Some(Say::LeaseGone) => self.gone_leases.extend(wire::number(&body)),
            Some(Say::Welcome) | None => {} // Nothing that was asked for.
        }
    }

    fn on_done(&mut self, number: u64, result: Result<Vec<u8>, Error>) {
        let Some(sent) = self.outstanding.remove(&number) else { return };
        let gone = match &result {
            Ok(replies) => {
                matches!(Reply::take(&mut &replies[..]), Some(r) if r.status == Status::SessionGone)
            }
            Err(error) => *error == Error::SessionGone,
        };
        let of_session = number < FREE;
        if gone && of_session {
            self.session = None;
        }
        if !sent.abandoned {
            let result = if gone && of_session { Err(Error::SessionGone) } else { result };
            self.done.insert(number, result);
        }
    }

    /// A server that has said nothing for a whole time-out is frozen or cut off, though its connection stands.
    fn leave_silent_server(&mut self) {
        if self.link.as_ref().is_some_and(|link| link.heard.elapsed() >= self.config.timeout) {
            self.lose_link();
        }
    }

    fn lose_link(&mut self) {
        self.link = None;
        self.server += 1;
        // What may not be sent again has ended, with an unknown end.
        let lost: Vec<u64> =
            self.outstanding.iter().filter(|(_, sent)| sent.again == Again::No).map(|(n, _)| *n).collect();
        for number in lost {
            self.on_done(number, Err(Error::Unknown));
        }
    }

    fn ensure_link(&mut self, deadline: Instant) -> Result<(), Error> {
        if self.link.is_some() {
            return Ok(());
        }
        let began = Instant::now();
        let mut pause = PAUSE;
        let mut last = String::from("the list of servers is empty");
        loop {
            for _ in 0..self.config.servers.len() {
                match self.try_server() {
                    Ok(link) => {
                        self.link = Some(link);
                        return Ok(());
                    }
                    Err(error) => {
                        last = error.to_string();
                        self.server += 1;
                    }
                }
            }
            if Instant::now() + pause >= deadline || self.config.servers.is_empty() {
                let waited = began.elapsed();
                return Err(Error::Unreachable { servers: self.config.servers.clone(), waited, last });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// A new connection on which everything without an answer has been sent again.
    fn try_server(&mut self) -> io::Result<Link> {
        let server = &self.config.servers[self.server % self.config.servers.len()];
        let (id, ttl_ms) = self.session.as_ref().map_or((0, 0), |session| (session.id, session.ttl_ms));
        let tls = self.config.tls.as_ref().map(|tls| &tls.0);
        let mut link = Link::connect(server, tls, (id, ttl_ms), self.config.connect_timeout)?;
        self.connections += 1;
        // In the order of numbers, so a session's writes come as they came the first time.
        for sent in self.outstanding.values() {
            link.put(&sent.frame)?;
        }
        for (number, history) in self.watches.resume() {
            if !self.outstanding.contains_key(&number) {
                let mut frame = Vec::new();
                wire::put_frame(&mut frame, Ask::Watch as u8, number, &history.encode());
                link.put(&frame)?;
            }
        }
        link.flush()?;
        Ok(link)
    }
}

fn opened(mut reply: &[u8]) -> Result<(u64, Open), Error> {
    let strange = Error::Protocol("a session's opening without its id");
    let reply = Reply::take(&mut reply).ok_or(strange.clone())?;
    if reply.status != Status::Ok {
        return Err(Error::Refused(reply.status));
    }
    let (id, open) = reply.body.split_first_chunk::<8>().ok_or(strange.clone())?;
    Ok((u64::from_le_bytes(*id), Open::decode(open).ok_or(strange)?))
}
