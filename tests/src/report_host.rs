//! A web server that takes TLS reports, or doesn't.
//! **Owns:** HTTPS, what was posted, which answer comes when. **Never:** reads a report.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::DropGuard;

use crate::{https, wait::locked};

/// What was posted.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The request's line and header, in lower case.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// A running server. Dropping it stops it.
pub struct ReportHost {
    posted: Arc<Mutex<Vec<Posted>>>,
    _stop: DropGuard,
}

impl ReportHost {
    /// Answers with these statuses, one after the other, and then with the last again and again.
    pub async fn start(
        address: SocketAddr,
        tls: Arc<ServerConfig>,
        statuses: &'static [u16],
    ) -> Result<Self> {
        let posted = Arc::<Mutex<Vec<Posted>>>::default();
        let book = posted.clone();
        let stop = https::serve(address, tls, move |stream| answer(stream, book.clone(), statuses)).await?;
        Ok(Self { posted, _stop: stop })
    }

    /// All that was posted so far, whatever the answer was.
    pub fn posted(&self) -> Vec<Posted> {
        locked(&self.posted).clone()
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    book: Arc<Mutex<Vec<Posted>>>,
    statuses: &[u16],
) -> Result<()> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&request, b"\r\n\r\n") {
            break end + 4;
        }
        anyhow::ensure!(stream.read_buf(&mut request).await? > 0, "it broke off");
    };
    let head = String::from_utf8_lossy(request.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("a length")?.parse()?;
    while request.len() < end + length {
        anyhow::ensure!(stream.read_buf(&mut request).await? > 0, "it broke off");
    }
    let status = {
        let mut book = locked(&book);
        let status = statuses.get(book.len()).or(statuses.last()).copied().unwrap_or(200);
        book.push(Posted { head, body: request.split_off(end) });
        status
    };
    let location = if status / 100 == 3 { "Location: /elsewhere\r\n" } else { "" };
    let response = format!("HTTP/1.1 {status} So\r\n{location}Content-Length: 0\r\n\r\n");
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}
