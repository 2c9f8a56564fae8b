//! Tables that are committed say what the raw files say.

use std::path::Path;
use std::process::Command;

#[test]
fn committed_tables_are_those_of_the_raw_files() {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["report", "--claims", "--check"])
        .arg(&results)
        .output()
        .expect("loadgen runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
