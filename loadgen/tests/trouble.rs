//! Whatever goes wrong is said in words, ends in the exit code that the README promises, and loses nothing that was
//! measured.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{LOADGEN, Null, PATIENCE};

fn command(target: &str, server: &str, flags: &str) -> Command {
    let mut command = Command::new(LOADGEN);
    command.args(["run", "--json", "--conns", "2", "--depth", "4", "--warmup", "0"]);
    if !flags.contains("--keys") {
        command.args(["--keys", "50"]);
    }
    command.args(["--target", target, "--servers", server]).args(flags.split_whitespace());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(target: &str, server: &str, flags: &str) -> Output {
    command(target, server, flags).output().expect("loadgen runs")
}

#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{said}{printed}");
    for word in words {
        assert!(said.contains(word) || printed.contains(word), "{word:?} is not in: {said}{printed}");
    }
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[test]
fn nobody_listens() {
    for target in ["zk", "native", "etcd", "consul"] {
        expect(&run(target, "127.0.0.1:1", "--secs 1"), 3, &["127.0.0.1:1", "refused"]);
    }
}

#[test]
fn another_protocol_is_named_with_the_flag_that_speaks_it() {
    let all = ["zk", "native", "etcd", "consul"];
    thread::scope(|scope| {
        for found in all {
            for wanted in all.into_iter().filter(|wanted| *wanted != found) {
                scope.spawn(move || {
                    let null = Null::start(found);
                    let flag = format!("--target {found}");
                    // The null server of ZooKeeper knows no four-letter words, by which the real one is known.
                    let words: &[&str] = if found == "zk" { &[&null.1] } else { &[&null.1, &flag] };
                    expect(&run(wanted, &null.1, "--secs 1"), 3, words);
                });
            }
        }
    });
}

/// A server that answers every connection with the same bytes.
fn parrot(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a guest");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
            thread::sleep(Duration::from_millis(300));
        }
    });
    address
}

#[test]
fn another_version_of_the_protocol() {
    // A frame as the native door sends them, but of version 9.
    let server = parrot(&[16, 0, 0, 0, 9, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(&run("native", &server, "--secs 1"), 3, &[&server, "version 9"]);
    // etcd 2 spoke HTTP/1 alone.
    let server = parrot(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    expect(&run("etcd", &server, "--secs 1"), 3, &[&server, "not HTTP/2"]);
}

#[test]
fn a_server_that_dies_leaves_what_was_measured() {
    let folder = tempfile::tempdir().expect("scratch");
    let results = folder.path().join("run");
    let mut null = Null::start("zk");
    let mut command = command("zk", &null.1, "--secs 5 --check --timeout-ms 1000");
    let child = command.arg("--results").arg(&results).spawn().expect("loadgen runs");
    null.await_load();
    null.0.kill().expect("it ran");
    let output = child.wait_with_output().expect("it ends");
    // What a null server answers is no history that could pass.
    assert!(matches!(output.status.code(), Some(1 | 4)), "{output:?}");
    let printed = json(&output);
    let partial = printed["partial"].to_string();
    assert!(printed["ops"].as_u64().expect("a number") > 100, "{printed}");
    assert!(
        partial.contains("nothing succeeded in the last second") && partial.contains("refused"),
        "{partial}"
    );
    let stored = fs::read_to_string(results.join("result.json")).expect("stored");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stored).expect("JSON"), printed);
}

#[test]
fn a_history_that_fails_its_check_is_told_beside_the_figures() {
    // A null server answers every read with the same value, whatever was written.
    let null = Null::start("zk");
    let output = run("zk", &null.1, "--secs 1 --check --reads 50");
    expect(&output, 1, &[]);
    let printed = json(&output);
    assert!(printed["ops"].as_u64() > Some(0) && printed["check"]["passed"] == false, "{printed}");
}

#[test]
fn sends_that_are_late_by_the_clients_own_fault_make_a_run_invalid() {
    let null = Null::start("zk");
    let child = command("zk", &null.1, "--secs 2 --rate 1000").spawn().expect("loadgen runs");
    let pid = rustix::process::Pid::from_child(&child);
    let signal = |signal| rustix::process::kill_process(pid, signal).expect("it runs");
    thread::sleep(Duration::from_millis(1000));
    signal(rustix::process::Signal::STOP);
    thread::sleep(Duration::from_millis(400));
    signal(rustix::process::Signal::CONT);
    let output = child.wait_with_output().expect("it ends");
    expect(&output, 5, &["of the sends were more than 1 ms late"]);
    assert_eq!(json(&output)["samples"], 2000, "no start is skipped");
}

#[test]
fn a_rate_that_the_server_does_not_keep_up_with_is_told_and_no_failure() {
    let null = Null::start_with("etcd", &["--stall-at", "0.5", "--stall-ms", "1000"]);
    let output = run("etcd", &null.1, "--secs 1 --rate 500");
    let printed = json(&output);
    assert!(printed["behind"][0].as_str().is_some_and(|why| why.contains("of 500 operations")), "{printed}");
    let late = printed["late_percent"].as_f64() > Some(0.1);
    expect(&output, if late { 5 } else { 0 }, &[]);

    let null = Null::start("etcd");
    let printed = json(&run("etcd", &null.1, "--secs 1 --rate 500"));
    // A machine that is busy at the wrong moment is a server that does not keep up.
    let few = printed["ops"].as_u64() < Some(470);
    assert_eq!(printed["behind"] == serde_json::json!([]), !few, "{printed}");
}

#[test]
fn a_server_that_dies_while_keys_are_made_ends_the_run() {
    let null = Null::start("consul");
    let flags = "--secs 1 --timeout-ms 500 --keys 20000000";
    let mut child = command("consul", &null.1, flags).spawn().expect("loadgen runs");
    null.await_load();
    drop(null);
    let since = Instant::now();
    while child.try_wait().expect("ours").is_none() && since.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    expect(&child.wait_with_output().expect("it ends"), 3, &["could not be", "refused"]);
}

#[test]
fn an_interrupt_keeps_what_was_measured() {
    let null = Null::start("etcd");
    let child = command("etcd", &null.1, "--secs 30").spawn().expect("loadgen runs");
    null.await_load();
    thread::sleep(Duration::from_millis(1000));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    expect(&output, 4, &["it was ended after", "of 30 s"]);
    let printed = json(&output);
    assert!(printed["ops_per_s"].as_f64().expect("a number") > 100.0);
    // It takes no part of the 30 s that it did not see.
    assert!((0.9..25.0).contains(&printed["secs"].as_f64().expect("a number")), "{}", printed["secs"]);
}

#[test]
fn a_folder_that_takes_no_files_is_refused_before_the_load() {
    let null = Null::start("zk");
    let file = tempfile::NamedTempFile::new().expect("scratch");
    let dir = file.path().join("run").display().to_string();
    expect(&run("zk", &null.1, &format!("--secs 1 --results {dir}")), 2, &[&dir, "nothing was measured"]);
}

/// A disk of 12 KiB in a namespace of its own.
#[test]
fn a_full_disk_under_the_results_loses_no_figure() {
    let script = |dir: &str, server: &str| {
        format!(
            "mount -t tmpfs -o size=12k none {dir} && exec {LOADGEN} run --json --target zk --servers {server} \
             --keys 50 --conns 2 --warmup 0 --secs 2 --rate 500 --results {dir}/run"
        )
    };
    let folder = tempfile::tempdir().expect("scratch");
    let dir = folder.path().display().to_string();
    let shell = |line: &str| {
        Command::new("unshare").args(["--user", "--map-root-user", "--mount", "sh", "-c", line]).output()
    };
    if !shell(&format!("mount -t tmpfs none {dir}")).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no namespace with a disk of its own can be had here");
        return;
    }
    let null = Null::start("zk");
    let output = shell(&script(&dir, &null.1)).expect("a shell");
    expect(&output, 4, &["No space left", "not stored whole"]);
    assert_eq!(json(&output)["samples"], 1000);
}

#[test]
fn a_corrupt_history_names_the_line() {
    let file = tempfile::NamedTempFile::new().expect("scratch");
    let line =
        r#"{"client":1,"op":"write","key":1,"value":5,"start_ns":1,"end_ns":2,"outcome":"ok","revision":1}"#;
    fs::write(file.path(), format!("{line}\n{}\n", &line[..40])).expect("written");
    let output = Command::new(LOADGEN).arg("verify").arg(file.path()).output().expect("loadgen runs");
    expect(&output, 2, &["line 2 is not a history line"]);
}

#[test]
fn a_corrupt_result_is_named_and_the_others_are_reported() {
    let folder = tempfile::tempdir().expect("scratch");
    let dir = folder.path();
    let series = r#"{"title":"t","command":"c","systems":["a"],"workloads":[{"name":"w","what":"x"}]}"#;
    fs::write(dir.join("series.json"), series).expect("written");
    fs::write(dir.join("env.json"), "{}").expect("written");
    fs::write(dir.join("versions.json"), "{}").expect("written");
    for (round, text) in [("1", r#"{"ops_per_s":77123}"#), ("2", r#"{"ops_per_"#)] {
        let run = dir.join("runs/w/a").join(round);
        fs::create_dir_all(&run).expect("made");
        fs::write(run.join("result.json"), text).expect("written");
    }
    let output = Command::new(LOADGEN).arg("report").arg(dir).output().expect("loadgen runs");
    expect(&output, 4, &["runs/w/a/2/result.json is corrupt", "measure that row again"]);
    assert!(fs::read_to_string(dir.join("README.md")).expect("made").contains("77,123"));
}

#[test]
fn a_folder_of_one_run_is_told_from_one_that_makes_a_report() {
    let folder = tempfile::tempdir().expect("scratch");
    fs::write(folder.path().join("result.json"), "{}").expect("written");
    let output = Command::new(LOADGEN).arg("report").arg(folder.path()).output().expect("loadgen runs");
    expect(&output, 2, &["is one run's", "scripts/publish"]);
}
