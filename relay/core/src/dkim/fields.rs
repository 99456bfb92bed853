//! A header's fields: found, in their relaxed form, and which of them are signed.
//! **Owns:** RFC 6376 3.4.2 (relaxed), 5.4 (which fields), 5.4.2 (the last of a name first). **Never:** what a field says.

/// Signed as often as they are there, and once more: nobody can add one that a reader would believe (RFC 6376 8.15).
const OVERSIGNED: &[&str] = &[
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "sender",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
];
/// Signed where they are there: a mailing list may well add its own (RFC 6376 5.4.1, RFC 8058 4).
const SIGNED: &[&str] = &[
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
    "feedback-id",
    "auto-submitted",
];

/// One field, as it stands in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    /// What is behind the colon, with its folds and without its end.
    pub(super) value: &'a [u8],
}

/// The fields of a header, in their order; ends at what is no field.
pub(super) fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let end = end_of_field(rest);
        let (field, behind) = rest.split_at(end);
        rest = behind;
        let colon = memchr::memchr(b':', field)?;
        let (name, value) = (field[..colon].trim_ascii_end(), &field[colon + 1..]);
        if name.is_empty() || name.iter().any(|byte| !byte.is_ascii_graphic()) {
            return None;
        }
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        Some(Field { name, value: value.strip_suffix(b"\r").unwrap_or(value) })
    })
}

/// A line that begins with white space continues the field (RFC 5322 2.2.3).
fn end_of_field(text: &[u8]) -> usize {
    for at in memchr::memchr_iter(b'\n', text) {
        if !matches!(text.get(at + 1), Some(b' ' | b'\t')) {
            return at + 1;
        }
    }
    text.len()
}

/// A field in its relaxed form, without its end.
pub(super) fn relax(field: Field<'_>, into: &mut Vec<u8>) {
    into.extend(field.name.iter().map(u8::to_ascii_lowercase));
    into.push(b':');
    let start = into.len();
    let words = field.value.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    for word in words.filter(|word| !word.is_empty()) {
        if into.len() > start {
            into.push(b' ');
        }
        into.extend_from_slice(word);
    }
}

/// What `h=` says, and the fields in that order, in their relaxed form.
pub(super) fn signed(header: &[u8]) -> (Vec<&'static str>, Vec<u8>) {
    let fields: Vec<Field<'_>> = fields(header).collect();
    let (mut names, mut text) = (Vec::new(), Vec::with_capacity(header.len()));
    let all = OVERSIGNED.iter().map(|name| (*name, true)).chain(SIGNED.iter().map(|name| (*name, false)));
    for (name, is_oversigned) in all {
        let same = |field: &&Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
        for field in fields.iter().rev().filter(same) {
            names.push(name);
            relax(*field, &mut text);
            text.extend_from_slice(b"\r\n");
        }
        if is_oversigned {
            names.push(name);
        }
    }
    (names, text)
}
