//! A SOCKS5 proxy that connects from an address that a test names, and fails as told.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

pub struct Proxy {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// One that connects from this address; without one it says this reply code.
    pub async fn start(from: Result<IpAddr, u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn({
            let connections = connections.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::AcqRel);
                    tokio::spawn(serve(client, from));
                }
            }
        });
        Self { address, connections, task }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Nobody listens there any more.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn serve(mut client: TcpStream, from: Result<IpAddr, u8>) -> std::io::Result<()> {
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting).await?;
    client.write_all(&[5, greeting[2]]).await?;
    let mut request = [0; 10];
    client.read_exact(&mut request).await?;
    let from = match from {
        Ok(from) => from,
        Err(code) => return client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await,
    };
    let ip = Ipv4Addr::new(request[4], request[5], request[6], request[7]);
    let to = SocketAddr::new(ip.into(), u16::from_be_bytes([request[8], request[9]]));
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let Ok(mut far) = socket.connect(to).await else {
        return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    };
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    tokio::io::copy_bidirectional(&mut client, &mut far).await.map(drop)
}
