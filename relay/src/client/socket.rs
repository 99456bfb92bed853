//! A connection to a far side, as bytes: TCP, clear or under TLS.
//! **Owns:** socket options, reading while writing, the reset. **Never:** SMTP.
//! Invariant: a final dot that the kernel still holds when the lease ends is taken back by a reset (design, self-fencing).

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::client::TlsStream;

/// How long TCP may take to connect.
pub const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How long the kernel tries to get bytes acknowledged before it gives the connection up.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);
/// What one read takes at most; replies are small.
const READ_BYTES: usize = 4 * 1_024;

/// The bytes of one connection.
pub enum Socket {
    /// As they are.
    Clear(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects from `source` (any address if none is said).
///
/// # Errors
/// What the system says; `TimedOut` after [`CONNECT_MAX`].
pub async fn connect(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    reach(bound(to, source)?, to).await
}

/// A socket for connections to `to` that come from `source`.
///
/// # Errors
/// What the system says: most often, that it has no such address.
pub fn bound(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpSocket> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    // A pipelined group is one write, so nothing is gained by waiting for more.
    socket.set_nodelay(true)?;
    socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(socket)
}

/// Connects.
///
/// # Errors
/// What the system says; `TimedOut` after [`CONNECT_MAX`].
pub async fn reach(socket: TcpSocket, to: SocketAddr) -> io::Result<TcpStream> {
    match tokio::time::timeout(CONNECT_MAX, socket.connect(to)).await {
        Ok(connected) => connected,
        Err(_) => Err(too_late()),
    }
}

/// There was no connection within [`CONNECT_MAX`].
pub fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no connection within 30 s")
}

impl Socket {
    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Whether it is encrypted.
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Reads once. `Ok(0)` is the end.
    ///
    /// # Errors
    /// The connection's.
    pub async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read_into(cx, into)).await
    }

    /// Writes all of `bytes` and flushes. Whatever the far side says meanwhile is read into `said`, so that two full windows
    /// can't wait for each other (RFC 2920 3.1). Returns early, with bytes left, when it has said something and more than one
    /// write was needed, or when it closed.
    ///
    /// # Errors
    /// The connection's.
    pub async fn write(&mut self, bytes: &mut BytesMut, said: &mut BytesMut) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            while !bytes.is_empty() {
                match Pin::new(&mut *self).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(written)) => bytes.advance(written),
                    Poll::Ready(Err(err)) => return Poll::Ready(Err(err)),
                    Poll::Pending => {
                        let count = ready!(self.poll_read_into(cx, said))?;
                        if count == 0 {
                            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                        }
                        if said.len() > MAX_SAID_BYTES {
                            return Poll::Ready(Err(io::Error::new(
                                io::ErrorKind::InvalidData,
                                "the far side answers more than anybody asked",
                            )));
                        }
                    }
                }
            }
            Pin::new(&mut *self).poll_flush(cx)
        })
        .await
    }

    fn poll_read_into(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut space = [0_u8; READ_BYTES];
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(self).poll_read(cx, &mut buf))?;
        into.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Whether nothing has come since the last reply. A far side that closed an idle connection, or said 421, has sent bytes.
    pub fn is_quiet(&mut self) -> bool {
        let mut space = [0_u8; 1];
        let mut buf = ReadBuf::new(&mut space);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        Pin::new(self).poll_read(&mut cx, &mut buf).is_pending()
    }

    /// Ends the connection at once: what the kernel still holds is dropped, not sent.
    pub fn reset(self) {
        // Without the option the bytes might leave after all: but the connection goes either way.
        if let Err(err) = socket2::SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%err, "could not set SO_LINGER");
        }
    }

    /// Whether the kernel still holds bytes that the far side has not acknowledged. Where it can't be found out: yes.
    pub fn has_unacknowledged(&self) -> bool {
        let (Ok(local), Ok(far)) = (self.tcp().local_addr(), self.tcp().peer_addr()) else { return true };
        let table = if local.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
        // Read only when a lease ends under a dot on its way: rare, and then every second counts less than the answer.
        std::fs::read_to_string(table)
            .ok()
            .and_then(|text| send_queue(&text, local, far))
            .is_none_or(|held| held > 0)
    }
}

/// Bytes that may wait unread while a body is written.
const MAX_SAID_BYTES: usize = 64 * 1_024;

/// The bytes sent but not acknowledged, by the kernel's own table (proc(5), `tx_queue`).
fn send_queue(table: &str, local: SocketAddr, far: SocketAddr) -> Option<u64> {
    let (local, far) = (kernel_form(local), kernel_form(far));
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_ours = fields.next()? == local && fields.next()? == far;
        if !is_ours {
            return None;
        }
        let queues = fields.nth(1)?;
        u64::from_str_radix(queues.split(':').next()?, 16).ok()
    })
}

/// An address as `/proc/net/tcp` writes it: 32-bit words in the machine's order.
fn kernel_form(address: SocketAddr) -> String {
    let word = |bytes: &[u8]| {
        let bytes = <[u8; 4]>::try_from(bytes).unwrap_or_default();
        format!("{:08X}", u32::from_ne_bytes(bytes))
    };
    let host: String = match address.ip() {
        IpAddr::V4(ip) => word(&ip.octets()),
        IpAddr::V6(ip) => ip.octets().chunks(4).map(word).collect(),
    };
    format!("{host}:{:04X}", address.port())
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = connect(listener.local_addr().unwrap(), None).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (Socket::Clear(near), far)
    }

    #[tokio::test]
    async fn what_the_far_side_has_not_taken_is_seen_as_unacknowledged() {
        let (mut near, mut far) = pair().await;
        assert!(!near.has_unacknowledged());
        // More than any window: the far side does not read.
        let mut bytes = BytesMut::from(vec![b'a'; 32 << 20].as_slice());
        let mut said = BytesMut::new();
        let stuck = near.write(&mut bytes, &mut said);
        assert!(tokio::time::timeout(Duration::from_millis(300), stuck).await.is_err());
        assert!(near.has_unacknowledged());
        near.reset();
        // After a reset no more than what had arrived is read, then the error.
        let mut all = Vec::new();
        let ended = far.read_to_end(&mut all).await;
        assert!(ended.is_err(), "a reset, not an end");
    }

    #[tokio::test]
    async fn a_reply_is_read_while_a_body_is_stuck() {
        let (mut near, far) = pair().await;
        let mut bytes = BytesMut::from(vec![b'a'; 8 << 20].as_slice());
        let mut said = BytesMut::new();
        far.try_write(b"552 too much\r\n").unwrap();
        {
            let stuck = near.write(&mut bytes, &mut said);
            assert!(tokio::time::timeout(Duration::from_millis(300), stuck).await.is_err());
        }
        assert_eq!(&said[..], b"552 too much\r\n");
    }

    #[tokio::test]
    async fn an_idle_connection_that_was_closed_is_not_quiet() {
        let (mut near, far) = pair().await;
        assert!(near.is_quiet());
        drop(far);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!near.is_quiet());
    }

    #[test]
    fn addresses_are_written_as_the_kernel_does() {
        let expected = if cfg!(target_endian = "little") { "0100007F:0019" } else { "7F000001:0019" };
        assert_eq!(kernel_form("127.0.0.1:25".parse().unwrap()), expected);
    }
}
