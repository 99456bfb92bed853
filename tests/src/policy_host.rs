//! The web server that has a domain's MTA-STS policy.
//! **Owns:** HTTPS with one file, and what may be wrong with its answer. **Never:** says what is in the file.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::DropGuard;

use crate::https;

/// A running server. Dropping it stops it.
pub struct PolicyHost {
    asked: Arc<AtomicU64>,
    _stop: DropGuard,
}

/// A whole response with a policy as its body.
pub fn response(policy: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{policy}",
        policy.len()
    )
}

/// A policy with one host.
pub fn policy(mode: &str, host: &str) -> String {
    format!("version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: 86400\r\n")
}

impl PolicyHost {
    /// Answers every request with these bytes.
    pub async fn start(address: SocketAddr, tls: Arc<ServerConfig>, response: String) -> Result<Self> {
        let asked = Arc::new(AtomicU64::new(0));
        let count = asked.clone();
        let answer = move |stream| {
            count.fetch_add(1, Ordering::Relaxed);
            answer(stream, response.clone())
        };
        let stop = https::serve(address, tls, answer).await?;
        Ok(Self { asked, _stop: stop })
    }

    /// Connections with TLS since the start.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, response: String) -> Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let is_right = request.starts_with(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n");
    let response =
        if is_right { response } else { "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned() };
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}
