//! Who is told of what, and how much of the message is shown.
//! **Owns:** NOTIFY and RET as decisions. **Never:** a notice's form.
//! RFC 3461 4.1, 4.3, 5.2.2, 6.2; RFC 5321 4.5.5 (a null sender gets no notice).

use postrider_mail::{Envelope, Outcome, OutcomeKind, Recipient, ReturnContent, TlsRequirement};

/// The largest message that a bounce shows whole. Larger ones show their header: the sender has the rest.
pub const MAX_RETURNED_BYTES: u64 = 50 * 1024;

/// Whether the sender is told that this recipient's mail bounced.
pub fn tells_bounce(envelope: &Envelope, recipient: &Recipient) -> bool {
    has_sender(envelope) && recipient.wants_failure()
}

/// Whether the sender is told, once, that this recipient's mail is late. `is_bulk`: see [`is_bulk`].
pub fn tells_delay(envelope: &Envelope, recipient: &Recipient, is_bulk: bool) -> bool {
    // Who asked for it gets it whatever the mail is; who said nothing does not for mail sent to many.
    has_sender(envelope) && recipient.wants_delay() && (recipient.notify.is_some() || !is_bulk)
}

/// Whether the sender is told that this recipient's mail was relayed. A far side with DSN was given NOTIFY and tells itself.
pub fn tells_success(envelope: &Envelope, recipient: &Recipient, far_side_has_dsn: bool) -> bool {
    has_sender(envelope) && recipient.wants_success() && !far_side_has_dsn
}

/// Of an attempt's outcomes, the recipients that a bounce is about.
pub fn bounced<'a>(envelope: &'a Envelope, outcomes: &'a [Outcome]) -> impl Iterator<Item = u32> + 'a {
    outcomes
        .iter()
        .filter(|outcome| outcome.kind == OutcomeKind::Bounced)
        .map(|outcome| outcome.recipient)
        .filter(|at| recipient(envelope, *at).is_some_and(|who| tells_bounce(envelope, who)))
}

/// Whether the notice shows the whole message, so that its body is to be loaded.
pub fn returns_body(kind: super::Kind, envelope: &Envelope, size: u64) -> bool {
    // RFC 3461 4.3: RET is about failures; the others show the header only. RFC 8689 5: the report goes without REQUIRETLS.
    kind == super::Kind::Bounce
        && envelope.tls != TlsRequirement::Required
        && envelope.return_content == Some(ReturnContent::Full)
        && size <= MAX_RETURNED_BYTES
}

/// Whether a header says that the message went to many: nobody waits for notices of its delay.
pub fn is_bulk(header: &[u8]) -> bool {
    header.split(|byte| *byte == b'\n').take_while(|line| !line.trim_ascii().is_empty()).any(|line| {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        let is_named = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        is_named("List-Id")
            || is_named("List-Unsubscribe")
            || (is_named("Precedence")
                && ["bulk", "junk", "list"].iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes())))
    })
}

fn has_sender(envelope: &Envelope) -> bool {
    envelope.sender.mailbox().is_some()
}

fn recipient(envelope: &Envelope, at: u32) -> Option<&Recipient> {
    envelope.recipients.get(usize::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use postrider_mail::{BodyEncoding, Notify, ReversePath};

    use super::*;
    use crate::bounce::Kind;

    fn envelope(sender: &str) -> Envelope {
        Envelope {
            sender: ReversePath::try_from(sender.to_owned()).expect("a path"),
            recipients: vec![],
            body: BodyEncoding::SevenBit,
            smtputf8: false,
            return_content: None,
            envelope_id: None,
            tls: postrider_mail::TlsRequirement::Unsaid,
        }
    }

    fn recipient(notify: Option<Notify>) -> Recipient {
        Recipient { notify, ..Recipient::new("b@far.example".parse().expect("a mailbox")) }
    }

    #[test]
    fn a_null_sender_is_told_nothing() {
        let (null, anybody) = (envelope(""), recipient(None));
        let all = recipient(Some(Notify::On { success: true, failure: true, delay: true }));
        assert!(!tells_bounce(&null, &anybody) && !tells_delay(&null, &anybody, false));
        assert!(!tells_success(&null, &all, false));
    }

    #[test]
    fn notify_says_of_what_a_sender_is_told() {
        let from = envelope("a@app.example");
        let never = recipient(Some(Notify::Never));
        let success = recipient(Some(Notify::On { success: true, failure: false, delay: false }));
        let silent = recipient(None);
        assert!(!tells_bounce(&from, &never) && !tells_delay(&from, &never, false));
        assert!(!tells_bounce(&from, &success) && tells_success(&from, &success, false));
        assert!(!tells_success(&from, &success, true), "a far side with DSN tells itself");
        assert!(tells_bounce(&from, &silent) && tells_delay(&from, &silent, false));
        assert!(!tells_delay(&from, &silent, true), "nobody asked about bulk mail");
    }

    #[test]
    fn a_body_is_returned_where_asked_for_and_small() {
        let mut from = envelope("a@app.example");
        assert!(!returns_body(Kind::Bounce, &from, 10));
        from.return_content = Some(ReturnContent::Full);
        assert!(returns_body(Kind::Bounce, &from, 10));
        let required = Envelope { tls: TlsRequirement::Required, ..from.clone() };
        assert!(!returns_body(Kind::Bounce, &required, 10), "RFC 8689 5");
        assert!(!returns_body(Kind::Bounce, &from, MAX_RETURNED_BYTES + 1));
        assert!(!returns_body(Kind::Delay, &from, 10));
    }

    #[test]
    fn bulk_mail_is_known_by_its_header() {
        assert!(is_bulk(b"From: a\r\nPRECEDENCE:  Bulk\r\n"));
        assert!(is_bulk(b"List-Id: <x.example>\r\n"));
        assert!(!is_bulk(b"Subject: precedence: bulk\r\n\r\nList-Id: in the body\r\n"));
    }
}
