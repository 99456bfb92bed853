//! xtext: printable ASCII with `+HH` for the rest.
//! **Owns:** its codec. **Never:** what is encoded, or how long it may be. RFC 3461 4.

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> String {
        let mut output = Vec::new();
        encode(text, &mut output);
        String::from_utf8(output).expect("ASCII")
    }

    #[test]
    fn what_ends_a_parameter_is_encoded() {
        assert_eq!(encoded("a+b=c d\r\né"), "a+2Bb+3Dc+20d+0D+0A+C3+A9");
        assert_eq!(decode("a+2bb+3Dc+20d").as_deref(), Some("a+b=c d"), "lower case is seen");
    }

    #[test]
    fn what_is_not_xtext_or_would_break_a_header_is_refused() {
        for text in ["+", "+4", "+4G", "a=b", "a b", "é", "+C3", "+0D+0A", "+00", "+7F"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in "\\PC{0,30}") {
            let encoded = encoded(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'='));
            prop_assert_eq!(decode(&encoded), Some(text));
        }

        #[test]
        fn any_text_is_decoded_without_a_panic(text in "(\\+[0-9A-Fa-f]{0,2}|.){0,20}") {
            let _ = decode(&text);
        }
    }
}
