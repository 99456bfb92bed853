//! What a reply asks of those who send to a site, beside what it means for its message.
//! **Owns:** patterns of replies, whose count first. **Never:** what becomes of the message (outcome.rs), the figures (providers.yaml).
//! Only replies of 4yz ask something here: what they ask can delay mail, never end it. RFC 3463 (enhanced codes).

use std::time::Duration;

use postrider_mail::{EnhancedCode, FarReply, ReplyCode, Severity};
use serde::Deserialize;

use crate::providers::{self, Provider};

/// What a far side asks of those who send to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Fewer messages in a time.
    Slower,
    /// Fewer connections at a time.
    FewerConnections,
    /// Nothing at all for so long.
    Suspend(Duration),
}

/// A kind of replies, and what they ask.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Pattern {
    codes: Vec<u16>,
    enhanced: Option<Enhanced>,
    /// Parts of its text, one of which must be there; in lower case.
    texts: Vec<String>,
    /// What it asks; nothing, where it only keeps other patterns from fitting.
    asks: Option<Asked>,
}

/// `4.7` or `4.7.28`, without its class: a pattern's codes are all of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Enhanced {
    subject: u16,
    detail: Option<u16>,
}

/// Why a pattern can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Its codes.
    #[error("codes: found {0:?}; expected one at least, each from 400 to 499")]
    Codes(Vec<u16>),
    /// Its enhanced code.
    #[error("enhanced: found {0:?}; expected 4.SUBJECT or 4.SUBJECT.DETAIL")]
    Enhanced(String),
    /// A text.
    #[error("texts: found {0:?}; expected lower case, 3 bytes at least")]
    Text(String),
    /// The time.
    #[error("for: found {0}; expected a time with Suspend, and with nothing else")]
    For(&'static str),
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    codes: Vec<u16>,
    enhanced: Option<String>,
    #[serde(default)]
    texts: Vec<String>,
    asks: Asks,
    #[serde(rename = "for")]
    time: Option<postrider_crds::Duration>,
}

#[derive(Clone, Copy, Deserialize)]
enum Asks {
    Nothing,
    Slower,
    FewerConnections,
    Suspend,
}

/// What a reply asks: by the provider's own patterns, then by those of any far side. The first that fits counts.
pub fn asked(provider: Option<&Provider>, reply: &FarReply) -> Option<Asked> {
    pattern_of(provider, reply)?.asks
}

/// The same where the reply says it in so many words. One that doesn't, on a connection that was used before, may be the end of that
/// connection only.
pub fn asked_in_words(provider: Option<&Provider>, reply: &FarReply) -> Option<Asked> {
    pattern_of(provider, reply).filter(|pattern| pattern.is_exact())?.asks
}

fn pattern_of<'p>(provider: Option<&'p Provider>, reply: &FarReply) -> Option<&'p Pattern> {
    if reply.code.severity() != Severity::Transient {
        return None;
    }
    let own = provider.map_or(&[][..], |provider| provider.replies.as_slice());
    own.iter().chain(providers::everywhere()).find(|pattern| pattern.fits(reply))
}

impl Pattern {
    /// Whether a reply is of this kind.
    pub fn fits(&self, reply: &FarReply) -> bool {
        let has_code = self.codes.contains(&reply.code.get());
        has_code
            && self.enhanced.is_none_or(|wanted| reply.enhanced.is_some_and(|code| wanted.has(code)))
            && (self.texts.is_empty() || self.texts.iter().any(|part| contains(reply.text.as_str(), part)))
    }

    /// How long it asks to be left alone, if that is what it asks.
    pub(crate) fn suspends_for(&self) -> Option<Duration> {
        match self.asks {
            Some(Asked::Suspend(wait)) => Some(wait),
            Some(Asked::Slower | Asked::FewerConnections) | None => None,
        }
    }

    /// Whether more than a class of codes has to fit.
    fn is_exact(&self) -> bool {
        !self.texts.is_empty() || self.enhanced.is_some_and(|code| code.detail.is_some())
    }
}

impl Enhanced {
    fn has(self, code: EnhancedCode) -> bool {
        self.subject == code.subject() && self.detail.is_none_or(|detail| detail == code.detail())
    }

    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse::<u16>());
        let class = numbers.next()?.ok()?;
        let subject = numbers.next()?.ok()?;
        let detail = numbers.next().transpose().ok()?;
        (class == 4 && numbers.next().is_none()).then_some(Self { subject, detail })
    }
}

impl TryFrom<Written> for Pattern {
    type Error = InvalidPattern;

    fn try_from(written: Written) -> Result<Self, InvalidPattern> {
        let is_transient = |code: &u16| (400..500).contains(code) && ReplyCode::try_from(*code).is_ok();
        if written.codes.is_empty() || !written.codes.iter().all(is_transient) {
            return Err(InvalidPattern::Codes(written.codes));
        }
        let is_text = |text: &String| text.len() >= 3 && *text == text.to_lowercase();
        if let Some(text) = written.texts.iter().find(|text| !is_text(text)) {
            return Err(InvalidPattern::Text(text.clone()));
        }
        let enhanced = match written.enhanced {
            Some(text) => Some(Enhanced::read(&text).ok_or(InvalidPattern::Enhanced(text))?),
            None => None,
        };
        let asks = match (written.asks, written.time) {
            (Asks::Suspend, Some(time)) => Some(Asked::Suspend(time.get())),
            (Asks::Suspend, None) => return Err(InvalidPattern::For("none")),
            (Asks::Nothing | Asks::Slower | Asks::FewerConnections, Some(_)) => {
                return Err(InvalidPattern::For("one"));
            }
            (Asks::Nothing, None) => None,
            (Asks::Slower, None) => Some(Asked::Slower),
            (Asks::FewerConnections, None) => Some(Asked::FewerConnections),
        };
        Ok(Self { codes: written.codes, enhanced, texts: written.texts, asks })
    }
}

/// Whether a text has a part, which is in lower case, in any case.
fn contains(text: &str, part: &str) -> bool {
    text.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests;
