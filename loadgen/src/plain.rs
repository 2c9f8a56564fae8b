//! What may be published: texts without the folders of the machine that they were made on. What lies below the folder
//! that loadgen was started in is named from there, what lies at home from `~`.

use std::env;
use std::path::PathBuf;

use serde_json::Value;

/// Folders and what they are called, the deepest first.
pub struct Plain(Vec<(String, &'static str)>);

impl Plain {
    pub fn here() -> Plain {
        let home = env::var_os("HOME").map(PathBuf::from);
        Plain::of([(env::current_dir().ok(), "."), (home, "~"), (Some(env::temp_dir()), "TMP")])
    }

    fn of(folders: impl IntoIterator<Item = (Option<PathBuf>, &'static str)>) -> Plain {
        let named = folders.into_iter().filter_map(|(path, name)| {
            let path = path?.to_str()?.trim_end_matches('/').to_string();
            // The root, and what is not absolute, tells nothing.
            path.starts_with('/').then_some((path, name))
        });
        let mut folders: Vec<_> = named.collect();
        folders.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Plain(folders)
    }

    pub fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_string(), |text, (path, name)| replaced(&text, path, name))
    }

    /// All strings but keys' names: those of ZooKeeper look like paths.
    pub fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(list) => list.iter().map(|one| self.json(one)).collect(),
            Value::Object(object) => {
                let field = |(name, value): (&String, &Value)| {
                    let value = if name == "prefix" { value.clone() } else { self.json(value) };
                    (name.clone(), value)
                };
                Value::Object(object.iter().map(field).collect())
            }
            other => other.clone(),
        }
    }
}

/// Only where the path begins and ends: `/a` is not in `/ab`, nor in `/x/a`.
fn replaced(text: &str, path: &str, name: &str) -> String {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(path) {
        let (before, after) = (&rest[..at], &rest[at + path.len()..]);
        whole.push_str(before);
        let begins = !whole.bytes().next_back().is_some_and(|byte| in_name(byte) || byte == b'/');
        let ends = !after.bytes().next().is_some_and(in_name);
        rest = after;
        match (begins && ends, after.strip_prefix('/')) {
            (false, _) => whole.push_str(path),
            (true, Some(below)) if name == "." => rest = below,
            (true, _) => whole.push_str(name),
        }
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn folders_of_this_machine_are_named_without_telling_where_they_lie() {
        let at = |path: &str| Some(PathBuf::from(path));
        let plain = Plain::of([
            (at("/src/q/target/data"), "DATA"),
            (at("/src/q"), "."),
            (at("/"), "~"),
            (None, "TMP"),
        ]);
        for (text, told) in [
            ("/src/q/target/release/quorate dev restart 1", "target/release/quorate dev restart 1"),
            ("--data /src/q/target/data/node-1; cd /src/q", "--data DATA/node-1; cd ."),
            ("/src/quick /x/src/q /src/q", "/src/quick /x/src/q ."),
            ("file:/src/q/a and '/src/q/b'", "file:a and 'b'"),
        ] {
            assert_eq!(plain.text(text), told);
        }
        let result = json!({ "plan": { "prefix": "/src/q/k", "command": ["/src/q/x"] }, "ops": 1 });
        let told = json!({ "plan": { "prefix": "/src/q/k", "command": ["x"] }, "ops": 1 });
        assert_eq!(plain.json(&result), told);
    }
}
