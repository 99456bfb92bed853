//! The report: a multipart of words for people, fields for machines, and the message.
//! **Owns:** RFC 6522 and 3464 as bytes.
use postrider_mail::Mailbox;

use super::{Notice, Report};

pub(super) fn render(_report: &Report<'_>, _to: &Mailbox) -> Notice {
    panic!("being written")
}
