//! A small file system of a node's own, in a file: what happens there to space harms nobody else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::within;

/// Room for all that a node keeps between two snapshots, and for both of them, or it would be full without the ballast
/// as well once the test has taken its time. The image has holes: it takes what is written to it.
const MEGABYTES: u64 = 3_000;
const LEFT_MEGABYTES: u64 = 8;

const PATIENCE: Duration = Duration::from_secs(30);

pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounted over `at`, with what is there copied into it. `None`: this user or machine cannot.
    pub fn under(at: &Path, image: &Path) -> Option<SmallDisk> {
        let file = std::fs::File::create(image).unwrap();
        file.set_len(MEGABYTES << 20).unwrap();
        let aside = at.with_extension("aside");
        let made = run("mkfs.ext4", &["-q", "-m", "0", "-O", "^has_journal", path(image)])
            && run("cp", &["-a", path(at), path(&aside)])
            && run("mount", &["-o", "loop", path(image), path(at)]);
        if !made {
            return None;
        }
        let disk = SmallDisk { at: at.into() };
        std::fs::remove_dir(at.join("lost+found")).unwrap();
        assert!(run("cp", &["-a", path(&aside.join(".")), path(at)]), "copied onto the small disk");
        std::fs::remove_dir_all(aside).unwrap();
        Some(disk)
    }

    pub fn ballast(&self) -> Ballast {
        Ballast(self.at.join("ballast"))
    }
}

/// A file beside the node's own that takes the disk's room away.
pub struct Ballast(PathBuf);

impl Ballast {
    /// Takes nearly all of what is free. The node may take some of it at the same time: the next try finds less.
    pub fn load(&self) {
        within(PATIENCE, || {
            let bytes = (self.free_kilobytes().saturating_sub(LEFT_MEGABYTES << 10).max(1) << 10).to_string();
            run("fallocate", &["-l", &bytes, path(&self.0)]).then_some(())
        })
        .expect("ballast that fits");
    }

    fn free_kilobytes(&self) -> u64 {
        let dir = self.0.parent().expect("a file in the disk's root");
        let output = Command::new("df").args(["-k", "--output=avail", path(dir)]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().last().and_then(|line| line.trim().parse().ok()).expect("df's number")
    }

    pub fn drop_off(&self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The test's failure is worth more than that of cleaning up; lazily, should anything still hold on.
        if !run("umount", &[path(&self.at)]) && !run("umount", &["-l", path(&self.at)]) {
            eprintln!("{} stays mounted", self.at.display());
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// True if it could be run and ended well. What it says goes where the test's words go.
fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).status().is_ok_and(|status| status.success())
}
