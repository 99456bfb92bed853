//! TXT records by which a domain says that it takes part in something: a version, then fields between semicolons.
//! **Owns:** which of a name's records is the one, how a field is found. **Never:** what a field says.
//! RFC 8460 3, RFC 8461 3.1: the same form and the same rules.

const BLANK: [char; 2] = [' ', '\t'];

/// The fields behind the version (`v=STSv1`). Records of others don't count; more than one of this version is none.
pub(crate) fn sole<'a>(version: &str, texts: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fields = |text: &'a str| text.strip_prefix(version)?.trim_start_matches(BLANK).strip_prefix(';');
    let mut records = texts.into_iter().filter_map(fields);
    records.next().filter(|_| records.next().is_none())
}

/// The value of the first field that begins so (`id=`).
pub(crate) fn field<'a>(fields: &'a str, start: &str) -> Option<&'a str> {
    fields.split(';').find_map(|field| field.trim_matches(BLANK).strip_prefix(start))
}
