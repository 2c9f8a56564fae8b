//! Directories that must not be opened, as a user meets them: the built binary says which file, where in it and what
//! to do, and changes nothing.

#![cfg(feature = "drive")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use quorate::base::sum;

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");
const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

/// What `quorate COMMAND` says on its way out, within a bound, and whether it failed.
fn run(command: &str, dir: &Path, more: &[&str]) -> (bool, String) {
    let out = dir.with_extension("out");
    let file = std::fs::File::create(&out).unwrap();
    let mut child = Command::new(QUORATE)
        .args([command, "--data"])
        .arg(dir)
        .args(["--native", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--cores", "1"])
        .args(more)
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        if begin.elapsed() > Duration::from_secs(120) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("`quorate {command}` runs in a directory that it must refuse ({more:?})");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    (!ended.success(), std::fs::read_to_string(out).unwrap())
}

/// Every file but the lock, by name: length and hash.
fn contents(dir: &Path) -> BTreeMap<PathBuf, (usize, u128)> {
    let files = std::fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    let files = files.filter(|path| path.file_name().is_some_and(|name| name != "lock"));
    files
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .map(|(p, b)| (p, (b.len(), sum::hash128(&b))))
        .collect()
}

fn refused(dir: &Path, more: &[&str], words: &[&str]) {
    let before = contents(dir);
    let (failed, said) = run("serve", dir, more);
    assert!(failed, "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(before, contents(dir), "something was written: {said}");
}

#[test]
fn a_directory_that_cannot_be_this_nodes_is_refused_and_left_alone() {
    let scratch = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap();
    let dir = scratch.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    refused(&dir, &[], &["super is missing", "quorate format"]);

    std::fs::write(dir.join("super"), vec![0x5a; 32 << 10]).unwrap();
    refused(&dir, &[], &["super at offset 0", "is not quorate's", "pass the directory"]);
    let (failed, said) = run("format", &dir, &["--cluster", CLUSTER]);
    assert!(failed && said.contains("exists already"), "{said}");
    std::fs::remove_file(dir.join("super")).unwrap();

    let (failed, said) = run("format", &dir, &["--cluster", CLUSTER]);
    assert!(!failed, "{said}");
    let again = run("format", &dir, &["--cluster", CLUSTER]);
    assert!(again.0 && again.1.contains("exists already"), "{}", again.1);
    let other = "ffffffffffffffffffffffffffffffff";
    refused(
        &dir,
        &["--cluster", other],
        &["super at offset 0 belongs to cluster", CLUSTER, "of this cluster"],
    );
    refused(&dir, &["--node", "2"], &["super at offset 0 belongs to node 1", "of this node"]);

    let whole = std::fs::read(dir.join("super")).unwrap();
    let copy = whole.len() / 4;
    let mut newer = whole.clone();
    for start in (0..4).map(|n| n * copy) {
        newer[start + 8] = 9;
        let crc = sum::crc32c(&newer[start + 8..start + copy]);
        newer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(dir.join("super"), &newer).unwrap();
    refused(&dir, &[], &["super at offset 0 has format 9", "start the newer release"]);

    std::fs::write(dir.join("super"), &whole[..copy]).unwrap();
    refused(&dir, &[], &["super ends at offset 8192", "32768 bytes", "restore it"]);

    let mut spoilt = whole.clone();
    (0..4).for_each(|n| spoilt[n * copy + 100] ^= 1);
    std::fs::write(dir.join("super"), &spoilt).unwrap();
    refused(&dir, &[], &["super is damaged at offset", "replace this member"]);
    std::fs::write(dir.join("super"), &whole).unwrap();

    let segment = dir.join("segment-00001");
    let length = std::fs::metadata(&segment).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(length / 2).unwrap();
    refused(&dir, &[], &["segment-00001 ends at offset", "cut short"]);
    std::fs::remove_file(&segment).unwrap();
    refused(&dir, &[], &["segment-00001 is missing", "replace this member"]);
}

/// Needs the right to mount; says so where it has none.
#[test]
fn a_read_only_file_system_is_refused_by_name() {
    let scratch = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap();
    let dir = scratch.path().join("data");
    let (failed, said) = run("format", &dir, &["--cluster", CLUSTER]);
    assert!(!failed, "{said}");
    let mount =
        |args: &[&str]| Command::new("mount").args(args).arg(&dir).status().is_ok_and(|s| s.success());
    let at = dir.to_str().unwrap();
    if !mount(&["--bind", at]) {
        return println!("not run: this user may not mount");
    }
    let unmount = || drop(Command::new("umount").arg(&dir).status());
    if !mount(&["-o", "remount,ro,bind"]) {
        unmount();
        return println!("not run: no read-only bind mounts here");
    }
    let before = contents(&dir);
    let (failed, said) = run("serve", &dir, &[]);
    let after = contents(&dir);
    unmount();
    assert!(failed && said.to_lowercase().contains("read-only") && said.contains("--data"), "{said}");
    assert_eq!(before, after);
}
