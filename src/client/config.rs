//! How a client finds its servers and how long it tries.

use std::time::Duration;

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
    /// Requests without an answer; above it, starting another waits for the oldest.
    pub outstanding: usize,
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
            outstanding: 1024,
        }
    }

    /// Writes are carried out once, whatever happens to connections and leaders, as long as the session lives.
    pub fn exactly_once(mut self, session: Session) -> Config {
        self.session = Some(session);
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Config {
        self.timeout = timeout;
        self
    }
}
