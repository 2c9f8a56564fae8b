//! What several tests of the program use.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

pub const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// A null server; its process, and where it listens.
pub struct Null(pub Child, pub String);

impl Null {
    pub fn start(protocol: &str) -> Null {
        let mut child = Command::new(LOADGEN)
            .args(["null", "--protocol", protocol, "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("loadgen starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening on ").expect("the promised line").to_string();
        Null(child, address)
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
