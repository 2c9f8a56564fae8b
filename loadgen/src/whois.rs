//! Who answers at an address, when it is not who was expected. Asked once, after a greeting has failed, so that the
//! message can say what to do next.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate::doors::native::wire::{self, Ask, Hello, Say};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::driver::Protocol;
use crate::driver::http2::{PREFACE, frame, put_settings};

const PATIENCE: Duration = Duration::from_millis(700);
const ANSWER_MAX: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Speaks(Protocol),
    Tls,
    Http,
}

/// `why` with what was found out; as it is when that says nothing new.
pub fn explain(why: String, server: SocketAddr, wanted: Protocol, tls: bool) -> String {
    match find(server) {
        Some(Found::Speaks(found)) if tls => {
            format!("{why}; it speaks {} in the clear: leave --tls-ca out", name(found))
        }
        Some(Found::Speaks(found)) if found != wanted => {
            format!("{why}; {} answers there: pass --target {}", name(found), found.key())
        }
        Some(Found::Tls) if !tls => format!("{why}; the port speaks TLS: pass --tls-ca FILE"),
        Some(Found::Http) if !tls => {
            format!("{why}; an HTTP server that is neither etcd nor Consul answers there")
        }
        _ => why,
    }
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Zk => "ZooKeeper's protocol",
        Protocol::Native => "quorate's own protocol",
        Protocol::Etcd => "etcd",
        Protocol::Consul => "Consul",
    }
}

fn find(server: SocketAddr) -> Option<Found> {
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        ask(server, request.as_bytes(), |answer| answer.len() >= ANSWER_MAX)
    };
    let answer = get("/version")?;
    let text = String::from_utf8_lossy(&answer);
    if answer.starts_with(&[0x15, 3]) || text.contains("HTTP request to an HTTPS server") {
        return Some(Found::Tls);
    }
    if text.starts_with("HTTP/1.") {
        if text.contains("etcdserver") {
            return Some(Found::Speaks(Protocol::Etcd));
        }
        let agent = get("/v1/status/leader")?;
        return Some(if agent.starts_with(b"HTTP/1.1 200") {
            Found::Speaks(Protocol::Consul)
        } else {
            Found::Http
        });
    }
    let zk = ask(server, b"srvr", |_| false)?;
    if zk.starts_with(b"Zookeeper version") || zk.starts_with(b"srvr is not executed") {
        return Some(Found::Speaks(Protocol::Zk));
    }
    let mut hello = Vec::new();
    wire::put_frame(&mut hello, Ask::Hello as u8, 0, &Hello::default().encode());
    let native = ask(server, &hello, |answer| answer.len() >= wire::HEAD)?;
    if native.len() >= wire::HEAD && native[5] == Say::Welcome as u8 {
        return Some(Found::Speaks(Protocol::Native));
    }
    let mut hello = PREFACE.to_vec();
    put_settings(&mut hello, &[]);
    let etcd = ask(server, &hello, |answer| answer.len() >= frame::HEAD)?;
    if etcd.len() >= frame::HEAD && etcd[3] == frame::SETTINGS && etcd[5..9] == [0; 4] {
        return Some(Found::Speaks(Protocol::Etcd));
    }
    let tls = ask(server, &client_hello()?, |answer| answer.len() >= 5)?;
    matches!(tls[..], [0x15 | 0x16, 3, ..]).then_some(Found::Tls)
}

/// What a TLS client says first. Its trust in nobody does not show yet.
fn client_hello() -> Option<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from("localhost").ok()?;
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name).ok()?.write_tls(&mut hello).ok()?;
    Some(hello)
}

/// Says something and hears what comes until `enough`, the end or the end of patience. `None`: no connection.
fn ask(server: SocketAddr, request: &[u8], enough: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut answer = Vec::new();
    if stream.write_all(request).is_err() {
        return Some(answer);
    }
    let until = Instant::now() + PATIENCE;
    let mut piece = [0; 4096];
    while Instant::now() < until && !enough(&answer) {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
        }
    }
    Some(answer)
}
