//! The PROXY protocol's version 2 as a client says it.
//! **Owns:** the header. **Never:** reads one (smtp::proxy_protocol does, for listeners), a socket.
//! It names where a connection comes from and where it goes to; a proxy with `accept-proxy` can go on from the one to the other.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt> 2.2.

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header of a connection that shall go on `from` an address of the proxy's `to` a far side; none, where they are of two kinds.
/// The port that it leaves by is the proxy's to choose: it is said as 0.
pub fn header(from: IpAddr, to: SocketAddr) -> Option<Vec<u8>> {
    let mut header = SIGNATURE.to_vec();
    header.push(VERSION_AND_COMMAND);
    match (from, to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend_from_slice(&[TCP_OVER_IPV4, 0, 12]);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            header.extend_from_slice(&[TCP_OVER_IPV6, 0, 36]);
            header.extend_from_slice(&from.octets());
            header.extend_from_slice(&to.octets());
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    }
    header.extend_from_slice(&[0, 0]);
    header.extend_from_slice(&to.port().to_be_bytes());
    Some(header)
}

#[cfg(test)]
mod tests {
    use postrider_smtp::proxy_protocol::{ProxyHeader, parse};

    use super::*;

    #[test]
    fn the_header_is_what_the_specification_says() {
        let header = header("198.51.100.7".parse().unwrap(), "192.0.2.1:25".parse().unwrap()).unwrap();
        assert_eq!(&header[..12], [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
        assert_eq!(&header[12..], [0x21, 0x11, 0, 12, 198, 51, 100, 7, 192, 0, 2, 1, 0, 0, 0, 25]);
    }

    #[test]
    fn listeners_of_ours_read_it() {
        for (from, to) in [("198.51.100.7", "192.0.2.1:25"), ("2001:db8::7", "[2001:db8::1]:465")] {
            let (from, to): (IpAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let header = header(from, to).unwrap();
            let (read, length) = parse(&header).unwrap().unwrap();
            assert_eq!(length, header.len());
            assert_eq!(read, ProxyHeader::Proxied { source: SocketAddr::new(from, 0), destination: to });
        }
    }

    #[test]
    fn there_is_none_from_one_kind_to_the_other() {
        assert_eq!(header("198.51.100.7".parse().unwrap(), "[2001:db8::1]:25".parse().unwrap()), None);
    }
}
