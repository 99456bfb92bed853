//! A client that says exactly what a test wants.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(15);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(crate) struct Peer {
    stream: BufStream<Box<dyn Stream>>,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("a connection");
        tcp.set_nodelay(true).expect("a socket");
        Self { stream: BufStream::new(Box::new(tcp)) }
    }

    /// Goes on under TLS.
    pub(crate) async fn secure(self, trusted: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("mail.example.com").expect("a name");
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, self.stream.into_inner());
        let tls = tokio::time::timeout(PATIENCE, connecting).await.expect("in time").expect("a handshake");
        Self { stream: BufStream::new(Box::new(tls)) }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // A server may have ended it in between: its reply says more than the error.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// One reply, all its lines; empty when the server has closed.
    pub(crate) async fn reply(&mut self) -> String {
        let reading = async {
            let mut reply = String::new();
            loop {
                let start = reply.len();
                match self.stream.read_line(&mut reply).await {
                    Ok(0) | Err(_) => return reply,
                    Ok(_) if reply[start..].chars().nth(3) != Some('-') => return reply,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("a reply in time")
    }

    pub(crate) async fn say(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Says it and checks how the reply begins.
    pub(crate) async fn expect(&mut self, command: &str, start: &str) -> String {
        let reply = self.say(command).await;
        assert!(reply.starts_with(start), "{command}: {reply}");
        reply
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let reading = self.stream.read_to_end(&mut rest);
        let _ = tokio::time::timeout(PATIENCE, reading).await.expect("an end in time");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Up to the 354.
    pub(crate) async fn up_to_data(&mut self) {
        self.expect("EHLO client.example", "250").await;
        self.expect("MAIL FROM:<a@app.example>", "250").await;
        self.expect("RCPT TO:<b@far.example>", "250").await;
        self.expect("DATA", "354").await;
    }

    /// A whole message, as it is on the wire, without the end. Returns the reply to the end.
    pub(crate) async fn message(&mut self, wire: &[u8]) -> String {
        self.up_to_data().await;
        self.send(wire).await;
        self.send(b".\r\n").await;
        self.reply().await
    }
}
