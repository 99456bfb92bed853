//! Replies on the wire: ours written, a far side's read.
//! **Owns:** their bytes, the bounds of what is read. **Never:** what a reply means.
//! RFC 5321 4.2 (form), 4.2.1 (multi-line), RFC 2034 (enhanced codes).

use bytes::{Buf, BytesMut};
use memchr::memchr;
use postrider_mail::{EnhancedCode, FarReply, FarText, Reply, ReplyCode, reply::MAX_FAR_TEXT_BYTES};

/// The longest line that we write, its CRLF included: RFC 5321 4.5.3.1.5.
const MAX_WRITTEN_LINE_BYTES: usize = 512;
/// The longest line that is read: far more than RFC 5321 allows.
pub const MAX_READ_LINE_BYTES: usize = 4096;
/// The longest reply that is read, in lines.
pub const MAX_READ_LINES: u32 = 256;

/// Appends a reply.
pub fn write(reply: &Reply, output: &mut BytesMut) {
    let last = reply.lines().len().saturating_sub(1);
    if reply.lines().is_empty() {
        write_line(reply, true, "", output);
    }
    for (at, line) in reply.lines().iter().enumerate() {
        write_line(reply, at == last, line, output);
    }
}

fn write_line(reply: &Reply, is_last: bool, text: &str, output: &mut BytesMut) {
    let start = output.len();
    push_number(reply.code().get(), output);
    output.extend_from_slice(if is_last { b" " } else { b"-" });
    if let Some(code) = reply.enhanced() {
        output.extend_from_slice(&[b'0' + code.severity().digit(), b'.']);
        push_number(code.subject(), output);
        output.extend_from_slice(b".");
        push_number(code.detail(), output);
        output.extend_from_slice(b" ");
    }
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if output.len() - start + c.len_utf8() > MAX_WRITTEN_LINE_BYTES - 2 {
            break;
        }
        output.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    output.extend_from_slice(b"\r\n");
}

fn push_number(number: u16, output: &mut BytesMut) {
    let mut divisor = 100;
    while divisor > 1 && number < divisor {
        divisor /= 10;
    }
    while divisor > 0 {
        // A digit, so it fits.
        output.extend_from_slice(&[b'0' + (number / divisor % 10) as u8]);
        divisor /= 10;
    }
}

/// Reads a far side's replies, whatever pieces they come in.
#[derive(Debug, Default)]
pub struct ReplyReader {
    keeps_lines: bool,
    lines: Vec<Box<str>>,
    line_count: u32,
    enhanced: Option<EnhancedCode>,
    text: String,
}

/// A reply with, where they were asked for, its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadReply {
    /// The reply.
    pub reply: FarReply,
    /// The text of each line behind the code; empty unless asked for.
    pub lines: Vec<Box<str>>,
}

/// Bytes that are no reply, or one beyond all bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("found bytes that are no SMTP reply; expected three digits and text, in lines of a bounded size")]
pub struct Garbage;

impl ReplyReader {
    /// Whether each line is kept: the answer to EHLO is a list.
    pub fn keep_lines(&mut self, keeps_lines: bool) {
        self.keeps_lines = keeps_lines;
    }

    /// Whether a reply has begun and not ended.
    pub fn is_amid(&self) -> bool {
        self.line_count > 0
    }

    /// Takes a reply from the front of `input`: `None` while more bytes are needed. Where the lines of a reply differ in
    /// their code the last one's counts, as it does for Postfix.
    ///
    /// # Errors
    /// The bytes are no reply. The connection is of no more use.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<ReadReply>, Garbage> {
        loop {
            let window = &input[..input.len().min(MAX_READ_LINE_BYTES)];
            let Some(end) = memchr(b'\n', window) else {
                // What can't become a reply needn't be waited for.
                let is_hopeless = input.len() >= MAX_READ_LINE_BYTES || !may_begin_reply(input);
                return if is_hopeless { Err(Garbage) } else { Ok(None) };
            };
            let line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
            let (code, is_last, text) = split_line(line)?;
            self.line_count += 1;
            if self.line_count > MAX_READ_LINES {
                return Err(Garbage);
            }
            self.add_text(text);
            input.advance(end + 1);
            if is_last {
                return Ok(Some(self.take(code)));
            }
        }
    }

    fn add_text(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let text = text.trim();
        if self.keeps_lines {
            self.lines.push(text.into());
        }
        let text = match EnhancedCode::split_from(text) {
            Some((code, rest)) => {
                self.enhanced.get_or_insert(code);
                rest
            }
            None => text,
        };
        if self.text.len() < MAX_FAR_TEXT_BYTES {
            if !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push_str(text);
        }
    }

    fn take(&mut self, code: ReplyCode) -> ReadReply {
        self.line_count = 0;
        let reply = FarReply { code, enhanced: self.enhanced.take(), text: FarText::new(&self.text) };
        self.text.clear();
        ReadReply { reply, lines: std::mem::take(&mut self.lines) }
    }
}

/// Whether these bytes could be the start of a reply's line.
fn may_begin_reply(bytes: &[u8]) -> bool {
    bytes.iter().take(3).all(u8::is_ascii_digit) && bytes.get(3).is_none_or(|b| b" -\r".contains(b))
}

fn split_line(line: &[u8]) -> Result<(ReplyCode, bool, &[u8]), Garbage> {
    let (digits, rest) = line.split_at_checked(3).ok_or(Garbage)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Garbage);
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    let code = ReplyCode::try_from(number).map_err(|_| Garbage)?;
    match rest {
        [] => Ok((code, true, rest)),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        _ => Err(Garbage),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(bytes: &[u8], size: usize) -> Result<Vec<ReadReply>, Garbage> {
        let (mut reader, mut input, mut replies) = (ReplyReader::default(), BytesMut::new(), Vec::new());
        reader.keep_lines(true);
        for piece in bytes.chunks(size) {
            input.extend_from_slice(piece);
            while let Some(reply) = reader.read(&mut input)? {
                replies.push(reply);
            }
            assert!(input.len() <= MAX_READ_LINE_BYTES);
        }
        Ok(replies)
    }

    fn written(reply: &Reply) -> String {
        let mut output = BytesMut::new();
        write(reply, &mut output);
        String::from_utf8(output.to_vec()).expect("UTF-8")
    }

    #[test]
    fn each_line_has_code_and_enhanced_code() {
        let code = ReplyCode::new(550);
        assert_eq!(
            written(&Reply::new(code, EnhancedCode::permanent(7, 1), "no\r\n250 relay")),
            "550 5.7.1 no  250 relay\r\n"
        );
        let lines = vec!["a.example".into(), "SIZE 0".into()];
        assert_eq!(written(&Reply::bare(ReplyCode::new(250), lines)), "250-a.example\r\n250 SIZE 0\r\n");
        let long = written(&Reply::new(code, EnhancedCode::permanent(1, 10), "é".repeat(600)));
        assert!(
            long.len() <= MAX_WRITTEN_LINE_BYTES
                && long.starts_with("550 5.1.10 é")
                && long.ends_with("é\r\n")
        );
    }

    #[test]
    fn multi_line_replies_are_one() {
        let replies = read_all(b"250-5.1.1 a\r\n250-5.1.1 b\r\n550 c\r\n221\r\n", 100).expect("replies");
        assert_eq!(replies[0].reply.to_string(), "550 5.1.1 a b c");
        assert_eq!(replies[0].lines.len(), 3);
        assert_eq!(replies[1].reply.to_string(), "221");
    }

    #[test]
    fn what_is_no_reply_is_garbage() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"SSH-2.0",
            b"25\r\n",
            b"250x\r\n",
            b"199 a\r\n",
            b"600 a\r\n",
            b"\r\n",
            b"\x16\x03\x01",
        ] {
            assert_eq!(read_all(bytes, 100), Err(Garbage), "{bytes:?}");
        }
        assert_eq!(read_all(&[b"250 ", &[b'x'; 1 << 20][..]].concat(), 1000), Err(Garbage));
        assert_eq!(read_all(&b"250-x\r\n".repeat(100_000), 1000), Err(Garbage));
    }

    #[test]
    fn text_is_bounded() {
        let wire = [b"250-", &b"word ".repeat(700)[..], b"\r\n250 end\r\n"].concat();
        let replies = read_all(&wire, 100).expect("a reply");
        assert!(replies[0].reply.text.as_str().len() <= MAX_FAR_TEXT_BYTES);
    }

    proptest! {
        #[test]
        fn a_reply_is_read_as_it_was_written(code in prop_oneof![200_u16..300, 400_u16..600], subject in 0_u16..1000, detail in 0_u16..1000, text in "[a-zé]{1,5}( [a-zé]{1,5}){0,3}") {
            let code = ReplyCode::try_from(code).expect("in range");
            let enhanced = EnhancedCode::success(subject, detail).with_severity(code.severity());
            let read = read_all(written(&Reply::new(code, enhanced, text.clone())).as_bytes(), 7).expect("a reply");
            prop_assert_eq!(&read[0].reply, &FarReply { code, enhanced: Some(enhanced), text: FarText::new(&text) });
        }

        #[test]
        fn any_split_of_any_bytes_reads_alike(text in "([2-5][0-9]{2}[ -][a-z]{0,3}\r?\n){0,4}[ -~\r\n]{0,9}", size in 1_usize..9) {
            let split = read_all(text.as_bytes(), size);
            let whole = read_all(text.as_bytes(), 1000);
            prop_assert_eq!(split, whole);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_all(&bytes, 3);
        }
    }
}
