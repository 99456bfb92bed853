//! Fetches a domain's policy over HTTPS.
//! **Owns:** one GET, its bounds: TLS of a known authority, no redirect, text only, size and time. **Never:** what the file says.
//! RFC 8461 3.3.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, Response, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use postrider_core::{
    mta_sts::{InvalidPolicy, MAX_BYTES, Policy},
    mx::{Destinations, Unresolved},
};
use postrider_mail::{Domain, HostName};
use tokio::net::TcpStream;

use crate::{
    dns::Dns,
    tls::connect::{Connectors, HandshakeError, Trust},
};

/// How long all of it may take: mail waits for it once.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long one address may take to answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Bytes of the response's head.
const HEAD_BYTES: usize = 16 * 1024;

/// Fetches policies. Cloning shares.
#[derive(Clone)]
pub struct Fetcher {
    connectors: Connectors,
    port: u16,
}

/// Why a policy couldn't be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The domain is too long for a host below it.
    #[error("the domain is too long for a host mta-sts below it")]
    Name,
    /// Its host can't be found.
    #[error("{0}")]
    Unresolved(#[from] Unresolved),
    /// No address of it answers.
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    /// Its certificate isn't good, or TLS failed otherwise.
    #[error("TLS: {0}")]
    Handshake(#[from] HandshakeError),
    /// It doesn't speak HTTP.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// The answer isn't a file.
    #[error("found HTTP status {0}; expected 200: redirects are not followed")]
    Status(u16),
    /// The answer is a file of another type.
    #[error("found content type {0:?}; expected text/plain")]
    Type(String),
    /// It broke off, or is too long.
    #[error("the file: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It isn't a policy.
    #[error("the file: {0}")]
    Invalid(#[from] InvalidPolicy),
    /// It took too long.
    #[error("it took more than {} s", DEADLINE.as_secs())]
    TooSlow,
}

impl Fetcher {
    /// Asks at `port`: 443, but in tests.
    pub fn new(connectors: Connectors, port: u16) -> Self {
        Self { connectors, port }
    }

    /// Fetches the policy of a domain.
    ///
    /// # Errors
    /// There is none that could be used.
    pub async fn fetch(&self, dns: &Dns, domain: &Domain, to: &Destinations) -> Result<Policy, FetchError> {
        let file = tokio::time::timeout(DEADLINE, self.file(dns, domain, to));
        Ok(Policy::parse(&file.await.map_err(|_| FetchError::TooSlow)??)?)
    }

    async fn file(&self, dns: &Dns, domain: &Domain, to: &Destinations) -> Result<Vec<u8>, FetchError> {
        let host = HostName::parse(&format!("mta-sts.{}", domain.as_str())).map_err(|_| FetchError::Name)?;
        let tcp = self.connect(&dns.addresses(&host, to).await?.addresses).await?;
        let tls = self.connectors.handshake(tcp, &host, &Trust::Verified).await?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(TokioIo::new(tls)).await?;
        let request = Request::get("/.well-known/mta-sts.txt")
            .header(header::HOST, host.as_str())
            .body(Empty::<bytes::Bytes>::new());
        // A name of a host and fixed words always make a request.
        let request = request.map_err(|_| FetchError::Name)?;
        let exchange = async { read(sender.send_request(request).await?).await };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            file = &mut exchange => file,
            // Whatever came before its end can still be read.
            _ = connection => exchange.await,
        }
    }

    async fn connect(&self, addresses: &[std::net::IpAddr]) -> Result<TcpStream, FetchError> {
        let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match tokio::time::timeout(CONNECT_MAX, TcpStream::connect((*address, self.port))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = std::io::ErrorKind::TimedOut.into(),
            }
        }
        Err(FetchError::Connect(failure))
    }
}

async fn read(response: Response<Incoming>) -> Result<Vec<u8>, FetchError> {
    if response.status() != hyper::StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let type_ =
        response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes).unwrap_or_default();
    let type_ = String::from_utf8_lossy(type_).into_owned();
    if !is_plain_text(&type_) {
        return Err(FetchError::Type(type_.chars().take(80).collect()));
    }
    let body = Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(FetchError::Body)?;
    Ok(body.to_bytes().to_vec())
}

/// `text/plain`, with any parameters (RFC 8461 3.2).
fn is_plain_text(type_: &str) -> bool {
    type_.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/plain"))
}
