//! Load shapes against a null server: several processes, phases, the ladder.

mod support;

use std::process::{Command, Output};

use support::{LOADGEN, Null};

fn run(target: &str, server: &str, flags: &str) -> Output {
    let words = ["run", "--json", "--warmup", "0", "--keys", "100", "--target", target, "--servers", server];
    Command::new(LOADGEN).args(words).args(flags.split_whitespace()).output().expect("loadgen runs")
}

fn json(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn processes_share_the_load_and_their_figures_add_up() {
    let null = Null::start("zk");
    let open = json(&run("zk", &null.1, "--procs 2 --threads 2 --conns 6 --depth 8 --rate 2000 --secs 2"));
    assert_eq!((&open["samples"], &open["errors"]), (&4000.into(), &0.into()), "{open}");
    assert_eq!(open["series"].as_array().map(Vec::len), Some(2));
    let gap = open["max_gap_ms"].as_f64().expect("a number");
    assert!((0.2..1900.0).contains(&gap), "{gap}");

    let folder = tempfile::tempdir().expect("scratch");
    let history = folder.path().join("h.jsonl");
    let flags = format!("--procs 3 --conns 3 --depth 1 --secs 1 --check --history {}", history.display());
    let closed = json(&run("zk", &null.1, &flags));
    assert!(closed["client_cores"].as_f64() > Some(0.0), "{closed}");
    let lines = std::fs::read_to_string(&history).expect("kept");
    for client in 0..3 {
        assert!(lines.contains(&format!("{{\"client\":{client},")), "no line of client {client}");
    }
    let writes = lines.lines().filter(|line| line.contains("\"op\":\"write\"")).count() as u64;
    assert!(writes >= closed["write"]["ops"].as_u64().expect("a number"), "{writes}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1, "the parts are gone");
}

#[test]
fn processes_tell_their_parent_what_is_wrong() {
    let output = run("zk", "127.0.0.1:1", "--procs 2 --secs 1");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("refused"), "{said}");
}

#[test]
fn phases_follow_each_other_each_with_its_figures() {
    let null = Null::start("etcd");
    let found = json(&run("etcd", &null.1, "--conns 2 --depth 16 --phases 1@500,2@2000,1@100"));
    assert_eq!((&found["secs"], &found["errors"]), (&4.0.into(), &0.into()));
    let samples: Vec<u64> = found["phases"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["samples"].as_u64())
        .collect();
    // What ends in the next phase counts there: a few do, and more of them where the machine is busy. None is lost, and
    // no phase has another's length or rate.
    let all = samples.iter().sum::<u64>();
    assert!((4597..=4600).contains(&all), "a slot at each change of the rate may go: {samples:?}");
    assert!((250..=500).contains(&samples[0]) && (3500..=4250).contains(&samples[1]), "{samples:?}");
    assert!((90..=600).contains(&samples[2]), "{samples:?}");
    assert_eq!(all, found["samples"].as_u64().expect("a number"));
}

#[test]
fn a_ladder_ends_at_a_rate_that_keeps_its_objective_or_says_that_none_does() {
    let null = Null::start("consul");
    let folder = tempfile::tempdir().expect("scratch");
    let dir = folder.path().join("ladder");
    let flags = format!("--conns 4 --depth 4 --secs 1 --ladder p99<=5s --results {}", dir.display());
    let found = json(&run("consul", &null.1, &flags));
    let (most, within) = (found["closed_ops_per_s"].as_f64(), found["within_per_s"].as_f64());
    let steps = found["steps"].as_array().expect("a list");
    let kept = |wanted: bool| steps.iter().filter(move |step| step["kept"] == wanted);
    let rate = |step: &serde_json::Value| step["rate"].as_f64().expect("a number");
    // On a machine with nothing else to do some step is kept; where each waits for a core, perhaps none.
    let lowest_missed = kept(false).map(rate).fold(f64::INFINITY, f64::min);
    let expected = kept(true).map(rate).filter(|rate| *rate < lowest_missed).reduce(f64::max);
    assert_eq!(within, expected, "{found}");
    assert!(within < most && steps.len() > 2, "{within:?} of {most:?}");
    assert!(
        steps
            .iter()
            .all(|step| (step["kept"] == true) == step["misses"].as_array().is_some_and(Vec::is_empty))
    );
    assert!(dir.join("result.json").exists());
    assert_eq!(std::fs::read_dir(dir.join("steps")).expect("there").count(), steps.len() + 1);

    let found = json(&run("consul", &null.1, "--conns 4 --depth 4 --secs 1 --ladder max<=1us"));
    assert!(found["within_per_s"].is_null(), "{}", found["within_per_s"]);
}

#[test]
fn a_comparison_leaves_a_folder_that_makes_a_report() {
    let scratch = tempfile::tempdir().expect("scratch");
    let nulls = ["zk", "consul"].map(|protocol| {
        let null = Null::start(protocol);
        let file = scratch.path().join(format!("{protocol}.json"));
        let cluster = serde_json::json!({ "nodes": [{ "id": 1, "pid": (null.0.id()), protocol: (null.1) }] });
        std::fs::write(&file, cluster.to_string()).expect("written");
        (null, format!("{protocol}={}", file.display()))
    });
    let dir = scratch.path().join("out");
    let compare = || {
        Command::new(LOADGEN)
            .args(["compare", "--a", &nulls[0].1, "--b", &nulls[1].1, "--pairs", "1", "--secs", "1"])
            .args(["--warmup", "0", "--keys", "50", "--conns", "2", "--depth", "2", "--results"])
            .arg(&dir)
            .output()
            .expect("loadgen runs")
    };
    let output = compare();
    let said = String::from_utf8_lossy(&output.stdout);
    // The client may have been the limit: nobody else is measured here.
    assert!(matches!(output.status.code(), Some(0 | 5)), "{output:?}");
    assert!(said.contains("1 pairs: their interval"), "{said}");
    for run in ["zk/1", "consul/1", "zk/noise-1", "zk/noise-2"] {
        assert!(dir.join("runs/load").join(run).join("result.json").exists(), "{run}");
    }
    let report = Command::new(LOADGEN).arg("report").arg(&dir).output().expect("loadgen runs");
    assert!(report.status.success(), "{report:?}");
    let readme = std::fs::read_to_string(dir.join("README.md")).expect("made");
    assert!(readme.contains("## A over B") && readme.contains("| ops_per_s |"), "{readme}");
    assert!(readme.contains("| zk A/A |") && readme.contains("| 1 x 1 |"), "{readme}");
    assert_eq!(compare().status.code(), Some(2), "results are never edited");
}
