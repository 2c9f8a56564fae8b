//! The four-letter words, in the reference's formats. A connection that begins with one gets text and is closed.
//!
//! `stat` and `cons` list the connections of the lane that was asked; all numbers are the node's.

use std::fmt::Write;

use super::{Zk, board::Mode};

/// What clients and tools take for the server's version: the protocol followed, then our own. The date is there
/// because tools look for one.
pub const VERSION: &str =
    concat!("3.9.5-quorate-", env!("CARGO_PKG_VERSION"), ", built on 2026-02-11 20:15 UTC");

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
        Word::Gtmk | Word::Stmk => return Some("306".into()),
        _ if !serving => return Some("This ZooKeeper instance is not currently serving requests\n".into()),
        _ => {}
    }
    let mut text = String::new();
    match word {
        Word::Conf => {
            for (key, value) in &door.config.shown {
                let _ = writeln!(text, "{key}={value}");
            }
            let (low, high) = door.config.timeout_ms;
            let _ = writeln!(text, "minSessionTimeout={low}\nmaxSessionTimeout={high}");
            let _ = writeln!(text, "maxClientCnxns={}", door.config.per_address_max);
        }
        Word::Cons => {
            connections(door, &mut text);
            text.push('\n');
        }
        Word::Crst => text += "Connection stats reset.\n",
        Word::Srst => {
            door.board.reset();
            text += "Server stats reset.\n";
        }
        Word::Envi => {
            let _ = writeln!(text, "Environment:\nzookeeper.version={VERSION}");
            let _ = writeln!(text, "os.name={}\nos.arch={}", std::env::consts::OS, std::env::consts::ARCH);
        }
        Word::Wchs => {
            let (connections, paths) = door.watches.breadth();
            let _ = writeln!(text, "{connections} connections watching {paths} paths");
            let _ = writeln!(text, "Total watches:{}", door.watches.len());
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
                connections(door, &mut text);
                text.push('\n');
            }
            server(door, zxid, nodes, &mut text);
        }
        Word::Mntr => monitor(door, nodes, ephemerals, bytes, sessions, &mut text),
        Word::Dirs => {
            let _ = writeln!(text, "datadir_size: {bytes}\nlogdir_size: {bytes}");
        }
        Word::Dump => {
            out.extend_from_slice(body);
            let _ = writeln!(text, "Connections dump:");
            connections(door, &mut text);
        }
        _ => unreachable!("answered at once"),
    }
    out.extend_from_slice(text.as_bytes());
}

fn connections(door: &Zk, text: &mut String) {
    for (from, session) in door.peers() {
        let _ = writeln!(text, " /{from}[1](queued=0,recved=0,sent=0,sid=0x{session:x})");
    }
}

fn latency_ms(door: &Zk) -> (f64, f64) {
    let answered = door.board.sum(|lane| &lane.answered).max(1) as f64;
    let sum = door.board.sum(|lane| &lane.latency_us) as f64;
    (sum / answered / 1000.0, door.board.max(|lane| &lane.latency_us_max) as f64 / 1000.0)
}

fn server(door: &Zk, zxid: u64, nodes: u64, text: &mut String) {
    let board = &door.board;
    let (mean, most) = latency_ms(door);
    let _ = writeln!(text, "Latency min/avg/max: 0/{mean:.4}/{}", most.round());
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

fn monitor(door: &Zk, nodes: u64, ephemerals: u64, bytes: u64, sessions: u64, text: &mut String) {
    let board = &door.board;
    let (mean, most) = latency_ms(door);
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "zk_{key}\t{value}");
    };
    line("version", &VERSION);
    line("server_state", &board.mode().name());
    line("ephemerals_count", &ephemerals);
    line("num_alive_connections", &board.sum(|lane| &lane.connections));
    line("avg_latency", &format_args!("{mean:.4}"));
    line("min_latency", &0);
    line("max_latency", &most.round());
    line("outstanding_requests", &board.sum(|lane| &lane.outstanding));
    line("znode_count", &nodes);
    line("watch_count", &board.sum(|lane| &lane.watches));
    line("global_sessions", &sessions);
    line("local_sessions", &0);
    line("packets_received", &board.sum(|lane| &lane.received));
    line("packets_sent", &board.sum(|lane| &lane.sent));
    line("approximate_data_size", &bytes);
    line("connection_rejected", &board.sum(|lane| &lane.rejected));
    line("auth_failed_count", &board.sum(|lane| &lane.auth_failed));
}
