//! What a sink reads out of commands and messages.
//! **Owns:** dots, addresses, the ledger's header. **Never:** I/O.

use crate::ledger::ID_HEADER;

/// A message without the stuffing of its dots.
pub(super) fn unstuff(stuffed: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(stuffed.len());
    let mut rest = stuffed.strip_prefix(b".").unwrap_or(stuffed);
    while let Some(at) = memchr::memmem::find(rest, b"\r\n.") {
        body.extend_from_slice(rest.get(..at + 2).unwrap_or_default());
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    body.extend_from_slice(rest);
    body
}

/// What stands in the angle brackets.
pub(super) fn path(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>'));
    inner.map(|(inner, _)| inner.to_owned()).unwrap_or_default()
}

/// The ID in a message's header; empty if there is none.
pub(super) fn id_of(body: &[u8]) -> String {
    let head = memchr::memmem::find(body, b"\r\n\r\n").and_then(|end| body.get(..end)).unwrap_or(body);
    let Some(at) = memchr::memmem::find(head, ID_HEADER.as_bytes()) else { return String::new() };
    let value = head.get(at + ID_HEADER.len()..).unwrap_or_default();
    let end = memchr::memchr(b'\r', value).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}
