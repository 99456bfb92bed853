//! A connection to a far side, by a source.
//! **Owns:** whose fault it is when there is none: the source's, or the far side's. **Never:** SMTP, TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use postrider_core::{
    config::{Credentials, HostAddress},
    egress::{ProxyHost, Way},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{NamedSource, proxy_v2, socks5};
use crate::client::socket;

/// How long a proxy may take to be found, to be connected with, and to let us in: it is near.
const PROXY_MAX: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The far side, or the way to it.
    #[error("{0}")]
    FarSide(#[source] io::Error),
    /// The source: nobody was reached by it.
    #[error("{0}")]
    Source(#[source] SourceFault),
}

/// What is wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    /// The pod doesn't have the address.
    #[error("found that {address} can't be bound ({why}); expected an address of this pod")]
    NotBound {
        /// The address.
        address: IpAddr,
        /// What the system says.
        why: io::Error,
    },
    /// The proxy isn't there.
    #[error("found no connection with proxy {proxy} ({why}); expected it to take one")]
    NoProxy {
        /// The proxy.
        proxy: ProxyHost,
        /// What the system says.
        why: io::Error,
    },
    /// The proxy doesn't do its work.
    #[error("proxy {proxy}: {why}")]
    Socks {
        /// The proxy.
        proxy: ProxyHost,
        /// What it said.
        why: socks5::Fault,
    },
    /// The proxy can't be told of that address.
    #[error("found no way from {address} to a far side at {to}; expected both of one kind")]
    OtherKind {
        /// The source's.
        address: IpAddr,
        /// The far side's.
        to: IpAddr,
    },
}

/// Connects to a far side by a source; as pods send anyway, without one.
///
/// # Errors
/// Whose fault it is, and what the system or the proxy says.
pub async fn dial(to: SocketAddr, source: Option<&NamedSource>) -> Result<TcpStream, DialError> {
    match source.map(|source| &source.source.way) {
        None | Some(Way::Direct) => socket::connect(to, None).await.map_err(DialError::FarSide),
        Some(Way::Address(address)) => from_address(to, *address).await,
        Some(Way::Socks5 { proxy, credentials }) => by_socks(to, proxy, credentials.as_ref()).await,
        Some(Way::Proxy { proxy, address }) => by_proxy(to, proxy, *address).await,
    }
}

async fn from_address(to: SocketAddr, address: IpAddr) -> Result<TcpStream, DialError> {
    let not_bound = |why| DialError::Source(SourceFault::NotBound { address, why });
    let bound = socket::bound(to, Some(address)).map_err(not_bound)?;
    match socket::reach(bound, to).await {
        Ok(connected) => Ok(connected),
        // No port of that address is free.
        Err(why) if why.kind() == io::ErrorKind::AddrNotAvailable => Err(not_bound(why)),
        Err(why) => Err(DialError::FarSide(why)),
    }
}

async fn by_proxy(to: SocketAddr, proxy: &ProxyHost, address: IpAddr) -> Result<TcpStream, DialError> {
    let Some(header) = proxy_v2::header(address, to) else {
        return Err(DialError::Source(SourceFault::OtherKind { address, to: to.ip() }));
    };
    let connected = async {
        let mut connected = connect_proxy(proxy).await?;
        connected.write_all(&header).await?;
        Ok::<_, io::Error>(connected)
    };
    within(PROXY_MAX, connected).await.map_err(|why| no_proxy(proxy, why))
}

async fn by_socks(
    to: SocketAddr,
    proxy: &ProxyHost,
    credentials: Option<&Credentials>,
) -> Result<TcpStream, DialError> {
    let entered = async {
        let mut proxied = connect_proxy(proxy).await?;
        proxied.write_all(&socks5::greeting(credentials.is_some())).await?;
        let method = answer(&mut proxied).await?;
        if let Err(fault) = socks5::method(method, credentials.is_some()) {
            return Ok(Err(fault));
        }
        if let Some(Credentials { username, password }) = credentials {
            proxied.write_all(&socks5::login(username, password.expose())).await?;
            if let Err(fault) = socks5::login_answer(answer(&mut proxied).await?) {
                return Ok(Err(fault));
            }
        }
        proxied.write_all(&socks5::connect(to)).await?;
        Ok::<_, io::Error>(Ok(proxied))
    };
    let entered = within(PROXY_MAX, entered).await.map_err(|why| no_proxy(proxy, why))?;
    let mut proxied = entered.map_err(|fault| of_fault(proxy, fault))?;
    // From here on the proxy is there; how long it takes is how long the far side takes.
    match tokio::time::timeout(socket::CONNECT_MAX, replied(&mut proxied)).await {
        Ok(Ok(Ok(()))) => Ok(proxied),
        Ok(Ok(Err(fault))) => Err(of_fault(proxy, fault)),
        Ok(Err(why)) => Err(no_proxy(proxy, why)),
        Err(_) => Err(DialError::FarSide(socket::too_late())),
    }
}

/// Reads the reply to CONNECT, and nothing of what the far side says behind it.
async fn replied(proxied: &mut TcpStream) -> io::Result<Result<(), socks5::Fault>> {
    let mut bytes = Vec::new();
    loop {
        match socks5::reply(&bytes) {
            Ok(socks5::Reply::Connected) => return Ok(Ok(())),
            Ok(socks5::Reply::More(missing)) => {
                let read = bytes.len();
                bytes.resize(read + missing, 0);
                proxied.read_exact(bytes.get_mut(read..).unwrap_or_default()).await?;
            }
            Err(fault) => return Ok(Err(fault)),
        }
    }
}

async fn answer(proxied: &mut TcpStream) -> io::Result<[u8; 2]> {
    let mut answer = [0; 2];
    proxied.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The first of the proxy's addresses that takes a connection.
async fn connect_proxy(proxy: &ProxyHost) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = match &proxy.host {
        HostAddress::Ip(ip) => vec![SocketAddr::new(*ip, proxy.port)],
        HostAddress::Name(name) => tokio::net::lookup_host((name.as_str(), proxy.port)).await?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in addresses {
        match socket::connect(address, None).await {
            Ok(connected) => return Ok(connected),
            Err(why) => last = why,
        }
    }
    Err(last)
}

async fn within<T>(longest: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
    tokio::time::timeout(longest, work).await.map_err(late)?
}

fn no_proxy(proxy: &ProxyHost, why: io::Error) -> DialError {
    DialError::Source(SourceFault::NoProxy { proxy: proxy.clone(), why })
}

fn of_fault(proxy: &ProxyHost, why: socks5::Fault) -> DialError {
    if why.is_far_side() {
        DialError::FarSide(io::Error::new(io::ErrorKind::ConnectionRefused, why))
    } else {
        DialError::Source(SourceFault::Socks { proxy: proxy.clone(), why })
    }
}

#[cfg(test)]
mod tests;
