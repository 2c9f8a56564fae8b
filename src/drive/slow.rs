//! Work that waits for the media too long for a loop: creation and removal of files, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::drive::bell::Doorbell;
use crate::drive::dir::Dir;
use crate::pipeline::lane::Bell;
use crate::pipeline::ports::{DiskEvent, File};

enum Job {
    Create { token: u64, file: File, len: u64 },
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
            for job in inbox {
                let event = match job {
                    Job::Create { token, file, len } => {
                        DiskEvent::Created { token, result: dir.create(file, len) }
                    }
                    Job::Remove { token, file } => DiskEvent::Removed { token, result: dir.remove(file) },
                };
                if outbox.send(event).is_err() {
                    return; // The loop has ended.
                }
                bell.ring();
            }
        })?;
        Ok(Slow { jobs, done, pending: 0 })
    }

    pub fn create(&mut self, token: u64, file: File, len: u64) {
        self.push(Job::Create { token, file, len });
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
