//! How a client finds its servers and how long it tries.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::tls::{self, BadTls};

/// Where the servers are and how patient to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port` of every server's native door. Tried in turn.
    pub servers: Vec<String>,
    /// For one server to take a connection and answer the greeting.
    pub connect_timeout: Duration,
    /// For one request, over all reconnections.
    pub timeout: Duration,
    /// Exactly-once writes, or none.
    pub session: Option<Session>,
    /// For doors in TLS; `None`: in the clear.
    pub tls: Option<Tls>,
    /// Requests without an answer; above it, starting another waits for the oldest.
    pub outstanding: usize,
}

/// Whom to trust, and what to show.
#[derive(Clone, Debug)]
pub struct Tls(pub(super) Arc<rustls::ClientConfig>);

impl Tls {
    /// PEM files: the servers' authorities, and the client's own certificate and key, which servers ask for unless
    /// they were told otherwise.
    pub fn load(ca: &Path, own: Option<(&Path, &Path)>) -> Result<Tls, BadTls> {
        tls::client(ca, own).map(Tls)
    }
}

/// What to ask for when the exactly-once session is opened. The server may grant less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Writes that may be without an answer.
    pub window: u16,
    /// How long the session lives without a connection.
    pub ttl: Duration,
}

impl Default for Session {
    fn default() -> Session {
        Session { window: 256, ttl: Duration::from_secs(30) }
    }
}

impl Config {
    pub fn new<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> Config {
        Config {
            servers: servers.into_iter().map(Into::into).collect(),
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(10),
            session: None,
            tls: None,
            outstanding: 1024,
        }
    }

    /// Writes are carried out once, whatever happens to connections and leaders, as long as the session lives.
    pub fn exactly_once(mut self, session: Session) -> Config {
        self.session = Some(session);
        self
    }

    /// Through TLS: each server must prove that it is the host that it is called.
    pub fn tls(mut self, tls: Tls) -> Config {
        self.tls = Some(tls);
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Config {
        self.timeout = timeout;
        self
    }
}
