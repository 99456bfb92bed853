//! A transaction on its way.
//! **Owns:** what each recipient has got so far, what fits the far side's offers. **Never:** bytes (the states' files).
//! RFC 1870 6.1 (SIZE), RFC 6152 3, RFC 6531 3.5 (who needs SMTPUTF8), RFC 9422 (RCPTMAX).

use postrider_mail::{FarReply, Stage, TlsRequirement};

use super::{Answer, Answered, EightBit, Failure, Settings, Transaction};
use crate::{
    command::EnvelopeParameters,
    data::Encoder,
    extension::Extensions,
    pipelining::{Pipeline, Sent},
};

/// A transaction on its way.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) transaction: Transaction,
    pub(super) with: EnvelopeParameters,
    pub(super) is_chunked: bool,
    pub(super) is_pipelined: bool,
    pub(super) sent: Pipeline,
    /// The next recipient that RCPT is said for.
    pub(super) next_recipient: usize,
    /// MAIL was refused: replies to RCPT say nothing new.
    pub(super) is_mail_refused: bool,
    pub(super) recipients: Vec<Progress>,
    pub(super) encoder: Encoder,
    /// BDAT: content that the next chunk brings.
    pub(super) held: bytes::BytesMut,
    /// BDAT: chunks without reply.
    pub(super) chunks_sent: u32,
}

/// How far a recipient has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// No reply to its RCPT.
    Open,
    /// Its RCPT got a 2yz.
    Accepted,
    /// It is over.
    Over(Answered),
}

impl Current {
    /// Judges what can't be sent there before anything is.
    pub(super) fn new(transaction: Transaction, offers: &Extensions, settings: &Settings) -> Self {
        let mut recipients: Vec<Progress> = vec![Progress::Open; transaction.envelope.recipients.len()];
        if let Some(failure) = obstacle(&transaction, offers, settings) {
            let answered = Answered { stage: Stage::Mail, answer: Answer::Failed(failure) };
            recipients.fill(Progress::Over(answered));
        }
        let mut room = offers.recipients_max.unwrap_or(u32::MAX);
        for (progress, recipient) in recipients.iter_mut().zip(&transaction.envelope.recipients) {
            let answer = if !recipient.mailbox.is_ascii() && !offers.smtputf8 {
                Answer::Failed(Failure::Utf8NotOffered)
            } else if room == 0 {
                Answer::NotTried
            } else {
                room -= 1;
                continue;
            };
            if *progress == Progress::Open {
                *progress = Progress::Over(Answered { stage: Stage::Rcpt, answer });
            }
        }
        let is_pipelined = settings.pipelining && offers.pipelining;
        // RFC 3030 4.1: without PIPELINING each chunk would have to wait for its reply.
        let is_chunked = settings.chunking && offers.chunking && is_pipelined;
        Self {
            with: parameters(&transaction, &recipients, offers),
            transaction,
            is_chunked,
            is_pipelined,
            sent: Pipeline::default(),
            next_recipient: 0,
            is_mail_refused: false,
            recipients,
            encoder: if is_chunked { Encoder::octets() } else { Encoder::data() },
            held: bytes::BytesMut::new(),
            chunks_sent: 0,
        }
    }

    /// The next recipient to say RCPT for.
    pub(super) fn take_recipient(&mut self) -> Option<usize> {
        let rest = &self.recipients[self.next_recipient..];
        let at = self.next_recipient + rest.iter().position(|progress| *progress == Progress::Open)?;
        self.next_recipient = at + 1;
        Some(at)
    }

    pub(super) fn has_open(&self) -> bool {
        self.recipients.contains(&Progress::Open)
    }

    pub(super) fn has_accepted(&self) -> bool {
        self.recipients.contains(&Progress::Accepted)
    }

    pub(super) fn settle(&mut self, at: usize, stage: Stage, answer: Answer) {
        if let Some(progress) = self.recipients.get_mut(at) {
            *progress = Progress::Over(Answered { stage, answer });
        }
    }

    /// Those that wait for nothing but this get it.
    pub(super) fn settle_rest(&mut self, stage: Stage, answer: &Answer) {
        for progress in &mut self.recipients {
            if !matches!(progress, Progress::Over(_)) {
                *progress = Progress::Over(Answered { stage, answer: answer.clone() });
            }
        }
    }

    pub(super) fn finish(mut self: Box<Self>, stage: Stage, answer: &Answer) -> Vec<Answered> {
        self.settle_rest(stage, answer);
        let over = self.recipients.into_iter().filter_map(|progress| match progress {
            Progress::Over(answered) => Some(answered),
            Progress::Open | Progress::Accepted => None,
        });
        over.collect()
    }

    /// The stage of the reply that is waited for.
    pub(super) fn stage(&self) -> Stage {
        match self.sent.front() {
            Some(Sent::Rcpt(_)) => Stage::Rcpt,
            Some(Sent::Data) => Stage::Data,
            Some(Sent::Reset | Sent::Mail) | None => Stage::Mail,
        }
    }
}

/// What forbids to send the message there at all.
fn obstacle(transaction: &Transaction, offers: &Extensions, settings: &Settings) -> Option<Failure> {
    // RFC 1870 5: a size of 0 says that there is a limit, and not which.
    let size_max = offers.size.filter(|max| *max > 0);
    if let Some(max) = size_max.filter(|max| transaction.content_bytes > *max) {
        return Some(Failure::TooLarge(max));
    }
    let sender_is_utf8 = transaction.envelope.sender.mailbox().is_some_and(|mailbox| !mailbox.is_ascii());
    if (transaction.header_is_utf8 || sender_is_utf8) && !offers.smtputf8 {
        return Some(Failure::Utf8NotOffered);
    }
    if transaction.envelope.tls == TlsRequirement::Required && !offers.requiretls {
        return Some(Failure::RequireTlsNotOffered);
    }
    let is_refused = settings.eight_bit == EightBit::Refuse;
    (transaction.content_is_8bit && !offers.eight_bit_mime && is_refused)
        .then_some(Failure::EightBitNotOffered)
}

fn parameters(transaction: &Transaction, recipients: &[Progress], offers: &Extensions) -> EnvelopeParameters {
    let envelope = &transaction.envelope;
    let mut open =
        envelope.recipients.iter().zip(recipients).filter(|(_, progress)| **progress == Progress::Open);
    let needs_utf8 = transaction.header_is_utf8
        || envelope.sender.mailbox().is_some_and(|mailbox| !mailbox.is_ascii())
        || open.any(|(recipient, _)| !recipient.mailbox.is_ascii());
    EnvelopeParameters {
        size: offers.size.map(|_| transaction.content_bytes),
        eight_bit_mime: offers.eight_bit_mime && transaction.content_is_8bit,
        smtputf8: offers.smtputf8 && needs_utf8,
        dsn: offers.dsn,
        requiretls: envelope.tls == TlsRequirement::Required,
    }
}

/// Whether a far side says that it takes no more recipients in this transaction, RFC 5321 4.5.3.1.10. It has the same
/// codes for full mailboxes and disks: its enhanced code, or else its words, tell them apart.
pub(super) fn is_too_many_recipients(reply: &FarReply) -> bool {
    if !matches!(reply.code.get(), 452 | 552) {
        return false;
    }
    match reply.enhanced {
        Some(enhanced) => (enhanced.subject(), enhanced.detail()) == (5, 3),
        None => {
            let text = reply.text.as_str().to_ascii_lowercase();
            text.contains("too many") || text.contains("recipients")
        }
    }
}
