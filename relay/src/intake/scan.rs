//! What must be known of a message's content, found while it streams by: its header's fields and size, its 8-bit bytes.
//! **Owns:** the walk over the header. **Never:** keeps content, judges it.
//! RFC 5322 2.2 (fields), RFC 5321 6.3 (loops are found by counting Received), RFC 8689 4 (TLS-Required).

/// The longest name that is looked for.
const LONGEST: usize = "tls-required".len();
/// The one value of `TLS-Required` that says something.
const NO: &[u8] = b"no";

/// What was found so far. Feed it any split of the bytes: the result is the same.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// How many Received fields the header has.
    pub received: u32,
    /// Whether it has a Date field.
    pub has_date: bool,
    /// Whether it has a Message-ID field.
    pub has_message_id: bool,
    /// Whether the header has bytes above 127 (RFC 6532).
    pub header_is_8bit: bool,
    /// Whether the body has bytes above 127.
    pub body_is_8bit: bool,
    /// Whether the header has a NUL.
    pub header_has_nul: bool,
    /// How long the header is, its empty line included.
    pub header_bytes: u64,
    /// How long the content is.
    pub bytes: u64,
    is_over: bool,
    /// How many TLS-Required fields there are, whether the current field is one, and what the first letters of their values are.
    tls_required: u32,
    is_tls_required: bool,
    tls_value: [u8; NO.len()],
    tls_value_len: usize,
    /// The start of a name that isn't complete.
    name: [u8; LONGEST],
    name_len: usize,
    line: Line,
    /// Bytes of the current line in earlier chunks.
    line_bytes: u64,
}

/// How far the current line of the header is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Line {
    /// Nothing of it has come.
    #[default]
    Start,
    /// A name, or what may become one.
    Name,
    /// White space behind a name: obsolete, but seen (RFC 5322 4.5).
    Gap,
    /// A CR at its start: the empty line, if LF follows.
    Cr,
    /// Behind the colon, or a line that continues a field.
    Rest,
}

impl Scan {
    /// Takes the next bytes of the content.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        let body = if self.is_over { chunk } else { self.feed_header(chunk) };
        self.body_is_8bit = self.body_is_8bit || !body.is_ascii();
    }

    /// Whether the header's end was seen.
    pub fn header_is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the header says `TLS-Required: No`, once.
    pub fn lifts_tls(&self) -> bool {
        self.tls_required == 1 && self.tls_value_len == NO.len() && self.tls_value.eq_ignore_ascii_case(NO)
    }

    /// Whether the content begins with something else than a field or an empty line.
    pub fn lacks_header(&self) -> bool {
        self.is_over && self.header_bytes == 0
    }

    /// Returns what belongs to the body.
    fn feed_header<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let mut rest = chunk;
        while !rest.is_empty() && !self.is_over {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, behind) = rest.split_at(end);
            if !self.feed_line(line) {
                // The line is the body's, and what was seen of it before, too.
                self.is_over = true;
                self.header_bytes -= self.line_bytes;
                break;
            }
            self.line_bytes += line.len() as u64;
            self.header_bytes += line.len() as u64;
            if line.ends_with(b"\n") {
                self.end_line();
            }
            rest = behind;
        }
        let header = &chunk[..chunk.len() - rest.len()];
        self.header_is_8bit = self.header_is_8bit || !header.is_ascii();
        self.header_has_nul = self.header_has_nul || memchr::memchr(0, header).is_some();
        rest
    }

    /// Takes a piece of one line, which may be all of it. Returns false if the line can't be a header's.
    fn feed_line(&mut self, piece: &[u8]) -> bool {
        for (at, byte) in piece.iter().enumerate() {
            self.line = match (self.line, *byte) {
                (Line::Rest, _) => {
                    self.feed_value(&piece[at..]);
                    return true;
                }
                (Line::Start, b'\r') => Line::Cr,
                (Line::Start | Line::Cr, b'\n') => {
                    self.is_over = true;
                    return true;
                }
                // What continues a field needs one before it.
                (Line::Start, b' ' | b'\t') if self.header_bytes > 0 => Line::Rest,
                (Line::Name | Line::Gap, b':') => {
                    self.count();
                    Line::Rest
                }
                (Line::Name | Line::Gap, b' ' | b'\t') => Line::Gap,
                (Line::Start | Line::Name, b'!'..=b'9' | b';'..=b'~') => {
                    self.is_tls_required = false;
                    if let Some(place) = self.name.get_mut(self.name_len) {
                        *place = *byte;
                    }
                    self.name_len += 1;
                    Line::Name
                }
                (Line::Start | Line::Name | Line::Gap | Line::Cr, _) => return false,
            };
        }
        true
    }

    fn end_line(&mut self) {
        (self.line, self.name_len, self.line_bytes) = (Line::Start, 0, 0);
    }

    fn count(&mut self) {
        let Some(name) = self.name.get(..self.name_len) else { return };
        if name.eq_ignore_ascii_case(b"received") {
            self.received += 1;
        } else if name.eq_ignore_ascii_case(b"date") {
            self.has_date = true;
        } else if name.eq_ignore_ascii_case(b"message-id") {
            self.has_message_id = true;
        } else if name.eq_ignore_ascii_case(b"tls-required") {
            self.is_tls_required = true;
            self.tls_required += 1;
        }
    }

    /// Takes a piece of a field's value.
    fn feed_value(&mut self, piece: &[u8]) {
        if !self.is_tls_required {
            return;
        }
        for byte in piece.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            if let Some(place) = self.tls_value.get_mut(self.tls_value_len) {
                *place = *byte;
            }
            self.tls_value_len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"Received: from a\r\n\tby b\r\nRECEIVED: x\r\nReceived-SPF: no\r\nDate: now\r\nMessage-Id: <a@b>\r\nSubject: J\xc3\xbcrgen\r\n\r\nReceived: in the body\r\nDate: too\r\n";

    fn scan(chunks: &[&[u8]]) -> Scan {
        let mut scan = Scan::default();
        for chunk in chunks {
            scan.feed(chunk);
        }
        scan
    }

    #[test]
    fn any_split_of_the_bytes_finds_the_same() {
        let whole = scan(&[MESSAGE]);
        assert_eq!((whole.received, whole.has_date, whole.has_message_id), (2, true, true));
        assert!(
            whole.header_is_8bit && !whole.body_is_8bit && !whole.header_has_nul && whole.header_is_over()
        );
        let header_bytes =
            MESSAGE.windows(4).position(|w| w == b"\r\n\r\n").expect("an empty line") as u64 + 4;
        assert_eq!(whole.header_bytes, header_bytes);
        for at in 0..=MESSAGE.len() {
            let split = scan(&[&MESSAGE[..at], &MESSAGE[at..]]);
            assert_eq!(format!("{split:?}"), format!("{whole:?}"), "split at {at}");
        }
        let bytes: Vec<&[u8]> = MESSAGE.chunks(1).collect();
        assert_eq!(format!("{:?}", scan(&bytes)), format!("{whole:?}"));
    }

    #[test]
    fn fields_in_the_body_are_not_the_headers() {
        let found = scan(&[b"Subject: x\r\n\r\nDate: no\r\nMessage-ID: no\r\n\xff\0"]);
        assert!(!found.has_date && !found.has_message_id && !found.header_is_8bit && found.body_is_8bit);
        assert!(!found.header_has_nul);
        assert!(scan(&[b"Subject: \0\r\n"]).header_has_nul);
    }

    #[test]
    fn tls_is_lifted_by_one_field_that_says_no() {
        let lifts = |header: &[u8]| {
            let whole = scan(&[header]).lifts_tls();
            let bytes: Vec<&[u8]> = header.chunks(1).collect();
            assert_eq!(scan(&bytes).lifts_tls(), whole, "{header:?} byte by byte");
            whole
        };
        assert!(lifts(b"Subject: x\r\nTLS-Required: No\r\nDate: y\r\n\r\nbody"));
        assert!(lifts(b"tls-required:\r\n no \r\n\r\n"));
        assert!(!lifts(b"TLS-Required: Yes\r\n\r\n"));
        assert!(!lifts(b"TLS-Required: Nope\r\n\r\n"));
        assert!(!lifts(b"TLS-Required: No\r\nTLS-Required: No\r\n\r\n"), "RFC 8689 4: once");
        assert!(!lifts(b"Subject: TLS-Required: No\r\n\r\nTLS-Required: No\r\n"));
        assert!(!lifts(b"TLS-Required-By: No\r\n\r\n"));
    }

    #[test]
    fn a_message_without_header_has_none() {
        let found = scan(&[b"\r\nReceived: x\r\n"]);
        assert_eq!((found.received, found.header_bytes, found.header_is_over()), (0, 2, true));
        assert!(!found.lacks_header());
    }

    #[test]
    fn what_is_no_field_ends_the_header_however_it_is_split() {
        for (message, header_bytes) in [
            (&b"no field\r\nReceived: x\r\n"[..], 0),
            (b"nofieldatall\r\n", 0),
            (b" begins with a space\r\n", 0),
            (b"Subject: x\r\n folded\r\nOld \t: y\r\nnot a field: x\r\nReceived: x\r\n", 31),
            (b"Subject: x\r\nJ\xc3\xbcrgen: y\r\n", 12),
            (b"Subject: x\r\n: no name\r\n", 12),
            (b"Subject: x\r\n\rx\r\n", 12),
        ] {
            let whole = scan(&[message]);
            assert_eq!((whole.received, whole.header_bytes), (0, header_bytes), "{message:?}");
            assert!(whole.header_is_over() && !whole.header_is_8bit);
            assert_eq!(whole.lacks_header(), header_bytes == 0);
            for at in 0..=message.len() {
                let split = scan(&[&message[..at], &message[at..]]);
                assert_eq!(
                    (split.header_bytes, split.body_is_8bit, split.received),
                    (whole.header_bytes, whole.body_is_8bit, 0),
                    "{message:?} split at {at}"
                );
            }
        }
    }
}
