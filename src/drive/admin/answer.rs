//! Requests and replies of the admin door, without sockets.

use serde_json::json;

use crate::base::NodeId;
use crate::drive::admin::members;
use crate::observe::Text;
use crate::pipeline::parcel::{Answer, Ask, Status};
use crate::replica::Step;

/// Commit may be this far ahead of a node that calls itself ready.
const READY_LAG: u64 = 100;

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub keep: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub kind: &'static str,
    pub body: String,
}

impl Reply {
    pub fn text(code: u16, body: impl Into<String>) -> Reply {
        Reply { code, kind: "text/plain; version=0.0.4", body: body.into() }
    }

    pub fn json(code: u16, value: serde_json::Value) -> Reply {
        Reply { code, kind: "application/json", body: format!("{value}\n") }
    }

    pub fn error(code: u16, why: impl Into<String>) -> Reply {
        Reply::json(code, json!({ "error": why.into() }))
    }

    pub fn encode(&self, keep: bool) -> Vec<u8> {
        let reason = match self.code {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            409 => "Conflict",
            413 => "Content Too Large",
            _ => "Service Unavailable",
        };
        let (code, kind, len) = (self.code, self.kind, self.body.len());
        let connection = if keep { "keep-alive" } else { "close" };
        format!(
            "HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\
             Connection: {connection}\r\n\r\n{}",
            self.body
        )
        .into_bytes()
    }
}

/// In front of a file of so many bytes, after which the connection ends.
pub fn file_head(length: u64) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    )
}

/// The first request in `input` and its length, body included; `None`: more bytes are needed.
pub fn parse(input: &[u8], max: usize) -> Result<Option<(Request, usize)>, Reply> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let len = match head.parse(input) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if input.len() < max => return Ok(None),
        Ok(httparse::Status::Partial) => {
            return Err(Reply::error(413, format!("at most {max} bytes are read")));
        }
        Err(e) => return Err(Reply::error(400, format!("not HTTP/1.1: {e}"))),
    };
    let value = |name: &str| {
        let found = head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        found.map(|h| String::from_utf8_lossy(h.value).trim().to_owned())
    };
    if value("transfer-encoding").is_some() {
        return Err(Reply::error(400, "no request here has a chunked body"));
    }
    let body = match value("content-length").map(|v| v.parse::<usize>()) {
        None => 0,
        Some(Ok(body)) if body <= max => body,
        Some(_) => return Err(Reply::error(413, format!("at most {max} bytes are read"))),
    };
    if input.len() < len + body {
        return Ok(None);
    }
    let target = head.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let wish = value("connection").unwrap_or_default().to_ascii_lowercase();
    let keep = if head.version == Some(1) { wish != "close" } else { wish == "keep-alive" };
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        keep,
    };
    Ok(Some((request, len + body)))
}

#[derive(Debug)]
pub enum Route {
    Healthz,
    Readyz,
    Metrics,
    Status,
    /// The newest snapshot's file.
    Download,
    /// A change that an operator wants.
    Order(Ask),
    Wrong(Reply),
}

pub fn route(request: &Request) -> Route {
    let read = request.method == "GET";
    let field = |name: &str| {
        let pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    };
    let wrong = |code, why: &str| Route::Wrong(Reply::error(code, why));
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    match (parts.as_slice(), request.method.as_str()) {
        (["healthz"], _) if read => Route::Healthz,
        (["readyz"], _) if read => Route::Readyz,
        (["metrics"], _) if read => Route::Metrics,
        (["status"], _) if read => Route::Status,
        (["snapshot"], _) if read => Route::Download,
        (["snapshot"], "POST") => Route::Order(Ask::Snapshot),
        (["transfer"], "POST") => match field("to").map(str::parse) {
            None => Route::Order(Ask::Transfer(None)),
            Some(Ok(id @ 1..)) => Route::Order(Ask::Transfer(Some(NodeId(id)))),
            Some(_) => wrong(400, "to: a node's id, 1 to 255"),
        },
        (["member"], "POST") => members::plan(&request.query)
            .map_or_else(|why| wrong(400, &why), |steps| Route::Order(Ask::Members(steps))),
        (["member", id], "POST") => members::change(id, field)
            .map_or_else(|why| wrong(400, &why), |steps| Route::Order(Ask::Members(steps))),
        (["member", id], "DELETE") => match members::id(id) {
            Ok(id) => Route::Order(Ask::Members(vec![Step::Remove { id }])),
            Err(why) => wrong(400, &why),
        },
        (["plan"], "DELETE") => Route::Order(Ask::Members(Vec::new())),
        (
            ["healthz" | "readyz" | "metrics" | "status" | "snapshot" | "transfer" | "member" | "plan"]
            | ["member", _],
            _,
        ) => wrong(405, "this path takes another method"),
        _ => wrong(
            404,
            "here are /metrics, /healthz, /readyz, /status, /snapshot, /transfer, /member, /member/ID and /plan",
        ),
    }
}

pub fn readyz(status: Result<Status, String>) -> Reply {
    let status = match status {
        Ok(status) => status,
        Err(why) => return Reply::text(503, why + "\n"),
    };
    let lag = status.decided.max(status.commit).0.saturating_sub(status.applied.0);
    match (&status.halted, status.leader) {
        (Some(why), _) => Reply::text(503, format!("halted: {why}\n")),
        (None, None) => Reply::text(503, status.impasse.unwrap_or("no leader".into()) + "\n"),
        // ZooKeeper's door turns clients away.
        (None, Some(leader)) if !status.serving => {
            Reply::text(503, format!("node {leader} leads, but no quorum has confirmed it yet\n"))
        }
        (None, Some(_)) if !status.founded => {
            Reply::text(503, "the founding members are being entered in the log, which takes all of them\n")
        }
        (None, Some(_)) if lag > READY_LAG => Reply::text(503, format!("catching up, {lag} batches to go\n")),
        (None, Some(leader)) => Reply::text(200, format!("ready, node {leader} leads\n")),
    }
}

pub fn status(status: Result<Status, String>) -> Reply {
    let s = match status {
        Ok(status) => status,
        Err(why) => return Reply::error(503, why),
    };
    let members: Vec<_> = s.config.members().iter().map(members::shown).collect();
    let plan: Vec<_> = s.config.plan.steps.iter().map(members::planned).collect();
    let value = json!({
        "node": s.node.0,
        "cluster": s.cluster.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "leader": s.leader.map(|id| id.0),
        "epoch": s.epoch.0,
        "commit": s.commit.0,
        "applied": s.applied.0,
        "lag": s.decided.max(s.commit).0.saturating_sub(s.applied.0),
        "durable": s.durable.0,
        "last": s.last.0,
        "base": s.base.0,
        "snapshot": s.snapshot.0,
        "incarnation": s.incarnation.to_string(),
        "life": s.life.0,
        "unknown": s.unknown,
        "impasse": s.impasse,
        "halted": s.halted,
        "members": members,
        "plan": plan,
    });
    Reply::json(200, value)
}

pub fn done(answer: Result<Answer, String>) -> Reply {
    match answer {
        Ok(Answer::Done) => Reply::json(200, json!({ "done": true })),
        Ok(Answer::At(index)) => Reply::json(200, json!({ "done": true, "index": index.0 })),
        Ok(Answer::Refused(why)) => Reply::error(409, why),
        Ok(Answer::Status(_)) => Reply::error(503, "the node answered another question"),
        Err(why) => Reply::error(503, why),
    }
}

/// The node's own state as metrics.
pub fn gauges(text: &mut Text, s: &Status) {
    let leads = u64::from(s.leader == Some(s.node));
    for (name, help, value) in [
        ("leader", "The leader's id, 0 without one.", s.leader.map_or(0, |id| u64::from(id.0))),
        ("leads", "1 on the leader.", leads),
        ("epoch", "The reign in force.", s.epoch.0),
        ("commit_index", "The last batch known to be committed.", s.commit.0),
        ("applied_index", "The last batch applied.", s.applied.0),
        ("durable_index", "The last batch on this node's disk.", s.durable.0),
        ("last_index", "The last batch of this node's log.", s.last.0),
        ("base_index", "The snapshot that the log stands on.", s.base.0),
        ("unknown_slots", "Batches of the log that wait for an intact copy.", s.unknown),
        ("halted", "1 if this node has stopped for good.", u64::from(s.halted.is_some())),
        ("life", "How often the data directory has been opened.", s.life.0),
        ("elections", "Elections that this node began.", s.counts.elections),
        ("repairs", "Damaged batches that were repaired from peers.", s.counts.repairs),
        ("installs", "Snapshots taken over from peers.", s.counts.installs),
        ("resends", "Batches sent again to a peer.", s.counts.resends),
        (
            "strangers",
            "Answers of disks that no configuration names; they count for nothing.",
            s.counts.strangers,
        ),
    ] {
        text.gauge(name, help, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Index;

    fn asked(text: &str) -> Request {
        parse(text.as_bytes(), 1000).unwrap().unwrap().0
    }

    #[test]
    fn requests_are_parsed_whole_or_not_yet() {
        let text = "POST /transfer?to=2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET";
        for end in 0..text.len() - 3 {
            assert_eq!(parse(&text.as_bytes()[..end], 1000).unwrap(), None, "{end}");
        }
        let (request, len) = parse(text.as_bytes(), 1000).unwrap().unwrap();
        assert_eq!(
            (request.path.as_str(), request.query.as_str(), request.keep),
            ("/transfer", "to=2", true)
        );
        assert_eq!(&text[len..], "GET");
        assert!(!asked("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").keep);
        assert!(!asked("GET / HTTP/1.0\r\n\r\n").keep);
        assert_eq!(parse(b"\x00\x01", 1000).unwrap_err().code, 400);
        assert_eq!(parse(&[b'a'; 1001], 1000).unwrap_err().code, 413);
        assert_eq!(parse(b"GET / HTTP/1.1\r\nContent-Length: 9999\r\n\r\n", 1000).unwrap_err().code, 413);
    }

    #[test]
    fn paths_lead_to_questions() {
        let shown = |line: &str| match route(&asked(&format!("{line} HTTP/1.1\r\n\r\n"))) {
            Route::Wrong(reply) => reply.code.to_string(),
            other => format!("{other:?}"),
        };
        for (line, wanted) in [
            ("GET /healthz", "Healthz"),
            ("GET /readyz", "Readyz"),
            ("HEAD /readyz", "405"),
            ("GET /metrics?x=1", "Metrics"),
            ("GET /status/", "Status"),
            ("POST /snapshot", "Order(Snapshot)"),
            ("POST /transfer", "Order(Transfer(None))"),
            ("POST /transfer?to=3", "Order(Transfer(Some(NodeId(3))))"),
            ("POST /transfer?to=0", "400"),
            ("DELETE /member/4", "Order(Members([Remove { id: NodeId(4) }]))"),
            (
                "POST /member/4?role=learner&address=127.0.0.1:7403&incarnation=00000000000000ff",
                "Order(Members([Learner { id: NodeId(4), incarnation: 00000000000000ff, address: \"127.0.0.1:7403\" }]))",
            ),
            ("POST /member/4?role=voter", "Order(Members([Voter { id: NodeId(4) }]))"),
            (
                "POST /member?add=4=127.0.0.1:7403&remove=1",
                "Order(Members([Learner { id: NodeId(4), incarnation: 0000000000000000, address: \"127.0.0.1:7403\" }, \
                 Voter { id: NodeId(4) }, Remove { id: NodeId(1) }]))",
            ),
            ("DELETE /plan", "Order(Members([]))"),
            ("POST /member", "400"),
            ("POST /member?add=4", "400"),
            ("POST /member/4", "400"),
            ("POST /member/4?address=127.0.0.1:7403&incarnation=x", "400"),
            ("POST /member/x?address=127.0.0.1:1", "400"),
            ("GET /snapshot", "Download"),
            ("DELETE /snapshot", "405"),
            ("POST /status", "405"),
            ("GET /", "404"),
        ] {
            assert_eq!(shown(line), wanted, "{line}");
        }
    }

    #[test]
    fn ready_means_led_and_caught_up() {
        let led = Status {
            leader: Some(NodeId(2)),
            serving: true,
            founded: true,
            commit: Index(20_000),
            applied: Index(19_950),
            ..Status::default()
        };
        assert_eq!(readyz(Ok(led.clone())).code, 200);
        assert_eq!(readyz(Ok(Status { applied: Index(5), ..led.clone() })).code, 503);
        assert_eq!(readyz(Ok(Status { decided: Index(99_999), ..led.clone() })).code, 503);
        assert_eq!(readyz(Ok(Status { leader: None, ..led.clone() })).code, 503);
        let stuck = Status { leader: None, impasse: Some("nobody can lead: why".into()), ..led.clone() };
        assert!(readyz(Ok(stuck.clone())).body.contains("nobody can lead"));
        assert!(status(Ok(stuck)).body.contains("nobody can lead"));
        // Elected, but its disk has not taken a batch yet: a cluster on a slow one was called ready, and hung up.
        assert_eq!(readyz(Ok(Status { serving: false, ..led.clone() })).code, 503);
        // A founder that died now would hold up all the others until it is back.
        assert_eq!(readyz(Ok(Status { founded: false, ..led.clone() })).code, 503);
        assert_eq!(readyz(Ok(Status { halted: Some("disk".into()), ..led.clone() })).code, 503);
        assert_eq!(readyz(Err("gone".into())).code, 503);
        let body = status(Ok(led)).body;
        assert!(body.contains("\"lag\":50") && body.contains("\"leader\":2"), "{body}");
    }
}
