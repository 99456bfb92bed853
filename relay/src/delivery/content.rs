//! What is sent for a delivery: the message as it was accepted, or a report made from the record.
//! **Owns:** the choice, and the envelope that goes with it. **Never:** how a report reads (core::bounce).
//! Invariant: I5, a report goes out with the null sender.

use bytes::Bytes;
use postrider_core::bounce::{self, options};
use postrider_mail::{BodyEncoding, Envelope, HostName, Recipient, ReversePath};
use postrider_queue::{Body, Delivery, Kind, Message};

/// The bytes to send, and what a far side has to know of them.
pub struct Content {
    /// Header and body.
    pub body: Body,
    /// Their length.
    pub size: u64,
    /// Whether there are bytes above 127.
    pub is_8bit: bool,
    /// Whether there are some in the header.
    pub has_utf8_header: bool,
    /// Whether the client asked for SMTPUTF8, or a report's recipient needs it.
    pub smtputf8: bool,
}

/// Of a message that a report is about, no more than this is looked at.
const ORIGINAL_MAX_BYTES: usize = 512 * 1_024;

impl Content {
    /// The content of a delivery, from its message's body.
    pub fn of(delivery: &Delivery, body: Body, hostname: &HostName) -> Self {
        let kind = match delivery.kind {
            Kind::Message => return Self::message(&delivery.message, body),
            Kind::Bounce => bounce::Kind::Bounce,
            Kind::DelayNotice => bounce::Kind::Delay,
            Kind::SuccessNotice => bounce::Kind::Success,
        };
        Self::report(delivery, kind, &body, hostname)
    }

    fn message(message: &Message, body: Body) -> Self {
        Self {
            size: body.len(),
            body,
            is_8bit: message.received.has_8bit_body || message.received.has_8bit_header,
            has_utf8_header: message.received.has_8bit_header,
            smtputf8: message.smtputf8,
        }
    }

    fn report(delivery: &Delivery, kind: bounce::Kind, body: &Body, hostname: &HostName) -> Self {
        let message = &delivery.message;
        let envelope = original_envelope(delivery);
        let original = head(body);
        let mut original = bounce::split(&original);
        if !options::returns_body(kind, &envelope, message.received.size) {
            original.body = None;
        }
        let told = &delivery.report.recipients;
        let report = bounce::Report {
            kind,
            queue_id: &delivery.id.message,
            serial: delivery.id.number,
            hostname,
            envelope: &envelope,
            accepted: message.received.at,
            decided: told.iter().map(|one| one.at).max().unwrap_or(message.received.at),
            expires: delivery.report.retry_until.unwrap_or(delivery.expires),
            recipients: told
                .iter()
                .map(|one| bounce::Reported { recipient: &one.recipient, outcome: &one.outcome, at: one.at })
                .collect(),
            original,
            // A report that its reader's host refuses helps nobody: it does without 8-bit data everywhere.
            seven_bit: true,
        };
        // The queue makes no report to a null sender; should there be one, an empty message goes nowhere either.
        let Some(notice) = bounce::render(&report) else { return Self::nothing() };
        Self {
            size: notice.message.len() as u64,
            is_8bit: notice.encoding == BodyEncoding::EightBitMime,
            has_utf8_header: notice.smtputf8,
            smtputf8: notice.smtputf8,
            body: Body::from_chunks(vec![Bytes::from(notice.message)]),
        }
    }

    /// The same with these fields, of ASCII, on top.
    #[must_use]
    pub fn below(self, fields: &str) -> Self {
        let top = std::iter::once(Bytes::copy_from_slice(fields.as_bytes()));
        let chunks = top.chain(self.body.chunks().iter().cloned()).filter(|chunk| !chunk.is_empty());
        Self { size: self.size + fields.len() as u64, body: Body::from_chunks(chunks.collect()), ..self }
    }

    fn nothing() -> Self {
        Self { body: Body::default(), size: 0, is_8bit: false, has_utf8_header: false, smtputf8: false }
    }

    /// The envelope for some recipients.
    pub fn envelope(&self, delivery: &Delivery, recipients: Vec<Recipient>) -> Envelope {
        let is_message = delivery.kind == Kind::Message;
        let message = &delivery.message;
        Envelope {
            sender: delivery.sender().clone(),
            recipients,
            body: if self.is_8bit { BodyEncoding::EightBitMime } else { BodyEncoding::SevenBit },
            smtputf8: self.smtputf8,
            return_content: message.return_content.filter(|_| is_message),
            envelope_id: message.envelope_id.clone().filter(|_| is_message),
            tls: delivery.tls(),
        }
    }
}

/// The envelope of the message that a report is about, with the recipients that it tells of.
fn original_envelope(delivery: &Delivery) -> Envelope {
    let message = &delivery.message;
    Envelope {
        sender: message.sender.clone(),
        recipients: delivery.report.recipients.iter().map(|one| one.recipient.clone()).collect(),
        body: message.body,
        smtputf8: message.smtputf8,
        return_content: message.return_content,
        envelope_id: message.envelope_id.clone(),
        tls: message.tls,
    }
}

/// The start of a message in one piece.
fn head(body: &Body) -> Bytes {
    match body.chunks() {
        [] => Bytes::new(),
        [only] => only.slice(..only.len().min(ORIGINAL_MAX_BYTES)),
        chunks => {
            let mut head = Vec::with_capacity(ORIGINAL_MAX_BYTES);
            for chunk in chunks {
                let room = ORIGINAL_MAX_BYTES - head.len();
                head.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Bytes::from(head)
        }
    }
}

/// Whether a message's header says that it went to many.
pub fn is_bulk(body: &Body) -> bool {
    options::is_bulk(bounce::split(&head(body)).header)
}

/// Whether a delivery is one that nobody may be told of.
pub fn is_unanswerable(delivery: &Delivery) -> bool {
    *delivery.sender() == ReversePath::Null
}
