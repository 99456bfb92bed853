//! The PROXY protocol's header, which a trusted load balancer puts before a connection: v1 and v2.
//! **Owns:** its parser. **Never:** whom to trust (the listener's). Feed it the connection's first bytes.
//! haproxy's proxy-protocol.txt, sections 2.1 and 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::memchr;

/// The longest header taken: v2 with TLVs. v1 has at most 107 bytes.
pub const MAX_HEADER_BYTES: usize = 16 + 2048;

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const MAX_V1_BYTES: usize = 107;
const V2_FIXED_BYTES: usize = 16;

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

type Parsed = Result<Option<(ProxyHeader, usize)>, InvalidProxyHeader>;

/// Reads a header from the start of `input`: `None` while more bytes are needed, else what it says and how many bytes it
/// took (the rest is the client's).
///
/// # Errors
/// The bytes are no header, and more won't make them one.
pub fn parse(input: &[u8]) -> Parsed {
    let begins = |signature: &[u8]| {
        let len = input.len().min(signature.len());
        input[..len] == signature[..len]
    };
    if begins(V2_SIGNATURE) {
        v2(input)
    } else if begins(V1_SIGNATURE) {
        v1(input)
    } else {
        Err(InvalidProxyHeader::Missing)
    }
}

fn v1(input: &[u8]) -> Parsed {
    let window = &input[..input.len().min(MAX_V1_BYTES)];
    let Some(end) = memchr(b'\n', window) else {
        return if window.len() == MAX_V1_BYTES { Err(InvalidProxyHeader::TooLong) } else { Ok(None) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(InvalidProxyHeader::Broken)?;
    let line = std::str::from_utf8(line).map_err(|_| InvalidProxyHeader::Broken)?;
    let header = v1_line(line).ok_or(InvalidProxyHeader::Broken)?;
    Ok(Some((header, end + 1)))
}

fn v1_line(line: &str) -> Option<ProxyHeader> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(ProxyHeader::Local);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    Some(ProxyHeader::Proxied {
        source: SocketAddr::new(address(source)?, source_port),
        destination: SocketAddr::new(address(destination)?, destination_port),
    })
}

/// Digits only: `u16`'s own parser takes a `+` too.
fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn v2(input: &[u8]) -> Parsed {
    let Some((fixed, rest)) = input.split_at_checked(V2_FIXED_BYTES) else { return Ok(None) };
    let (version_command, family) = (fixed[12], fixed[13]);
    let len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if version_command >> 4 != 2 {
        return Err(InvalidProxyHeader::Broken);
    }
    if V2_FIXED_BYTES + len > MAX_HEADER_BYTES {
        return Err(InvalidProxyHeader::TooLong);
    }
    let Some(body) = rest.get(..len) else { return Ok(None) };
    let header = match (version_command & 0xf, family) {
        (0, _) => ProxyHeader::Local,
        (1, 0x11) => v2_ipv4(body).ok_or(InvalidProxyHeader::Broken)?,
        (1, 0x21) => v2_ipv6(body).ok_or(InvalidProxyHeader::Broken)?,
        // Unspecified, datagrams, unix sockets: none has a client's address for us.
        (1, _) => ProxyHeader::Local,
        _ => return Err(InvalidProxyHeader::Broken),
    };
    Ok(Some((header, V2_FIXED_BYTES + len)))
}

fn v2_ipv4(body: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    v2_ports(IpAddr::V4(Ipv4Addr::from(*source)), IpAddr::V4(Ipv4Addr::from(*destination)), rest)
}

fn v2_ipv6(body: &[u8]) -> Option<ProxyHeader> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    v2_ports(IpAddr::V6(Ipv6Addr::from(*source)), IpAddr::V6(Ipv6Addr::from(*destination)), rest)
}

fn v2_ports(source: IpAddr, destination: IpAddr, rest: &[u8]) -> Option<ProxyHeader> {
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _tlvs) = rest.split_first_chunk::<2>()?;
    Some(ProxyHeader::Proxied {
        source: SocketAddr::new(source, u16::from_be_bytes(*source_port)),
        destination: SocketAddr::new(destination, u16::from_be_bytes(*destination_port)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxied(source: &str, destination: &str) -> ProxyHeader {
        let parse = |text: &str| text.parse().expect(text);
        ProxyHeader::Proxied { source: parse(source), destination: parse(destination) }
    }

    fn v2_bytes(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).expect("short").to_be_bytes();
        [V2_SIGNATURE, &[version_command, family], &len, body].concat()
    }

    #[test]
    fn both_versions_tell_the_client() {
        let v1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\nEHLO";
        assert_eq!(parse(v1), Ok(Some((proxied("192.0.2.1:4000", "198.51.100.2:25"), v1.len() - 4))));
        let v1 = b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 25\r\n";
        assert_eq!(parse(v1), Ok(Some((proxied("[2001:db8::1]:4000", "[2001:db8::2]:25"), v1.len()))));
        let v2 = v2_bytes(0x21, 0x11, &[192, 0, 2, 1, 198, 51, 100, 2, 15, 160, 0, 25, 4, 0, 1, 0]);
        assert_eq!(parse(&v2), Ok(Some((proxied("192.0.2.1:4000", "198.51.100.2:25"), v2.len()))));
        let mut body = [0_u8; 36];
        (body[15], body[31], body[33], body[35]) = (1, 2, 7, 25);
        let v2 = v2_bytes(0x21, 0x21, &body);
        assert_eq!(parse(&v2), Ok(Some((proxied("[::1]:7", "[::2]:25"), v2.len()))));
    }

    #[test]
    fn health_checks_are_local() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Ok(Some((ProxyHeader::Local, 15))));
        assert_eq!(parse(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Ok(Some((ProxyHeader::Local, 35))));
        assert_eq!(parse(&v2_bytes(0x20, 0, &[])), Ok(Some((ProxyHeader::Local, 16))));
        assert_eq!(parse(&v2_bytes(0x21, 0x31, &[0; 216])), Ok(Some((ProxyHeader::Local, 232))));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for (bytes, why) in [
            (&b"EHLO a\r\n"[..], InvalidProxyHeader::Missing),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\n", InvalidProxyHeader::Broken),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 +25\r\n", InvalidProxyHeader::Broken),
            (b"PROXY TCP4 2001:db8::1 198.51.100.2 4000 25\r\n", InvalidProxyHeader::Broken),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 70000 25\r\n", InvalidProxyHeader::Broken),
            (b"PROXY TCP4\r\n", InvalidProxyHeader::Broken),
            (&[b"PROXY ", &[b'x'; 200][..]].concat(), InvalidProxyHeader::TooLong),
            (&v2_bytes(0x11, 0x11, &[0; 12]), InvalidProxyHeader::Broken),
            (&v2_bytes(0x22, 0x11, &[0; 12]), InvalidProxyHeader::Broken),
            (&v2_bytes(0x21, 0x11, &[0; 11]), InvalidProxyHeader::Broken),
            (&v2_bytes(0x21, 0x11, &[0; 3000]), InvalidProxyHeader::TooLong),
        ] {
            assert_eq!(parse(bytes), Err(why), "{bytes:?}");
        }
    }

    #[test]
    fn any_start_of_a_header_waits_for_the_rest() {
        let v1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n".to_vec();
        for bytes in [v1, v2_bytes(0x21, 0x11, &[1; 20])] {
            for at in 0..bytes.len() {
                assert_eq!(parse(&bytes[..at]), Ok(None), "{at}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(signature in 0_usize..3, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let signature = [V1_SIGNATURE, V2_SIGNATURE, b""][signature];
            let _ = parse(&[signature, &bytes].concat());
        }

        #[test]
        fn more_bytes_never_change_what_was_read(
            start in prop::sample::select(vec![
                b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n".to_vec(),
                b"PROXY UNKNOWN\r\n".to_vec(),
                b"PROXY ".to_vec(),
                v2_bytes(0x21, 0x11, &[1; 16]),
                v2_bytes(0x21, 0x21, &[1; 36]),
                v2_bytes(0x20, 0, &[]),
                V2_SIGNATURE.to_vec(),
            ]),
            behind in prop::collection::vec(prop_oneof![prop::sample::select(&b"\r\n A1.:"[..]), any::<u8>()], 0..150),
        ) {
            let bytes = [start, behind].concat();
            let whole = parse(&bytes);
            for at in 0..bytes.len() {
                let part = parse(&bytes[..at]);
                prop_assert!(part == Ok(None) || part == whole, "{at}: {part:?}, {whole:?}");
            }
        }
    }
}
