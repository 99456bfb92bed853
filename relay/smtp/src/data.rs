//! The body between DATA and its final dot.
//! **Owns:** dots put in and taken out, where a message ends, lines that end with a lone CR or LF. **Never:** headers.
//! Only CRLF.CRLF ends a message: whoever takes anything else for an end can be made to see two messages in one
//! (CVE-2023-51764, -51765, -51766). RFC 5321 4.5.2 (dots), 2.3.8 (line ends).

use bytes::BytesMut;
use memchr::{memchr2, memchr3};

use crate::server::BareNewlines;

/// Takes the dots out of what follows DATA, or checks what BDAT brings.
#[derive(Debug, Clone)]
pub struct Decoder {
    framing: Framing,
    bare_newlines: BareNewlines,
    /// The next byte is the first of a line.
    is_line_start: bool,
    /// Octets of BDAT ended with a CR, which was taken but not given out.
    held_cr: bool,
    /// Whether what was given out so far is nothing or ends with CRLF.
    is_closed: bool,
    has_bare_newline: bool,
    has_nul: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// DATA: dots are stuffed, a lone one ends.
    Dots,
    /// BDAT: octets are counted elsewhere.
    Octets,
}

/// What a call of [`Decoder::decode`] gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Content, perhaps none.
    pub content: BytesMut,
    /// Whether the final dot was read.
    pub is_end: bool,
}

/// Content within a buffer, moved together where dots went out, or copied where CRs or LFs came in.
struct Kept<'a> {
    buffer: &'a mut [u8],
    len: usize,
    grown: Option<BytesMut>,
}

impl Kept<'_> {
    fn keep(&mut self, from: usize, to: usize) {
        match &mut self.grown {
            Some(grown) => grown.extend_from_slice(&self.buffer[from..to]),
            None => {
                if self.len != from {
                    self.buffer.copy_within(from..to, self.len);
                }
                self.len += to - from;
            }
        }
    }

    fn insert(&mut self, bytes: &[u8]) {
        let (kept, capacity) = (&self.buffer[..self.len], self.buffer.len() + 64);
        let grown = self.grown.get_or_insert_with(|| {
            let mut grown = BytesMut::with_capacity(capacity);
            grown.extend_from_slice(kept);
            grown
        });
        grown.extend_from_slice(bytes);
    }
}

impl Decoder {
    /// For what follows a 354.
    pub fn data(bare_newlines: BareNewlines) -> Self {
        Self::new(Framing::Dots, bare_newlines)
    }

    /// For what BDAT brings: dots are content, octets are counted by the caller.
    pub fn octets(bare_newlines: BareNewlines) -> Self {
        Self::new(Framing::Octets, bare_newlines)
    }

    fn new(framing: Framing, bare_newlines: BareNewlines) -> Self {
        Self {
            framing,
            bare_newlines,
            is_line_start: true,
            held_cr: false,
            is_closed: true,
            has_bare_newline: false,
            has_nul: false,
        }
    }

    /// Whether a CR or LF stood alone so far.
    pub fn has_bare_newline(&self) -> bool {
        self.has_bare_newline
    }

    /// Whether there was a NUL so far.
    pub fn has_nul(&self) -> bool {
        self.has_nul
    }

    /// Takes what can be told apart from the front of `input`; of DATA at most 3 bytes stay behind for the next call.
    pub fn decode(&mut self, input: &mut BytesMut) -> Decoded {
        let mut kept = Kept { buffer: input, len: 0, grown: None };
        let (taken, is_end) = self.walk(&mut kept);
        let (len, grown) = (kept.len, kept.grown);
        let mut content = input.split_to(taken);
        content.truncate(len);
        if let Some(grown) = grown {
            content = grown;
        }
        if !content.is_empty() {
            self.is_closed = content.ends_with(b"\n");
        }
        Decoded { content, is_end }
    }

    /// Takes the whole of `input`: the octets of a chunk, or some of them. A last CR is held until the next call, which costs a copy.
    pub fn decode_octets(&mut self, input: &mut BytesMut) -> BytesMut {
        if self.held_cr && !input.is_empty() {
            self.held_cr = false;
            let mut whole = BytesMut::with_capacity(input.len() + 1);
            whole.extend_from_slice(b"\r");
            whole.extend_from_slice(input);
            *input = whole;
        }
        let content = self.decode(input).content;
        if !input.is_empty() {
            // Only a CR can be left. Whether it is alone tells what comes next.
            input.clear();
            self.held_cr = true;
        }
        content
    }

    /// What has to follow the octets of the last chunk, so that the content ends with CRLF.
    pub fn finish_octets(&mut self) -> &'static [u8] {
        if self.held_cr {
            self.has_bare_newline = true;
        }
        if self.held_cr || !self.is_closed { b"\r\n" } else { b"" }
    }

    /// Gives how many bytes are done with, and whether the end was among them.
    fn walk(&mut self, kept: &mut Kept<'_>) -> (usize, bool) {
        let mut at = 0;
        loop {
            if self.is_line_start && self.framing == Framing::Dots {
                match kept.buffer[at..] {
                    [b'.', b'\r', b'\n', ..] => return (at + 3, true),
                    [] | [b'.'] | [b'.', b'\r'] => return (at, false),
                    [b'.', ..] => at += 1,
                    [..] => {}
                }
                self.is_line_start = false;
            }
            let Some(found) = memchr3(b'\r', b'\n', 0, &kept.buffer[at..]) else {
                kept.keep(at, kept.buffer.len());
                return (kept.buffer.len(), false);
            };
            match kept.buffer[at + found..] {
                [b'\r', b'\n', ..] => {
                    kept.keep(at, at + found + 2);
                    at += found + 2;
                    self.is_line_start = true;
                }
                [b'\r'] => {
                    kept.keep(at, at + found);
                    return (at + found, false);
                }
                [0, ..] => {
                    self.has_nul = true;
                    kept.keep(at, at + found + 1);
                    at += found + 1;
                }
                _ => {
                    kept.keep(at, at + found);
                    self.bare(kept);
                    at += found + 1;
                }
            }
        }
    }

    /// A CR or LF that stands alone. What follows it is the middle of a line: a dot there is content.
    fn bare(&mut self, kept: &mut Kept<'_>) {
        self.has_bare_newline = true;
        match self.bare_newlines {
            BareNewlines::Normalize => kept.insert(b"\r\n"),
            // The message is going to be refused: its content no longer matters.
            BareNewlines::Refuse => {}
        }
    }
}

/// Puts the dots in, and makes sure that no CR or LF goes out alone.
#[derive(Debug, Clone)]
pub struct Encoder {
    stuffs_dots: bool,
    is_line_start: bool,
    /// The last byte was a CR, which waits for its LF.
    has_cr: bool,
}

impl Encoder {
    /// For what follows a 354.
    pub fn data() -> Self {
        Self { stuffs_dots: true, is_line_start: true, has_cr: false }
    }

    /// For what BDAT brings.
    pub fn octets() -> Self {
        Self { stuffs_dots: false, is_line_start: true, has_cr: false }
    }

    /// Appends content to `output`; any split of it gives the same.
    pub fn encode(&mut self, content: &[u8], output: &mut BytesMut) {
        output.reserve(content.len() + 64);
        let mut rest = content;
        while let Some(first) = rest.first() {
            if self.has_cr {
                self.end_line(output);
                if *first == b'\n' {
                    rest = &rest[1..];
                    continue;
                }
            }
            if self.is_line_start && *first == b'.' && self.stuffs_dots {
                output.extend_from_slice(b".");
            }
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            output.extend_from_slice(&rest[..end]);
            self.is_line_start = self.is_line_start && end == 0;
            match rest[end..] {
                [] => return,
                [b'\r', b'\n', ..] => {
                    self.end_line(output);
                    rest = &rest[end + 2..];
                }
                [b'\r', ..] => {
                    self.has_cr = true;
                    rest = &rest[end + 1..];
                }
                _ => {
                    self.end_line(output);
                    rest = &rest[end + 1..];
                }
            }
        }
    }

    fn end_line(&mut self, output: &mut BytesMut) {
        output.extend_from_slice(b"\r\n");
        self.has_cr = false;
        self.is_line_start = true;
    }

    /// Ends the last line if it is open.
    pub fn finish(&mut self, output: &mut BytesMut) {
        if self.has_cr || !self.is_line_start {
            self.end_line(output);
        }
    }
}

#[cfg(test)]
mod tests;
