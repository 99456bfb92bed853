//! Free ports, and addresses of a test's own.
//! **Owns:** where the parts of a test listen. **Never:** a fixed port.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};

/// Below the ports that the system gives to clients, so that none of these takes one before it is bound.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A port at `127.0.0.1` that nothing listens on, neither by TCP nor by UDP, and that this process hasn't been given before.
pub fn free() -> Result<u16> {
    free_at(Ipv4Addr::LOCALHOST.into())
}

/// The same at another address.
pub fn free_at(address: IpAddr) -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_free = |port: &u16| {
        let at = (address, *port);
        !given.contains(port) && TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok()
    };
    let mut tries = std::iter::repeat_with(|| rand::random_range(PORTS)).take(1_000);
    let port = tries.find(is_free).with_context(|| format!("found no free port at {address}"))?;
    given.insert(port);
    Ok(port)
}

/// Addresses in 127/8 that only this test uses, and one port for all of them, as MX hosts share a port.
#[derive(Debug, Clone)]
pub struct Subnet {
    second: u8,
    third: u8,
    port: u16,
}

impl Subnet {
    /// Takes a random one.
    pub fn random() -> Result<Self> {
        let (second, third) = (rand::random_range(1..=254), rand::random_range(1..=254));
        let port = free_at(Ipv4Addr::new(127, second, third, 1).into())?;
        Ok(Self { second, third, port })
    }

    /// The address whose last byte is `last`.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, self.third, last)
    }

    /// The same with the port.
    pub fn socket(&self, last: u8) -> SocketAddr {
        SocketAddr::new(self.address(last).into(), self.port)
    }

    /// The port that all of them share.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As a CIDR.
    pub fn cidr(&self) -> String {
        format!("127.{}.{}.0/24", self.second, self.third)
    }
}
