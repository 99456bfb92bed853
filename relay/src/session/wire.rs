//! One client's connection, plain or under TLS, as bytes.
//! **Owns:** the socket. **Never:** knows SMTP.
//! Idle sessions hold no buffer: reads go through one that the thread lends, and only what came is kept.

use std::{cell::RefCell, io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use bytes::BytesMut;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::tls::accept::{self, HandshakeFailed};

/// The most that one read brings.
const READ_BYTES: usize = 64 << 10;
/// How long a client may refuse to take a reply.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// How long a goodbye may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed: there is nothing to speak to.
    Gone,
}

impl Wire {
    /// A connection that was just accepted.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(stream) }
    }

    /// Waits for bytes and adds them to `input`. Returns how many; none at the end. Cancel-safe.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        let stream = &mut self.stream;
        std::future::poll_fn(|cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                let polled = match stream {
                    Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, &mut buffer),
                    Stream::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, &mut buffer),
                    Stream::Gone => Poll::Ready(Ok(())),
                };
                polled.map_ok(|()| {
                    input.extend_from_slice(buffer.filled());
                    buffer.filled().len()
                })
            })
        })
        .await
    }

    /// Writes all of it, at once.
    ///
    /// # Errors
    /// The connection broke, or the client doesn't take it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writing = async {
            match &mut self.stream {
                Stream::Plain(tcp) => tcp.write_all(bytes).await,
                Stream::Tls(tls) => {
                    tls.write_all(bytes).await?;
                    tls.flush().await
                }
                Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        match tokio::time::timeout(WRITE_DEADLINE, writing).await {
            Ok(done) => done,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Whether the client sends something within `pause`, though nothing was said to it yet.
    pub(super) async fn talks_within(&self, pause: Duration) -> bool {
        let Stream::Plain(tcp) = &self.stream else { return false };
        // No bytes are a client that has gone, which is no talking.
        if pause.is_zero() {
            let mut byte = [std::mem::MaybeUninit::uninit()];
            return SockRef::from(tcp).peek(&mut byte).is_ok_and(|n| n > 0);
        }
        let mut byte = [0];
        tokio::time::timeout(pause, tcp.peek(&mut byte)).await.is_ok_and(|peeked| peeked.is_ok_and(|n| n > 0))
    }

    /// Goes on under TLS.
    ///
    /// # Errors
    /// The handshake failed; the connection is gone.
    pub(super) async fn start_tls(&mut self, config: Arc<ServerConfig>) -> Result<(), HandshakeFailed> {
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(tcp) => {
                self.stream = Stream::Tls(accept::handshake(config, tcp).await?);
                Ok(())
            }
            other => {
                self.stream = other;
                Err(HandshakeFailed::Failed(io::ErrorKind::AlreadyExists.into()))
            }
        }
    }

    /// The TLS version and cipher suite, once under TLS.
    pub(super) fn tls(&self) -> Option<(&'static str, &'static str)> {
        let Stream::Tls(tls) = &self.stream else { return None };
        let (_, session) = tls.get_ref();
        let version = session.protocol_version().and_then(|version| version.as_str());
        let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Some((version.unwrap_or("TLS"), suite.unwrap_or("unknown")))
    }

    /// Ends the connection so that the client gets what was written last.
    pub(super) async fn close(mut self) {
        let closing = async {
            match &mut self.stream {
                Stream::Plain(tcp) => tcp.shutdown().await,
                Stream::Tls(tls) => tls.shutdown().await,
                Stream::Gone => Ok(()),
            }?;
            // A close with unread bytes is a reset, which can overtake the last reply: read them away first.
            let mut unread = BytesMut::new();
            while self.read(&mut unread).await? > 0 {
                unread.clear();
            }
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(CLOSE_DEADLINE, closing).await;
    }
}
