//! The watches of one lane's native connections.
//!
//! A watch first catches up: it asks for history, slice by slice, until a slice ends at the state's own revision.
//! Answers and changes come on one lane in the order of the state, so from that answer on the changes are what
//! follows, without a gap and without a repetition. Where changes do not tell, being too many
//! at once, every live watch asks for history once more. A live watch whose client does not read is
//! ended with the revision from which a new one can go on.

use crate::doors::native::session::Session;
use crate::doors::native::wire::{self, Fault, Say};
use crate::doors::watch::{Handle, Ranges};
use crate::doors::{Crowd, Cx, Seat};
use crate::realms::kv::ops::{self, Group, Record};
use crate::realms::reply::{self, Reply, Status};

/// Output that waits for a client above which its watches are not caught up further.
pub(super) const UNREAD_MAX: usize = 256 << 10;

/// Output that waits for a client above which its live watches are ended.
const LIVE_UNREAD_MAX: usize = 4 << 20;

/// Watches of one lane.
const WATCHES_MAX: usize = 200_000;

/// What an answer means for a watch.
pub(super) enum Step {
    /// Changes carry it on.
    Live,
    /// The next slice is to be asked for.
    More,
    Ended(Ended),
}

pub(super) struct Ended {
    pub code: u16,
    /// Events below it have been sent.
    pub revision: u64,
}

#[derive(Debug)]
struct Watch {
    seat: Seat,
    request: u64,
    /// Events below this revision have been sent, or are not wanted.
    next: u64,
    /// Events of that revision that have been sent.
    sub: u32,
    wants_before: bool,
    opened: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    CatchingUp,
    /// Its client has enough to read: the next slice is not asked for yet.
    Waiting,
    Live,
}

/// One of a group's events, for one watch: where it begins, and where it ends without and with what it replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    handle: Handle,
    begin: u32,
    end: u32,
    end_with_before: u32,
}

#[derive(Debug, Default)]
pub(super) struct Watches {
    ranges: Ranges<Watch>,
    hits: Vec<Hit>,
}

impl Watches {
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// `None`: there are too many.
    pub(super) fn open(&mut self, seat: Seat, request: u64, ask: &ops::ArchivedHistory) -> Option<Handle> {
        if self.ranges.len() >= WATCHES_MAX {
            return None;
        }
        let watch = Watch {
            seat,
            request,
            next: ask.revision.to_native(),
            sub: ask.sub.to_native(),
            wants_before: ask.flags.to_native() & ops::flag::BEFORE != 0,
            opened: false,
            state: State::CatchingUp,
        };
        let key = ask.key.as_slice();
        Some(match ask.end.as_slice() {
            [] => self.ranges.insert(key, Some(&[key, &[0]].concat()), watch),
            [0] => self.ranges.insert(key, None, watch),
            end => self.ranges.insert(key, Some(end), watch),
        })
    }

    pub(super) fn close(&mut self, handle: Handle) {
        self.ranges.remove(handle);
    }

    /// The first revision of which it has not been sent everything.
    pub(super) fn next(&self, handle: Handle) -> u64 {
        self.ranges.at(handle).map_or(0, |watch| watch.next)
    }

    pub(super) fn wait(&mut self, handle: Handle) {
        self.watch(handle).state = State::Waiting;
    }

    /// True if it waited.
    pub(super) fn go_on(&mut self, handle: Handle) -> bool {
        let watch = self.watch(handle);
        let waited = watch.state == State::Waiting;
        if waited {
            watch.state = State::CatchingUp;
        }
        waited
    }

    /// The query for its next slice.
    pub(super) fn history(&self, handle: Handle) -> Vec<u8> {
        let (key, end) = self.ranges.range(handle).expect("a session's watch is open");
        let watch = self.ranges.at(handle).expect("a session's watch is open");
        let history = ops::History {
            key: key.to_vec(),
            end: end.map_or(vec![0], <[u8]>::to_vec),
            revision: watch.next,
            sub: watch.sub,
            flags: if watch.wants_before { ops::flag::BEFORE } else { 0 },
        };
        ops::Query::History(history).encode()
    }

    fn watch(&mut self, handle: Handle) -> &mut Watch {
        self.ranges.at_mut(handle).expect("a session's watch is open")
    }

    /// What revision the state had when the watch asked: it begins behind it.
    pub(super) fn on_now(&mut self, handle: Handle, cx: &mut Cx<'_>, mut answer: &[u8]) -> Step {
        let watch = self.watch(handle);
        match Reply::take(&mut answer) {
            Some(Reply { status: Status::Ok, revision, .. }) => {
                watch.next = revision + 1;
                watch.go_live(cx)
            }
            other => ended(other, 0),
        }
    }

    pub(super) fn on_history(&mut self, handle: Handle, cx: &mut Cx<'_>, mut answer: &[u8]) -> Step {
        let watch = self.watch(handle);
        let found = Reply::take(&mut answer);
        let (revision, body) = match found {
            Some(Reply { status: Status::Ok, revision, body, .. }) => (revision, body),
            // Nothing of it has happened yet.
            Some(Reply { status: Status::FutureRevision, .. }) => return watch.go_live(cx),
            other => return ended(other, watch.next),
        };
        let Some((head, groups)) = body.split_first_chunk::<16>() else { return ended(None, watch.next) };
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        watch.say_opened(cx);
        if !groups.is_empty() {
            wire::put_frame(cx.out(), Say::Event as u8, watch.request, groups);
        }
        // A watch may begin in the future: what comes before that is not for it.
        watch.next = watch.next.max(u64::from(word(0)) | u64::from(word(4)) << 32);
        watch.sub = word(8);
        if watch.next > revision { watch.go_live(cx) } else { Step::More }
    }

    /// One command's changes: every group is one revision, and goes to each watch in one frame.
    pub(super) fn on_changes(&mut self, changes: &[u8], crowd: &mut impl Crowd<Session>) {
        if self.ranges.is_empty() {
            return;
        }
        for group in Group::all(changes) {
            if group.events == ops::EVENTS_UNTOLD {
                let all: Vec<Handle> = self.ranges.all().map(|(handle, _)| handle).collect();
                all.into_iter().for_each(|handle| self.look_up(handle, group.revision, crowd));
                continue;
            }
            self.find_hits(&group);
            let hits = std::mem::take(&mut self.hits);
            for run in hits.chunk_by(|a, b| a.handle == b.handle) {
                self.tell(&group, run, crowd);
            }
            self.hits = hits;
        }
    }

    /// The state was replaced: what lies between was told to nobody, and history knows it.
    pub(super) fn on_jump(&mut self, crowd: &mut impl Crowd<Session>) {
        let all: Vec<(Handle, u64)> = self.ranges.all().map(|(handle, watch)| (handle, watch.next)).collect();
        all.into_iter().for_each(|(handle, next)| self.look_up(handle, next, crowd));
    }

    /// A live watch asks for history from this revision on.
    fn look_up(&mut self, handle: Handle, revision: u64, crowd: &mut impl Crowd<Session>) {
        let watch = self.watch(handle);
        if watch.state != State::Live || revision < watch.next {
            return; // It is on its way there already, or begins later.
        }
        (watch.state, watch.next, watch.sub) = (State::CatchingUp, revision, 0);
        let (seat, request) = (watch.seat, watch.request);
        crowd.visit(seat, |session, cx| session.catch_up(self, cx, request, handle));
    }

    /// Sorted by watch; for each of them in the order of events.
    fn find_hits(&mut self, group: &Group<'_>) {
        self.hits.clear();
        let mut rest = group.bytes;
        let here = |rest: &[u8]| (group.bytes.len() - rest.len()) as u32;
        loop {
            let begin = here(rest);
            let Some(event) = Record::take(&mut rest) else { break };
            let end = here(rest);
            let mut peek = rest;
            if Record::take(&mut peek).is_some_and(|record| record.flags & ops::BEFORE != 0) {
                rest = peek;
            }
            let end_with_before = here(rest);
            let hits = &mut self.hits;
            self.ranges.find(event.key, |handle, watch| {
                if watch.state == State::Live && group.revision >= watch.next {
                    hits.push(Hit { handle, begin, end, end_with_before });
                }
            });
        }
        self.hits.sort_unstable();
    }

    fn tell(&mut self, group: &Group<'_>, run: &[Hit], crowd: &mut impl Crowd<Session>) {
        let handle = run[0].handle;
        let watch = self.watch(handle);
        let mut too_slow = false;
        crowd.visit(watch.seat, |session, cx| {
            if cx.out_len() > LIVE_UNREAD_MAX {
                too_slow = true;
                session.forget_watch(watch.request);
                return say_ended(cx, watch.request, Fault::WatchTooSlow as u16, group.revision);
            }
            wire::put_frame_with(cx.out(), Say::Event as u8, watch.request, |out| {
                let end = |hit: &Hit| if watch.wants_before { hit.end_with_before } else { hit.end };
                let length: u32 = run.iter().map(|hit| end(hit) - hit.begin).sum();
                out.extend_from_slice(&group.revision.to_le_bytes());
                out.extend_from_slice(&(run.len() as u32).to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
                for hit in run {
                    out.extend_from_slice(&group.bytes[hit.begin as usize..end(hit) as usize]);
                }
            });
            watch.next = group.revision + 1;
        });
        if too_slow {
            self.ranges.remove(handle);
        }
    }
}

impl Watch {
    fn go_live(&mut self, cx: &mut Cx<'_>) -> Step {
        self.say_opened(cx);
        self.state = State::Live;
        Step::Live
    }

    /// The reply to the request, before any event.
    fn say_opened(&mut self, cx: &mut Cx<'_>) {
        if !std::mem::replace(&mut self.opened, true) {
            let next = self.next;
            wire::put_frame_with(cx.out(), Say::Reply as u8, self.request, |out| {
                reply::bare(out, Status::Ok, next)
            });
        }
    }
}

/// The realm refused, or answered with something that is no reply.
fn ended(answer: Option<Reply<'_>>, revision: u64) -> Step {
    let status = answer.map_or(Status::Malformed, |reply| reply.status);
    Step::Ended(Ended { code: status as u16, revision })
}

pub(super) fn say_ended(cx: &mut Cx<'_>, request: u64, code: u16, revision: u64) {
    wire::put_frame_with(cx.out(), Say::WatchEnded as u8, request, |out| {
        out.extend_from_slice(&u64::from(code).to_le_bytes());
        out.extend_from_slice(&revision.to_le_bytes());
    });
}
