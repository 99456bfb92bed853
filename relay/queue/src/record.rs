//! What the queue keeps of a message and of each delivery, and how it is written down.
//! **Owns:** the record types, their format and versions. **Never:** a field that a script reads (those stand alone in the hash).
//! A record is one format digit and JSON with short names: fields may be added with a default, never change their meaning.
//! Invariant: I10: what can't be read is an error here, and goes back for a minute (claim.rs).

pub mod codec;

use std::net::IpAddr;

use postrider_mail::{
    BodyEncoding, Domain, Due, Envelope, Outcome, QueueId, Recipient, ReturnContent, ReversePath,
    TlsRequirement,
};
use serde::{Deserialize, Serialize};

use crate::lane::Lane;

/// The name of a delivery: its message, and its number within it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The message.
    pub message: QueueId,
    /// Its number there.
    pub number: u32,
}

/// A text that names no delivery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}; expected a delivery ID: a queue ID, a dot and a number")]
pub struct InvalidDeliveryId(String);

/// How a message came in. Everything that a route or a report may ask about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The listener's name.
    #[serde(rename = "l")]
    pub listener: Box<str>,
    /// The client's address, as PROXY gave it where that is trusted.
    #[serde(rename = "c")]
    pub client: IpAddr,
    /// What the client called itself.
    #[serde(rename = "h", default, skip_serializing_if = "str::is_empty")]
    pub helo: Box<str>,
    /// Who it logged in as.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Box<str>>,
    /// Whether it came over TLS.
    #[serde(rename = "t", default, skip_serializing_if = "is_false")]
    pub tls: bool,
    /// When, by the accepting pod's clock: for reports only.
    #[serde(rename = "a")]
    pub at: Due,
    /// Bytes of header and body as stored, before compression.
    #[serde(rename = "s")]
    pub size: u64,
    /// Whether the body has bytes above 127.
    #[serde(rename = "8", default, skip_serializing_if = "is_false")]
    pub has_8bit_body: bool,
    /// Whether the header has bytes above 127: it can then only go where SMTPUTF8 is spoken.
    #[serde(rename = "i", default, skip_serializing_if = "is_false")]
    pub has_8bit_header: bool,
}

/// A message as the queue keeps it: what all its deliveries share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Where bounces go. A delivery's own return path is [`Delivery::sender`].
    #[serde(rename = "f")]
    pub sender: ReversePath,
    /// What BODY= said.
    #[serde(rename = "b", default, skip_serializing_if = "is_default")]
    pub body: BodyEncoding,
    /// Whether the client asked for SMTPUTF8.
    #[serde(rename = "u", default, skip_serializing_if = "is_false")]
    pub smtputf8: bool,
    /// RET=.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub return_content: Option<ReturnContent>,
    /// ENVID=.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub envelope_id: Option<Box<str>>,
    /// How it came in.
    #[serde(rename = "x")]
    pub received: Received,
    /// What it asks of the TLS on its way.
    #[serde(rename = "q", default, skip_serializing_if = "is_default")]
    pub tls: TlsRequirement,
    /// Its signature.
    #[serde(rename = "k", default, skip_serializing_if = "is_default")]
    pub dkim: Dkim,
}

/// What there is of a message's DKIM signatures. They aren't part of the body, as that is stored before they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Dkim {
    /// It needs none.
    #[default]
    None,
    /// These fields go on top of the body.
    #[serde(rename = "S")]
    Signed(Box<str>),
    /// It must not be sent before it is signed for this domain, which its From has.
    #[serde(rename = "O")]
    Owed(Domain),
}

/// What a delivery carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Kind {
    /// The message, to some of its recipients.
    #[default]
    Message,
    /// The report that recipients will never get it.
    Bounce,
    /// The report that recipients have not got it yet.
    DelayNotice,
    /// The report that recipients have got it, where that was asked for.
    SuccessNotice,
}

/// One recipient of a delivery, by its place in the message's envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressee {
    /// Its place in the envelope; 0 in a report, whose one recipient is the message's sender.
    #[serde(rename = "n")]
    pub number: u32,
    /// Who.
    #[serde(rename = "r")]
    pub recipient: Recipient,
}

/// One recipient that a report tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// Who.
    #[serde(rename = "r")]
    pub recipient: Recipient,
    /// What the last attempt gave.
    #[serde(rename = "o")]
    pub outcome: Outcome,
    /// When that was, by the store's clock.
    #[serde(rename = "a")]
    pub at: Due,
}

/// What a report says: the outcomes of some recipients of the message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The recipients told of.
    #[serde(rename = "r")]
    pub recipients: Vec<Reported>,
    /// Until when the message is tried; in a delay notice.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub retry_until: Option<Due>,
}

/// What has happened to a delivery so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// Finished attempts.
    #[serde(rename = "n", default)]
    pub attempts: u32,
    /// What the last attempt gave each recipient that is left.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub last: Vec<Outcome>,
    /// When that was, by the store's clock.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Due>,
    /// Whether the sender was told of the delay.
    #[serde(rename = "d", default, skip_serializing_if = "is_false")]
    pub delay_told: bool,
    /// Whether a person let it go from hold: a rule that holds doesn't hold it again.
    #[serde(rename = "r", default, skip_serializing_if = "is_false")]
    pub released: bool,
}

/// A delivery with all that an attempt needs but the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its name.
    pub id: DeliveryId,
    /// What it carries.
    pub kind: Kind,
    /// The lane it waited in: a hint, routing is decided anew at each attempt.
    pub lane: Lane,
    /// What all deliveries of the message share.
    pub message: std::sync::Arc<Message>,
    /// Who is still to get it. Of a report: the message's sender.
    pub recipients: Vec<Addressee>,
    /// What it reports; of a message: nothing.
    pub report: Report,
    /// What has happened so far.
    pub history: History,
    /// When it expires, by the store's clock.
    pub expires: Due,
    /// How many incarnations died while they tried it.
    pub crashes: u32,
}

impl Delivery {
    /// The return path of *this* delivery: null for a report, RFC 5321 4.5.5.
    pub fn sender(&self) -> &ReversePath {
        match self.kind {
            Kind::Message => &self.message.sender,
            Kind::Bounce | Kind::DelayNotice | Kind::SuccessNotice => &ReversePath::Null,
        }
    }

    /// What *this* delivery asks of TLS. A report asks nothing: it shows no body of a message that required TLS (RFC 8689 5).
    pub fn tls(&self) -> TlsRequirement {
        match self.kind {
            Kind::Message => self.message.tls,
            Kind::Bounce | Kind::DelayNotice | Kind::SuccessNotice => TlsRequirement::Unsaid,
        }
    }

    /// The domain that it goes to.
    pub fn domain(&self) -> &Domain {
        &self.lane.domain
    }
}

impl Dkim {
    /// One word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Signed(_) => "signed",
            Self::Owed(_) => "owed",
        }
    }
}

impl Message {
    /// Takes from an envelope what all deliveries share.
    pub fn of(envelope: &Envelope, received: Received, dkim: Dkim) -> Self {
        Self {
            sender: envelope.sender.clone(),
            body: envelope.body,
            smtputf8: envelope.smtputf8,
            return_content: envelope.return_content,
            envelope_id: envelope.envelope_id.clone(),
            tls: envelope.tls,
            received,
            dkim,
        }
    }
}

impl std::fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.message, self.number)
    }
}

impl std::str::FromStr for DeliveryId {
    type Err = InvalidDeliveryId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (message, number) = text.split_once('.')?;
            Some(Self { message: message.parse().ok()?, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| InvalidDeliveryId(text.chars().take(100).collect()))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
