//! Consul: a watch is a blocking query, which a connection waits for; it learns the index first.

use std::collections::VecDeque;

use super::{Ask, Manner, Said, Talk};
use crate::driver::Malformed;
use crate::driver::consul::{Head, token_header};

#[derive(Clone, Debug)]
enum Kind {
    Plain,
    /// Asks for the index; the blocking query for the same key follows.
    Look(String),
    Wait(String),
}

pub struct Consul {
    value: Vec<u8>,
    token: String,
    greeted: bool,
    asked: VecDeque<(u32, Kind)>,
}

impl Talk for Consul {
    const ONE_SHOT: bool = false;

    fn new(manner: &Manner) -> Consul {
        let token = token_header(&manner.access);
        Consul { value: manner.value.clone(), token, greeted: false, asked: VecDeque::new() }
    }

    fn hello(&mut self, _out: &mut Vec<u8>) {}

    fn ask(&mut self, ask: Ask<'_>, tag: u32, out: &mut Vec<u8>) {
        let kind = match ask {
            Ask::Make { key, .. } | Ask::Put(key) => {
                // To write what is there already changes nothing, and wakes nobody.
                if let Some(first) = self.value.first_mut() {
                    *first ^= 1;
                }
                let length = self.value.len();
                put_request(out, "PUT", key, &format!("{}Content-Length: {length}\r\n", self.token));
                out.extend_from_slice(&self.value);
                Kind::Plain
            }
            Ask::Drop(key) => {
                put_request(out, "DELETE", key, &self.token);
                Kind::Plain
            }
            Ask::Watch(key) => {
                put_request(out, "GET", key, &self.token);
                Kind::Look(key.into())
            }
            Ask::Count(_) | Ask::Bye => return,
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
            let Some((head, length)) = Head::take_whole(&input[taken..])? else { break };
            taken += length;
            let stray = || Malformed("an answer that nobody asked for".into());
            let (tag, kind) = self.asked.pop_front().ok_or_else(stray)?;
            let code = if matches!(head.status, 200 | 404) { 0 } else { i32::from(head.status) };
            match kind {
                Kind::Plain => said.push(Said::Done { tag, code, value: 0 }),
                Kind::Look(key) | Kind::Wait(key) if code != 0 => {
                    return Err(Malformed(format!("status {} to a query of {key}", head.status)));
                }
                Kind::Look(key) => {
                    said.push(Said::Done { tag, code, value: 0 });
                    self.wait(tag, key, head.index, out);
                }
                Kind::Wait(key) => {
                    said.push(Said::Fired);
                    self.wait(tag, key, head.index, out);
                }
            }
        }
        Ok(taken)
    }

    fn beat(&mut self, _out: &mut Vec<u8>) {}
}

impl Consul {
    fn wait(&mut self, tag: u32, key: String, index: u64, out: &mut Vec<u8>) {
        put_request(out, "GET", &format!("{key}?index={index}&wait=10m"), &self.token);
        self.asked.push_back((tag, Kind::Wait(key)));
    }
}

fn put_request(out: &mut Vec<u8>, method: &str, rest: &str, headers: &str) {
    out.extend_from_slice(
        format!("{method} /v1/kv/{rest} HTTP/1.1\r\nHost: loadgen\r\n{headers}\r\n").as_bytes(),
    );
}
