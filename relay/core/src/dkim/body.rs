//! The hash of a body in its relaxed form, while the body streams by.
//! **Owns:** RFC 6376 3.4.4. **Never:** keeps a body.
//! White space within a line is one space, at its end none; empty lines at the end are left out; the last line ends.

use sha2::{Digest, Sha256};

/// What is hashed at a time: words are short, and each call costs.
const BUFFER_BYTES: usize = 4096;

/// A body's hash that isn't complete. Any split of the bytes gives the same.
#[derive(Debug, Clone)]
pub struct BodyHash {
    hash: Sha256,
    buffer: Vec<u8>,
    /// Ends of lines that count only if something follows.
    line_ends: u64,
    /// White space that counts only if its line goes on.
    has_space: bool,
    has_cr: bool,
    is_empty: bool,
}

/// A body's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDigest([u8; 32]);

impl Default for BodyHash {
    fn default() -> Self {
        Self {
            hash: Sha256::new(),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            line_ends: 0,
            has_space: false,
            has_cr: false,
            is_empty: true,
        }
    }
}

impl BodyHash {
    /// Takes the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            match first {
                b'\n' if self.has_cr => {
                    self.line_ends += 1;
                    (self.has_cr, self.has_space) = (false, false);
                    rest = &rest[1..];
                }
                _ if self.has_cr => {
                    // It ends no line, so that it is a byte like others.
                    self.has_cr = false;
                    self.put(b"\r");
                }
                b' ' | b'\t' => {
                    self.has_space = true;
                    rest = &rest[1..];
                }
                b'\r' => {
                    self.has_cr = true;
                    rest = &rest[1..];
                }
                _ => {
                    let end = memchr::memchr3(b' ', b'\t', b'\r', rest).unwrap_or(rest.len());
                    self.put(&rest[..end]);
                    rest = &rest[end..];
                }
            }
        }
    }

    /// The hash of all that came.
    pub fn finish(mut self) -> BodyDigest {
        if self.has_cr {
            self.put(b"\r");
        }
        if !self.is_empty {
            self.write(b"\r\n");
        }
        self.hash.update(&self.buffer);
        BodyDigest(self.hash.finalize().into())
    }

    /// Bytes that are no white space: what was held back before them counts now.
    fn put(&mut self, bytes: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.write(b"\r\n");
        }
        if std::mem::take(&mut self.has_space) {
            self.write(b" ");
        }
        self.is_empty = false;
        self.write(bytes);
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.hash.update(&self.buffer);
            self.buffer.clear();
        }
        if bytes.len() > BUFFER_BYTES {
            self.hash.update(bytes);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }
}

impl BodyDigest {
    /// As `bh=` has it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
