//! Real processes, killed, frozen and damaged under load. Nothing acknowledged may be lost; every read is checked.
//!
//! `QUORATE_ROUNDS=30` makes the killing longer, `QUORATE_SEED=N` repeats the draws of a run.

#![cfg(feature = "drive")]

#[allow(dead_code, reason = "each binary of tests uses its part")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use quorate::base::Rng;
use quorate::client::{Client, Config, Pipe, Query, Range};
use support::cluster::{Cluster, QUORATE};
use support::crowd::{Crowd, audit};
use support::small_disk::SmallDisk;
use support::{setting, within};

/// For writes to go on. A new leader is a matter of a message after a death, and of 0.9 to 1.8 s after a silence
/// (`scripts/bench-failover` measures both); the rest is for a slow machine that does other things too.
const RESUMES: Duration = Duration::from_secs(120);

fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Goal: kill -9 of the leader, of a follower, of all nodes, in turn, loses nothing.
#[test]
fn acknowledged_writes_outlive_kills() {
    let (rounds, seed) = (setting("QUORATE_ROUNDS", 6), setting("QUORATE_SEED", 1));
    let mut rng = Rng::new(seed);
    let mut cluster = Cluster::start("kills");
    let crowd = Crowd::start(cluster.servers(), 6, rng.next_u64());
    for round in 1..=rounds {
        let victims = match round % 3 {
            1 => vec![cluster.leader()],
            2 => vec![cluster.follower()],
            _ => vec![1, 2, 3],
        };
        cluster.doing(format!("killing {victims:?} in round {round} of {rounds} (QUORATE_SEED={seed})"));
        pause(rng.between(200, 600));
        crowd.check();
        cluster.kill(&victims);
        if victims.len() < 3 {
            let gap = crowd.time_to_ack(RESUMES);
            println!("round {round}: {victims:?} killed, writes went on after {gap:?}");
        }
        // A node that comes back at once, and one that has missed much.
        pause(rng.below(2) * 300);
        victims.iter().for_each(|id| cluster.restart(*id));
        cluster.await_ready(&victims);
        crowd.time_to_ack(RESUMES);
    }
    cluster.doing("comparing nodes and books after the last round");
    let acks = crowd.acks();
    audit(&cluster.nodes(), &crowd.finish());
    println!("{acks} acknowledged writes are there after {rounds} rounds");
}

/// Goal: a frozen leader is replaced, and when it wakes it neither answers from the past nor loses anything.
#[test]
fn a_frozen_leader_is_replaced_and_comes_back_as_a_follower() {
    let (rounds, seed) = (setting("QUORATE_ROUNDS", 6).div_ceil(3), setting("QUORATE_SEED", 2));
    let mut rng = Rng::new(seed);
    let mut cluster = Cluster::start("frozen");
    let crowd = Crowd::start(cluster.servers(), 6, rng.next_u64());
    for round in 1..=rounds {
        cluster.doing(format!("freezing the leader in round {round} of {rounds} (QUORATE_SEED={seed})"));
        pause(rng.between(200, 600));
        let frozen = cluster.node(cluster.leader());
        let others: Vec<u64> = (1..=3).filter(|id| *id != frozen.id).collect();
        let alone = Config::new([frozen.native.clone()]);
        let mut patient = within(RESUMES, || Pipe::connect(alone.clone()).ok()).expect("a healthy cluster");
        // Its list begins with the frozen node: it must find another by itself.
        let mut servers = vec![frozen.native.clone()];
        servers.extend(others.iter().map(|id| cluster.node(*id).native));
        let hasty = Config::new(servers).timeout(Duration::from_secs(1));
        let mut mover = within(RESUMES, || Client::connect(hasty.clone()).ok()).expect("a healthy cluster");
        let mark = format!("mark/{round}");
        within(RESUMES, || mover.put(mark.as_bytes(), b"before").ok()).expect("a healthy cluster");

        frozen.signal(libc::SIGSTOP);
        let begin = Instant::now();
        let heir = within(RESUMES, || cluster.leader_of(&others));
        let elected = begin.elapsed();
        let heir =
            heir.unwrap_or_else(|| panic!("nobody else leads {RESUMES:?} after node {} froze", frozen.id));
        crowd.time_to_ack(RESUMES);
        println!("round {round}: node {} frozen, {heir} leads after {elected:?}", frozen.id);
        let done = within(RESUMES, || mover.put(mark.as_bytes(), b"after").ok());
        done.expect("a client leaves a server that has fallen silent");
        // The question lies in the frozen node's socket when it wakes: it still believes that it leads.
        let query = Query::Range(Range { key: mark.clone().into_bytes(), ..Range::default() });
        let asked = patient.start_query(&query, false).unwrap();
        patient.flush().unwrap();
        frozen.signal(libc::SIGCONT);
        match patient.finish(asked) {
            Ok(reply) => assert!(
                reply.windows(5).any(|part| part == b"after"),
                "a linearizable read from the old leader came from the past: {:?}",
                String::from_utf8_lossy(&reply)
            ),
            Err(error) => println!("round {round}: the old leader answered: {error}"),
        }
        cluster.await_ready(&[frozen.id]);
        crowd.time_to_ack(RESUMES);
        crowd.check();
    }
    cluster.doing("comparing nodes and books after the last round");
    audit(&cluster.nodes(), &crowd.finish());
}

/// Goal: a byte that the disk returns wrong is noticed, and the batch comes back from the other nodes.
#[test]
fn a_flipped_byte_is_repaired_from_the_others() {
    let seed = setting("QUORATE_SEED", 3);
    let mut cluster = Cluster::start("flipped");
    let crowd = Crowd::start(cluster.servers(), 4, seed);
    within(RESUMES, || (crowd.acks() > 1_000).then_some(())).expect("many writes");
    let books = crowd.finish();
    let victim = cluster.follower();
    cluster.doing(format!("flipping a byte of node {victim} (QUORATE_SEED={seed})"));
    cluster.kill(&[victim]);
    let sure = &books[0].sure;
    let (key, (value, _)) = sure.iter().nth(sure.len() / 2).expect("many writes");
    let (file, at) = find(&cluster.data_of(victim), value).expect("the value is in a segment");
    let (sound, said) = inspect(&cluster, victim);
    assert!(sound, "a log that was only killed counts as damaged:\n{said}");
    flip(&file, at + 3);
    let (sound, said) = inspect(&cluster, victim);
    assert!(!sound && said.contains("UNKNOWN"), "`quorate log inspect` does not name the damage:\n{said}");
    cluster.doing(format!("repairing {} at byte {at}, in {}", String::from_utf8_lossy(key), file.display()));
    cluster.restart(victim);
    cluster.await_ready(&[victim]);
    audit(&cluster.nodes(), &books);
    assert!(cluster.log_of(victim).contains("wait for a peer's copy"), "the damage was never noticed");
    let again = find(&cluster.data_of(victim), value);
    assert_eq!(again, Some((file, at)), "the batch was not written back to where it belongs");
}

/// Goal: a node whose disk is full holds nobody up, as a follower or as the leader, and returns when there is room.
#[test]
fn a_full_disk_stops_one_node_only() {
    let seed = setting("QUORATE_SEED", 4);
    let mut cluster = Cluster::start("full");
    let small = cluster.follower();
    cluster.doing(format!("giving node {small} a small disk"));
    cluster.kill(&[small]);
    let Some(disk) = SmallDisk::under(&cluster.data_of(small), &cluster.dir.join("small.img")) else {
        return println!("skipped: mounting a small disk takes root and a loop device");
    };
    let ballast = disk.ballast();
    cluster.disk = Some(disk);
    cluster.restart(small);
    cluster.await_ready(&[small]);
    let crowd = Crowd::start(cluster.servers(), 6, seed);
    for leads in [false, true] {
        let role = if leads { "leader" } else { "follower" };
        cluster.doing(format!("filling the disk of node {small}, the {role} (QUORATE_SEED={seed})"));
        if leads {
            // Refused while it lags: it has just come back.
            let handed = within(RESUMES, || made_leader(&cluster, small).then_some(()));
            handed.expect("leadership is handed over");
        }
        let told = full_times(&cluster, small);
        ballast.load();
        // It fills the segments that it has first, up to half a gigabyte of them: the crowd alone would take long.
        let servers = Config::new(cluster.servers());
        let mut filler =
            within(RESUMES, || Client::connect(servers.clone()).ok()).expect("a healthy cluster");
        let full = within(5 * RESUMES, || {
            let _ = filler.put(b"mark/filler", &[7; 200_000]);
            if !leads {
                return (full_times(&cluster, small) > told).then_some(());
            }
            // A snapshot may be what meets the full disk first: the log takes its last segments then, and a leader
            // makes way behind those. On a slow machine another may have been elected meanwhile.
            let made_way = cluster.log_of(small).contains("leadership goes to node");
            if !made_way {
                made_leader(&cluster, small);
            }
            made_way.then_some(())
        });
        full.unwrap_or_else(|| panic!("the {role}: its log outgrows its disk, and a leader makes way then"));
        crowd.time_to_ack(RESUMES);
        println!("the {role}'s disk is full, writes go on");
        cluster.kill(&[small]);
        ballast.drop_off();
        cluster.restart(small);
        cluster.await_ready(&[small]);
    }
    cluster.doing("comparing nodes and books, with room on every disk");
    audit(&cluster.nodes(), &crowd.finish());
}

/// Goal: a member that lost its disk is a stranger until the log names the new one, and then a voter again.
#[test]
fn a_replaced_disk_votes_again_once_the_log_names_it() {
    let seed = setting("QUORATE_SEED", 5);
    let mut cluster = Cluster::start("replaced");
    let crowd = Crowd::start(cluster.servers(), 6, seed);
    let (lost, leader) = (cluster.follower(), cluster.leader());
    let member = |cluster: &Cluster, at: u64| {
        let status = cluster.node(at).status()?;
        status["members"].as_array()?.iter().find(|m| m["id"].as_u64() == Some(lost)).cloned()
    };
    let before = within(RESUMES, || member(&cluster, leader)).expect("a member");
    cluster.doing(format!("replacing the disk of node {lost}"));
    cluster.kill(&[lost]);
    std::fs::remove_dir_all(cluster.data_of(lost)).unwrap();
    let mut command = Command::new(QUORATE);
    command.args(["format", "--join", "--config"]).arg(cluster.dir.join(format!("node-{lost}.toml")));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let name =
        said.split("this is its incarnation ").nth(1).expect("its name").lines().next().unwrap().to_owned();
    cluster.restart(lost);
    // Long enough for a node that takes itself for a voter to be heard.
    pause(1_000);
    let after = within(RESUMES, || member(&cluster, leader)).expect("a member");
    assert_eq!(after, before, "the members are what they were");
    crowd.time_to_ack(RESUMES);

    let address = before["address"].as_str().unwrap();
    let asked = within(RESUMES, || {
        cluster.post(cluster.leader(), &format!("/member/{lost}?address={address}&incarnation={name}"));
        let member = member(&cluster, cluster.leader())?;
        (member["role"] == "voter" && member["incarnation"] == name.as_str()).then_some(())
    });
    asked.expect("the new disk becomes the voter");
    crowd.time_to_ack(RESUMES);
    cluster.await_ready(&[lost]);
    // It carries weight: with another member gone it is half of the majority.
    cluster.doing("killing the leader, so that the new disk is needed");
    let gone = cluster.leader();
    cluster.kill(&[gone]);
    crowd.time_to_ack(RESUMES);
    cluster.restart(gone);
    cluster.await_ready(&[1, 2, 3]);
    audit(&cluster.nodes(), &crowd.finish());
}

/// Whether a node leads; it is handed leadership where it does not.
fn made_leader(cluster: &Cluster, id: u64) -> bool {
    let leads = cluster.leader() == id;
    if !leads {
        cluster.transfer_to(id);
        pause(200);
    }
    leads
}

/// As a follower it fails when it can append no more. As the leader it drops the snapshot that would make room, makes
/// way for another, and then fails as a follower.
fn full_times(cluster: &Cluster, id: u64) -> usize {
    cluster.log_of(id).matches("No space left on device").count()
}

/// Whether `quorate log inspect` finds a stopped node's log whole, and what it says.
fn inspect(cluster: &Cluster, id: u64) -> (bool, String) {
    let mut command = Command::new(QUORATE);
    let output = command.args(["log", "inspect"]).arg(cluster.data_of(id)).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where some bytes lie in a data directory.
fn find(dir: &Path, bytes: &[u8]) -> Option<(PathBuf, usize)> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).find_map(|path| {
        let held = std::fs::read(&path).unwrap();
        let finder = |at: &usize| held[*at..].starts_with(bytes);
        let first = (0..held.len()).filter(|at| held[*at] == bytes[0]).find(finder);
        first.map(|at| (path, at))
    })
}

fn flip(file: &Path, at: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at as u64).unwrap();
    file.sync_all().unwrap();
}
