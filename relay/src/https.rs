//! One exchange with a web server over HTTPS: an MTA-STS policy is fetched, a TLS report is handed over.
//! **Owns:** the way there and its bounds: addresses that may be gone to, time, no redirect. **Never:** what an answer means.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use postrider_core::mx::{Destinations, Unresolved};
use postrider_mail::HostName;
use tokio::net::TcpStream;

use crate::{
    dns::Dns,
    tls::connect::{Connectors, HandshakeError, Trust},
};

/// How long all of it may take.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// How long one address may take to answer.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Bytes of the response's head.
const HEAD_BYTES: usize = 16 * 1024;

/// Asks web servers. Cloning shares.
#[derive(Clone)]
pub struct Https {
    dns: Dns,
    connectors: Connectors,
    port: u16,
}

/// What is asked of a server.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The server.
    pub host: &'a HostName,
    /// Path and query.
    pub path: &'a str,
    /// Whose certificate is believed.
    pub trust: Trust,
    /// What is posted: its type and its bytes. Without, it is a GET.
    pub content: Option<(&'static str, Bytes)>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The path is none.
    #[error("the request: {0}")]
    Request(#[from] hyper::http::Error),
    /// The host can't be found.
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
    /// It took too long.
    #[error("it took more than {} s", DEADLINE.as_secs())]
    TooSlow,
}

impl Https {
    /// Asks at `port`: 443, but in tests.
    pub fn new(dns: Dns, connectors: Connectors, port: u16) -> Self {
        Self { dns, connectors, port }
    }

    /// Asks, and has the response read. `to` is where may be gone to.
    ///
    /// # Errors
    /// There is no response in time, or `read` makes nothing of it.
    pub async fn exchange<T, E, F>(
        &self,
        ask: &Ask<'_>,
        to: &Destinations,
        read: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, E>
    where
        E: From<HttpsError>,
        F: Future<Output = Result<T, E>>,
    {
        let within = async {
            let request = ask.request()?;
            let tcp = self.connect(ask.host, to).await?;
            let tls = self.connectors.handshake(tcp, ask.host, &ask.trust).await;
            let tls = TokioIo::new(tls.map_err(HttpsError::from)?);
            let opened = http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(tls).await;
            let (mut sender, connection) = opened.map_err(HttpsError::from)?;
            let exchange =
                async { read(sender.send_request(request).await.map_err(HttpsError::from)?).await };
            tokio::pin!(exchange);
            tokio::select! {
                biased;
                done = &mut exchange => done,
                // Whatever came before its end can still be read.
                _ = connection => exchange.await,
            }
        };
        tokio::time::timeout(DEADLINE, within).await.map_err(|_| HttpsError::TooSlow)?
    }

    async fn connect(&self, host: &HostName, to: &Destinations) -> Result<TcpStream, HttpsError> {
        let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in self.dns.addresses(host, to).await?.addresses {
            match tokio::time::timeout(CONNECT_MAX, TcpStream::connect((address, self.port))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = std::io::ErrorKind::TimedOut.into(),
            }
        }
        Err(HttpsError::Connect(failure))
    }
}

impl Ask<'_> {
    fn request(&self) -> Result<Request<Full<Bytes>>, HttpsError> {
        let start = Request::builder().uri(self.path).header(header::HOST, self.host.as_str());
        let request = match &self.content {
            None => start.body(Full::default())?,
            Some((type_, bytes)) => start
                .method(hyper::Method::POST)
                .header(header::CONTENT_TYPE, *type_)
                .body(Full::new(bytes.clone()))?,
        };
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_content_it_is_a_post() {
        let host = HostName::parse("reports.example").expect("a name");
        let get = Ask { host: &host, path: "/a?b=c", trust: Trust::Anyone, content: None };
        let request = get.request().expect("a request");
        assert_eq!((request.method(), request.uri().to_string()), (&hyper::Method::GET, "/a?b=c".to_owned()));
        assert!(request.headers().get(header::CONTENT_TYPE).is_none());
        let post = Ask { content: Some(("text/plain", Bytes::from_static(b"x"))), ..get };
        let request = post.request().expect("a request");
        assert_eq!(request.method(), &hyper::Method::POST);
        assert_eq!(request.headers()[header::CONTENT_TYPE], "text/plain");
        assert_eq!(request.headers()[header::HOST], "reports.example");
        assert!(Ask { path: "/a b", ..post }.request().is_err());
    }
}
