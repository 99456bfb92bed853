//! The part of a URL that is alike for all servers behind it: who logs in, into which database, and whether by TLS.
//! **Owns:** [`Access`], [`HostPort`], the settings of sockets. **Never:** connects, or shows a password.

use std::{fmt, time::Duration};

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisResult, TlsCertificates, io::tcp::TcpSettings};

/// How long the kernel tries to get bytes acknowledged before it gives the connection up.
pub(super) const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// How to log in, wherever that is.
pub(super) struct Access {
    info: ConnectionInfo,
    ca: Option<Box<[u8]>>,
}

/// Where a process listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort {
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

impl Access {
    /// As a URL says it.
    pub(super) fn new(info: ConnectionInfo, ca: Option<&[u8]>) -> Self {
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(USER_TIMEOUT);
        Self { info: info.set_tcp_settings(tcp), ca: ca.map(Into::into) }
    }

    /// What connects to the host that the URL had.
    pub(super) fn client(&self) -> RedisResult<Client> {
        self.client_of(self.info.clone())
    }

    /// What connects to another host.
    pub(super) fn client_at(&self, at: &HostPort) -> RedisResult<Client> {
        let (host, port) = (at.host.to_string(), at.port);
        let addr = match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.client_of(self.info.clone().set_addr(addr))
    }

    /// Whether by TLS, and into which database.
    pub(super) fn place(&self) -> (bool, i64) {
        let is_tls = matches!(self.info.addr(), ConnectionAddr::TcpTls { .. });
        (is_tls, self.info.redis_settings().db())
    }

    fn client_of(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match &self.ca {
            None => Client::open(info),
            Some(ca) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) };
                Client::build_with_tls(info, certificates)
            }
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}
