//! Consul: a watch is a blocking query, which a connection waits for; it learns the index first. A lock is a key that a
//! session acquires.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{Ask, HELD, Manner, Part, Said, Talk, UNWATCHED};
use crate::driver::Malformed;
use crate::driver::consul::{Head, token_header};
use crate::results::base64;

/// A session's time to live, in seconds: a connection that waits cannot renew it, so it must outlive the run.
const TTL_S: u32 = 600;

#[derive(Clone, Debug)]
enum Kind {
    Plain,
    /// Makes the session that keys are acquired with.
    Session,
    /// The body says whether it was done.
    Truth,
    /// Asks for the index; the blocking query for the same key follows.
    Look {
        key: String,
        once: bool,
    },
    Wait {
        key: String,
        once: bool,
    },
}

pub struct Consul {
    value: Vec<u8>,
    token: String,
    greeted: bool,
    session: String,
    asked: VecDeque<(u32, Kind)>,
}

impl Talk for Consul {
    const ONE_SHOT: bool = false;
    const TELLS_ALL: bool = false;

    fn new(manner: &Manner) -> Consul {
        Consul {
            value: manner.value.clone(),
            token: token_header(&manner.access),
            greeted: false,
            session: String::new(),
            asked: VecDeque::new(),
        }
    }

    fn hello(&mut self, _out: &mut Vec<u8>) {
        self.greeted = false;
        self.asked.clear();
    }

    fn ask(&mut self, ask: Ask<'_>, tag: u32, out: &mut Vec<u8>) {
        let kind = match ask {
            Ask::Open => {
                // Without a delay the lock is free as soon as its session has gone.
                let body = format!(r#"{{"TTL":"{TTL_S}s","Behavior":"delete","LockDelay":"0s"}}"#);
                self.request("PUT", "session/create", Some(body.as_bytes()), out);
                Kind::Session
            }
            Ask::KeepAlive => {
                let path = format!("session/renew/{}", self.session);
                self.request("PUT", &path, Some(b""), out);
                Kind::Plain
            }
            Ask::Make { key, ephemeral: true } | Ask::Acquire(key) => {
                let path = format!("kv/{key}?acquire={}", self.session);
                let value = self.value.clone();
                self.request("PUT", &path, Some(&value), out);
                Kind::Truth
            }
            Ask::Make { key, ephemeral: false } | Ask::Put(key) => {
                // To write what is there already changes nothing, and wakes nobody.
                if let Some(first) = self.value.first_mut() {
                    *first ^= 1;
                }
                let value = self.value.clone();
                self.request("PUT", &format!("kv/{key}"), Some(&value), out);
                Kind::Plain
            }
            Ask::Drop(key) => {
                self.request("DELETE", &format!("kv/{key}"), None, out);
                Kind::Plain
            }
            Ask::Watch(key) | Ask::WatchOnce(key) => {
                self.request("GET", &format!("kv/{key}"), None, out);
                Kind::Look { key: key.into(), once: matches!(ask, Ask::WatchOnce(_)) }
            }
            Ask::WatchBelow { key, once } => {
                let key = format!("{key}/?recurse");
                self.request("GET", &format!("kv/{key}"), None, out);
                Kind::Look { key, once }
            }
            Ask::Get { key, stale, .. } => {
                self.request("GET", &format!("kv/{key}{}", if stale { "?stale" } else { "" }), None, out);
                Kind::Plain
            }
            Ask::List { below, stale, .. } => {
                let path = format!("kv/{below}/?keys{}", if stale { "&stale" } else { "" });
                self.request("GET", &path, None, out);
                Kind::Plain
            }
            Ask::All(parts) => {
                let value = base64(&self.value);
                let one = |part: &Part<'_>| match *part {
                    Part::Get(key) | Part::Page(key, _) => json!({ "KV": { "Verb": "get", "Key": key } }),
                    Part::Make(key) | Part::Put(key) => {
                        json!({ "KV": { "Verb": "set", "Key": key, "Value": value } })
                    }
                };
                let body = Value::from_iter(parts.iter().map(one)).to_string();
                self.request("PUT", "txn", Some(body.as_bytes()), out);
                Kind::Plain
            }
            Ask::Register(name) => {
                let service = json!({ "Service": "load", "ID": name, "Port": 80 });
                let body = json!({ "Node": name, "Address": "10.0.0.1", "Service": service }).to_string();
                self.request("PUT", "catalog/register", Some(body.as_bytes()), out);
                Kind::Plain
            }
            Ask::Deregister(name) => {
                let body = json!({ "Node": name }).to_string();
                self.request("PUT", "catalog/deregister", Some(body.as_bytes()), out);
                Kind::Plain
            }
            // Jobs that need the others are refused for this protocol.
            Ask::Guard { .. } | Ask::Count(_) | Ask::Bye => return,
        };
        self.asked.push_back((tag, kind));
    }

    fn hear(&mut self, input: &[u8], out: &mut Vec<u8>, said: &mut Vec<Said>) -> Result<usize, Malformed> {
        if !self.greeted {
            self.greeted = true;
            said.push(Said::Ready);
        }
        let mut taken = 0;
        while taken < input.len() {
            let Some((head, length, body)) = Head::take_whole(&input[taken..])? else { break };
            taken += length;
            let stray = || Malformed("an answer that nobody asked for".into());
            let (tag, kind) = self.asked.pop_front().ok_or_else(stray)?;
            let mut code = if matches!(head.status, 200 | 404) { 0 } else { i32::from(head.status) };
            match kind {
                Kind::Plain => said.push(Said::Done { tag, code, value: 0 }),
                Kind::Session => {
                    let answer: Option<Value> = serde_json::from_slice(&body).ok();
                    let id = answer.as_ref().and_then(|answer| answer["ID"].as_str());
                    self.session = id.unwrap_or_default().into();
                    if self.session.is_empty() && code == 0 {
                        code = i32::from(head.status);
                    }
                    said.push(Said::Done { tag, code, value: 0 });
                }
                Kind::Truth => {
                    let held = code == 0 && !body.starts_with(b"true");
                    said.push(Said::Done { tag, code: if held { HELD } else { code }, value: 0 });
                }
                Kind::Look { key, .. } | Kind::Wait { key, .. } if code != 0 => {
                    return Err(Malformed(format!("status {} to a query of {key}", head.status)));
                }
                // A query for one key that is not there could wait for ever, and all that is asked next behind it.
                Kind::Look { key, once: true } if head.status == 404 && !key.contains('?') => {
                    said.push(Said::Done { tag, code: UNWATCHED, value: 0 });
                }
                Kind::Look { key, once } => {
                    said.push(Said::Done { tag, code: 0, value: 0 });
                    self.wait(tag, key, once, head.index, out);
                }
                Kind::Wait { once: true, .. } => said.push(Said::Fired),
                Kind::Wait { key, once } => {
                    said.push(Said::Fired);
                    self.wait(tag, key, once, head.index, out);
                }
            }
        }
        Ok(taken)
    }

    fn beat(&mut self, _out: &mut Vec<u8>) {}
}

impl Consul {
    fn wait(&mut self, tag: u32, key: String, once: bool, index: u64, out: &mut Vec<u8>) {
        let more = if key.contains('?') { '&' } else { '?' };
        self.request("GET", &format!("kv/{key}{more}index={index}&wait=10m"), None, out);
        self.asked.push_back((tag, Kind::Wait { key, once }));
    }

    fn request(&self, method: &str, path: &str, body: Option<&[u8]>, out: &mut Vec<u8>) {
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
        let token = &self.token;
        out.extend_from_slice(
            format!("{method} /v1/{path} HTTP/1.1\r\nHost: loadgen\r\n{token}{length}\r\n").as_bytes(),
        );
        out.extend_from_slice(body.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, index: u64, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nX-Consul-Index: {index}\r\nContent-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    #[test]
    fn a_session_acquires_and_a_query_waits_once() {
        let mut consul =
            Consul::new(&Manner { value: b"v".to_vec(), session_ms: 9, access: Default::default() });
        let (mut out, mut said) = (Vec::new(), Vec::new());
        consul.ask(Ask::Open, 1, &mut out);
        consul.hear(&answer("200 OK", 1, r#"{"ID":"abc"}"#), &mut out, &mut said).expect("valid");
        out.clear();
        consul.ask(Ask::Acquire("a/lock"), 2, &mut out);
        assert!(out.starts_with(b"PUT /v1/kv/a/lock?acquire=abc HTTP/1.1\r\n"), "{out:?}");
        consul.ask(Ask::Acquire("a/lock"), 3, &mut out);
        let both = [answer("200 OK", 1, "true"), answer("200 OK", 1, "false\n")].concat();
        consul.hear(&both, &mut out, &mut said).expect("valid");
        consul.ask(Ask::WatchOnce("a/lock"), 4, &mut out);
        out.clear();
        consul.hear(&answer("200 OK", 77, "[]"), &mut out, &mut said).expect("valid");
        assert!(out.starts_with(b"GET /v1/kv/a/lock?index=77&wait=10m "), "{out:?}");
        out.clear();
        consul.hear(&answer("200 OK", 78, "[]"), &mut out, &mut said).expect("valid");
        assert!(out.is_empty(), "it waits no more");
        let done = |tag, code| Said::Done { tag, code, value: 0 };
        let want = [Said::Ready, done(1, 0), done(2, 0), done(3, HELD), done(4, 0), Said::Fired];
        assert_eq!(said, want);
    }

    /// Contenders for a lock that had looked a moment too late waited for a key that nobody would touch again, and their
    /// own next words behind that query.
    #[test]
    fn a_key_that_is_gone_is_not_waited_for() {
        let mut consul =
            Consul::new(&Manner { value: Vec::new(), session_ms: 9, access: Default::default() });
        let (mut out, mut said) = (Vec::new(), Vec::new());
        consul.ask(Ask::WatchOnce("a/lock"), 4, &mut out);
        consul.ask(Ask::WatchBelow { key: "a", once: true }, 5, &mut out);
        out.clear();
        consul.hear(&answer("404 Not Found", 77, ""), &mut out, &mut said).expect("valid");
        assert!(out.is_empty(), "{out:?}");
        consul.hear(&answer("404 Not Found", 77, ""), &mut out, &mut said).expect("valid");
        assert!(out.starts_with(b"GET /v1/kv/a/?recurse&index=77&wait=10m "), "something may come below it");
        let done = |tag, code| Said::Done { tag, code, value: 0 };
        assert_eq!(said, [Said::Ready, done(4, UNWATCHED), done(5, 0)]);
    }
}
