//! A server whose connections all begin with TLS.
//! **Owns:** accepting them, and its end. **Never:** what is said over them.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Answers each connection to an address, until what is returned is dropped.
pub(crate) async fn serve<F>(
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    answer: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> Result<DropGuard>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await?;
    let (stop, acceptor) = (CancellationToken::new(), TlsAcceptor::from(tls));
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            // A client that goes away has got what it wanted, or nothing.
            tokio::spawn(async move { answer(acceptor.accept(stream).await?).await });
        }
    }));
    Ok(stop.drop_guard())
}
