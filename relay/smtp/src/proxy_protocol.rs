//! The PROXY protocol's header, which a trusted load balancer puts before a connection: v1 and v2.
//! **Owns:** its parser. **Never:** whom to trust (the listener's). Feed it the connection's first bytes.
//! haproxy's proxy-protocol.txt, sections 2.1 and 2.2.

use std::net::SocketAddr;

/// The longest header taken: v2 with TLVs. v1 has at most 107 bytes.
pub const MAX_HEADER_BYTES: usize = 16 + 2048;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is another's.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// Where the client had connected to.
        destination: SocketAddr,
    },
    /// The load balancer's own (a health check), or of an unknown kind: take the connection's own address.
    Local,
}

/// Why bytes are no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxyHeader {
    /// They begin with neither version's signature.
    #[error("found no PROXY header; expected one of version 1 or 2 from this address")]
    Missing,
    /// They begin well and go on badly.
    #[error("found a broken PROXY header")]
    Broken,
    /// They go on for longer than a header may.
    #[error("found a PROXY header beyond {MAX_HEADER_BYTES} bytes")]
    TooLong,
}

/// Reads a header from the start of `input`: `None` while more bytes are needed, else what it says and how many bytes it
/// took (the rest is the client's).
pub fn parse(_input: &[u8]) -> Result<Option<(ProxyHeader, usize)>, InvalidProxyHeader> {
    unreachable!("to come")
}
