//! How `quorate dev restart` speaks to the `quorate dev` that runs: one line each way over a socket in the
//! directory.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::tools::dev::at;

const PATIENCE: Duration = Duration::from_secs(5);

/// A socket's name has 108 bytes at most, a directory's more: so it is named through the directory's descriptor.
fn socket(dir: &Path) -> Result<(File, PathBuf), String> {
    let entry = File::open(dir).map_err(|e| at(dir, e))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/dev.socket", entry.as_raw_fd()));
    Ok((entry, path))
}

pub struct Desk(UnixListener);

impl Desk {
    /// The caller holds the directory's lock, so a socket that is there is a dead one's.
    pub fn open(dir: &Path) -> Result<Desk, String> {
        let (_entry, path) = socket(dir)?;
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(|e| at(dir, e))?;
        listener.set_nonblocking(true).map_err(|e| at(dir, e))?;
        Ok(Desk(listener))
    }

    /// Answers all requests that have come.
    pub fn serve(&self, mut answer: impl FnMut(&str) -> Result<String, String>) {
        while let Ok((stream, _)) = self.0.accept() {
            // Whoever hangs up meanwhile wants no answer.
            let _ = converse(&stream, &mut answer);
        }
    }
}

fn converse(
    mut stream: &UnixStream,
    answer: &mut impl FnMut(&str) -> Result<String, String>,
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match answer(line.trim()) {
        Ok(text) => writeln!(stream, "ok {text}"),
        Err(why) => writeln!(stream, "no {why}"),
    }
}

/// Sends a request to the `quorate dev` of this directory.
pub fn ask(dir: &Path, request: &str) -> Result<String, String> {
    let (_entry, path) = socket(dir)?;
    let nobody =
        |e| format!("no `quorate dev` runs in {} ({e}); start it, or pass its --data", dir.display());
    let mut stream = UnixStream::connect(path).map_err(nobody)?;
    let mut line = String::new();
    stream.set_read_timeout(Some(PATIENCE)).map_err(nobody)?;
    writeln!(stream, "{request}").map_err(nobody)?;
    BufReader::new(stream).read_line(&mut line).map_err(nobody)?;
    match line.trim().split_once(' ') {
        Some(("ok", text)) => Ok(text.to_owned()),
        Some((_, why)) => Err(why.to_owned()),
        None => Err("the `quorate dev` there has ended meanwhile".into()),
    }
}
