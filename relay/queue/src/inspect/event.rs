//! Events of the history, as short as they can be: one is written for each settlement.
//! **Owns:** their form. **Never:** reads the stream (inspect.rs).

use postrider_mail::{EnhancedCode, FarReply, FarText, HostName, Outcome, OutcomeKind, Stage};
use serde::{Deserialize, Serialize};

use crate::record::codec;

/// An outcome with short names; the words of a reply are cut.
#[derive(Serialize, Deserialize)]
struct Short {
    #[serde(rename = "n")]
    recipient: u32,
    #[serde(rename = "k")]
    kind: OutcomeKind,
    #[serde(rename = "g")]
    stage: Stage,
    #[serde(rename = "s")]
    status: EnhancedCode,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    reply: Option<FarReply>,
    #[serde(rename = "e", default, skip_serializing_if = "is_empty")]
    explanation: FarText,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    host: Option<HostName>,
}

/// The outcomes of a settlement, the first ones; a far side's words cut.
pub fn encode(outcomes: &[Outcome]) -> Vec<u8> {
    let short = outcomes.iter().take(MAX_OUTCOMES).map(|outcome| Short {
        recipient: outcome.recipient,
        kind: outcome.kind,
        stage: outcome.stage,
        status: outcome.status,
        reply: outcome.reply.clone().map(|reply| FarReply { text: cut(&reply.text), ..reply }),
        explanation: cut(&outcome.explanation),
        host: outcome.host.clone(),
    });
    codec::encode(&short.collect::<Vec<_>>())
}

/// Reads them back; what can't be read is left out.
pub fn decode(bytes: &[u8]) -> Vec<Outcome> {
    let short: Vec<Short> = codec::decode("event", bytes).unwrap_or_default();
    let outcomes = short.into_iter().map(|short| Outcome {
        recipient: short.recipient,
        kind: short.kind,
        stage: short.stage,
        status: short.status,
        reply: short.reply,
        explanation: short.explanation,
        host: short.host,
    });
    outcomes.collect()
}

fn cut(text: &FarText) -> FarText {
    let text = text.as_str();
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    FarText::new(&text[..end])
}

fn is_empty(text: &FarText) -> bool {
    text.as_str().is_empty()
}

/// Outcomes of one settlement kept in the history.
const MAX_OUTCOMES: usize = 20;
/// Bytes of a far side's words kept in the history.
const MAX_TEXT_BYTES: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let outcome = Outcome {
            recipient: 3,
            kind: OutcomeKind::Deferred,
            stage: Stage::Rcpt,
            status: EnhancedCode::transient(2, 1),
            reply: None,
            explanation: FarText::new(&"é".repeat(200)),
            host: Some(HostName::parse("mx.far.example").expect("a name")),
        };
        let read = decode(&encode(&vec![outcome.clone(); 30]));
        assert_eq!(read.len(), MAX_OUTCOMES);
        assert_eq!(read[0].host, outcome.host);
        assert_eq!(read[0].explanation.as_str(), "é".repeat(60));
        assert!(decode(b"2?").is_empty());
    }
}
