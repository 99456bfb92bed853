//! Lines that end with CRLF, and nothing else that looks like an end.
//! **Owns:** where a line ends, and that it ends within a bound. **Never:** what it says.
//! RFC 5321 2.3.8 (CR and LF only together), 4.5.3.1 (lengths).

use memchr::memchr;

/// The longest command line, RFC 5321 4.5.3.1.4 with what extensions add.
pub const MAX_COMMAND_LINE_BYTES: usize = 2048;

/// What stands at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// No line yet: more bytes are needed.
    Partial,
    /// A line of so many bytes, its CRLF not counted.
    Whole(usize),
    /// A line that takes so many bytes and has a CR or LF that stands alone.
    Bare(usize),
    /// More bytes than a line may have.
    TooLong,
}

/// Looks for a line of at most `limit` bytes, its CRLF included.
pub fn find(buffer: &[u8], limit: usize) -> Line {
    let Some(end) = memchr(b'\n', &buffer[..buffer.len().min(limit)]) else {
        return if buffer.len() >= limit { Line::TooLong } else { Line::Partial };
    };
    match buffer[..end].split_last() {
        Some((b'\r', content)) if memchr(b'\r', content).is_none() => Line::Whole(content.len()),
        _ => Line::Bare(end + 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(find(b"QUIT\r\nX", 10), Line::Whole(4));
        assert_eq!(find(b"\r\n", 10), Line::Whole(0));
        assert_eq!(find(b"QUIT\n", 10), Line::Bare(5));
        assert_eq!(find(b"QU\rIT\r\n", 10), Line::Bare(7));
        assert_eq!(find(b"QUIT\r", 10), Line::Partial);
        assert_eq!(find(b"", 10), Line::Partial);
    }

    #[test]
    fn a_line_is_bounded_with_its_end() {
        assert_eq!(find(b"12345678\r\n", 10), Line::Whole(8));
        assert_eq!(find(b"123456789\r\n", 10), Line::TooLong);
        assert_eq!(find(&[b'x'; 1 << 20], 2048), Line::TooLong);
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_a_line_that_was_found(text in "[a\r\n]{0,12}") {
            let bytes = text.as_bytes();
            let whole = find(bytes, 8);
            for at in 0..bytes.len() {
                let part = find(&bytes[..at], 8);
                prop_assert!(part == Line::Partial || part == whole);
            }
        }
    }
}
