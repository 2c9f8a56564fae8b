//! What a machine lacks, as the person at the terminal learns of it: each refusal says what, where, what to do.

#![cfg(feature = "drive")]

#[allow(dead_code, reason = "each binary of tests uses its part")]
mod support;

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::cluster::QUORATE;
use support::ports::free_port;
use support::within;

/// For what a slow machine may take its time with.
const PATIENCE: Duration = Duration::from_secs(120);

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap()
}

fn serve(program: &[&str], data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args([
        "serve",
        "--native",
        &free_port().to_string(),
        "--zk",
        "off",
        "--cores",
        "1",
        "--data",
    ]);
    command.arg(data).args(more);
    if !more.contains(&"--admin") {
        command.args(["--admin", &free_port().to_string()]);
    }
    command.stdin(Stdio::null());
    command
}

/// What it says before it gives up; it must, soon and with exit status 1.
fn refusal(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    if within(PATIENCE, || child.try_wait().unwrap()).is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("{command:?} has not given up");
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

fn assert_says(said: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(said.contains(word), "no {word:?} in: {said}"));
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_port_or_directory_that_somebody_has_is_named() {
    let scratch = scratch();
    let data = scratch.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let said = refusal(&mut serve(&[QUORATE], &data, &["--admin", &at]));
    assert_says(&said, &[&at, "admin door is taken", "ss -ltnp", "--admin"]);

    let made = Command::new(QUORATE).args(["format", "--data"]).arg(&data).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let admin = free_port().to_string();
    let first = &mut serve(&[QUORATE], &data, &["--admin", &admin]);
    let running = Running(first.stderr(Stdio::null()).spawn().unwrap());
    // It listens when it has the directory.
    within(PATIENCE, || std::net::TcpStream::connect(&admin).ok()).expect("a door that listens");
    let said = refusal(&mut serve(&[QUORATE], &data, &[]));
    let pid = running.0.id().to_string();
    assert_says(&said, &["in use by process", &pid, "--data"]);
    drop(running);

    let file = scratch.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    assert_says(&refusal(&mut serve(&[QUORATE], &file, &[])), &["file", "--data"]);
    let missing = scratch.path().join("missing.toml");
    let said = refusal(&mut serve(&[QUORATE], &data, &["--config", missing.to_str().unwrap()]));
    assert_says(&said, &["missing.toml", "--config"]);
}

#[test]
fn too_little_locked_memory_is_told_with_the_figure() {
    let scratch = scratch();
    let limits = ["prlimit", "--memlock=65536:65536", QUORATE];
    let said = refusal(&mut serve(&limits, &scratch.path().join("data"), &[]));
    assert_says(&said, &["locked memory", "the limit is 64", "ulimit -l", "LimitMEMLOCK"]);
}

/// As container runtimes filter it.
#[test]
fn a_filtered_io_uring_is_told_from_an_old_kernel() {
    let scratch = scratch();
    let mut command = serve(&[QUORATE], &scratch.path().join("data"), &[]);
    // SAFETY: two system calls on memory that lives until they return.
    unsafe {
        command.pre_exec(|| {
            let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
            let mut filter = [
                step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // The number of the call.
                step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
                step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
                step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
            ];
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    assert_says(&refusal(&mut command), &["io_uring is filtered", "seccomp", "io_uring_setup"]);
}

#[test]
fn a_file_system_without_direct_writes_is_named() {
    let scratch = scratch();
    let at = scratch.path().join("ramfs");
    std::fs::create_dir(&at).unwrap();
    let mounted = Command::new("mount").args(["-t", "ramfs", "none"]).arg(&at).stderr(Stdio::null()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return println!("skipped: mounting takes root");
    }
    let said = std::panic::catch_unwind(|| refusal(&mut serve(&[QUORATE], &at.join("data"), &[])));
    assert!(Command::new("umount").arg(&at).status().unwrap().success());
    assert_says(&said.unwrap(), &["O_DIRECT", "--data", "ext4"]);
}
