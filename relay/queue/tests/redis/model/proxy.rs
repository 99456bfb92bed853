//! A way to the server that can lose an answer: the command ran, and nobody hears of it. Or the other way round: nobody waits for the
//! command any more, and it comes late.
//! **Owns:** the bytes between. **Never:** changes one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    lose: Arc<AtomicBool>,
    end: Arc<End>,
    late: Arc<Late>,
}

/// Nothing gets through any more.
#[derive(Default)]
struct End {
    comes_with_loss: AtomicBool,
    has_come: AtomicBool,
}

/// A script that is held back.
#[derive(Default)]
struct Late {
    is_wanted: AtomicBool,
    go: Notify,
    is_over: Notify,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let proxy = Self {
            port: listener.local_addr().expect("a port").port(),
            lose: Arc::default(),
            end: Arc::default(),
            late: Arc::default(),
        };
        let (lose, end, late) = (proxy.lose.clone(), proxy.end.clone(), proxy.late.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !end.has_come.load(Ordering::SeqCst)
                    && let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await
                {
                    tokio::spawn(pass(client, server, (lose.clone(), end.clone()), late.clone()));
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

    /// The same, and nothing gets through any more from then on.
    pub(crate) fn lose_next_and_end(&self) {
        self.end.comes_with_loss.store(true, Ordering::SeqCst);
        self.lose_next();
    }

    /// The next script is held back; whoever sent it sees its connection close.
    pub(crate) fn hold_next(&self) {
        self.late.is_wanted.store(true, Ordering::SeqCst);
    }

    /// What was held back is sent. Returns when the server has answered it, or has closed the connection.
    pub(crate) async fn send_late(&self) {
        assert!(!self.late.is_wanted.load(Ordering::SeqCst), "a script was held back");
        self.late.go.notify_one();
        self.late.is_over.notified().await;
    }

    /// Whether an answer was lost since; and no further one will be.
    pub(crate) fn has_lost(&self) -> bool {
        !self.lose.swap(false, Ordering::SeqCst)
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    (lose, end): (Arc<AtomicBool>, Arc<End>),
    late: Arc<Late>,
) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut is_doomed = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(size @ 1..) = read else { return };
                let is_script = asked[..size].windows(7).any(|window| window == b"EVALSHA");
                if is_script && late.is_wanted.swap(false, Ordering::SeqCst) {
                    drop(client);
                    late.go.notified().await;
                    // An error or the end is as good as an answer: it will not run.
                    if server.write_all(&asked[..size]).await.is_ok() {
                        let _ = server.read(&mut answered).await;
                    }
                    late.is_over.notify_one();
                    return;
                }
                if end.has_come.load(Ordering::SeqCst) { return }
                is_doomed |= is_script && lose.swap(false, Ordering::SeqCst);
                if is_doomed && end.comes_with_loss.load(Ordering::SeqCst) {
                    end.has_come.store(true, Ordering::SeqCst);
                }
                if server.write_all(&asked[..size]).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(size @ 1..) = read else { return };
                if is_doomed || client.write_all(&answered[..size]).await.is_err() { return }
            }
        }
    }
}
