//! How values are written where not everything may stand.
//! **Owns:** quoted-printable, folding, dates, addresses in ASCII. **Never:** what is written.
//! RFC 2045 6.7, RFC 5322 2.2.3 and 3.3, RFC 6533 3 (utf-8-addr-xtext).

use std::fmt::Write as _;

use postrider_mail::Due;

/// The length that folded lines keep to where they can.
const LINE_BYTES: usize = 76;

/// A date as headers have it. Times that no calendar has become the epoch.
pub(crate) fn date(at: Due) -> String {
    let millis = i64::try_from(at.unix_millis()).unwrap_or(0);
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::fmt::rfc2822::to_string(&at.to_zoned(jiff::tz::TimeZone::UTC)).unwrap_or_default()
}

/// Printable ASCII: everything else becomes `?`.
pub(crate) fn ascii(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// On one line: control characters become `?`.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// An international address in ASCII: `\x{E9}` for an é.
pub(super) fn unitext(address: &str) -> String {
    let mut written = String::with_capacity(address.len() * 2);
    for c in address.chars() {
        match c {
            '\\' | '+' | '=' => _ = write!(written, "\\x{{{:X}}}", u32::from(c)),
            c if c.is_ascii_graphic() => written.push(c),
            c => _ = write!(written, "\\x{{{:X}}}", u32::from(c)),
        }
    }
    written
}

/// A field, folded at spaces. A word that is too long for a line stays whole.
pub(crate) fn folded(name: &str, value: &str) -> String {
    let mut field = format!("{name}:");
    let mut width = field.len();
    for word in value.split_ascii_whitespace() {
        if width + 1 + word.len() > LINE_BYTES && width > name.len() + 1 {
            field.push_str("\r\n   ");
            width = 3;
        }
        field.push(' ');
        field.push_str(word);
        width += 1 + word.len();
    }
    field.push_str("\r\n");
    field
}

/// Lines of text, their ends kept.
pub(super) fn quoted_printable(content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(content.len() + content.len() / 2);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        quote_line(text, &mut encoded);
        if line.ends_with(b"\r\n") {
            encoded.extend_from_slice(b"\r\n");
        }
    }
    encoded
}

fn quote_line(text: &[u8], encoded: &mut Vec<u8>) {
    let mut width = 0;
    for (at, byte) in text.iter().copied().enumerate() {
        // A space at a line's end would be lost on the way.
        let is_plain = (byte.is_ascii_graphic() && byte != b'=') || (byte == b' ' && at + 1 < text.len());
        let needs = if is_plain { 1 } else { 3 };
        if width + needs > LINE_BYTES - 1 {
            encoded.extend_from_slice(b"=\r\n");
            width = 0;
        }
        if is_plain {
            encoded.push(byte);
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            encoded.extend([b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        width += needs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_headers_have_them() {
        assert_eq!(date(Due::from_unix_millis(1_785_000_000_000)), "Sat, 25 Jul 2026 17:20:00 +0000");
        assert_eq!(date(Due::from_unix_millis(u64::MAX)), "Thu, 1 Jan 1970 00:00:00 +0000");
    }

    #[test]
    fn quoted_printable_keeps_lines_short_and_loses_nothing() {
        let line = "é".repeat(60) + "=  \r\nplain\r\n";
        let encoded = String::from_utf8(quoted_printable(line.as_bytes())).expect("ASCII");
        assert!(encoded.is_ascii() && encoded.lines().all(|line| line.len() <= LINE_BYTES));
        assert!(encoded.ends_with("=3D =20\r\nplain\r\n"), "{encoded}");
        assert_eq!(encoded.matches("=C3").count(), 60);
    }

    #[test]
    fn fields_fold_at_spaces() {
        let field = folded("Diagnostic-Code", &format!("smtp; 550 {}", "word ".repeat(30)));
        assert!(field.lines().all(|line| line.len() <= LINE_BYTES), "{field}");
        assert_eq!(field.split_ascii_whitespace().count(), 33);
        assert_eq!(folded("To", &"x".repeat(90)), format!("To: {}\r\n", "x".repeat(90)));
    }

    #[test]
    fn international_addresses_are_spelt_out() {
        assert_eq!(unitext("jürgen@example.com"), "j\\x{FC}rgen@example.com");
    }
}
