//! Work that waits for the media too long for a loop: creation, ending and removal of files, on a thread of its own.
//!
//! A large file goes piece by piece, and only while no file is to be made: the log may wait for one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use crate::drive::bell::Doorbell;
use crate::drive::dir::{Dir, Leaving};
use crate::pipeline::lane::Bell;
use crate::pipeline::ports::{DiskEvent, File};

enum Job {
    Create { token: u64, file: File, len: u64 },
    End { token: u64, file: File, len: u64 },
    Remove { token: u64, file: File },
}

/// A loop's helper. Its queue is bounded by what the store asks for: one file at a time of each kind.
pub struct Slow {
    jobs: Sender<Job>,
    done: Receiver<DiskEvent>,
    /// Jobs without an answer.
    pending: usize,
}

impl Slow {
    pub fn start(dir: Arc<Dir>, bell: Arc<Doorbell>) -> std::io::Result<Slow> {
        let (jobs, inbox) = channel();
        let (outbox, done) = channel();
        std::thread::Builder::new().name("slow".into()).spawn(move || {
            let mut leaving: VecDeque<(u64, Leaving)> = VecDeque::new();
            loop {
                let job = match leaving.is_empty() {
                    true => inbox.recv().map_err(|_| TryRecvError::Disconnected),
                    false => inbox.try_recv(),
                };
                let event = match job {
                    Ok(Job::Create { token, file, len }) => {
                        DiskEvent::Created { token, result: dir.create(file, len) }
                    }
                    Ok(Job::End { token, file, len }) => match dir.end(file, len) {
                        Ok(Some(surplus)) => {
                            leaving.push_back((token, surplus));
                            continue;
                        }
                        done => DiskEvent::Written { token, result: done.map(|_| ()) },
                    },
                    Ok(Job::Remove { token, file }) => match dir.leave(file) {
                        Ok(Some(left)) => {
                            leaving.push_back((token, left));
                            continue;
                        }
                        done => DiskEvent::Removed { token, result: done.map(|_| ()) },
                    },
                    Err(TryRecvError::Empty) => {
                        let (token, left) = leaving.front_mut().expect("or it had waited for a job");
                        let (token, cut) = (*token, left.cut());
                        if cut == Ok(true) {
                            continue;
                        }
                        let (result, ends) = (cut.map(|_| ()), left.ends());
                        leaving.pop_front();
                        match ends {
                            true => DiskEvent::Written { token, result },
                            false => DiskEvent::Removed { token, result },
                        }
                    }
                    Err(TryRecvError::Disconnected) => return, // The loop has ended.
                };
                if outbox.send(event).is_err() {
                    return;
                }
                bell.ring();
            }
        })?;
        Ok(Slow { jobs, done, pending: 0 })
    }

    pub fn create(&mut self, token: u64, file: File, len: u64) {
        self.push(Job::Create { token, file, len });
    }

    pub fn end(&mut self, token: u64, file: File, len: u64) {
        self.push(Job::End { token, file, len });
    }

    pub fn remove(&mut self, token: u64, file: File) {
        self.push(Job::Remove { token, file });
    }

    /// An answer, if one has come.
    pub fn poll(&mut self) -> Option<DiskEvent> {
        if self.pending == 0 {
            return None;
        }
        let event = self.done.try_recv().ok()?;
        self.pending -= 1;
        Some(event)
    }

    fn push(&mut self, job: Job) {
        self.pending += 1;
        assert!(self.jobs.send(job).is_ok(), "the slow thread lives as long as its loop");
    }
}
