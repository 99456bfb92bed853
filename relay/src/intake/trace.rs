//! The fields that are put on top of a message: Received, and on submission Date and Message-ID where they are missing.
//! **Owns:** their text and folding. **Never:** changes what came from the client.
//! RFC 5321 4.4 (Received), RFC 3848 and RFC 6531 (`with`), RFC 8314 4.3 (`tls`), RFC 6409 8 (fix-ups), RFC 5322 2.1.1.

use std::{fmt::Write, net::IpAddr, time::SystemTime};

use postrider_mail::{HostName, Mailbox, QueueId};

/// What a Received line tells.
#[derive(Debug, Clone)]
pub struct Hop<'a> {
    /// What the client called itself.
    pub client_name: &'a str,
    /// Where it came from.
    pub client: IpAddr,
    /// How it spoke.
    pub protocol: Protocol,
    /// The TLS cipher suite, if any.
    pub cipher: Option<&'a str>,
    /// Who we are.
    pub host: &'a HostName,
    /// The message's name here.
    pub id: &'a QueueId,
    /// The recipient, if there is but one: others must not learn of each other.
    pub recipient: Option<&'a Mailbox>,
    /// When.
    pub at: SystemTime,
}

/// What `with` says is put together from these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocol {
    /// EHLO rather than HELO.
    pub is_extended: bool,
    /// Under TLS.
    pub is_tls: bool,
    /// After AUTH.
    pub is_authenticated: bool,
    /// With SMTPUTF8.
    pub is_utf8: bool,
}

impl Protocol {
    /// The name that IANA's registry of mail transmission types has for it.
    pub const fn as_str(self) -> &'static str {
        match (self.is_utf8, self.is_tls, self.is_authenticated) {
            (true, false, false) => "UTF8SMTP",
            (true, false, true) => "UTF8SMTPA",
            (true, true, false) => "UTF8SMTPS",
            (true, true, true) => "UTF8SMTPSA",
            (false, false, false) if !self.is_extended => "SMTP",
            (false, false, false) => "ESMTP",
            (false, false, true) => "ESMTPA",
            (false, true, false) => "ESMTPS",
            (false, true, true) => "ESMTPSA",
        }
    }
}

/// The Received field, folded so that only names that are longer than a line make a line long.
pub fn received(hop: &Hop<'_>) -> String {
    let mut text = String::with_capacity(384);
    let name = printable(hop.client_name);
    // Writing to a String can't fail.
    let _ = match hop.client.to_canonical() {
        IpAddr::V4(v4) => write!(text, "Received: from {name} ([{v4}])"),
        IpAddr::V6(v6) => write!(text, "Received: from {name} ([IPv6:{v6}])"),
    };
    let _ = write!(text, "\r\n\tby {} with {} id {}", hop.host, hop.protocol.as_str(), hop.id);
    if let Some(mailbox) = hop.recipient.filter(|m| m.is_ascii() || hop.protocol.is_utf8) {
        let _ = write!(text, "\r\n\tfor <{mailbox}>");
    }
    if let Some(cipher) = hop.cipher {
        let _ = write!(text, "\r\n\ttls {cipher}");
    }
    let _ = write!(text, ";\r\n\t{}\r\n", date(hop.at));
    text
}

/// A Date field.
pub fn date_field(at: SystemTime) -> String {
    format!("Date: {}\r\n", date(at))
}

/// A Message-ID field: the queue ID is unique, and stays through retries.
pub fn message_id_field(id: &QueueId, host: &HostName) -> String {
    format!("Message-ID: <{id}@{host}>\r\n")
}

fn date(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .ok()
        .and_then(|stamp| jiff::fmt::rfc2822::to_string(&stamp.to_zoned(jiff::tz::TimeZone::UTC)).ok())
        .unwrap_or_else(|| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

/// A client may call itself anything: what would end or split the field becomes `?`.
fn printable(name: &str) -> String {
    const MOST: usize = 255;
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '(' | ')' | ';' | '<' | '>' | '"' | '\\');
    let name: String = name.chars().take(MOST).map(|c| if is_plain(c) { c } else { '?' }).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postrider_mail::PartitionName;

    use super::*;

    fn hop<'a>(id: &'a QueueId, host: &'a HostName) -> Hop<'a> {
        Hop {
            client_name: "shop.example",
            client: "192.0.2.7".parse().expect("an address"),
            protocol: Protocol { is_extended: true, ..Protocol::default() },
            cipher: None,
            host,
            id,
            recipient: None,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        }
    }

    #[test]
    fn a_received_line_says_from_by_with_id_for_and_when() {
        let id = QueueId::new(PartitionName::parse("a").expect("a name"), 1, 2);
        let host = HostName::parse("mail.example.com").expect("a name");
        let mailbox: Mailbox = "bob@far.example".parse().expect("a mailbox");
        assert_eq!(
            received(&hop(&id, &host)),
            format!(
                "Received: from shop.example ([192.0.2.7])\r\n\tby mail.example.com with ESMTP id {id};\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n"
            )
        );
        let secure = Hop {
            client: "2001:db8::1".parse().expect("an address"),
            protocol: Protocol { is_extended: true, is_tls: true, is_authenticated: true, is_utf8: false },
            cipher: Some("TLS13_AES_128_GCM_SHA256"),
            recipient: Some(&mailbox),
            ..hop(&id, &host)
        };
        assert_eq!(
            received(&secure),
            format!(
                "Received: from shop.example ([IPv6:2001:db8::1])\r\n\tby mail.example.com with ESMTPSA id {id}\r\n\tfor <bob@far.example>\r\n\ttls TLS13_AES_128_GCM_SHA256;\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n"
            )
        );
    }

    #[test]
    fn a_client_name_cannot_forge_a_field() {
        let id = QueueId::new(PartitionName::parse("a").expect("a name"), 1, 2);
        let host = HostName::parse("mail.example.com").expect("a name");
        let bad = Hop { client_name: "x\r\nSubject: y (", ..hop(&id, &host) };
        assert!(received(&bad).starts_with("Received: from x??Subject:?y?? ([192.0.2.7])\r\n\tby "));
        let empty = Hop { client_name: "", ..hop(&id, &host) };
        assert!(received(&empty).starts_with("Received: from unknown ("));
    }

    #[test]
    fn a_utf8_recipient_is_named_only_to_those_who_asked_for_utf8() {
        let id = QueueId::new(PartitionName::parse("a").expect("a name"), 1, 2);
        let host = HostName::parse("mail.example.com").expect("a name");
        let mailbox: Mailbox = "jürgen@far.example".parse().expect("a mailbox");
        let mut hop = Hop { recipient: Some(&mailbox), ..hop(&id, &host) };
        assert!(!received(&hop).contains("for <"));
        hop.protocol.is_utf8 = true;
        assert!(
            received(&hop).contains("with UTF8SMTP id")
                && received(&hop).contains("for <jürgen@far.example>")
        );
    }
}
