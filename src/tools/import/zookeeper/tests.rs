//! Against files that a ZooKeeper 3.9.5 wrote and was killed over (`tests/interop/import_data.py` fed it; the zeros
//! at the logs' ends are cut), and what it showed to a client just before.

use std::path::{Path, PathBuf};

use super::*;
use crate::realms::Realm;
use crate::realms::tree::Tree;
use crate::realms::tree::acl::{OwnIds, Scheme};
use crate::realms::tree::jute::{Reader, Stat, Write, strings};
use crate::realms::tree::ops::op;
use crate::realms::tree::read::Query;

fn captured() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tools/import/zookeeper/captured")
}

fn imported(dir: &Path) -> Result<(State, Vec<String>), String> {
    let mut warnings = Vec::new();
    let state = read(dir, dir, false, |line| warnings.push(line))?;
    Ok((state, warnings))
}

/// A copy of the captured files that may be broken.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("version-2")).unwrap();
    for file in std::fs::read_dir(captured().join("version-2")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join("version-2").join(file.file_name())).unwrap();
    }
    dir
}

fn ask(tree: &Tree, code: i32, path: &str) -> Vec<u8> {
    let mut ids = OwnIds::default();
    ids.add(Scheme::Super, b"");
    let mut record = Vec::new();
    record.put_bytes(path.as_bytes());
    record.put_bool(false);
    let mut query = Vec::new();
    Query { session: 0, ids: ids.bytes(), code, record: &record }.write(&mut query);
    let mut answer = Vec::new();
    tree.read(&query, &mut answer);
    assert_eq!(answer[8..12], [0; 4], "{path}");
    answer.split_off(12)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As the script prints it.
fn show(tree: &Tree, path: &str, lines: &mut Vec<String>) {
    let body = ask(tree, op::GET_DATA, path);
    let mut reader = Reader::new(&body);
    let data = reader.bytes().unwrap().map_or("null".into(), |data| match data {
        b"" => "empty".into(),
        data => hex(data),
    });
    let stat = Stat::read(&mut reader).unwrap();
    let acl = ask(tree, op::GET_ACL, path);
    let list = Reader::new(&acl).acl_vector().unwrap().unwrap();
    lines.push(format!(
        "{path} {data} {} {} {} {} {} {} {} {} {} {} {} {}",
        hex(list),
        stat.czxid,
        stat.mzxid,
        stat.ctime,
        stat.mtime,
        stat.version,
        stat.cversion,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children,
        stat.pzxid
    ));
    let mut names: Vec<String> = strings(&ask(tree, op::GET_CHILDREN, path))
        .map(|name| String::from_utf8(name.to_vec()).unwrap())
        .collect();
    names.sort();
    for name in names {
        show(tree, &format!("{}/{name}", path.trim_end_matches('/')), lines);
    }
}

#[test]
fn a_killed_servers_files_are_its_tree() {
    let (state, warnings) = imported(&captured()).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!((state.zxid, state.sessions.len(), state.applied), (0x21, 1, 0x21 - 0xf));
    let tree = state.into_tree().unwrap();
    let mut lines = Vec::new();
    show(&tree, "/", &mut lines);
    let wanted = std::fs::read_to_string(captured().join("tree.txt")).unwrap();
    assert_eq!(lines, wanted.lines().collect::<Vec<_>>());
}

#[test]
fn an_older_snapshot_and_the_log_behind_it_come_to_the_same() {
    let (newest, _) = imported(&captured()).unwrap();
    for kept in [2, 1] {
        let dir = copy();
        for (_, path) in numbered(&dir.path().join("version-2"), "snapshot.").unwrap().split_off(kept) {
            std::fs::remove_file(path).unwrap();
        }
        let (state, warnings) = imported(dir.path()).unwrap();
        assert_eq!((warnings, state.digest_holds()), (vec![], Some(true)), "{kept} snapshots");
        assert!(state.applied > 0);
        assert_eq!(
            (&state.nodes, &state.sessions, state.zxid),
            (&newest.nodes, &newest.sessions, newest.zxid)
        );
    }
}

#[test]
fn sessions_stay_or_go_with_their_ephemerals() {
    let (mut state, _) = imported(&captured()).unwrap();
    state.drop_orphans();
    assert!(state.nodes.contains_key(&b"/app/e"[..]));
    state.drop_sessions();
    assert!(!state.nodes.contains_key(&b"/app/e"[..]));
}

#[test]
fn what_is_damaged_is_refused_by_file_and_offset() {
    let broken = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let dir = copy();
        let path = dir.path().join("version-2").join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        imported(dir.path()).map(|(state, warnings)| (state.zxid, warnings))
    };
    let refused = |file: &str, change: &dyn Fn(&mut Vec<u8>), words: &[&str]| {
        let why = broken(file, change).unwrap_err();
        assert!(words.iter().chain([&file]).all(|word| why.contains(word)), "{why}");
    };
    refused("snapshot.f", &|bytes| bytes[0] = b'X', &["offset 0", "no snapshot"]);
    refused("snapshot.f", &|bytes| bytes[7] = 9, &["offset 4", "format 9"]);
    // Any byte of it: the sum, a length or the shape tells.
    let whole = std::fs::read(captured().join("version-2/snapshot.f")).unwrap();
    for at in (16..whole.len() - 5).step_by(7) {
        refused("snapshot.f", &|bytes| bytes[at] ^= 0x10, &["offset"]);
    }
    let (zxid, warnings) = broken("snapshot.f", &|bytes| bytes.truncate(900)).unwrap();
    assert!(
        zxid == 0x21 && warnings[0].contains("was not finished"),
        "the one before and the log say the same"
    );

    let begin = 16 + 12;
    refused("log.11", &|bytes| bytes[begin + 30] ^= 1, &["offset 16", "sum up to"]);
    refused("log.11", &|bytes| bytes[3] = b'X', &["offset 0", "no log"]);
    let (zxid, warnings) = broken("log.11", &|bytes| bytes.truncate(bytes.len() - 40)).unwrap();
    assert!(zxid == 0x20 && warnings[0].contains("not finished"), "{warnings:?}");

    // In the midst of the files it is no end.
    let dir = copy();
    let inner = dir.path().join("version-2");
    std::fs::remove_file(inner.join("snapshot.f")).unwrap();
    let mut bytes = std::fs::read(inner.join("log.1")).unwrap();
    bytes.truncate(bytes.len() - 40);
    std::fs::write(inner.join("log.1"), bytes).unwrap();
    let why = imported(dir.path()).map(drop).unwrap_err();
    assert!(why.contains("log.1: offset") && why.contains("later files follow"), "{why}");
    // Nor may a file be missing.
    std::fs::remove_file(inner.join("log.1")).unwrap();
    std::fs::write(inner.join("snapshot.3"), std::fs::read(inner.join("snapshot.0")).unwrap()).unwrap();
    let why = imported(dir.path()).map(drop).unwrap_err();
    assert!(why.contains("what lies between is missing"), "{why}");
    let nothing = tempfile::tempdir().unwrap();
    assert!(imported(nothing.path()).map(drop).unwrap_err().contains("--trust-empty"));
}

#[test]
fn no_bytes_make_the_decoders_panic() {
    let mut rng = crate::base::Rng::new(7);
    for file in ["snapshot.f", "log.11", "log.1"] {
        let whole = std::fs::read(captured().join("version-2").join(file)).unwrap();
        for _ in 0..2000 {
            let mut bytes = whole.clone();
            for _ in 0..rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            let _ = snapshot::read(&bytes, 5);
            if let Ok(Some(mut log)) = Log::open(&bytes) {
                while let Ok(Next::Entry(_)) = log.step() {}
            }
        }
    }
}
