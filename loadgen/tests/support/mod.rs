//! What several tests of the program use. Machines are busy and noisy: a test waits for what must have happened, not for
//! a time, and what noise can add to a figure is no failure; what a wrong program would take from it is.

#![allow(dead_code, reason = "no file of tests needs all of it")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");
/// Whoever has not come to an end by then hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A null server; its process, and where it listens.
pub struct Null(pub Child, pub String);

impl Null {
    pub fn start(protocol: &str) -> Null {
        Null::start_with(protocol, &[])
    }

    pub fn start_with(protocol: &str, flags: &[&str]) -> Null {
        let mut child = Command::new(LOADGEN)
            .args(["null", "--protocol", protocol, "--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("loadgen starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening on ").expect("the promised line").to_string();
        Null(child, address)
    }

    /// Waits until it has answered so much that the load must have begun: a tenth of a second of work.
    pub fn await_load(&self) {
        let since = Instant::now();
        let ticks = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
            fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
        };
        while ticks() < 10 {
            assert!(since.elapsed() < PATIENCE, "nobody asks this server for anything");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
