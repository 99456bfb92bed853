//! A client that says exactly what a test tells it, byte by byte.
//! **Owns:** sending and reading replies. **Never:** the manners of a real client (that is [`crate::source`]).

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// How long a reply may take.
const REPLY_WITHIN: Duration = Duration::from_secs(60);
/// The longest reply that is read.
const MAX_REPLY_BYTES: usize = 1 << 20;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    certificate: Option<CertificateDer<'static>>,
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// Its lines as they came, with code, without line ends.
    pub text: String,
}

impl Reply {
    /// The queue ID at the end of the reply to a dot.
    pub fn queue_id(&self) -> String {
        let last = self.text.split_whitespace().last().unwrap_or_default();
        last.trim_end_matches([')', '.']).to_owned()
    }
}

impl Client {
    /// Connects, and reads nothing yet.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = tokio::time::timeout(Duration::from_secs(10), TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Box::new(stream), input: Vec::new(), certificate: None })
    }

    /// Connects from an address of 127/8, as relays count sessions by client.
    pub async fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source.into(), 0))?;
        let stream = tokio::time::timeout(Duration::from_secs(10), socket.connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Box::new(stream), input: Vec::new(), certificate: None })
    }

    /// Connects, reads the banner, says EHLO.
    pub async fn greeted(address: SocketAddr) -> Result<Self> {
        Self::connect(address).await?.greet().await
    }

    /// Reads the banner, says EHLO.
    pub async fn greet(mut self) -> Result<Self> {
        self.expect(220).await?;
        self.say("EHLO client.example", 250).await?;
        Ok(self)
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await.context("flushing")
    }

    /// Sends a line and expects a code.
    pub async fn say(&mut self, line: &str, code: u16) -> Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.expect(code).await.with_context(|| format!("after {:?}", line.get(..80).unwrap_or(line)))
    }

    /// Sends a line and reads what comes.
    pub async fn ask(&mut self, line: &str) -> Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Sends one whole message; the reply to the dot.
    pub async fn message(&mut self, from: &str, to: &[&str], text: &str) -> Result<Reply> {
        self.say(&format!("MAIL FROM:<{from}>"), 250).await?;
        for to in to {
            self.say(&format!("RCPT TO:<{to}>"), 250).await?;
        }
        self.say("DATA", 354).await?;
        self.send(text.as_bytes()).await?;
        self.send(b"\r\n.\r\n").await?;
        self.reply().await
    }

    /// Reads a reply that must have this code.
    pub async fn expect(&mut self, code: u16) -> Result<Reply> {
        let reply = self.reply().await?;
        ensure!(reply.code == code, "expected {code}, found {:?}", reply.text);
        Ok(reply)
    }

    /// Reads a reply.
    pub async fn reply(&mut self) -> Result<Reply> {
        tokio::time::timeout(REPLY_WITHIN, self.read_reply()).await.context("no reply in time")?
    }

    /// Whether the other side ends the connection within a time; what it still says is dropped.
    pub async fn is_closed_within(&mut self, within: Duration) -> bool {
        let mut buffer = [0; 4096];
        let end = async {
            while let Ok(read) = self.stream.read(&mut buffer).await {
                if read == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(within, end).await.is_ok()
    }

    /// STARTTLS; any certificate will do.
    pub async fn start_tls(mut self) -> Result<Self> {
        self.say("STARTTLS", 220).await?;
        self.handshake().await
    }

    /// The handshake alone, as SMTPS has it from the start.
    pub async fn handshake(self) -> Result<Self> {
        let name = ServerName::try_from("relay.example")?;
        let stream = tokio_rustls::TlsConnector::from(any_certificate()?).connect(name, self.stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
        Ok(Self { stream: Box::new(stream), input: Vec::new(), certificate })
    }

    /// The certificate that the relay showed, in DER; none before a handshake.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    async fn read_reply(&mut self) -> Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_line().await?;
            let code =
                line.get(..3).and_then(|code| code.parse().ok()).context("a reply begins with a code")?;
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if is_last {
                return Ok(Reply { code, text: lines.join("\n") });
            }
        }
    }

    async fn read_line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            ensure!(self.input.len() < MAX_REPLY_BYTES, "a reply without end");
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).await?;
            if read == 0 {
                bail!("the connection has ended");
            }
            self.input.extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
    }
}

/// TLS that any certificate will do for. Nothing is resumed: each connection is as a new client's.
pub fn any_certificate() -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Tests look at what is said, not at who vouches for whom.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
