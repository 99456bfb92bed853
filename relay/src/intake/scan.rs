//! What must be known of a message's content, found while it streams by: its header's fields and size, its 8-bit bytes.
//! **Owns:** the walk over the header. **Never:** keeps content, judges it.
//! RFC 5322 2.2 (fields), RFC 5321 6.3 (loops are found by counting Received).

/// The longest name that is looked for, with its colon.
const LONGEST: usize = "message-id:".len();

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
    /// The start of a line whose rest hasn't come.
    start: [u8; LONGEST],
    start_len: usize,
    /// Whether the start of the current line was judged.
    is_judged: bool,
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

    /// Returns what belongs to the body.
    fn feed_header<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let mut rest = chunk;
        while !rest.is_empty() && !self.is_over {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, behind) = rest.split_at(end);
            self.feed_line(line);
            rest = behind;
        }
        let header = &chunk[..chunk.len() - rest.len()];
        self.header_bytes += header.len() as u64;
        self.header_is_8bit = self.header_is_8bit || !header.is_ascii();
        self.header_has_nul = self.header_has_nul || memchr::memchr(0, header).is_some();
        rest
    }

    /// Takes a piece of one line, which may be all of it.
    fn feed_line(&mut self, piece: &[u8]) {
        let is_whole = piece.ends_with(b"\n");
        if !self.is_judged {
            let wanted = LONGEST - self.start_len;
            let taken = piece.len().min(wanted);
            self.start[self.start_len..self.start_len + taken].copy_from_slice(&piece[..taken]);
            self.start_len += taken;
            if self.start_len == LONGEST || is_whole {
                self.judge();
            }
        }
        if is_whole {
            self.start_len = 0;
            self.is_judged = false;
        }
    }

    fn judge(&mut self) {
        self.is_judged = true;
        let start = &self.start[..self.start_len];
        let has =
            |name: &str| start.get(..name.len()).is_some_and(|s| s.eq_ignore_ascii_case(name.as_bytes()));
        if start == b"\r\n" || start == b"\n" {
            self.is_over = true;
        } else if has("received:") {
            self.received += 1;
        } else if has("date:") {
            self.has_date = true;
        } else if has("message-id:") {
            self.has_message_id = true;
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
    fn a_message_without_header_has_none() {
        let found = scan(&[b"\r\nReceived: x\r\n"]);
        assert_eq!((found.received, found.header_bytes, found.header_is_over()), (0, 2, true));
    }
}
