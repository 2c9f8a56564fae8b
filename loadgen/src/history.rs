//! A run's history, one JSON object a line: what was asked, when, and what came of it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::book::Ended;
use crate::driver::{Kind, ReadMode, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    Write,
    /// A read that must reflect every write acknowledged before it began.
    Read,
    /// A read of whatever the asked server had.
    LocalRead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Fail,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub client: u32,
    pub op: Deed,
    pub key: u64,
    /// The stamp of the value, unique over the run; 0 is "nothing there".
    pub value: u64,
    pub start_ns: u64,
    /// When the client learned the outcome, or gave up.
    pub end_ns: u64,
    pub outcome: Outcome,
    /// 0: the protocol does not say.
    #[serde(default)]
    pub revision: u64,
}

/// Writes one thread's part. A failed disk ends the history, not the run: the check then says so.
pub struct Scribe {
    out: BufWriter<File>,
    read: Deed,
    text: Vec<u8>,
    failed: Option<io::Error>,
}

impl Scribe {
    pub fn create(path: &Path, mode: ReadMode) -> io::Result<Scribe> {
        let read = if mode == ReadMode::Local { Deed::LocalRead } else { Deed::Read };
        let out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(Scribe { out, read, text: Vec::with_capacity(256), failed: None })
    }

    pub fn on_end(&mut self, ended: &Ended) {
        if self.failed.is_some() {
            return;
        }
        let line = Line {
            client: ended.client,
            op: match ended.op.kind {
                Kind::Write => Deed::Write,
                Kind::Read => self.read,
                Kind::Audit => Deed::Read,
                // Values of the preparation are overwritten before anybody reads.
                Kind::Root | Kind::Create | Kind::Rmw | Kind::Scan => return,
            },
            key: ended.op.key,
            value: if ended.op.kind.is_read() { ended.stamp } else { ended.op.stamp },
            start_ns: ended.sent,
            end_ns: ended.now,
            outcome: match ended.verdict {
                Verdict::Ok => Outcome::Ok,
                Verdict::Failed(_) | Verdict::Later(_) => Outcome::Fail,
                Verdict::Unknown(_) => Outcome::Unknown,
            },
            revision: ended.revision,
        };
        self.text.clear();
        let written = serde_json::to_writer(&mut self.text, &line).map_err(io::Error::from).and_then(|()| {
            self.text.push(b'\n');
            self.out.write_all(&self.text)
        });
        self.failed = written.err();
    }

    pub fn finish(mut self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }
}
