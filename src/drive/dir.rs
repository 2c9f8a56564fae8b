//! The data directory: names, lock, creation and removal of its files, all waiting for the media.
//!
//! Only whole files bear their names: a new one is filled and flushed under another name first, so a crash in
//! between leaves nothing that recovery could take for a log.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::base::{BlockMut, Index, PAGE};
use crate::drive::start::after_the_dead;
use crate::pipeline::ports::{self, DiskFault};

const LOCK: &str = "lock";
const UNFINISHED: &str = ".new";

/// The last snapshot that left: the next one is written over it. To give a gigabyte back to the file system and to take
/// one from it, at every snapshot, delayed the log's writes by up to 25 ms where what is freed is trimmed.
const SPARE: &str = "spare";

/// Bytes of zeros per write of a creation: small enough that log writes beside it wait for little.
const FILL: usize = 256 << 10;

/// What a file that goes is cut by at a time, and the pause after it. Freed at once, a snapshot of a gigabyte held up
/// every log write on its disk for 20 to 60 ms where the file system trims what it frees (ext4 with `discard`).
const CUT: u64 = 16 << 20;
const CUT_PAUSE: Duration = Duration::from_millis(50);

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    #[error("{dir} is in use by process {pid}; stop it or pass another --data", dir = .dir.display())]
    InUse { dir: PathBuf, pid: String },
    #[error("cannot open data directory {dir}: {why}; check --data and its owner", dir = .dir.display())]
    Open { dir: PathBuf, why: io::Error },
    #[error(
        "the file system of {dir} does not take O_DIRECT writes ({why}); \
         pass a --data on ext4, xfs or btrfs, not on a network or overlay file system",
        dir = .dir.display()
    )]
    NoDirect { dir: PathBuf, why: io::Error },
}

/// An open data directory. Its lock is held until this is dropped, or the process dies.
pub struct Dir {
    path: PathBuf,
    entry: File,
    read_only: bool,
    _lock: Option<File>,
}

impl Dir {
    /// Opens for the server: made if missing, for its owner only, locked, unfinished files removed, and all that
    /// is there flushed, so that what recovery reads is what a power cut would leave.
    pub fn open(path: &Path) -> Result<Dir, DirError> {
        let fault = |why| DirError::Open { dir: path.to_owned(), why };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fault)?;
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(fault)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(fault)?;
        take_lock(&mut lock, true, path)?;
        lock.set_len(0).map_err(fault)?;
        write!(lock, "{}", std::process::id()).map_err(fault)?;
        let dir = Dir {
            path: path.to_owned(),
            entry: File::open(path).map_err(fault)?,
            read_only: false,
            _lock: Some(lock),
        };
        for item in fs::read_dir(path).map_err(fault)? {
            let path = item.map_err(fault)?.path();
            if path.extension().is_some_and(|e| e == &UNFINISHED[1..]) {
                fs::remove_file(&path).map_err(fault)?;
            }
        }
        for (file, _) in dir.list().map_err(fault)? {
            File::open(dir.path_of(file)).and_then(|f| f.sync_all()).map_err(fault)?;
        }
        dir.sync().map_err(fault)?;
        dir.probe_direct()?;
        Ok(dir)
    }

    /// Opens for tools: nothing is changed, and a server in it is refused as long as it runs.
    pub fn open_read_only(path: &Path) -> Result<Dir, DirError> {
        let fault = |why| DirError::Open { dir: path.to_owned(), why };
        let lock = match File::open(path.join(LOCK)) {
            Ok(mut lock) => {
                take_lock(&mut lock, false, path)?;
                Some(lock)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(fault(e)),
        };
        let entry = File::open(path).map_err(fault)?;
        Ok(Dir { path: path.to_owned(), entry, read_only: true, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn list(&self) -> io::Result<Vec<(ports::File, u64)>> {
        let mut found = Vec::new();
        for item in fs::read_dir(&self.path)? {
            let item = item?;
            if let Some(file) = item.file_name().to_str().and_then(parse) {
                found.push((file, item.metadata()?.len()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// For direct reads and writes.
    pub fn open_file(&self, file: ports::File) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(!self.read_only)
            .custom_flags(libc::O_DIRECT)
            .open(self.path_of(file))
    }

    /// A file of `len` written zeros; a snapshot is the spare, if there is one. One that is there already is a fault:
    /// nobody's log is overwritten.
    pub fn create(&self, file: ports::File, len: u64) -> Result<(), DiskFault> {
        let attempt = || {
            self.check_writable()?;
            if self.path_of(file).try_exists()? {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists already"));
            }
            if matches!(file, ports::File::Snapshot(_)) && self.take_spare(file)? {
                return Ok(());
            }
            match self.fill(file, len) {
                // What the spare takes is only lent to it.
                Err(why) if why.kind() == io::ErrorKind::StorageFull && self.spare().try_exists()? => {
                    fs::remove_file(self.spare())?;
                    self.sync()?;
                    self.fill(file, len)
                }
                done => done,
            }
        };
        attempt().map_err(|e| fault("creation", file, 0, e))
    }

    pub fn remove(&self, file: ports::File) -> Result<(), DiskFault> {
        let Some(mut leaving) = self.leave(file)? else { return Ok(()) };
        while leaving.cut()? {}
        Ok(())
    }

    /// Takes the file's name away for good. Its bytes go with each cut; those of a snapshot are kept as the spare, if
    /// there is none.
    pub fn leave(&self, file: ports::File) -> Result<Option<Leaving>, DiskFault> {
        let path = self.path.join(format!("{file}.left{UNFINISHED}"));
        let attempt = || {
            self.check_writable()?;
            if matches!(file, ports::File::Snapshot(_)) && !self.spare().try_exists()? {
                fs::rename(self.path_of(file), self.spare())?;
                self.sync()?;
                return Ok(None);
            }
            fs::rename(self.path_of(file), &path)?;
            self.sync()?;
            let open = OpenOptions::new().write(true).open(&path)?;
            let left = open.metadata()?.len();
            Ok(Some(Leaving { file, path: path.clone(), open, left, until: None }))
        };
        attempt().map_err(|e| fault("removal", file, 0, e))
    }

    /// What lies behind `len` in a file goes with each cut. `None`: nothing does.
    pub fn end(&self, file: ports::File, len: u64) -> Result<Option<Leaving>, DiskFault> {
        let attempt = || {
            let path = self.path_of(file);
            let open = OpenOptions::new().write(true).open(&path)?;
            let left = open.metadata()?.len();
            Ok((left > len).then_some(Leaving { file, path, open, left, until: Some(len) }))
        };
        attempt().map_err(|e| fault("ending", file, len, e))
    }

    /// False: there is none. Without its last page, a snapshot's trailer, nobody takes it for the one that it was.
    fn take_spare(&self, file: ports::File) -> io::Result<bool> {
        let spare = match OpenOptions::new().write(true).open(self.spare()) {
            Ok(spare) => spare,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        spare.set_len(spare.metadata()?.len().saturating_sub(PAGE as u64))?;
        spare.sync_all()?;
        fs::rename(self.spare(), self.path_of(file))?;
        self.sync()?;
        Ok(true)
    }

    fn spare(&self) -> PathBuf {
        self.path.join(SPARE)
    }

    fn fill(&self, file: ports::File, len: u64) -> io::Result<()> {
        let (whole, part) = (self.path_of(file), self.path.join(format!("{file}{UNFINISHED}")));
        let out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_DIRECT)
            .open(&part)?;
        let zeros = BlockMut::zeroed(FILL).freeze();
        let mut at = 0;
        while at < len {
            let (step, begun) = ((len - at).min(FILL as u64), Instant::now());
            out.write_all_at(&zeros.padded()[..step as usize], at)?;
            at += step;
            // Half of the disk's time is left to what somebody waits for.
            std::thread::sleep(begun.elapsed());
        }
        out.sync_all()?;
        fs::rename(&part, &whole)?;
        self.sync()
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.read_only {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "opened read-only"));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.entry.sync_all()
    }

    fn path_of(&self, file: ports::File) -> PathBuf {
        self.path.join(file.to_string())
    }

    fn probe_direct(&self) -> Result<(), DirError> {
        let path = self.path.join(format!("probe{UNFINISHED}"));
        let probe = || {
            let out = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .custom_flags(libc::O_DIRECT)
                .open(&path)?;
            out.write_all_at(BlockMut::zeroed(PAGE).freeze().padded(), 0)
        };
        let result = probe();
        let _ = fs::remove_file(&path);
        match result {
            Err(why) if why.raw_os_error() == Some(libc::EINVAL) => {
                Err(DirError::NoDirect { dir: self.path.clone(), why })
            }
            Err(why) => Err(DirError::Open { dir: self.path.clone(), why }),
            Ok(()) => Ok(()),
        }
    }
}

/// A file without a name of its own on its way out, or what lies behind another's end.
pub struct Leaving {
    file: ports::File,
    path: PathBuf,
    open: File,
    left: u64,
    /// Where the file is to end, if it stays.
    until: Option<u64>,
}

impl Leaving {
    /// The file stays, and ends where it should.
    pub fn ends(&self) -> bool {
        self.until.is_some()
    }

    /// Gives a piece back to the file system; false once all is gone.
    pub fn cut(&mut self) -> Result<bool, DiskFault> {
        let mut attempt = || {
            match self.until {
                None if self.left <= CUT => return fs::remove_file(&self.path).map(|()| false),
                Some(until) if self.left <= until => return Ok(false),
                _ => self.left = self.left.saturating_sub(CUT).max(self.until.unwrap_or(0)),
            }
            self.open.set_len(self.left)?;
            self.open.sync_all()?;
            std::thread::sleep(CUT_PAUSE);
            Ok(true)
        };
        attempt().map_err(|e| fault("removal", self.file, self.left, e))
    }
}

pub fn fault(operation: &'static str, file: ports::File, offset: u64, why: io::Error) -> DiskFault {
    DiskFault { operation, file, offset, reason: why.to_string() }
}

fn take_lock(lock: &mut File, alone: bool, dir: &Path) -> Result<(), DirError> {
    let attempt = || if alone { lock.try_lock() } else { lock.try_lock_shared() };
    match after_the_dead(attempt, |taken| matches!(taken, Err(TryLockError::WouldBlock))) {
        Ok(()) => return Ok(()),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(why)) => return Err(DirError::Open { dir: dir.to_owned(), why }),
    }
    let mut pid = String::new();
    let _ = lock.read_to_string(&mut pid);
    Err(DirError::InUse { dir: dir.to_owned(), pid })
}

/// The reverse of `File`'s display.
fn parse(name: &str) -> Option<ports::File> {
    let file = match name.split_once('-') {
        None if name == "super" => ports::File::Super,
        None => return None,
        Some(("segment", n)) => ports::File::Segment(n.parse().ok()?),
        Some(("snapshot", n)) => ports::File::Snapshot(Index(n.parse().ok()?)),
        Some(_) => return None,
    };
    (file.to_string() == name).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_loses_its_name_first_and_its_bytes_piece_by_piece() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        let file = ports::File::Segment(7);
        dir.create(file, 2 * CUT + 4096).unwrap();
        let mut leaving = dir.leave(file).unwrap().unwrap();
        assert_eq!(dir.list().unwrap(), []);
        // The name is free while the old bytes go.
        dir.create(file, 4096).unwrap();
        let bytes = |of: &Leaving| fs::metadata(&of.path).unwrap().len();
        let mut seen = vec![bytes(&leaving)];
        while leaving.cut().unwrap() {
            seen.push(bytes(&leaving));
        }
        assert_eq!(seen, [2 * CUT + 4096, CUT + 4096, 4096]);
        assert!(!leaving.path.exists());
        assert_eq!(dir.list().unwrap(), [(file, 4096)]);

        // A crash in between leaves nothing that the next open keeps.
        let half = dir.leave(file).unwrap().unwrap();
        drop((half.open, dir));
        Dir::open(place.path()).unwrap();
        assert!(!half.path.exists());
    }

    #[test]
    fn a_snapshot_is_written_over_the_one_that_left() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path()).unwrap();
        let [first, second, third] = [7, 8, 9].map(|index| ports::File::Snapshot(Index(index)));
        let length = |file: ports::File| fs::metadata(dir.path_of(file)).unwrap().len();
        dir.create(first, 2 * CUT + 4096).unwrap();
        dir.create(second, 4096).unwrap();
        assert!(dir.leave(first).unwrap().is_none());
        assert!(dir.leave(second).unwrap().is_some(), "one is enough");
        dir.create(third, 0).unwrap();
        assert_eq!(length(third), 2 * CUT, "without what may have been a trailer");
        assert!(!dir.spare().exists());
        let mut surplus = dir.end(third, 8192).unwrap().unwrap();
        assert!(surplus.ends());
        while surplus.cut().unwrap() {}
        assert_eq!(length(third), 8192);
        assert!(dir.end(third, 8192).unwrap().is_none());

        // Nothing but a snapshot is made of it, and it outlives the process.
        assert!(dir.leave(third).unwrap().is_none());
        dir.create(ports::File::Segment(1), 4096).unwrap();
        drop(dir);
        let dir = Dir::open(place.path()).unwrap();
        assert_eq!(dir.list().unwrap(), [(ports::File::Segment(1), 4096)]);
        assert!(dir.spare().exists());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for file in [ports::File::Super, ports::File::Segment(7), ports::File::Snapshot(Index(1 << 40))] {
            assert_eq!(parse(&file.to_string()), Some(file));
        }
        for other in ["lock", "segment-7", "segment-00007.new", "snapshot-x", "superb", "-"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
