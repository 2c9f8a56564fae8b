//! What the reference's AdminServer shows at `/commands/NAME`, as JSON of the same keys.
//!
//! Everything comes from the board. What is too long to be kept there is asked for first (`lists`), or left to the
//! four-letter words.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Config;
use super::board::{Board, Mode};
use super::lists::{Dump, Paths};
use super::words::{VERSION, monitor, rounded};

/// Every command with its short names.
const COMMANDS: [(&str, &[&str]); 25] = [
    ("configuration", &["conf", "config"]),
    ("connection_stat_reset", &["crst"]),
    ("connections", &["cons"]),
    ("dirs", &[]),
    ("dump", &[]),
    ("environment", &["env", "envi"]),
    ("get_trace_mask", &["gtmk"]),
    ("hash", &[]),
    ("initial_configuration", &["icfg"]),
    ("is_read_only", &["isro"]),
    ("last_snapshot", &["lsnp"]),
    ("leader", &["lead"]),
    ("monitor", &["mntr"]),
    ("observer_connection_stat_reset", &["orst"]),
    ("observers", &["obsr"]),
    ("ruok", &[]),
    ("server_stats", &["srvr"]),
    ("stat_reset", &["srst"]),
    ("stats", &["stat"]),
    ("system_properties", &["sysp"]),
    ("voting_view", &[]),
    ("watch_summary", &["wchs"]),
    ("watches", &["wchc"]),
    ("watches_by_path", &["wchp"]),
    ("zabstate", &[]),
];

/// The list of all pages.
pub fn list() -> String {
    let link = |(name, _): &(&str, &[&str])| format!("<a href=\"/commands/{name}\">{name}</a>\n<br/>\n");
    COMMANDS.iter().map(link).collect()
}

fn command_of(name: &str) -> Option<&'static str> {
    let asked = name.to_ascii_lowercase();
    let known = |(name, short): &&(&'static str, &[&str])| *name == asked || short.contains(&asked.as_str());
    COMMANDS.iter().find(known).map(|(name, _)| *name)
}

/// The page shows lists that are to be asked for.
pub fn needs_lists(name: &str) -> bool {
    matches!(command_of(name), Some("dump" | "watches" | "watches_by_path"))
}

/// The page of a command by any of its names.
pub fn page(name: &str, board: &Board, config: &Config, now_ms: u64) -> Value {
    let Some(command) = command_of(name) else {
        return json!({ "command": name, "error": format!("Unknown command: {name}") });
    };
    let (body, error) = match body(command, board, config, now_ms) {
        Ok(body) => (body, Value::Null),
        Err(why) => (json!({}), why.into()),
    };
    let Value::Object(mut body) = body else { unreachable!("pages are objects") };
    body.insert("command".into(), command.into());
    body.insert("error".into(), error);
    Value::Object(body)
}

fn body(command: &str, board: &Board, config: &Config, now_ms: u64) -> Result<Value, &'static str> {
    let bytes = board.facts.bytes.get();
    Ok(match command {
        "configuration" => configuration(config),
        "connection_stat_reset" => {
            board.reset_conns();
            json!({})
        }
        "connections" => json!({ "connections": connections(board, true), "secure_connections": [] }),
        "dirs" => json!({ "datadir_size": bytes, "logdir_size": bytes }),
        "dump" => dump(board).ok_or(NOT_LISTED)?,
        "watches" => {
            let watched = board.lists.take_watches().ok_or(NOT_LISTED)?;
            json!({ "session_id_to_watched_paths": by_session(watched) })
        }
        "watches_by_path" => {
            let mut paths: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            for (session, own) in board.lists.take_watches().ok_or(NOT_LISTED)? {
                own.into_iter().for_each(|path| paths.entry(path).or_default().push(session as i64));
            }
            json!({ "path_to_session_ids": paths })
        }
        "environment" => json!({
            "zookeeper.version": VERSION,
            "os.name": std::env::consts::OS,
            "os.arch": std::env::consts::ARCH,
        }),
        "get_trace_mask" => json!({ "tracemask": 306 }),
        "hash" => json!({ "digests": [] }),
        "initial_configuration" => {
            let lines = config.shown.iter().map(|(key, value)| format!("{key}={value}\n"));
            json!({ "initial_configuration": lines.collect::<String>() })
        }
        "is_read_only" => json!({ "read_only": false }),
        "leader" if board.mode() == Mode::Standalone => return Err("server is not initialized"),
        "leader" => json!({
            "is_leader": board.mode() == Mode::Leader,
            "leader_id": board.standing.leader.get(),
        }),
        "monitor" => Value::Object(numbers(board, now_ms)),
        "observers" => json!({ "synced_observers": 0, "observers": [] }),
        // There are no observers.
        "ruok" | "observer_connection_stat_reset" => json!({}),
        "server_stats" => stats(board, now_ms),
        "stat_reset" => {
            board.reset();
            json!({})
        }
        "stats" => {
            let mut stats = stats(board, now_ms);
            stats["connections"] = connections(board, false);
            stats["secure_connections"] = json!([]);
            stats
        }
        "system_properties" => json!({ "os.name": std::env::consts::OS, "os.arch": std::env::consts::ARCH }),
        "watch_summary" => json!({
            "num_connections": board.sum(|lane| &lane.watching),
            "num_paths": board.sum(|lane| &lane.watched_paths),
            "num_total_watches": board.sum(|lane| &lane.data_watches),
        }),
        "zabstate" => {
            let votes = board.mode() != Mode::Standalone;
            json!({ "voting": votes, "zabstate": if votes { "broadcast" } else { "" } })
        }
        "voting_view" => return Err("read /zookeeper/config, or ask /status"),
        "last_snapshot" => return Err("ask /status for the snapshot that the log stands on"),
        _ => return Err("not on this page; ask with the four-letter word of this command"),
    })
}

const NOT_LISTED: &str = "a loop of this server did not answer in time; ask again";

/// Ids as the reference writes them.
fn by_session(paths: Paths) -> Map<String, Value> {
    paths.into_iter().map(|(session, own)| ((session as i64).to_string(), own.into())).collect()
}

/// Followers do not know when sessions end.
fn dump(board: &Board) -> Option<Value> {
    let Dump { ends, ephemerals } = board.lists.take_dump()?;
    let mut ids: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    if board.mode() != Mode::Follower {
        ends.into_iter().for_each(|(session, end)| ids.entry(end).or_default().push(session as i64));
    }
    Some(json!({
        "expiry_time_to_session_ids": ids,
        "session_id_to_ephemeral_paths": by_session(ephemerals),
    }))
}

/// What `monitor` and the metrics show.
pub fn numbers(board: &Board, now_ms: u64) -> Map<String, Value> {
    let facts = &board.facts;
    // The reference counts the root twice.
    let facts = [facts.nodes.get() + 1, facts.ephemerals.get(), facts.bytes.get(), facts.sessions.get()];
    monitor(board, facts, now_ms).into_iter().map(|(key, value)| (key.into(), value)).collect()
}

fn configuration(config: &Config) -> Value {
    const KEYS: [(&str, &str); 9] = [
        ("clientPort", "client_port"),
        ("dataDir", "data_dir"),
        ("dataLogDir", "data_log_dir"),
        ("tickTime", "tick_time"),
        ("maxClientCnxns", "max_client_cnxns"),
        ("minSessionTimeout", "min_session_timeout"),
        ("maxSessionTimeout", "max_session_timeout"),
        ("serverId", "server_id"),
        ("clientPortListenBacklog", "client_port_listen_backlog"),
    ];
    let mut shown = Map::new();
    for (key, name) in KEYS {
        if let Some((_, value)) = config.shown.iter().find(|(shown, _)| shown == key) {
            let value = value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number));
            shown.insert(name.into(), value);
        }
    }
    Value::Object(shown)
}

fn connections(board: &Board, all: bool) -> Value {
    let wall_ms = board.wall_ms.get();
    board.conns().iter().map(|conn| conn.json(all, wall_ms)).collect()
}

fn stats(board: &Board, now_ms: u64) -> Value {
    let (mean, most) = board.latency_ms();
    let sizes = json!({ "last_buffer_size": -1, "min_buffer_size": -1, "max_buffer_size": -1 });
    json!({
        "version": VERSION,
        "read_only": false,
        "server_stats": {
            "packets_sent": board.sum(|lane| &lane.sent),
            "packets_received": board.sum(|lane| &lane.received),
            "fsync_threshold_exceed_count": 0,
            "client_response_stats": sizes,
            "provider_null": false,
            "data_dir_size": board.facts.bytes.get(),
            "log_dir_size": board.facts.bytes.get(),
            "last_processed_zxid": board.facts.zxid.get(),
            "outstanding_requests": board.sum(|lane| &lane.outstanding),
            "server_state": board.mode().name(),
            "avg_latency": rounded(mean),
            "max_latency": most,
            "min_latency": 0,
            "num_alive_client_connections": board.sum(|lane| &lane.connections),
            "uptime": now_ms.saturating_sub(board.started_ms.get()),
            "auth_failed_count": board.sum(|lane| &lane.auth_failed),
            "non_mtlsremote_conn_count": 0,
            "non_mtlslocal_conn_count": 0,
        },
        "client_response": sizes,
        "node_count": board.facts.nodes.get() + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys by page, as the reference's server 3.9.5 writes them.
    #[test]
    fn pages_have_the_references_keys() {
        let board = Board::new(2);
        let keys = |name: &str| {
            let page = page(name, &board, &Config::default(), 5);
            let keys: Vec<&str> = page.as_object().unwrap().keys().map(String::as_str).collect();
            keys.join(" ")
        };
        assert_eq!(keys("ruok"), "command error");
        assert_eq!(keys("isro"), "command error read_only");
        assert_eq!(keys("cons"), "command connections error secure_connections");
        assert_eq!(keys("wchs"), "command error num_connections num_paths num_total_watches");
        assert_eq!(keys("srvr"), "client_response command error node_count read_only server_stats version");
        assert_eq!(
            keys("STAT"),
            "client_response command connections error node_count read_only secure_connections server_stats version"
        );
        let asked = board.lists.ask();
        board
            .lists
            .dump
            .fill(asked, || Dump { ends: vec![(7, 40)], ephemerals: vec![(7, vec!["/e".into()])] });
        let watched = [vec![(9, vec!["/a".into()])], vec![(u64::MAX, vec!["/a".into(), "/b".into()])]];
        for (slot, own) in board.lists.watches.iter().zip(&watched) {
            assert!(!board.lists.are_there(asked));
            slot.fill(asked, || own.clone());
        }
        assert!(board.lists.are_there(asked));
        let dump = page("dump", &board, &Config::default(), 5);
        assert_eq!(dump["expiry_time_to_session_ids"], json!({ "40": [7] }));
        assert_eq!(dump["session_id_to_ephemeral_paths"], json!({ "7": ["/e"] }));
        let watches = page("wchc", &board, &Config::default(), 5);
        assert_eq!(watches["session_id_to_watched_paths"], json!({ "9": ["/a"], "-1": ["/a", "/b"] }));
        assert_eq!(page("wchc", &board, &Config::default(), 5)["error"], NOT_LISTED, "given out once");
        let asked = board.lists.ask();
        board.lists.watches.iter().zip(watched).for_each(|(slot, own)| slot.fill(asked, || own));
        let paths = page("watches_by_path", &board, &Config::default(), 5);
        assert_eq!(paths["path_to_session_ids"], json!({ "/a": [9, -1], "/b": [-1] }));
        let unknown = page("nosuch", &board, &Config::default(), 5);
        assert_eq!(unknown["error"], "Unknown command: nosuch");
        assert_eq!(page("lead", &board, &Config::default(), 5)["error"], "server is not initialized");
        assert_eq!(page("mntr", &board, &Config::default(), 5)["server_state"], "standalone");
        for (name, short) in COMMANDS {
            let all = short.iter().chain([&name]);
            all.for_each(|asked| assert_eq!(page(asked, &board, &Config::default(), 0)["command"], name));
            assert!(list().contains(&format!("/commands/{name}\"")));
        }
    }
}
