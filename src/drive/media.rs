//! `Media` over the real files: recovery before a loop runs, and the tools.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::base::{Block, PAGE};
use crate::drive::dir::{Dir, fault};
use crate::pipeline::ports::{DiskFault, File, Media};

/// The files of one open data directory. A directory opened read-only answers every write with a fault.
pub struct Files {
    dir: Arc<Dir>,
    /// The file used last: recovery reads one from its beginning to its end.
    open: Option<(File, std::fs::File)>,
}

impl Files {
    pub fn new(dir: Arc<Dir>) -> Files {
        Files { dir, open: None }
    }

    fn handle(&mut self, file: File) -> std::io::Result<&std::fs::File> {
        if self.open.as_ref().is_none_or(|(name, _)| *name != file) {
            self.open = Some((file, self.dir.open_file(file)?));
        }
        Ok(&self.open.as_ref().expect("set above").1)
    }
}

impl Media for Files {
    fn files(&mut self) -> Result<Vec<(File, u64)>, DiskFault> {
        self.dir.list().map_err(|e| fault("listing of the directory", File::Super, 0, e))
    }

    fn read(&mut self, file: File, offset: u64, into: &mut [u8]) -> Result<(), DiskFault> {
        // Direct reads want pages. Most callers have such; the others' slices lie anywhere.
        if into.as_ptr().addr().is_multiple_of(PAGE) && into.len().is_multiple_of(PAGE) {
            let done = self.handle(file).and_then(|f| f.read_exact_at(into, offset));
            return done.map_err(|e| fault("read", file, offset, e));
        }
        let mut pages = crate::base::BlockMut::zeroed(into.len().next_multiple_of(PAGE).min(1 << 20));
        let mut at = offset;
        for part in into.chunks_mut(1 << 20) {
            let len = part.len().next_multiple_of(PAGE);
            let buffer = &mut pages.bytes_mut()[..len];
            let done = self.handle(file).and_then(|f| f.read_exact_at(buffer, at));
            done.map_err(|e| fault("read", file, at, e))?;
            part.copy_from_slice(&buffer[..part.len()]);
            at += part.len() as u64;
        }
        Ok(())
    }

    fn write(&mut self, file: File, offset: u64, block: &Block) -> Result<(), DiskFault> {
        let out = self.handle(file).map_err(|e| fault("open", file, offset, e))?;
        let done = out.write_all_at(block.padded(), offset).and_then(|()| out.sync_data());
        done.map_err(|e| fault("write", file, offset, e))
    }

    fn create(&mut self, file: File, len: u64) -> Result<(), DiskFault> {
        self.dir.create(file, len)
    }

    fn remove(&mut self, file: File) -> Result<(), DiskFault> {
        self.open = self.open.take().filter(|(name, _)| *name != file);
        self.dir.remove(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Index;
    use crate::drive::dir::DirError;
    use std::os::unix::fs::PermissionsExt;

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap()
    }

    #[test]
    fn what_is_written_is_read_after_the_directory_is_opened_again() {
        let at = scratch();
        let path = at.path().join("data");
        let block = Block::copy_of(&[9; 5000]);
        {
            let mut media = Files::new(Arc::new(Dir::open(&path).unwrap()));
            assert_eq!(media.files().unwrap(), []);
            media.create(File::Super, 8192).unwrap();
            media.create(File::Segment(3), 3 << 20).unwrap();
            media.create(File::Snapshot(Index(5)), 4096).unwrap();
            media.write(File::Segment(3), (1 << 20) - 4096, &block).unwrap();
            media.remove(File::Snapshot(Index(5))).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(path.join("segment-00004.new"), b"half").unwrap();
        let mut media = Files::new(Arc::new(Dir::open(&path).unwrap()));
        assert_eq!(media.files().unwrap(), [(File::Super, 8192), (File::Segment(3), 3 << 20)]);
        let mut all = vec![1; 3 << 20];
        media.read(File::Segment(3), 0, &mut all).unwrap();
        let (before, rest) = all.split_at((1 << 20) - 4096);
        assert!(
            before.iter().all(|&b| b == 0)
                && rest[..5000] == [9; 5000]
                && rest[5000..].iter().all(|&b| b == 0)
        );
        assert!(!path.join("segment-00004.new").exists());
    }

    #[test]
    fn the_world_is_told_apart_from_success() {
        let at = scratch();
        let dir = Arc::new(Dir::open(at.path()).unwrap());
        let mut media = Files::new(dir.clone());
        media.create(File::Segment(0), 8192).unwrap();
        assert!(media.create(File::Segment(0), 8192).unwrap_err().reason.contains("exists"));
        assert_eq!(media.read(File::Segment(0), 4096, &mut [0; 8192]).unwrap_err().operation, "read");
        assert_eq!(media.read(File::Super, 0, &mut [0; 4096]).unwrap_err().file, File::Super);

        let Err(DirError::InUse { pid, .. }) = Dir::open(at.path()) else { panic!("opened twice") };
        assert_eq!(pid, std::process::id().to_string());
        assert!(matches!(Dir::open_read_only(at.path()), Err(DirError::InUse { .. })));
        drop((media, dir));
        let mut tool = Files::new(Arc::new(Dir::open_read_only(at.path()).unwrap()));
        assert_eq!(tool.files().unwrap(), [(File::Segment(0), 8192)]);
        assert!(tool.write(File::Segment(0), 0, &Block::copy_of(&[1])).is_err());
        assert!(tool.remove(File::Segment(0)).is_err() && tool.create(File::Super, 4096).is_err());
    }
}
