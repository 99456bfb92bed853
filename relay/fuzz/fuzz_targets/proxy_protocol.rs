//! The header that a load balancer puts before a connection.
//! **Owns:** what was found stays so whatever follows; no byte of the client's is taken; version 1, written again, says the same.
//! **Never:** whom to trust.
//! Input: the connection's first bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_smtp::proxy_protocol::{MAX_HEADER_BYTES, ProxyHeader, parse};

fn written(header: ProxyHeader) -> Option<String> {
    let ProxyHeader::Proxied { source, destination } = header else { return None };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    Some(format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()))
}

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse(bytes);
    let longer = parse(&[bytes, b"\r\nEHLO a\r\n"].concat());
    match parsed {
        Ok(None) => assert!(bytes.len() < MAX_HEADER_BYTES, "what goes on for longer is no header"),
        Err(_) => assert!(longer.is_err(), "more bytes make no header of what is none"),
        Ok(Some((header, taken))) => {
            assert!(taken <= bytes.len().min(MAX_HEADER_BYTES));
            assert_eq!(longer, parsed, "what follows is the client's");
            assert_eq!(parse(&bytes[..taken]), parsed);
            // Of the longest header some hundred prefixes are enough.
            for at in (0..taken).step_by(1 + taken / 256) {
                assert_eq!(parse(&bytes[..at]), Ok(None), "a part of a header is waited for");
            }
            if let Some(text) = written(header) {
                assert_eq!(parse(text.as_bytes()), Ok(Some((header, text.len()))));
            }
        }
    }
});
