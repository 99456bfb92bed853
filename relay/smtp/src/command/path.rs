//! What stands in angle brackets behind MAIL FROM: and RCPT TO:.
//! **Owns:** where a path ends, source routes. **Never:** addresses (mail's). RFC 5321 4.1.2.

use postrider_mail::{Mailbox, ReversePath};

use super::BadCommand;

/// The path without its brackets, and the parameters behind it.
pub(super) fn split(text: &str) -> Result<(&str, &str), BadCommand> {
    let bad = BadCommand::Arguments("an address in angle brackets");
    let Some(inner) = text.strip_prefix('<') else { return Err(bad) };
    let Some(end) = closing_bracket(inner) else { return Err(bad) };
    let (path, rest) = (&inner[..end], &inner[end + 1..]);
    if rest.is_empty() || rest.starts_with(' ') { Ok((path, rest)) } else { Err(bad) }
}

/// A quoted local part may have brackets and escaped quotes.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'>' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

pub(super) fn reverse(path: &str) -> Result<ReversePath, BadCommand> {
    if path.is_empty() { Ok(ReversePath::Null) } else { forward(path).map(ReversePath::Mailbox) }
}

/// Source routes are from a time when hosts had to be told the way (RFC 5321 appendix C): nobody needs one.
pub(super) fn forward(path: &str) -> Result<Mailbox, BadCommand> {
    if path.starts_with('@') {
        return Err(BadCommand::SourceRoute);
    }
    Ok(path.parse()?)
}
