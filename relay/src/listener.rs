//! Ports: binds them, accepts connections, and hands each with its place to a session.
//! **Owns:** sockets that listen, and their change with the configuration. **Never:** reads SMTP, spawns but on the tracker
//! that it is given.

pub mod door;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use postrider_core::config::{Config, Listener, bound_port};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::door::{Door, Shared};
use crate::{
    admission::counts::Full,
    session::{self, Inbound},
    tls::{accept::BadCertificate, reload::Served},
};

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: i32 = 1024;
/// How long to wait when the process has no file descriptor left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// How often a port that can't be bound is tried again.
const REBIND_PAUSE: Duration = Duration::from_secs(5);
/// Descriptors that sessions leave to the rest of the process.
const RESERVED_FILES: u32 = 1024;

/// Why a listener doesn't open.
#[derive(Debug, thiserror::Error)]
pub enum CannotListen {
    /// The port can't be bound.
    #[error("listener {listener}: {address} can't be bound: {reason}; free the port, or say another one")]
    Bind {
        /// The listener's name.
        listener: String,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        reason: io::Error,
    },
    /// Its certificates can't be served.
    #[error("listener {listener}: {reason}")]
    Certificate {
        /// The listener's name.
        listener: String,
        /// What is wrong.
        #[source]
        reason: BadCertificate,
    },
}

/// All ports of a relay.
pub struct Listeners {
    inbound: Arc<Inbound>,
    served: Served,
    /// Where listeners are bound that are told another address than their port at all addresses.
    told: HashMap<String, SocketAddr>,
    open: HashMap<String, Open>,
}

/// A port that is bound.
struct Open {
    wanted: SocketAddr,
    bound: SocketAddr,
    door: Arc<ArcSwap<Door>>,
    stop: CancellationToken,
    /// Until its loop runs.
    socket: Option<TcpListener>,
}

impl Listeners {
    /// Binds every listener of the configuration.
    ///
    /// # Errors
    /// One can't be opened.
    pub fn bind(
        inbound: Arc<Inbound>,
        told: impl IntoIterator<Item = (String, SocketAddr)>,
    ) -> Result<Self, CannotListen> {
        let told = told.into_iter().collect();
        let mut this = Self { inbound, served: Served::default(), told, open: HashMap::new() };
        let config = this.inbound.config.current();
        for listener in &config.listeners {
            this.open_or_change(&config, listener)?;
        }
        Ok(this)
    }

    /// Where listeners are bound, by name.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.open.iter().map(|(name, open)| (name.as_str(), open.bound))
    }

    /// Accepts until the relay stops taking, and follows the configuration meanwhile. Sessions run on `tasks`.
    pub async fn run(mut self, tasks: TaskTracker) {
        let stop = self.inbound.shutdown.stop_taking.clone();
        let mut source = self.inbound.config.clone();
        let mut is_incomplete = false;
        self.start(&tasks);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                is_changed = source.changed() => if !is_changed { return stop.cancelled().await },
                () = tokio::time::sleep(REBIND_PAUSE), if is_incomplete => {}
            }
            is_incomplete = !self.follow(&source.current());
            self.start(&tasks);
        }
    }

    /// Brings the ports in line with a configuration. Returns false if one of them can't be opened.
    fn follow(&mut self, config: &Config) -> bool {
        let metrics = &self.inbound.metrics;
        self.open.retain(|name, open| {
            let is_wanted = config.listener(name).is_some();
            if !is_wanted {
                tracing::info!(listener = name, "a listener is closed: the configuration has it no more");
                open.stop.cancel();
                metrics.forget_listener(name);
            }
            is_wanted
        });
        self.served.keep_only(|name| config.listener(name).is_some());
        let mut is_complete = true;
        for listener in &config.listeners {
            if let Err(why) = self.open_or_change(config, listener) {
                is_complete = false;
                tracing::warn!(listener = listener.name, reason = %why, "a listener can't be opened; it is tried again");
            }
        }
        is_complete
    }

    fn open_or_change(&mut self, config: &Config, listener: &Listener) -> Result<(), CannotListen> {
        let shared = Shared {
            served: &self.served,
            metrics: &self.inbound.metrics,
            waits: self.inbound.waits,
            sessions_max: self.inbound.sessions_max,
        };
        let door = Door::new(config, listener, &shared)
            .map_err(|reason| CannotListen::Certificate { listener: listener.name.clone(), reason })?;
        let wanted = self.address(listener);
        if let Some(open) = self.open.get(&listener.name).filter(|open| open.wanted == wanted) {
            open.door.store(Arc::new(door));
            return Ok(());
        }
        let socket = bind(wanted).map_err(|reason| CannotListen::Bind {
            listener: listener.name.clone(),
            address: wanted,
            reason,
        })?;
        let bound = socket.local_addr().unwrap_or(wanted);
        tracing::info!(listener = listener.name, address = %bound, "listening");
        let open = Open {
            wanted,
            bound,
            door: Arc::new(ArcSwap::from_pointee(door)),
            stop: self.inbound.shutdown.stop_taking.child_token(),
            socket: Some(socket),
        };
        if let Some(former) = self.open.insert(listener.name.clone(), open) {
            former.stop.cancel();
        }
        Ok(())
    }

    /// Where a listener is bound: where it was told, else at its port, or above where that needs no privilege.
    fn address(&self, listener: &Listener) -> SocketAddr {
        let anywhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), bound_port(listener.port));
        self.told.get(&listener.name).copied().unwrap_or(anywhere)
    }

    fn start(&mut self, tasks: &TaskTracker) {
        for open in self.open.values_mut() {
            if let Some(socket) = open.socket.take() {
                let (inbound, door, stop) = (self.inbound.clone(), open.door.clone(), open.stop.clone());
                tasks.spawn(accept(inbound, door, socket, stop, tasks.clone()));
            }
        }
    }
}

/// Accepts on one port until it is told to stop.
async fn accept(
    inbound: Arc<Inbound>,
    door: Arc<ArcSwap<Door>>,
    socket: TcpListener,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let mut is_exhausted = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                is_exhausted = false;
                admit(&inbound, door.load_full(), stream, peer, &tasks);
            }
            // The client has gone again.
            Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(why) => {
                if !is_exhausted {
                    tracing::warn!(reason = %why, "connections can't be accepted; raise the limit of open files, or lower the listener's connections");
                }
                is_exhausted = true;
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// Gives a connection a place and a session, or turns it away at once, which costs no task.
fn admit(inbound: &Arc<Inbound>, door: Arc<Door>, stream: TcpStream, peer: SocketAddr, tasks: &TaskTracker) {
    // Replies are written whole: waiting for more of them to come would only delay them.
    let _ = stream.set_nodelay(true);
    match inbound.sessions.enter(&door.name, door.limits) {
        Ok(place) => {
            tasks.spawn(session::run(inbound.clone(), door, place, stream, peer));
        }
        Err(full @ (Full::Process | Full::Listener | Full::Client)) => {
            // Behind implicit TLS there are no words for it, and before a PROXY header nobody listens yet.
            if !door.is_implicit_tls() {
                let _ = stream.try_write(&session::turned_away());
            }
            session::count_refused(&door, full.as_str());
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match bind_one(address) {
        // A machine without IPv6 has no such address.
        Err(_) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            bind_one(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
        }
        other => other,
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A relay that restarts finds its port with connections of its former life on it.
    socket.set_reuse_address(true)?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// How many sessions this process may have, by its limit of open files.
pub fn sessions_max() -> u32 {
    const FALLBACK: u32 = 1024;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|soft| soft.parse::<u32>().ok())
        .unwrap_or(FALLBACK);
    // Half of them, for each session may lead to a delivery.
    files.saturating_sub(RESERVED_FILES.min(files / 2)).div_ceil(2).clamp(64, 50_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_may_have_some_sessions() {
        assert!((64..=50_000).contains(&sessions_max()));
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told() {
        let first = bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = first.local_addr().expect("bound");
        assert_eq!(bind(address).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
    }
}
