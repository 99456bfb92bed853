//! An attempt's account: who still needs a host, and what became of each in the end.
//! **Owns:** how answers of several hosts add up. **Never:** what one answer means (outcome.rs).
//! A final answer stays. Of answers that another host might better, one that may change outweighs one that can't.

use std::collections::BTreeMap;

use postrider_mail::{EnhancedCode, FarReply, HostName, Outcome, OutcomeKind, Stage};

use super::{Next, Ruling};

/// The account of one attempt of one delivery.
#[derive(Debug)]
pub struct Tally {
    recipients: BTreeMap<u32, State>,
}

#[derive(Debug)]
enum State {
    /// No host has said anything.
    Open,
    /// What it gets unless another host says better.
    Until(Ended),
    /// Final.
    Final(Ended),
}

/// What an attempt gave one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The outcome.
    pub outcome: Outcome,
    /// When a deferred one is tried again.
    pub again: Again,
    /// Whether the far side may have the message although that isn't known (RFC 1047).
    pub is_ambiguous: bool,
}

/// When a deferred recipient is tried again: the soonest first, since all of a delivery come again with the last of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    /// Now: nothing was wrong but the number of recipients.
    AtOnce,
    /// In a moment: nothing was wrong but how much came at once.
    Soon,
    /// When the schedule says.
    OnSchedule,
}

impl Tally {
    /// Opens the account of these recipients (their places in the envelope).
    pub fn new(recipients: impl IntoIterator<Item = u32>) -> Self {
        Self { recipients: recipients.into_iter().map(|recipient| (recipient, State::Open)).collect() }
    }

    /// Those who still need a host, in the envelope's order.
    pub fn pending(&self) -> Vec<u32> {
        let is_pending = |state: &State| !matches!(state, State::Final(_));
        self.recipients.iter().filter(|(_, state)| is_pending(state)).map(|(of, _)| *of).collect()
    }

    /// Whether everybody has a final answer.
    pub fn is_settled(&self) -> bool {
        self.recipients.values().all(|state| matches!(state, State::Final(_)))
    }

    /// Whether something may be at a far side without our knowing.
    pub fn is_ambiguous(&self) -> bool {
        self.recipients
            .values()
            .any(|state| matches!(state, State::Until(ended) | State::Final(ended) if ended.is_ambiguous))
    }

    /// The far side has taken the message for these.
    pub fn delivered(&mut self, recipients: &[u32], reply: &FarReply, host: &HostName) {
        for recipient in recipients {
            let outcome = super::delivered(*recipient, reply.clone(), host);
            self.end(*recipient, Ended { outcome, again: Again::OnSchedule, is_ambiguous: false });
        }
    }

    /// A ruling over these, at that host. Steps that charge nobody leave the account as it is.
    pub fn ruled(&mut self, recipients: &[u32], ruling: &Ruling, host: Option<&HostName>) {
        for recipient in recipients {
            let ended = ended(*recipient, ruling, host);
            match ruling.next {
                Next::Stop => self.end(*recipient, ended),
                Next::NextHost | Next::Again => self.note(*recipient, ended),
                Next::Helo | Next::GoOnInClear | Next::ReconnectInClear => {}
            }
        }
    }

    /// Closes the account. Who had no host's answer is tried again as `untried` says.
    pub fn finish(self, untried: Again) -> Vec<Ended> {
        self.recipients
            .into_iter()
            .map(|(recipient, state)| match state {
                State::Until(ended) | State::Final(ended) => ended,
                State::Open => Ended { again: untried, ..nobody_tried(recipient) },
            })
            .collect()
    }

    fn end(&mut self, recipient: u32, ended: Ended) {
        if let Some(state) = self.recipients.get_mut(&recipient)
            && !matches!(state, State::Final(_))
        {
            *state = State::Final(ended);
        }
    }

    fn note(&mut self, recipient: u32, ended: Ended) {
        let Some(state) = self.recipients.get_mut(&recipient) else { return };
        let gives_way = match state {
            State::Open => true,
            State::Until(before) => {
                before.outcome.kind == OutcomeKind::Bounced || ended.outcome.kind == OutcomeKind::Deferred
            }
            State::Final(_) => false,
        };
        if gives_way {
            *state = State::Until(ended);
        }
    }
}

fn ended(recipient: u32, ruling: &Ruling, host: Option<&HostName>) -> Ended {
    let outcome = Outcome {
        recipient,
        kind: ruling.kind,
        stage: ruling.stage,
        status: ruling.status,
        reply: ruling.reply.clone(),
        explanation: ruling.explanation.clone(),
        host: host.cloned(),
    };
    let again = if ruling.next == Next::Again {
        Again::AtOnce
    } else if ruling.is_soon {
        Again::Soon
    } else {
        Again::OnSchedule
    };
    Ended { outcome, again, is_ambiguous: ruling.is_ambiguous }
}

/// No host had a turn: the attempt ended before.
fn nobody_tried(recipient: u32) -> Ended {
    let text = "no host was tried in this attempt";
    let status = EnhancedCode::transient(4, 0);
    let outcome = super::ours(recipient, Stage::Connect, OutcomeKind::Deferred, status, text);
    Ended { outcome, again: Again::OnSchedule, is_ambiguous: false }
}
