//! MAIL and RCPT as the client writes them.
//! **Owns:** their bytes, which parameters fit what a far side offers. **Never:** whether it may be sent there at all.
//! RFC 3461 5.2.2 (no DSN offered: its parameters stay away), RFC 6531 3.7.4.2 (ORCPT of type utf-8).

use bytes::BytesMut;
use postrider_mail::{BodyEncoding, Envelope, Notify, OriginalRecipient, Recipient, ReturnContent};

use super::xtext;

/// Which parameters are written: what is offered and wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EnvelopeParameters {
    /// SIZE= this.
    pub size: Option<u64>,
    /// BODY=8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET=, ENVID=, NOTIFY=, ORCPT=.
    pub dsn: bool,
    /// REQUIRETLS.
    pub requiretls: bool,
}

/// Appends MAIL.
pub fn write_mail(envelope: &Envelope, with: EnvelopeParameters, output: &mut BytesMut) {
    text(output, "MAIL FROM:<");
    text(output, &envelope.sender.to_string());
    text(output, ">");
    if let Some(size) = with.size {
        text(output, &format!(" SIZE={size}"));
    }
    if with.eight_bit_mime {
        text(
            output,
            match envelope.body {
                BodyEncoding::SevenBit => " BODY=7BIT",
                BodyEncoding::EightBitMime => " BODY=8BITMIME",
            },
        );
    }
    if with.smtputf8 {
        text(output, " SMTPUTF8");
    }
    if with.requiretls {
        text(output, " REQUIRETLS");
    }
    if with.dsn {
        match envelope.return_content {
            Some(ReturnContent::Full) => text(output, " RET=FULL"),
            Some(ReturnContent::Headers) => text(output, " RET=HDRS"),
            None => {}
        }
        if let Some(id) = &envelope.envelope_id {
            text(output, " ENVID=");
            xtext::encode(id, output);
        }
    }
    text(output, "\r\n");
}

/// Appends RCPT.
pub fn write_recipient(recipient: &Recipient, with: EnvelopeParameters, output: &mut BytesMut) {
    text(output, "RCPT TO:<");
    text(output, recipient.mailbox.local());
    text(output, "@");
    text(output, recipient.mailbox.domain().as_str());
    text(output, ">");
    if with.dsn {
        if let Some(notify) = recipient.notify {
            write_notify(notify, output);
        }
        if let Some(original) = &recipient.original {
            write_original(original, with.smtputf8, output);
        }
    }
    text(output, "\r\n");
}

fn write_notify(notify: Notify, output: &mut BytesMut) {
    let (success, failure, delay) = match notify {
        Notify::Never => return text(output, " NOTIFY=NEVER"),
        Notify::On { success, failure, delay } => (success, failure, delay),
    };
    let mut separator = " NOTIFY=";
    for (is_wanted, word) in [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")] {
        if is_wanted {
            text(output, separator);
            text(output, word);
            separator = ",";
        }
    }
}

fn write_original(original: &OriginalRecipient, smtputf8: bool, output: &mut BytesMut) {
    let is_utf8_type = original.address_type.eq_ignore_ascii_case("utf-8");
    // Beyond ASCII it can't be said to a far side that knows no SMTPUTF8.
    if is_utf8_type && !smtputf8 && !original.address.is_ascii() {
        return;
    }
    text(output, " ORCPT=");
    text(output, &original.address_type);
    text(output, ";");
    if is_utf8_type {
        text(output, &original.address);
    } else {
        xtext::encode(&original.address, output);
    }
}

fn text(output: &mut BytesMut, text: &str) {
    output.extend_from_slice(text.as_bytes());
}
