//! The four-letter words, in the reference's formats. A connection that begins with one gets text and is closed.
//!
//! All numbers and connections are the node's; `wchc` and `wchp` list the watches of the lane that was asked.

use std::fmt::Write;

use super::Zk;
use super::board::{Board, Mode};

/// What clients and tools take for the server's version: the protocol followed, then our own. The date is there
/// because tools look for one.
pub const VERSION: &str =
    concat!("3.9.5-quorate-", env!("CARGO_PKG_VERSION"), ", built on 2026-02-11 20:15 UTC");

/// Said to whoever asks a node that no leader serves.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

macro_rules! words {
    ($($word:ident $name:literal),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Word {
            $($word,)*
        }

        impl Word {
            pub fn of(bytes: &[u8; 4]) -> Option<Word> {
                $(if bytes == $name.as_bytes() {
                    return Some(Word::$word);
                })*
                None
            }

            pub fn name(self) -> &'static str {
                match self {
                    $(Word::$word => $name,)*
                }
            }
        }
    };
}

words! {
    Ruok "ruok", Srvr "srvr", Stat "stat", Mntr "mntr", Conf "conf", Cons "cons", Crst "crst", Srst "srst",
    Dump "dump", Envi "envi", Wchs "wchs", Wchc "wchc", Wchp "wchp", Isro "isro", Dirs "dirs", Hash "hash",
    Gtmk "gtmk", Stmk "stmk",
}

pub fn refuse(word: Word, out: &mut Vec<u8>) {
    let text = format!("{} is not executed because it is not in the whitelist.\n", word.name());
    out.extend_from_slice(text.as_bytes());
}

/// The text of a word that needs nothing from the realm.
pub fn at_once(word: Word, door: &Zk, serving: bool) -> Option<String> {
    match word {
        Word::Ruok => return Some("imok".into()),
        Word::Isro => return Some(if serving { "rw" } else { "null" }.into()),
        Word::Gtmk => return Some("306".into()),
        Word::Stmk => return Some(String::new()),
        _ if !serving => return Some(format!("{NOT_SERVING}\n")),
        _ => {}
    }
    let mut text = String::new();
    match word {
        Word::Conf => {
            for (key, value) in &door.config.shown {
                let _ = writeln!(text, "{key}={value}");
            }
        }
        Word::Cons => {
            connections(&door.board, true, &mut text);
            text.push('\n');
        }
        Word::Crst => {
            door.board.reset_conns();
            text += "Connection stats reset.\n";
        }
        Word::Srst => {
            door.board.reset();
            text += "Server stats reset.\n";
        }
        Word::Envi => {
            let _ = writeln!(text, "Environment:\nzookeeper.version={VERSION}");
            let _ = writeln!(text, "os.name={}\nos.arch={}", std::env::consts::OS, std::env::consts::ARCH);
        }
        Word::Wchs => {
            let board = &door.board;
            let (connections, paths) =
                (board.sum(|lane| &lane.watching), board.sum(|lane| &lane.watched_paths));
            let _ = writeln!(text, "{connections} connections watching {paths} paths");
            let _ = writeln!(text, "Total watches:{}", board.sum(|lane| &lane.data_watches));
        }
        Word::Wchc => {
            for (seat, paths) in door.watches.by_seat() {
                let _ = writeln!(text, "0x{:x}", door.session_of(seat));
                for path in paths {
                    let _ = writeln!(text, "\t{}", String::from_utf8_lossy(path));
                }
            }
            text.push('\n');
        }
        Word::Wchp => {
            for (path, seats) in door.watches.by_path() {
                let _ = writeln!(text, "{}", String::from_utf8_lossy(path));
                for seat in seats {
                    let _ = writeln!(text, "\t0x{:x}", door.session_of(seat));
                }
            }
            text.push('\n');
        }
        Word::Hash => {}
        _ => return None,
    }
    Some(text)
}

/// The text of a word that asked the realm.
pub fn answer(word: Word, door: &Zk, zxid: u64, body: &[u8], out: &mut Vec<u8>) {
    let fact = |at: usize| {
        body.get(at * 8..at * 8 + 8).map_or(0, |b| u64::from_be_bytes(b.try_into().expect("eight bytes")))
    };
    // The reference counts the root twice.
    let (nodes, ephemerals, bytes, sessions) = (fact(0) + 1, fact(1), fact(2), fact(3));
    let mut text = String::new();
    match word {
        Word::Srvr | Word::Stat => {
            let _ = writeln!(text, "Zookeeper version: {VERSION}");
            if word == Word::Stat {
                text += "Clients:\n";
                connections(&door.board, false, &mut text);
                text.push('\n');
            }
            server(&door.board, zxid, nodes, &mut text);
        }
        Word::Mntr => {
            for (key, value) in monitor(&door.board, [nodes, ephemerals, bytes, sessions], door.now_ms()) {
                let _ = match value.as_str() {
                    Some(word) => writeln!(text, "zk_{key}\t{word}"),
                    None => writeln!(text, "zk_{key}\t{value}"),
                };
            }
        }
        Word::Dirs => {
            let _ = writeln!(text, "datadir_size: {bytes}\nlogdir_size: {bytes}");
        }
        Word::Dump => {
            out.extend_from_slice(body);
            let conns = door.board.conns();
            let _ = writeln!(text, "Connections dump:\nConnections Sets (1)/({}):", conns.len());
            for conn in conns {
                let _ = writeln!(text, "\tip: /{} sessionId: 0x{:x}", conn.from, conn.session.get());
            }
        }
        _ => unreachable!("answered at once"),
    }
    out.extend_from_slice(text.as_bytes());
}

fn connections(board: &Board, all: bool, text: &mut String) {
    let wall_ms = board.wall_ms.get();
    board.conns().iter().for_each(|conn| conn.line(all, wall_ms, text));
}

fn server(board: &Board, zxid: u64, nodes: u64, text: &mut String) {
    let (mean, most) = board.latency_ms();
    let _ = writeln!(text, "Latency min/avg/max: 0/{}/{most}", rounded(mean));
    let _ = writeln!(text, "Received: {}", board.sum(|lane| &lane.received));
    let _ = writeln!(text, "Sent: {}", board.sum(|lane| &lane.sent));
    let _ = writeln!(text, "Connections: {}", board.sum(|lane| &lane.connections));
    let _ = writeln!(text, "Outstanding: {}", board.sum(|lane| &lane.outstanding));
    let _ = writeln!(text, "Zxid: 0x{zxid:x}");
    let _ = writeln!(text, "Mode: {}", board.mode().name());
    let _ = writeln!(text, "Node count: {nodes}");
    if board.mode() == Mode::Leader {
        text.push_str("Proposal sizes last/min/max: -1/-1/-1\n");
    }
}

/// Four digits at most, one at least, as the reference shows means.
pub fn rounded(mean: f64) -> serde_json::Value {
    serde_json::json!((mean * 10_000.0).round() / 10_000.0)
}

/// What `mntr` shows, by the reference's names and mostly in its order. `facts`: nodes, ephemerals, bytes, sessions.
pub fn monitor(board: &Board, facts: [u64; 4], now_ms: u64) -> Vec<(&'static str, serde_json::Value)> {
    let [nodes, ephemerals, bytes, sessions] = facts;
    let (mean, most) = board.latency_ms();
    let mut all: Vec<(&'static str, serde_json::Value)> =
        vec![("version", VERSION.into()), ("server_state", board.mode().name().into())];
    let numbers = [
        ("ephemerals_count", ephemerals),
        ("num_alive_connections", board.sum(|lane| &lane.connections)),
        ("outstanding_requests", board.sum(|lane| &lane.outstanding)),
        ("znode_count", nodes),
        ("global_sessions", sessions),
        ("local_sessions", 0),
        ("packets_sent", board.sum(|lane| &lane.sent)),
        ("packets_received", board.sum(|lane| &lane.received)),
        ("watch_count", board.sum(|lane| &lane.watches)),
        ("auth_failed_count", board.sum(|lane| &lane.auth_failed)),
        ("min_latency", 0),
        ("max_latency", most),
        ("approximate_data_size", bytes),
        ("uptime", now_ms.saturating_sub(board.started_ms.get())),
        ("connection_rejected", board.sum(|lane| &lane.rejected)),
    ];
    all.extend(numbers.map(|(key, value)| (key, value.into())));
    all.insert(4, ("avg_latency", rounded(mean)));
    if board.standing.voters.get() > 1 {
        all.push(("quorum_size", board.standing.voters.get().into()));
    }
    if board.mode() == Mode::Leader {
        let followers = board.standing.followers.get();
        let since = board.standing.leading_since_ms.get();
        all.extend([
            ("learners", followers.into()),
            ("synced_followers", followers.into()),
            ("synced_observers", 0.into()),
            ("pending_syncs", 0.into()),
            ("leader_uptime", now_ms.saturating_sub(since).into()),
        ]);
    }
    all
}
