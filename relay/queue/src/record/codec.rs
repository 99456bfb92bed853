//! How records are written down.
//! **Owns:** the format digit, JSON behind it, lists of recipients. **Never:** the records themselves (record.rs).

use postrider_mail::{Due, TlsRequirement};
use serde::{Serialize, de::DeserializeOwned};

use super::{Addressee, Delivery, DeliveryId, Dkim, History, Kind, Message, Report};
use crate::lane::Lane;

/// What every version reads.
const FORMAT_DIGIT: u8 = b'1';
/// A message that is signed or must be: a version that knows no signatures must leave it alone.
const SIGNED_DIGIT: u8 = b'2';
/// A message that requires TLS: a version that knows nothing of that must leave it alone.
const TLS_DIGIT: u8 = b'3';

/// Why a record can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is of another format.
    #[error("found a record of format {0:?}; expected \"1\", \"2\" or \"3\"")]
    Format(String),
    /// It isn't what its format says.
    #[error("field {0} of the record can't be read")]
    Field(&'static str),
}

/// A delivery as its hash has it: a field each, as bytes; empty where there is none.
#[derive(Debug, Clone, Default)]
pub struct Raw {
    /// Its lane.
    pub lane: Vec<u8>,
    /// When it expires, in digits.
    pub expiry: Vec<u8>,
    /// Which recipients are left: `0,1,5`; in a report behind the letter of its kind.
    pub recipients: Vec<u8>,
    /// All of them, a record.
    pub addressees: Vec<u8>,
    /// What has happened, a record.
    pub history: Vec<u8>,
    /// What it reports, a record.
    pub report: Vec<u8>,
    /// How many incarnations died with it, in digits.
    pub crashes: Vec<u8>,
    /// Whether a person let it go from hold.
    pub released: bool,
}

/// A record as it is stored.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    encode_as(FORMAT_DIGIT, record)
}

/// A message's record as it is stored.
pub fn encode_message(message: &Message) -> Vec<u8> {
    let digit = match (message.tls, &message.dkim) {
        (TlsRequirement::Required, _) => TLS_DIGIT,
        (TlsRequirement::Unsaid | TlsRequirement::Lifted, Dkim::None) => FORMAT_DIGIT,
        (TlsRequirement::Unsaid | TlsRequirement::Lifted, Dkim::Signed(_) | Dkim::Owed(_)) => SIGNED_DIGIT,
    };
    encode_as(digit, message)
}

fn encode_as<T: Serialize>(digit: u8, record: &T) -> Vec<u8> {
    let mut bytes = vec![digit];
    // Our records have string keys and no value that JSON lacks, and a Vec takes every write.
    serde_json::to_writer(&mut bytes, record).expect("records are JSON");
    bytes
}

/// Reads a record; an error names `field`.
///
/// # Errors
/// It is of another format, or isn't what its format says.
pub fn decode<T: DeserializeOwned>(field: &'static str, bytes: &[u8]) -> Result<T, Unreadable> {
    match bytes.split_first() {
        Some((&(FORMAT_DIGIT | SIGNED_DIGIT | TLS_DIGIT), json)) => {
            serde_json::from_slice(json).map_err(|_| Unreadable::Field(field))
        }
        Some((digit, _)) => Err(Unreadable::Format(char::from(*digit).to_string())),
        None => Err(Unreadable::Field(field)),
    }
}

fn decode_or_default<T: DeserializeOwned + Default>(
    field: &'static str,
    bytes: &[u8],
) -> Result<T, Unreadable> {
    if bytes.is_empty() { Ok(T::default()) } else { decode(field, bytes) }
}

/// Recipients as scripts read them: `0,1,5`.
pub(crate) fn list(recipients: impl IntoIterator<Item = u32>) -> String {
    let mut text = String::new();
    for number in recipients {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&number.to_string());
    }
    text
}

/// The letter that a report's list of recipients starts with.
pub(crate) const fn letter(kind: Kind) -> &'static str {
    match kind {
        Kind::Message => "",
        Kind::Bounce => "B",
        Kind::DelayNotice => "W",
        Kind::SuccessNotice => "S",
    }
}

fn read_list(text: &str) -> Result<(Kind, Vec<u32>), Unreadable> {
    let kind = match text.as_bytes().first() {
        Some(b'B') => Kind::Bounce,
        Some(b'W') => Kind::DelayNotice,
        Some(b'S') => Kind::SuccessNotice,
        _ => Kind::Message,
    };
    let numbers = text.trim_start_matches(letter(kind)).split(',').filter(|number| !number.is_empty());
    let numbers = numbers
        .map(|number| number.parse().map_err(|_| Unreadable::Field("recipients")))
        .collect::<Result<_, _>>()?;
    Ok((kind, numbers))
}

impl Raw {
    /// Reads it. Addressees that ended are left out, and so are recipients that a report doesn't tell of (any more).
    ///
    /// # Errors
    /// A field can't be read.
    pub fn read(&self, id: DeliveryId, message: std::sync::Arc<Message>) -> Result<Delivery, Unreadable> {
        let text = |field, bytes| std::str::from_utf8(bytes).map_err(|_| Unreadable::Field(field));
        let lane: Lane = text("lane", &self.lane)?.parse().map_err(|_| Unreadable::Field("lane"))?;
        let expires = text("expiry", &self.expiry)?.parse().map_err(|_| Unreadable::Field("expiry"))?;
        let (kind, left) = read_list(text("recipients", &self.recipients)?)?;
        let mut recipients: Vec<Addressee> = decode("addressees", &self.addressees)?;
        let mut report: Report = decode_or_default("report", &self.report)?;
        if kind == Kind::Message {
            let left: std::collections::HashSet<u32> = left.into_iter().collect();
            recipients.retain(|addressee| left.contains(&addressee.number));
        } else {
            report.recipients.retain(|reported| left.contains(&reported.outcome.recipient));
        }
        let mut history: History = decode_or_default("history", &self.history)?;
        history.released |= self.released;
        let crashes = text("crashes", &self.crashes)?.split(' ').next().unwrap_or_default();
        let crashes =
            if crashes.is_empty() { 0 } else { crashes.parse().map_err(|_| Unreadable::Field("crashes"))? };
        Ok(Delivery {
            id,
            kind,
            lane,
            message,
            recipients,
            report,
            history,
            expires: Due::from_unix_millis(expires),
            crashes,
        })
    }
}

#[cfg(test)]
mod tests;
