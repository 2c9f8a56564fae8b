//! The commands of an operator, as one types them, against real nodes: what they print, and what they say when
//! something is wrong.

#![cfg(feature = "drive")]

#[allow(dead_code, reason = "each binary of tests uses its part")]
mod support;

use std::ffi::OsStr;
use std::fmt::Debug;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use quorate::client::{Client, Config};
use support::cluster::{Cluster, QUORATE, get};
use support::ports::free_port;
use support::within;

const PATIENCE: Duration = Duration::from_secs(120);

fn quorate<S: AsRef<OsStr>>(args: &[S]) -> Output {
    Command::new(QUORATE).args(args).stdin(Stdio::null()).output().unwrap()
}

/// What it printed; it must have ended well.
fn done<S: AsRef<OsStr> + Debug>(args: &[S]) -> String {
    let Output { status, stdout, stderr } = quorate(args);
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{args:?} failed: {out}{err}");
    out.into_owned()
}

/// What it complained of; it must have failed, in words and not in a panic.
fn refused<S: AsRef<OsStr> + Debug>(args: &[S]) -> String {
    let Output { status, stderr, .. } = quorate(args);
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(matches!(status.code(), Some(1 | 2)), "{args:?} ended with {status}: {said}");
    assert!(!said.is_empty() && !said.contains("panicked"), "{args:?}: {said}");
    said
}

/// What it printed once it could: a machine with much else to do has no leader for a while now and then.
fn at_last<S: AsRef<OsStr> + Debug>(args: &[S], word: &str) -> String {
    let mut told = String::new();
    let done = within(PATIENCE, || {
        let Output { status, stdout, stderr } = quorate(args);
        told = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (status.success() && told.contains(word)).then(|| told.clone())
    });
    done.unwrap_or_else(|| panic!("{args:?} never said {word:?}: {told}"))
}

/// Refused with these words, once there is somebody to refuse it.
fn refused_with<S: AsRef<OsStr> + Debug>(args: &[S], words: &[&str]) {
    let mut told = String::new();
    let said = within(PATIENCE, || {
        told = refused(args);
        words.iter().all(|word| told.contains(word)).then_some(())
    });
    said.unwrap_or_else(|| panic!("{args:?} was not refused with {words:?}: {told}"));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Arguments and, behind them, whom they are for.
fn naming(file: &Path) -> impl Fn(&[&str]) -> Vec<String> {
    move |args| [args, &["--cluster", text(file)]].concat().into_iter().map(str::to_owned).collect()
}

/// A node of its own, ended with the test.
struct Server(Child);

impl Server {
    fn start(args: &[&str]) -> Server {
        // A directory that is there already stays as it is.
        let _ = Command::new(QUORATE).arg("format").args(args).output();
        let mut command = Command::new(QUORATE);
        Server(command.arg("serve").args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Goal: status, transfer, membership and snapshots of a cluster, and its state in a new one.
#[test]
fn an_operator_runs_a_cluster_by_commands() {
    let mut cluster = Cluster::start("operator");
    let file = cluster.dir.join("cluster.json");
    let with = naming(&file);

    cluster.doing("asking for the status");
    let leader = cluster.leader();
    let mut shown = String::new();
    let settled = within(PATIENCE, || {
        shown = done(&with(&["status"]));
        let roles = (shown.matches("leader").count(), shown.matches("follower").count());
        (roles == (1, 2)).then_some(())
    });
    settled.unwrap_or_else(|| panic!("{shown}"));
    let json: serde_json::Value = serde_json::from_str(&done(&with(&["status", "--json"]))).unwrap();
    assert_eq!((json["leader"].as_u64(), json["nodes"].as_array().unwrap().len()), (Some(leader), 3));
    for key in ["node", "leader", "epoch", "commit", "applied", "lag"] {
        assert!(json["nodes"].as_array().unwrap().iter().all(|node| node[key].is_u64()), "{key}: {json}");
    }
    assert_eq!(json["nodes"][0]["version"], env!("CARGO_PKG_VERSION"));

    cluster.doing("handing leadership over");
    let heir = (1..=3).find(|id| *id != leader).unwrap();
    // A node that has just begun to lead may lose it again, and be asked anew.
    at_last(&with(&["transfer", &heir.to_string()]), "leads already");
    refused_with(&with(&["transfer", "9"]), &["no such member"]);
    let leader = cluster.node(heir);
    let other = cluster.node((1..=3).find(|id| *id != heir).unwrap());
    refused_with(
        &["transfer", "--admin", &other.admin.to_string()],
        &[&format!("node {heir} leads"), "--admin"],
    );

    cluster.doing("saving a snapshot");
    let mut client = Client::connect(Config::new([leader.native.clone()])).unwrap();
    for n in 0..500 {
        let (key, value) = (format!("key-{n}"), format!("value-{n}"));
        within(PATIENCE, || client.put(key.as_bytes(), value.as_bytes()).ok()).expect("a majority");
    }
    let saved = cluster.dir.join("saved");
    at_last(&with(&["snapshot", "save", text(&saved)]), "");
    assert!(refused(&with(&["snapshot", "save", text(&saved)])).contains("exists"));
    let verified = done(&["snapshot", "verify", text(&saved)]);
    assert!(verified.contains("whole"), "{verified}");
    let again = cluster.dir.join("again");
    at_last(&with(&["snapshot", "save", text(&again), "--existing"]), "");

    cluster.doing("restoring the snapshot as a cluster of one");
    let (native, admin) = (free_port().to_string(), free_port().to_string());
    let data = cluster.dir.join("restored");
    let flags =
        ["--data", text(&data), "--native", &native, "--admin", &admin, "--zk", "off", "--cores", "1"];
    done(&[&["snapshot", "restore", text(&saved)], &flags[..]].concat());
    assert!(
        refused(&[&["snapshot", "restore", text(&saved)], &flags[..]].concat()).contains("exists already")
    );
    {
        let _server = Server::start(&flags);
        let mut client = within(PATIENCE, || Client::connect(Config::new([native.clone()])).ok()).unwrap();
        for n in 0..500 {
            let found = client.get(format!("key-{n}").as_bytes()).unwrap().expect("it was in the snapshot");
            assert_eq!(found.value, format!("value-{n}").as_bytes());
        }
        let revision = client.put(b"after", b"the restore").unwrap();
        assert!(revision > 500, "revisions began anew: {revision}");
        let shown = done(&["status", "--json", "--admin", &admin]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_ne!(shown["nodes"][0]["cluster"], json["nodes"][0]["cluster"], "two clusters of one name");
    }
    // And it comes back from what it wrote since.
    let _server = Server::start(&flags);
    let mut client = within(PATIENCE, || Client::connect(Config::new([native.clone()])).ok()).unwrap();
    assert!(client.get(b"after").unwrap().is_some() && client.get(b"key-7").unwrap().is_some());

    cluster.doing("damaging a snapshot");
    let sound = std::fs::read(&saved).unwrap();
    for (what, at, word) in
        [("a byte of its state", 700, "damaged"), ("its trailer", sound.len() - 4_000, "no whole snapshot")]
    {
        let mut bent = sound.clone();
        bent[at] ^= 4;
        std::fs::write(&again, &bent).unwrap();
        let told = refused(&["snapshot", "verify", text(&again)]);
        assert!(told.contains(word) && told.contains("again"), "{what}: {told}");
        let nowhere = cluster.dir.join("nowhere");
        refused(&["snapshot", "restore", text(&again), "--data", text(&nowhere)]);
        assert!(!nowhere.exists(), "a damaged snapshot left a directory behind");
    }
    std::fs::write(&again, &sound[..sound.len() - 4096]).unwrap();
    assert!(refused(&["snapshot", "verify", text(&again)]).contains("no whole snapshot"));
    std::fs::write(&again, b"short").unwrap();
    assert!(refused(&["snapshot", "verify", text(&again)]).contains("no whole snapshot"));
    assert!(refused(&["snapshot", "verify", "/nonexistent"]).contains("No such file"));

    cluster.doing("asking a cluster without a leader");
    let gone: Vec<u64> = (1..=3).filter(|id| *id != other.id).collect();
    cluster.kill(&gone);
    let leaderless = || {
        let told = String::from_utf8_lossy(&quorate(&with(&["status"])).stderr).into_owned();
        told.contains("no leader").then_some(told)
    };
    let told = within(PATIENCE, leaderless).expect("the survivor notices");
    assert!(told.contains("does not answer"), "{told}");
    let told = refused(&with(&["snapshot", "save", text(&cluster.dir.join("never"))]));
    assert!(told.contains("no leader") && told.contains("1 of 3"), "{told}");
    let existing = cluster.dir.join("existing");
    done(&["snapshot", "save", text(&existing), "--existing", "--admin", &other.admin.to_string()]);
}

/// Goal: a node joins, becomes a voter, and leaves, by commands alone.
#[test]
fn a_member_joins_is_promoted_and_leaves() {
    let mut cluster = Cluster::start("members");
    let file = cluster.dir.join("cluster.json");
    let with = naming(&file);
    assert_eq!(at_last(&with(&["member", "list"]), "").matches("voter").count(), 3);
    let status = cluster.node(1).status().unwrap();
    let peers: Vec<_> = status["members"].as_array().unwrap().iter().collect();
    let first = peers[0]["address"].as_str().unwrap();

    cluster.doing("refusing what cannot be");
    refused_with(&with(&["member", "add", "2", "127.0.0.1:9"]), &["a member already"]);
    refused_with(&with(&["member", "promote", "4"]), &["no member"]);
    refused_with(&with(&["member", "remove", "4"]), &["no member"]);
    assert!(refused(&with(&["member", "add", "0", "127.0.0.1:9"])).contains("0 is not in 1.."));
    assert!(refused(&with(&["member", "add", "4", "nowhere"])).contains("invalid"));

    cluster.doing("letting node 4 join");
    let (peer, native, admin) = (free_port().to_string(), free_port().to_string(), free_port().to_string());
    let data = cluster.dir.join("node-4");
    let members: Vec<String> =
        peers.iter().map(|m| format!("{}={}", m["id"], m["address"].as_str().unwrap())).collect();
    let members = format!("{},4={peer}", members.join(","));
    let name = status["cluster"].as_str().unwrap();
    let flags = [
        "--node",
        "4",
        "--data",
        text(&data),
        "--cluster",
        name,
        "--members",
        &members,
        "--native",
        &native,
        "--admin",
        &admin,
        "--zk",
        "off",
        "--cores",
        "1",
    ];
    done(&[&["format", "--join"], &flags[..]].concat());
    let _server = Server::start(&flags);
    let shown = done(&with(&["member", "add", "4", &peer]));
    assert!(shown.contains("learner") && shown.contains(&peer) && shown.contains(first), "{shown}");
    within(PATIENCE, || quorate(&with(&["member", "promote", "4"])).status.success().then_some(()))
        .expect("a learner that has caught up is promoted");
    assert_eq!(done(&with(&["member", "list"])).matches("voter").count(), 4);
    let all: Vec<String> = cluster.nodes().iter().map(|node| node.admin.to_string()).collect();
    let all = format!("{},{admin}", all.join(","));
    let shown = within(PATIENCE, || {
        let output = quorate(&["status", "--json", "--admin", &all]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    let shown: serde_json::Value = serde_json::from_str(&shown.expect("four nodes agree")).unwrap();
    assert_eq!(shown["nodes"][3]["node"], 4);
    at_last(&with(&["member", "remove", "4"]), "");
    assert!(!done(&with(&["member", "list"])).contains(&peer));
}

/// One family of a page in Prometheus' text form.
struct Family {
    kind: String,
    samples: Vec<(String, String, f64)>,
}

/// Reads a page as strictly as Prometheus' own checker: one block per name, help and type before its samples, names
/// and labels well formed, no sample twice.
fn parse_metrics(page: &str) -> std::collections::BTreeMap<String, Family> {
    let mut families = std::collections::BTreeMap::<String, Family>::new();
    let mut seen = std::collections::BTreeSet::new();
    let (mut current, mut helped) = (String::new(), String::new());
    let is_name = |name: &str| {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
    };
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("help has a text");
            assert!(
                is_name(name) && !text.is_empty() && !families.contains_key(name),
                "{name} stands there twice"
            );
            helped = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(name == helped && matches!(kind, "counter" | "gauge" | "summary"), "{line}");
            let foreign = !name.starts_with("quorate_"); // By the names that others gave.
            assert!(foreign || (kind == "counter") == name.ends_with("_total"), "{name}");
            current = name.to_owned();
            families.insert(current.clone(), Family { kind: kind.to_owned(), samples: Vec::new() });
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let (name, labels) = series
                .split_once('{')
                .map_or((series, ""), |(name, rest)| (name, rest.strip_suffix('}').expect("labels end")));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(value.is_finite() && is_name(name) && seen.insert(series.to_owned()), "{line}");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (key, text) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
                assert!(
                    is_name(key) && text.starts_with('"') && text.ends_with('"') && text.len() >= 2,
                    "{line}"
                );
            }
            let family = families.get_mut(&current).expect("a type comes first");
            let base = match family.kind.as_str() {
                "summary" => name.strip_suffix("_sum").or(name.strip_suffix("_count")).unwrap_or(name),
                _ => name,
            };
            assert_eq!(base, current, "{line} stands in another family");
            family.samples.push((name.to_owned(), labels.to_owned(), value));
        }
    }
    families
}

/// Goal: the page of metrics is one that Prometheus takes, with several loops too, and its numbers move.
#[test]
fn metrics_are_what_prometheus_reads() {
    let scratch = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap();
    let (data, native, admin, zk) = (scratch.path().join("data"), free_port(), free_port(), free_port());
    let (native, at, zk) = (native.to_string(), admin.to_string(), zk.to_string());
    let flags = [
        "--data",
        text(&data),
        "--native",
        &native,
        "--admin",
        &at,
        "--zk",
        &zk,
        "--cores",
        "4",
        "--pin",
        "no",
    ];
    let _server = Server::start(&flags);
    let mut client = within(PATIENCE, || Client::connect(Config::new([native.clone()])).ok()).unwrap();
    for n in 0..200 {
        client.put(format!("key-{n}").as_bytes(), b"value").unwrap();
        client.get(b"key-0").unwrap();
    }
    let page = || {
        let answer = get(admin, "/metrics");
        parse_metrics(answer.split_once("\r\n\r\n").expect("a page").1)
    };
    let sum = |families: &std::collections::BTreeMap<String, Family>, family: &str, with: &str| -> f64 {
        let family = families.get(family).unwrap_or_else(|| panic!("no {family}"));
        family
            .samples
            .iter()
            .filter(|(name, labels, _)| format!("{name}{{{labels}}}").contains(with))
            .map(|s| s.2)
            .sum()
    };
    // Histograms are handed over once a second.
    let all = within(PATIENCE, || {
        let page = page();
        let counted = sum(&page, "quorate_request_seconds", "_count{op=\"write\"");
        let staged = sum(&page, "quorate_stage_seconds", "_count{stage=\"commit\"");
        (counted >= 200.0 && staged > 0.0).then_some(page)
    });
    let all = all.expect("every write is counted");
    assert!(
        sum(&all, "quorate_edge_writes_total", "") >= 200.0
            && sum(&all, "quorate_edge_reads_total", "") >= 200.0
    );
    for (name, least) in [
        ("quorate_commit_index", 1.0),
        ("quorate_edge_writes_pending_max", 1.0),
        ("quorate_edge_connections_max", 1.0),
        ("quorate_lane_parcels_max", 100.0),
        ("quorate_peer_outbox_bytes_max", 0.0),
        ("quorate_loop_connections_max", 1.0),
        ("quorate_loop_disk_writes_total", 10.0),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 10.0),
        ("num_alive_connections", 0.0),
        ("outstanding_requests", 0.0),
    ] {
        assert!(sum(&all, name, "") >= least, "{name} is {}", sum(&all, name, ""));
    }
    let median = sum(&all, "quorate_request_seconds", "op=\"write\",lane=\"0\",quantile=\"0.5\"");
    assert!(median < 1.0, "half of the writes took {median} s");
    client.put(b"one", b"more").unwrap();
    assert!(sum(&page(), "quorate_edge_writes_total", "") > sum(&all, "quorate_edge_writes_total", ""));
}

#[test]
fn nobody_there_is_said_with_a_remedy() {
    let nobody = free_port().to_string();
    for command in
        [&["status"][..], &["member", "list"], &["transfer"], &["snapshot", "save", "/tmp/never-written"]]
    {
        let told = refused(&[command, &["--admin", &nobody]].concat());
        assert!(told.contains(&nobody) && told.contains("check --admin"), "{command:?}: {told}");
    }
    // Somebody else's port.
    let strange = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = strange.local_addr().unwrap().to_string();
    let babble = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = strange.accept().unwrap();
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"220 mail.example ready\r\n\r\n");
    });
    let told = refused(&["status", "--admin", &at]);
    assert!(told.contains("does not speak HTTP"), "{told}");
    babble.join().unwrap();
    assert!(refused(&["status", "--admin", "nonsense"]).contains("ADDRESS:PORT"));
    assert!(refused(&["status", "--cluster", "/nonexistent"]).contains("--cluster"));
    assert!(!Path::new("/tmp/never-written").exists());
}
