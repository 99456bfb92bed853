//! How one input of a fuzzer's becomes the parts that a target wants.
//! **Owns:** the ways to cut it, and small answers that several targets give. **Never:** a claim about the product.
//!
//! An input is text where that is possible, so that a person can write one: parts end with [`SEPARATOR`].

use postrider_mail::{EnhancedCode, HostName, Reply, ReplyCode};

/// What parts of an input end with: ASCII's record separator, which no protocol of ours has a use for.
pub const SEPARATOR: u8 = 0x1e;

/// So many parts of an input, empty where there are fewer; the last one takes all that is left.
pub fn parts<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut parts = input.splitn(N, |byte| *byte == SEPARATOR);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Every part of an input.
pub fn all_parts(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|byte| *byte == SEPARATOR)
}

/// A part as text; what isn't UTF-8 is replaced.
pub fn text(part: &[u8]) -> String {
    String::from_utf8_lossy(part).into_owned()
}

/// Bytes in pieces whose sizes go by `seed`: small ones mostly, of one byte each for 0.
pub fn pieces(bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut state) = (bytes, u32::from(seed));
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // The constants of an old C library's rand(): any sequence will do.
        state = if state == 0 { 0 } else { state.wrapping_mul(1_103_515_245).wrapping_add(12_345) };
        let size = match state >> 16 & 7 {
            _ if state == 0 => 1,
            0 => 1 + (state >> 19 & 255) as usize,
            small => small as usize,
        };
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        Some(piece)
    })
}

/// A refusal of a shell's.
pub fn no(code: u16) -> Reply {
    let enhanced = if code < 500 { EnhancedCode::transient(0, 0) } else { EnhancedCode::permanent(0, 0) };
    Reply::new(ReplyCode::new(code), enhanced, "no")
}

/// A name that is known to be one.
pub fn host(name: &str) -> HostName {
    HostName::parse(name).expect("the target's own name")
}

/// Whether no CR or LF stands alone.
pub fn has_whole_line_ends(bytes: &[u8]) -> bool {
    let is_bare = |at: usize| match bytes[at] {
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || bytes[at - 1] != b'\r',
        _ => false,
    };
    !(0..bytes.len()).any(is_bare)
}
