//! A receiving mail server that does as told, and keeps a ledger of every message it said 250 to.
//! **Owns:** listening, and what it offers. **Never:** loses a message it accepted.

pub mod rules;
mod session;
mod text;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
pub use rules::{Act, At, Rule, Rules, Who};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use crate::{ledger::Ledger, wait::locked};

/// Connections that may wait to be taken.
const BACKLOG: u32 = 4096;

/// What a sink is.
#[derive(Clone)]
pub struct Setup {
    /// Its name in the banner.
    pub hostname: String,
    /// What EHLO offers, without STARTTLS.
    pub extensions: Vec<String>,
    /// Offers STARTTLS with this certificate.
    pub tls: Option<Arc<ServerConfig>>,
    /// Takes AUTH PLAIN with these, and asks for it.
    pub auth: Option<(String, String)>,
    /// As far away as this: the banner comes two of it late (as a connection is made in one), each reply one.
    pub round_trip: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        let extensions =
            ["PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 52428800", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN"];
        Self {
            hostname: "sink.example".to_owned(),
            extensions: extensions.map(str::to_owned).to_vec(),
            tls: None,
            auth: None,
            round_trip: Duration::ZERO,
        }
    }
}

/// A running sink.
pub struct Sink {
    address: SocketAddr,
    rules: Arc<Rules>,
    ledger: Ledger,
    counts: Arc<Counts>,
    another: Arc<Another>,
    stop: CancellationToken,
}

/// A certificate that is shown in place of a sink's own, if there is one now.
#[derive(Default)]
pub(crate) struct Another(Mutex<Option<Arc<ServerConfig>>>);

impl Another {
    pub(crate) fn now(&self) -> Option<Arc<ServerConfig>> {
        locked(&self.0).clone()
    }
}

#[derive(Default)]
pub(crate) struct Counts {
    open: AtomicUsize,
    most: AtomicUsize,
    total: AtomicUsize,
}

/// A connection that counts as open until this is dropped.
pub(crate) struct Open(Arc<Counts>);

impl Open {
    fn new(counts: Arc<Counts>) -> Self {
        counts.total.fetch_add(1, Ordering::Relaxed);
        let open = counts.open.fetch_add(1, Ordering::Relaxed) + 1;
        counts.most.fetch_max(open, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all sessions of a sink share.
pub(crate) struct Shared {
    pub(crate) setup: Setup,
    pub(crate) rules: Arc<Rules>,
    pub(crate) ledger: Ledger,
    pub(crate) address: SocketAddr,
    pub(crate) another: Arc<Another>,
}

impl Sink {
    /// Listens at an address.
    pub async fn start(address: SocketAddr, ledger: Ledger, setup: Setup) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address).with_context(|| format!("binding {address}"))?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let rules = Arc::new(Rules::default());
        let counts = Arc::new(Counts::default());
        let another = Arc::new(Another::default());
        let stop = CancellationToken::new();
        let shared =
            Shared { setup, rules: rules.clone(), ledger: ledger.clone(), address, another: another.clone() };
        let shared = Arc::new(shared);
        tokio::spawn(accept(listener, shared, counts.clone(), stop.clone()));
        Ok(Self { address, rules, ledger, counts, another, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its book.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Replaces what it does out of the ordinary.
    pub fn behave(&self, rules: impl IntoIterator<Item = Rule>) {
        self.rules.replace(rules.into_iter().collect());
    }

    /// Does only the ordinary again.
    pub fn behave_well(&self) {
        self.behave([]);
    }

    /// From now on shows this certificate to those who say STARTTLS, or its own again.
    pub fn show(&self, another: Option<Arc<ServerConfig>>) {
        *locked(&self.another.0) = another;
    }

    /// How often a rule of this place was followed so far.
    pub fn followed(&self, at: At) -> u64 {
        self.rules.followed(at)
    }

    /// Connections at this moment.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// The most connections there were at once.
    pub fn most_open(&self) -> usize {
        self.counts.most.load(Ordering::Relaxed)
    }

    /// The same, and counts the most anew.
    pub fn take_most_open(&self) -> usize {
        self.counts.most.swap(self.open(), Ordering::Relaxed)
    }

    /// Connections since the start.
    pub fn connections(&self) -> usize {
        self.counts.total.load(Ordering::Relaxed)
    }

    /// Stops listening and drops all connections.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, counts: Arc<Counts>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        // Out of descriptors: those that are open go on, and free some.
        let Ok((stream, client)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (shared, counts, stop) = (shared.clone(), counts.clone(), stop.clone());
        tokio::spawn(async move {
            let open = Open::new(counts);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                // A client that goes away in the middle is nothing to tell.
                _ = session::serve(stream, client, shared, open) => {}
            }
        });
    }
}
