//! xtext: printable ASCII with `+HH` for the rest.
//! **Owns:** its codec. RFC 3461 4.

/// Decodes; what comes out is printable, as it is put in bounces' headers.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        match first {
            b'+' => {
                let (digits, behind) = behind.split_at_checked(2)?;
                bytes.push(hex(digits[0])? << 4 | hex(digits[1])?);
                rest = behind;
            }
            b'!'..=b'<' | b'>'..=b'~' => {
                bytes.push(*first);
                rest = behind;
            }
            _ => return None,
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    if text.chars().any(char::is_control) { None } else { Some(text) }
}

/// RFC 3461 asks for upper case; lower case is seen.
fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Encodes.
pub(super) fn encode(text: &str, output: &mut impl Extend<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' | ..=b' ' | 0x7f.. => {
                output.extend([b'+', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            _ => output.extend([byte]),
        }
    }
}
