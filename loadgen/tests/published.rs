//! Tables that are committed say what the raw files say, and neither says where they were made.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{LOADGEN, Null};

#[test]
fn committed_tables_are_those_of_the_raw_files() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    let output = Command::new(LOADGEN)
        .args(["report", "--claims", "--check"])
        .arg(&results)
        .output()
        .expect("loadgen runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// What is published tells nothing of whose machine it was.
#[test]
fn no_result_names_a_folder_of_the_machine_it_was_made_on() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    for path in files(&results) {
        let bytes = std::fs::read(&path).expect("it is there");
        let text = String::from_utf8_lossy(&bytes);
        for home in ["/home/", "/root/", "/tmp/", "/work/", "/Users/", "/usr/local/"] {
            let at = text.find(home);
            assert!(at.is_none(), "{} names {:?}", path.display(), at.and_then(|at| text.get(at..at + 60)));
        }
    }
}

#[test]
fn a_command_of_the_users_is_stored_without_the_folders_it_names() {
    let (null, scratch) = (Null::start("zk"), tempfile::tempdir().expect("scratch"));
    let (here, results) = (scratch.path().canonicalize().expect("there"), scratch.path().join("results"));
    std::fs::write(here.join("harm"), "").expect("a file");
    let harm = format!("test -e {}/harm", here.display());
    let output = Command::new(LOADGEN)
        .current_dir(&here)
        .args(["run", "--json", "--target", "zk", "--servers", &null.1, "--secs", "1", "--warmup", "0"])
        .args(["--keys", "10", "--fault-at", "0.1", "--fault-cmd", &harm, "--results"])
        .arg(&results)
        .output()
        .expect("loadgen runs");
    assert!(
        output.status.code().is_some_and(|code| code != 2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let stored = std::fs::read_to_string(results.join("result.json")).expect("a result");
    assert!(stored.contains("\"command\": \"test -e harm\""), "{stored}");
    assert!(files(&results).iter().all(|path| {
        !String::from_utf8_lossy(&std::fs::read(path).expect("there")).contains(&here.display().to_string())
    }));
}

/// What the scripts keep goes through one filter: commands, servers' words, configurations.
#[test]
fn scripts_name_no_folder_of_the_machine_either() {
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/bench-common");
    let script = ". \"$0\"; scratch=$PWD/target/measure.x data=$scratch/data out=/elsewhere/o bin=/elsewhere/bin HOME=/home/me
        plain <<<\"$bin/quorate dev --data $data; cp $PWD/README.md $out/x $scratch/y; ls $PWD /home/me/z\"";
    let output = Command::new("bash").args(["-c", script]).arg(common).output().expect("bash runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let wanted = "BIN/quorate dev --data DATA; cp README.md OUT/x SCRATCH/y; ls . ~/z\n";
    assert_eq!(told, wanted, "{}", String::from_utf8_lossy(&output.stderr));
}
