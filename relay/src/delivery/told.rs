//! What is told of an attempt: one log line, and the metrics.
//! **Owns:** that line's keys. **Never:** an address in full (unless `logging.addresses: Full`), a body, a header.

use std::time::{Duration, Instant};

use postrider_core::{config::LoggedAddresses, outcome::Ended};
use postrider_mail::{Due, Outcome, OutcomeKind, Sensitive};
use postrider_queue::{Addressee, Claimed, DeliveryId, Kind, Lane, Rest, Settled, Settlement};

use crate::{
    metrics::Metrics,
    site::{Attempt, Trace},
};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With outcomes.
    Attempted,
    /// Its parts went to other lanes.
    Moved,
    /// On hold.
    Held,
    /// Discarded by a rule.
    Discarded,
    /// Given back without an attempt.
    Released(&'static str),
}

/// What is known of an attempt.
#[derive(Debug)]
pub struct Told {
    id: DeliveryId,
    kind: Kind,
    lane: Lane,
    recipients: Vec<Addressee>,
    accepted: Due,
    number: u32,
    started: Instant,
    trace: Trace,
    end: End,
    outcomes: Vec<Outcome>,
    is_ambiguous: bool,
    wait: Duration,
    settled: Option<Settled>,
}

impl Told {
    /// The start of an attempt.
    pub fn new(claimed: &Claimed) -> Self {
        let delivery = &claimed.delivery;
        Self {
            id: delivery.id.clone(),
            kind: delivery.kind,
            lane: delivery.lane.clone(),
            recipients: delivery.recipients.clone(),
            accepted: delivery.message.received.at,
            number: delivery.history.attempts.saturating_add(1),
            started: Instant::now(),
            trace: Trace::default(),
            end: End::Attempted,
            outcomes: Vec::new(),
            is_ambiguous: false,
            wait: Duration::ZERO,
            settled: None,
        }
    }

    /// What the far side had to do with it.
    #[must_use]
    pub fn with(mut self, attempt: &Attempt) -> Self {
        self.trace = attempt.trace.clone();
        self.is_ambiguous = attempt.ended.iter().any(|Ended { is_ambiguous, .. }| *is_ambiguous);
        self
    }

    /// What the queue is about to be told.
    #[must_use]
    pub fn ended(mut self, end: End, settlement: &Settlement) -> Self {
        self.end = end;
        self.outcomes.clone_from(&settlement.outcomes);
        if let Rest::Defer(wait) = &settlement.rest {
            self.wait = *wait;
        }
        self
    }

    /// The claim was given back.
    #[must_use]
    pub fn released(mut self, why: &'static str) -> Self {
        self.end = End::Released(why);
        self
    }

    /// What the queue answered.
    #[must_use]
    pub fn settled(mut self, settled: Settled) -> Self {
        self.settled = Some(settled);
        self
    }

    /// How it ended.
    pub const fn end(&self) -> End {
        self.end
    }

    /// The recipients' outcomes.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// What the queue answered, if it was asked.
    pub const fn answer(&self) -> Option<Settled> {
        self.settled
    }

    /// Writes the line and counts. `now` is the wall clock, for the time since acceptance.
    pub fn publish(&self, metrics: &Metrics, addresses: LoggedAddresses, now: Due) {
        let took = self.started.elapsed();
        self.count(metrics, took, now);
        if let End::Released(why) = self.end {
            tracing::debug!(delivery_id = %self.id, lane = %self.lane, why, "claim released");
            return;
        }
        let first = self.worst();
        tracing::info!(
            queue_id = %self.id.message,
            delivery_id = %self.id,
            kind = ?self.kind,
            lane = %self.lane,
            rule = self.lane.route.as_str(),
            class = self.lane.class.as_str(),
            attempt = self.number,
            recipient = %self.shown_recipient(addresses),
            recipients = self.recipients.len(),
            outcome = self.verb(first),
            stage = first.map(|one| one.stage.as_str()),
            status = first.map(|one| tracing::field::display(one.status)),
            reply = first.map(|one| tracing::field::display(self.shown_reply(one))),
            source = self.trace.source.as_ref().map(tracing::field::display),
            site = self.trace.host.as_ref().map(tracing::field::display),
            address = self.trace.address.map(tracing::field::display),
            tls = self.trace.tls,
            reused = self.trace.is_reused,
            retry_ms = u64::try_from(self.wait.as_millis()).ok().filter(|wait| *wait > 0),
            possible_duplicate = self.is_ambiguous.then_some(true),
            claim_lost = (self.settled == Some(Settled::ClaimLost)).then_some(true),
            wait_ms = millis(self.trace.waited),
            connect_ms = millis(self.trace.connected),
            send_ms = millis(self.trace.sent),
            total_ms = millis(took),
            "attempt"
        );
    }

    fn count(&self, metrics: &Metrics, took: Duration, now: Due) {
        if !matches!(self.end, End::Released(_)) {
            metrics.outbound.attempt_duration.observe(took.as_secs_f64());
        }
        for outcome in &self.outcomes {
            metrics
                .outbound
                .attempts
                .with_label_values(&[outcome.kind.as_str(), outcome.stage.as_str()])
                .inc();
            metrics.rules.count(self.lane.route.as_str(), outcome.kind);
            if outcome.kind == OutcomeKind::Delivered {
                metrics.outbound.delivery_latency.observe(self.accepted.until(now).as_secs_f64());
            }
        }
        if self.settled == Some(Settled::ClaimLost) {
            metrics.claims_lost.inc();
        }
        if self.is_ambiguous {
            metrics.outbound.possible_duplicates.inc();
        }
    }

    fn verb(&self, first: Option<&Outcome>) -> &'static str {
        match (self.end, first) {
            (End::Moved, _) => "Moved",
            (End::Held, _) => "Held",
            (End::Discarded, _) => "Discarded",
            (End::Released(_), _) => "Released",
            (End::Attempted, Some(one)) => one.kind.as_str(),
            (End::Attempted, None) => "None",
        }
    }

    /// The outcome that most needs to be seen.
    fn worst(&self) -> Option<&Outcome> {
        self.outcomes.iter().max_by_key(|one| one.kind)
    }

    fn shown_recipient(&self, addresses: LoggedAddresses) -> String {
        let Some(first) = self.recipients.first() else { return String::new() };
        match addresses {
            LoggedAddresses::Domain => Sensitive::new(&first.recipient.mailbox).to_string(),
            LoggedAddresses::Full => first.recipient.mailbox.to_string(),
        }
    }

    /// The far side's words without the address in them, or ours.
    fn shown_reply(&self, outcome: &Outcome) -> String {
        let text = match &outcome.reply {
            Some(reply) => reply.to_string(),
            None => outcome.explanation.as_str().to_owned(),
        };
        self.recipients.iter().fold(text, |text, one| scrubbed(&text, &one.recipient.mailbox))
    }
}

/// Takes an address out of a text, however it is written.
fn scrubbed(text: &str, mailbox: &postrider_mail::Mailbox) -> String {
    let address = mailbox.to_string();
    let shown = Sensitive::new(mailbox).to_string();
    if !text.is_ascii() || !address.is_ascii() {
        return text.replace(&address, &shown);
    }
    let lower = text.to_ascii_lowercase();
    let wanted = address.to_ascii_lowercase();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower[at..].find(&wanted) {
        kept.push_str(&text[at..at + found]);
        kept.push_str(&shown);
        at += found + wanted.len();
    }
    kept.push_str(&text[at..]);
    kept
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_words_are_logged_without_the_address() {
        let mailbox = "Canary@far.example".parse().unwrap();
        assert_eq!(
            scrubbed("550 5.1.1 <canary@FAR.example>: unknown", &mailbox),
            "550 5.1.1 <…@far.example>: unknown"
        );
        assert_eq!(scrubbed("550 é Canary@far.example", &mailbox), "550 é …@far.example");
        assert_eq!(scrubbed("550 no", &mailbox), "550 no");
    }
}
