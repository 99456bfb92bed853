//! The PROXY header before a session: who the client really is.
//! **Owns:** reading it in time. **Never:** takes one from whom it isn't demanded (the listener's `trustedCIDRs` say).
//! It is looked at before it is taken, so that not a byte behind it is: those may be TLS.

use std::{io, net::SocketAddr, time::Duration};

use postrider_smtp::proxy_protocol::{self, InvalidProxyHeader, MAX_HEADER_BYTES, ProxyHeader};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// How long a load balancer may take for its header: it sends it with the connection.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often to look for the rest of a header that came in pieces.
const GLANCE: Duration = Duration::from_millis(10);

/// Why a load balancer's connection brings no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoClient {
    /// It was closed before a header came: a health check.
    #[error("closed before a PROXY header came")]
    Closed,
    /// The header didn't come in time.
    #[error("no PROXY header came within 5 s; expected one of every connection from a trusted network")]
    TooSlow,
    /// What came is no header.
    #[error(transparent)]
    Invalid(#[from] InvalidProxyHeader),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// Reads the header and returns the client; `peer` itself where the load balancer speaks for itself.
///
/// # Errors
/// There is no valid header in time: the connection can't be used, for nobody knows whose it is.
pub(super) async fn client(stream: &mut TcpStream, peer: SocketAddr) -> Result<SocketAddr, NoClient> {
    match tokio::time::timeout(DEADLINE, header(stream)).await {
        Ok(header) => Ok(match header? {
            ProxyHeader::Proxied { source, .. } => source,
            ProxyHeader::Local => peer,
        }),
        Err(_) => Err(NoClient::TooSlow),
    }
}

async fn header(stream: &mut TcpStream) -> Result<ProxyHeader, NoClient> {
    let mut seen = vec![0; MAX_HEADER_BYTES + 1];
    let mut seen_last = 0;
    loop {
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Err(NoClient::Closed);
        }
        if let Some((header, length)) = proxy_protocol::parse(&seen[..count])? {
            stream.read_exact(&mut seen[..length]).await?;
            return Ok(header);
        }
        if count == seen_last {
            // What is there already is there at once: only time brings more.
            tokio::time::sleep(GLANCE).await;
        }
        seen_last = count;
    }
}
