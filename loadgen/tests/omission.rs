//! A stall of one second in a window of ten must be seen by whoever would have asked during it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

struct Null(Child, String);

impl Null {
    fn start(flags: &[&str]) -> Null {
        let mut child = Command::new(LOADGEN)
            .args(["null", "--protocol", "zk", "--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("loadgen starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("it says where it listens");
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

fn run(server: &str, flags: &str) -> serde_json::Value {
    let output = Command::new(LOADGEN)
        .args(["run", "--target", "zk", "--json", "--servers", server])
        .args(flags.split_whitespace())
        .stderr(Stdio::inherit())
        .output()
        .expect("loadgen runs");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[test]
fn a_stall_shows_in_the_open_loop_at_its_arithmetic_size() {
    let null = Null::start(&["--stall-at", "4", "--stall-ms", "1000"]);
    let open = run(&null.1, "--rate 2000 --conns 8 --depth 16 --keys 100 --secs 10 --warmup 0");
    // A tenth of the starts fall into the stall and wait 0 to 1 s, evenly: 1 % of all wait longer than 0.9 s.
    let p99 = open["p99_us"].as_f64().expect("a number") / 1e6;
    assert!((0.855..=0.945).contains(&p99), "p99 {p99} s, arithmetic says 0.90");
    let p95 = open["p90_us"].as_f64().expect("a number") / 1e6;
    assert!(p95 < 0.05, "nine tenths saw no stall: {p95}");
    let gap = open["max_gap_ms"].as_f64().expect("a number");
    assert!((950.0..1100.0).contains(&gap), "{gap}");
    // Counted from the actual send most of them seem quick: they were never sent while the server was silent.
    let service = open["service_p99_us"].as_f64().expect("a number") / 1e6;
    assert!(service < 0.05, "{service}");
    assert_eq!(open["samples"], 20_000, "no slot of the schedule is skipped");
    assert_eq!(open["errors"], 0);
}
