//! A way to the server that can lose an answer: the command ran, and nobody hears of it.
//! **Owns:** the bytes between. **Never:** changes one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    lose: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let proxy = Self { port: listener.local_addr().expect("a port").port(), lose: Arc::default() };
        let lose = proxy.lose.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await {
                    tokio::spawn(pass(client, server, lose.clone()));
                }
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The answer to the next script is lost, and its connection with it.
    pub(crate) fn lose_next(&self) {
        self.lose.store(true, Ordering::SeqCst);
    }

    /// Whether an answer was lost since; and no further one will be.
    pub(crate) fn has_lost(&self) -> bool {
        !self.lose.swap(false, Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, lose: Arc<AtomicBool>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut is_doomed = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(size @ 1..) = read else { return };
                let is_script = asked[..size].windows(7).any(|window| window == b"EVALSHA");
                is_doomed |= is_script && lose.swap(false, Ordering::SeqCst);
                if server.write_all(&asked[..size]).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(size @ 1..) = read else { return };
                if is_doomed || client.write_all(&answered[..size]).await.is_err() { return }
            }
        }
    }
}
