//! `--zoo-cfg`: a ZooKeeper server's configuration, read as ours.
//!
//! Mapped: dataDir (and its myid), clientPort, clientPortAddress, server.N, tickTime, minSessionTimeout,
//! maxSessionTimeout, maxClientCnxns, 4lw.commands.whitelist, jute.maxbuffer, superDigest, extendedTypesEnabled,
//! enforceQuota, admin.serverPort and admin.serverAddress, secureClientPort and secureClientPortAddress, and of ssl.* the
//! stores that are PEM files and clientAuth. Keys that have no counterpart because nothing is to be tuned are passed over;
//! all others are named in a warning.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use crate::base::sum::hash128;
use crate::config::{self, Clients};

/// What becomes of these is the server's own affair here: timing of elections, sizes of its files, purging.
const PASSED_OVER: [&str; 16] = [
    "initLimit",
    "syncLimit",
    "electionAlg",
    "electionPortBindRetry",
    "autopurge.snapRetainCount",
    "autopurge.purgeInterval",
    "snapCount",
    "preAllocSize",
    "commitLogCount",
    "standaloneEnabled",
    "reconfigEnabled",
    "dataLogDir",
    "admin.enableServer",
    "metricsProvider.className",
    "peerType",
    "fsync.warningthresholdms",
];

/// The file's settings as ours, and a line for each key that says nothing here.
pub fn read(file: &Path) -> Result<(config::Args, Vec<String>), String> {
    let at = |why: String| format!("{}: {why}", file.display());
    let text =
        std::fs::read_to_string(file).map_err(|e| at(format!("cannot be read: {e}; check --zoo-cfg")))?;
    let myid = |dir: &Path| std::fs::read_to_string(dir.join("myid")).ok();
    map(&text, myid, resolve).map_err(at)
}

fn resolve(host: &str, port: u16) -> Option<SocketAddr> {
    (host.trim_start_matches('[').trim_end_matches(']'), port).to_socket_addrs().ok()?.next()
}

fn map(
    text: &str,
    myid: impl Fn(&Path) -> Option<String>,
    resolve: impl Fn(&str, u16) -> Option<SocketAddr>,
) -> Result<(config::Args, Vec<String>), String> {
    let mut args = config::Args::default();
    let mut warnings = Vec::new();
    let (mut tick, mut shortest, mut longest) = (3000u32, None, None);
    let (mut client_port, mut client_address) = (None, "0.0.0.0".to_string());
    let (mut admin_port, mut admin_address) = (None, "0.0.0.0".to_string());
    let (mut secure_port, mut secure_address) = (None, "0.0.0.0".to_string());
    let mut servers = Vec::new();
    for (key, value) in text.lines().filter_map(pair) {
        // Java's properties may stand in the file by either name.
        let key = key.strip_prefix("zookeeper.").unwrap_or(key);
        let number = || value.parse::<u32>().map_err(|_| format!("{key}: {value:?} is no number"));
        match key {
            "dataDir" => args.data = Some(PathBuf::from(value)),
            "clientPort" => client_port = Some(number()? as u16),
            "clientPortAddress" => client_address = value.to_string(),
            "tickTime" => tick = number()?,
            "minSessionTimeout" => shortest = value.parse().ok(),
            "maxSessionTimeout" => longest = value.parse().ok(),
            "maxClientCnxns" => args.zk_per_address = Some(number()?),
            "4lw.commands.whitelist" => {
                args.zk_words = Some(value.split(',').map(|word| word.trim().to_string()).collect());
            }
            // Off by default there.
            "extendedTypesEnabled" => args.zk_ttl_nodes = Some(value == "true"),
            "enforceQuota" => args.zk_enforce_quota = Some(value == "true"),
            "jute.maxbuffer" => args.zk_frame = Some(number()?.clamp(1024, crate::doors::zk::FRAME_LIMIT)),
            "DigestAuthenticationProvider.superDigest" => args.zk_super = Some(value.to_string()),
            "secureClientPort" => secure_port = Some(number()? as u16),
            "secureClientPortAddress" => secure_address = value.to_string(),
            "ssl.keyStore.location" | "ssl.trustStore.location" if !value.ends_with(".pem") => {
                warnings.push(format!(
                    "{key}: only PEM files are read here; convert {value}, or pass --tls-cert, --tls-key and --tls-ca"
                ));
            }
            // One file with the key and its certificates.
            "ssl.keyStore.location" => {
                (args.tls_cert, args.tls_key) = (Some(value.into()), Some(value.into()));
            }
            "ssl.trustStore.location" => args.tls_ca = Some(value.into()),
            "ssl.clientAuth" => {
                let must = value.eq_ignore_ascii_case("need");
                args.tls_clients = Some(if must { Clients::Required } else { Clients::Optional });
            }
            "ssl.keyStore.type" | "ssl.trustStore.type" if value.eq_ignore_ascii_case("pem") => {}
            "admin.serverPort" => admin_port = Some(number()? as u16),
            "admin.serverAddress" => admin_address = value.to_string(),
            _ if key.starts_with("server.") => servers.push((key, value)),
            "forceSync" if value == "no" => {
                warnings.push("forceSync=no: writes are always synced here".to_string());
            }
            "forceSync" => {}
            _ if PASSED_OVER.contains(&key) => {}
            _ => warnings.push(format!("{key}: not known here, it has no effect")),
        }
    }
    args.zk_timeout_ms = Some(vec![shortest.unwrap_or(2 * tick), longest.unwrap_or(20 * tick)]);
    let mut members = Vec::new();
    for (key, value) in &servers {
        let (id, peer, client) = server(key, value)?;
        let (host, port) = peer;
        let address = resolve(&host, port)
            .ok_or_else(|| format!("{key}: {host} has no address; name one that resolves on this host"))?;
        members.push((id, address, client));
    }
    if let Some(dir) = &args.data {
        if let Some(id) = myid(dir) {
            let id =
                id.trim().parse().map_err(|_| format!("{}/myid holds no id from 1 to 255", dir.display()))?;
            args.node = Some(id);
        }
        // Beside what ZooKeeper keeps there, not in it.
        args.data = Some(dir.join("quorate"));
    }
    if members.len() > 1 {
        let own = members.iter().find(|(id, ..)| Some(*id) == args.node);
        let (_, _, client) = own.ok_or("server.N lines, but no myid in dataDir that is one of them")?;
        if let (None, Some((host, port))) = (client_port, client) {
            (client_port, client_address) = (Some(*port), host.clone());
        }
        members.sort_by_key(|(id, ..)| *id);
        let named: Vec<String> = members.iter().map(|(id, at, _)| format!("{id}={at}")).collect();
        // Every node of the ensemble comes to the same name by itself.
        args.cluster = Some(format!("{:032x}", hash128(named.join(",").as_bytes())));
        args.members = Some(named);
    }
    if let Some(port) = client_port {
        let at =
            resolve(&client_address, port).ok_or_else(|| format!("clientPortAddress: {client_address}"))?;
        args.zk = Some(config::Listen::At(at));
    }
    if let Some(port) = secure_port {
        let at = resolve(&secure_address, port)
            .ok_or_else(|| format!("secureClientPortAddress: {secure_address}"))?;
        args.zk_tls = Some(at);
    }
    if let Some(port) = admin_port {
        let at =
            resolve(&admin_address, port).ok_or_else(|| format!("admin.serverAddress: {admin_address}"))?;
        args.admin = Some(at);
    }
    Ok((args, warnings))
}

/// A line of a properties file; comments and blank lines are none.
fn pair(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with(['#', '!']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    Some((key.trim(), value.trim()))
}

type Place = (String, u16);

/// `server.ID=HOST:QUORUM:ELECTION[:ROLE][;[CLIENT_HOST:]CLIENT_PORT]`, of several addresses the first.
fn server(key: &str, value: &str) -> Result<(u8, Place, Option<Place>), String> {
    let bad = |what: &str| format!("{key}={value}: {what}");
    let id = key["server.".len()..].parse().map_err(|_| bad("ids go from 1 to 255"))?;
    let (peer, client) = match value.split_once(';') {
        Some((peer, client)) => (peer, Some(client)),
        None => (value, None),
    };
    let first = peer.split('|').next().unwrap_or_default();
    let (host, rest) = match first.strip_prefix('[').and_then(|v6| v6.split_once("]:")) {
        Some((host, rest)) => (host, rest),
        None => first.split_once(':').ok_or_else(|| bad("HOST:PORT:PORT is needed"))?,
    };
    let mut parts = rest.split(':');
    let port =
        parts.next().and_then(|port| port.parse().ok()).ok_or_else(|| bad("its first port is no number"))?;
    if parts.nth(1) == Some("observer") {
        return Err(bad("observers are not supported yet; leave the line out"));
    }
    let client = client
        .map(|text| {
            let (host, port) = text.rsplit_once(':').unwrap_or(("0.0.0.0", text));
            port.parse().map(|port| (host.to_string(), port)).map_err(|_| bad("its client port is no number"))
        })
        .transpose()?;
    Ok((id, (host.to_string(), port), client))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(text: &str, id: &str) -> Result<(config::Args, Vec<String>), String> {
        let resolve = |host: &str, port| match host {
            "zk1" => Some(SocketAddr::from(([10, 0, 0, 1], port))),
            "zk2" => Some(SocketAddr::from(([10, 0, 0, 2], port))),
            _ => host.parse().ok().map(|ip| SocketAddr::new(ip, port)),
        };
        map(text, |_| Some(id.to_string()), resolve)
    }

    #[test]
    fn an_ensembles_configuration_is_read() {
        let text = "# two servers\ntickTime=2000\ndataDir=/var/zk\nclientPort=2181\nclientPortAddress=127.0.0.1\n\
            initLimit=10\nmaxClientCnxns = 0\n4lw.commands.whitelist=srvr, mntr\nserver.1=zk1:2888:3888\n\
            server.2=zk2:2888:3888:participant;2181\nsnapshot.trust.empty=true\nforceSync=no\n";
        let (args, warnings) = mapped(text, "2\n").unwrap();
        assert_eq!(args.node, Some(2));
        assert_eq!(args.data, Some(PathBuf::from("/var/zk/quorate")));
        assert_eq!(args.zk, Some("127.0.0.1:2181".parse().unwrap()));
        assert_eq!(args.members, Some(vec!["1=10.0.0.1:2888".into(), "2=10.0.0.2:2888".into()]));
        assert_eq!(args.zk_timeout_ms, Some(vec![4000, 40_000]));
        assert_eq!((args.zk_per_address, args.zk_words), (Some(0), Some(vec!["srvr".into(), "mntr".into()])));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        let (other, _) = mapped(text, "1").unwrap();
        assert_eq!(other.cluster, args.cluster, "every node finds the same name");
    }

    #[test]
    fn the_secure_port_is_the_door_in_tls() {
        let text = "dataDir=/d\nsecureClientPort=2281\nsecureClientPortAddress=127.0.0.1\nssl.clientAuth=want\n\
            zookeeper.ssl.keyStore.location=/k.pem\nssl.keyStore.type=PEM\nssl.trustStore.location=/ca.pem\n";
        let (args, warnings) = mapped(text, "1").unwrap();
        assert_eq!(args.zk_tls, Some("127.0.0.1:2281".parse().unwrap()));
        let [cert, key, ca] = [&args.tls_cert, &args.tls_key, &args.tls_ca].map(|file| file.clone().unwrap());
        assert_eq!([cert, key, ca], ["/k.pem", "/k.pem", "/ca.pem"].map(PathBuf::from));
        assert_eq!((args.tls_clients, warnings), (Some(Clients::Optional), vec![]));
        // Without keys it does not start: what was to be secret is not served in the clear, or not at all, unnoticed.
        let (args, warnings) = mapped("secureClientPort=1\nssl.keyStore.location=/k.jks", "1").unwrap();
        assert!(warnings[0].contains("--tls-cert"), "{warnings:?}");
        assert!(args.plan(1).unwrap_err().to_string().contains("tls-cert"));
    }

    #[test]
    fn the_client_port_may_stand_in_the_server_line() {
        let text = "dataDir=/d\nserver.1=zk1:2888:3888;10.0.0.1:2181\nserver.2=zk2:2888:3888;2182\n";
        assert_eq!(mapped(text, "1").unwrap().0.zk, Some("10.0.0.1:2181".parse().unwrap()));
        assert_eq!(mapped(text, "2").unwrap().0.zk, Some("0.0.0.0:2182".parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (text, id, word) in [
            ("clientPort=x", "1", "clientPort"),
            ("dataDir=/d\nserver.1=zk1:1:2\nserver.2=nowhere:1:2", "1", "nowhere"),
            ("dataDir=/d\nserver.1=zk1:1:2\nserver.2=zk2:1:2", "3", "myid"),
            ("dataDir=/d", "x", "myid"),
            ("server.2=zk2:1:2:observer", "1", "observer"),
        ] {
            let why = mapped(text, id).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }
}
