//! Real proxies on loopback that mail can leave by: microsocks and HAProxy.
//! **Owns:** their arguments, ports, life and death. **Never:** the service of this machine, should there be one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::{ports, process::Process, wait::eventually};

/// How long a proxy may take to listen.
const START_WITHIN: Duration = Duration::from_secs(20);

/// A proxy that runs.
pub struct Proxy {
    address: SocketAddr,
    process: Process,
}

impl Proxy {
    /// A SOCKS5 proxy that asks for user and password, and connects from an address.
    pub async fn socks(from: Ipv4Addr, login: (&str, &str), folder: &Path) -> Result<Self> {
        let address = free()?;
        let mut command = Command::new("microsocks");
        command.args(["-i", &address.ip().to_string(), "-p", &address.port().to_string()]);
        command.args(["-b", &from.to_string(), "-u", login.0, "-P", login.1]);
        Self::start(command, address, &folder.join("microsocks.log")).await
    }

    /// A HAProxy that goes on from the one address to the other that a PROXY header names. As somebody who may not take another's
    /// address it goes on from its own.
    pub async fn haproxy(folder: &Path) -> Result<Self> {
        let address = free()?;
        let source = if may_be_transparent() { "source 0.0.0.0 usesrc clientip" } else { "" };
        let text = format!(
            "global\n  maxconn 200\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
             frontend mail\n  bind {address} accept-proxy\n  default_backend far\n\
             backend far\n  {source}\n  server destination 0.0.0.0:0\n"
        );
        let config = folder.join("haproxy.cfg");
        std::fs::write(&config, text)?;
        let mut command = Command::new("haproxy");
        // -db: one process, in the foreground.
        command.arg("-db").arg("-f").arg(&config).env("PATH", path());
        Self::start(command, address, &folder.join("haproxy.log")).await
    }

    async fn start(command: Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let process = Process::start(command, log)?;
        let listens = async || tokio::net::TcpStream::connect(address).await.ok().map(drop);
        eventually("the proxy to listen", START_WITHIN, listens).await.with_context(|| process.output())?;
        Ok(Self { address, process })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }
}

/// Whether this process may send from any address: root may.
pub fn may_be_transparent() -> bool {
    rustix::process::geteuid().is_root()
}

fn free() -> Result<SocketAddr> {
    Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::free()?))
}

/// Debian has haproxy where not every user's path leads.
fn path() -> String {
    format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default())
}
