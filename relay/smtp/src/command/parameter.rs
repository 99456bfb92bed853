//! Parameters behind the paths of MAIL and RCPT.
//! **Owns:** their values; each at most once. **Never:** whether one was offered (the server's).
//! RFC 5321 4.1.2, RFC 1870 6.1, RFC 3461 4, RFC 4954 5, RFC 6152 2, RFC 6531 3.4, RFC 6533 3, RFC 8689 3.

use postrider_mail::{
    BodyEncoding, Notify, OriginalRecipient, Recipient, ReturnContent,
    envelope::{MAX_ENVELOPE_ID_BYTES, MAX_ORIGINAL_RECIPIENT_BYTES},
};

use super::{BadCommand, MailCommand, number, xtext};

fn words(parameters: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    parameters.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    })
}

/// Finds which of `known` a keyword is, and that it is there for the first time.
fn once(keyword: &str, known: &[&'static str], seen: &mut u32) -> Result<&'static str, BadCommand> {
    let at = known
        .iter()
        .position(|name| name.eq_ignore_ascii_case(keyword))
        .ok_or(BadCommand::UnknownParameter)?;
    if *seen & (1 << at) != 0 {
        return Err(BadCommand::ParameterValue(known[at]));
    }
    *seen |= 1 << at;
    Ok(known[at])
}

pub(super) fn read_mail(parameters: &str, command: &mut MailCommand) -> Result<(), BadCommand> {
    let mut seen = 0;
    for (keyword, value) in words(parameters) {
        let name =
            once(keyword, &["SIZE", "BODY", "SMTPUTF8", "REQUIRETLS", "RET", "ENVID", "AUTH"], &mut seen)?;
        read_mail_value(name, value, command).ok_or(BadCommand::ParameterValue(name))?;
    }
    Ok(())
}

fn read_mail_value(name: &str, value: Option<&str>, command: &mut MailCommand) -> Option<()> {
    match name {
        "SIZE" => command.size = Some(number(value.filter(|v| (1..=20).contains(&v.len()))?)?),
        "BODY" => {
            command.body = match value?.to_ascii_uppercase().as_str() {
                "7BIT" => BodyEncoding::SevenBit,
                "8BITMIME" => BodyEncoding::EightBitMime,
                _ => return None,
            }
        }
        "SMTPUTF8" => {
            if value.is_some() {
                return None;
            }
            command.smtputf8 = true;
        }
        "REQUIRETLS" => {
            if value.is_some() {
                return None;
            }
            command.requiretls = true;
        }
        "RET" => {
            command.return_content = Some(match value?.to_ascii_uppercase().as_str() {
                "FULL" => ReturnContent::Full,
                "HDRS" => ReturnContent::Headers,
                _ => return None,
            });
        }
        "ENVID" => {
            let value = value.filter(|v| (1..=MAX_ENVELOPE_ID_BYTES).contains(&v.len()))?;
            command.envelope_id = Some(xtext::decode(value)?.into());
        }
        // AUTH=: who is said to have sent it first. Nobody here trusts that; RFC 4954 5 lets us drop it.
        _ => {
            value?;
        }
    }
    Some(())
}

pub(super) fn read_recipient(parameters: &str, recipient: &mut Recipient) -> Result<(), BadCommand> {
    let mut seen = 0;
    for (keyword, value) in words(parameters) {
        let name = once(keyword, &["NOTIFY", "ORCPT"], &mut seen)?;
        let bad = BadCommand::ParameterValue(name);
        match name {
            "NOTIFY" => recipient.notify = Some(value.and_then(notify).ok_or(bad)?),
            _ => recipient.original = Some(value.and_then(original).ok_or(bad)?),
        }
    }
    Ok(())
}

fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => success = true,
            "FAILURE" => failure = true,
            "DELAY" => delay = true,
            _ => return None,
        }
    }
    Some(Notify::On { success, failure, delay })
}

fn original(value: &str) -> Option<OriginalRecipient> {
    if value.len() > MAX_ORIGINAL_RECIPIENT_BYTES {
        return None;
    }
    let (address_type, address) = value.split_once(';')?;
    let is_type =
        !address_type.is_empty() && address_type.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_type || address.is_empty() {
        return None;
    }
    // RFC 6533 3: this type has an encoding of its own, which a bounce shows as it is.
    let address = if address_type.eq_ignore_ascii_case("utf-8") {
        let is_text = !address.chars().any(|c| c.is_control() || c.is_whitespace() || c == '+' || c == '=');
        is_text.then(|| address.to_owned())?
    } else {
        xtext::decode(address)?
    };
    Some(OriginalRecipient { address_type: address_type.into(), address: address.into() })
}
