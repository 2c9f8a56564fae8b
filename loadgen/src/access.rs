//! How clients get in: TLS, and who they say they are. Secrets stay out of what is stored.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::args::Credentials;
use crate::driver::Protocol;

#[derive(Clone, Default)]
pub struct Access {
    pub tls: Option<Tls>,
    /// ZooKeeper's digest, etcd's user.
    pub user: Option<(String, String)>,
    /// Consul's.
    pub token: Option<String>,
}

#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// Without a protocol agreed on in the handshake, for questions about who leads.
    pub plain: Arc<ClientConfig>,
    /// Whom the servers must prove to be; others are called by their addresses.
    names: Vec<(SocketAddr, ServerName<'static>)>,
    name: Option<ServerName<'static>>,
}

impl Access {
    /// `servers`: names as typed, with what they were resolved to.
    pub fn read(
        typed: &Credentials,
        target: Protocol,
        servers: &[(String, SocketAddr)],
    ) -> Result<Access, String> {
        let from_env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let takes_user = matches!(target, Protocol::Zk | Protocol::Etcd);
        let user = typed.user.clone().or_else(|| takes_user.then(|| from_env("LOADGEN_USER")).flatten());
        let token = typed.token.clone();
        let token =
            token.or_else(|| (target == Protocol::Consul).then(|| from_env("LOADGEN_TOKEN")).flatten());
        if user.is_some() && !takes_user {
            return Err(match target {
                Protocol::Consul => "--user is for zk and etcd; Consul takes --token".into(),
                _ => "--user is for zk and etcd; quorate knows native clients by --tls-cert".into(),
            });
        }
        if token.is_some() && target != Protocol::Consul {
            return Err("--token is Consul's; zk and etcd take --user NAME:PASSWORD".into());
        }
        let user = user
            .map(|user| {
                let (name, password) = user.split_once(':').ok_or("--user wants NAME:PASSWORD")?;
                Ok::<_, String>((name.to_string(), password.to_string()))
            })
            .transpose()?;
        let tls = typed.tls_ca.as_ref().map(|ca| Tls::read(ca, typed, target, servers)).transpose()?;
        Ok(Access { tls, user, token })
    }
}

impl Tls {
    fn read(
        ca: &Path,
        typed: &Credentials,
        target: Protocol,
        servers: &[(String, SocketAddr)],
    ) -> Result<Tls, String> {
        let own = typed.tls_cert.as_deref().zip(typed.tls_key.as_deref());
        let plain = quorate::tls::client(ca, own).map_err(|error| error.to_string())?;
        let mut config = ClientConfig::clone(&plain);
        config.alpn_protocols = match target {
            Protocol::Etcd => vec![b"h2".to_vec()],
            Protocol::Consul => vec![b"http/1.1".to_vec()],
            Protocol::Zk | Protocol::Native => Vec::new(),
        };
        let name = |text: &str| {
            ServerName::try_from(text.to_string())
                .map_err(|error| format!("{text} as a name for TLS: {error}"))
        };
        let host = |text: &str| {
            let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
            host.trim_start_matches('[').trim_end_matches(']').to_string()
        };
        let names = servers.iter().map(|(typed, address)| Ok((*address, name(&host(typed))?)));
        Ok(Tls {
            config: Arc::new(config),
            plain,
            names: names.collect::<Result<_, String>>()?,
            name: typed.tls_name.as_deref().map(name).transpose()?,
        })
    }

    pub fn name(&self, server: SocketAddr) -> ServerName<'static> {
        let known = self.names.iter().find(|(address, _)| *address == server).map(|(_, name)| name);
        self.name.as_ref().or(known).cloned().unwrap_or_else(|| ServerName::from(server.ip()))
    }

    pub fn session(&self, server: SocketAddr) -> io::Result<ClientConnection> {
        let mut session =
            ClientConnection::new(self.config.clone(), self.name(server)).map_err(io::Error::other)?;
        session.set_buffer_limit(None); // What may be outstanding bounds it.
        Ok(session)
    }
}

/// Nothing of a secret, not even in a panic's message.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Access {{ tls: {}, user: {} }}",
            self.tls.is_some(),
            self.user.is_some() || self.token.is_some()
        )
    }
}
