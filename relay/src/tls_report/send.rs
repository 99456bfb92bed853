//! One report: from the fleet's counts to a message in the queue, and to web servers.
//! **Owns:** the message's way into the queue, its name there. **Never:** whose turn it is (reporter.rs), the report's form
//! (core), a socket (post.rs).
//! Invariant: a report has one name in the queue, so that two relays which both think it theirs enqueue one message.
//! RFC 8460 5.3: it is mail like any other, signed, and what it reports doesn't stop it.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bytes::Bytes;
use postrider_core::{
    config::{Config, Signing},
    day::Day,
    route::Facts,
    tls_report::{Counts, Letter, Recipients, Record, Report, Submitter, leaves, pack, render},
};
use postrider_mail::{
    BodyEncoding, Domain, Envelope, Mailbox, Notify, QueueId, Recipient, ReversePath, TlsRequirement,
};
use postrider_queue::{Body, Dkim, EnqueueError, NewDelivery, NewMessage, Partition, Received, tally::Turn};
use sha2::{Digest as _, Sha256};

use super::Reporter;
use crate::{
    dispatch::ports,
    intake::fates::{self, Fate},
};

/// What rules see as the listener of reports.
const LISTENER: &str = "tls-reports";
/// How long the queue may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A report that is due.
#[derive(Clone, Copy)]
pub(super) struct Due<'a> {
    /// Its day.
    pub(super) day: Day,
    /// Whom it is about.
    pub(super) domain: &'a Domain,
    /// Who reports.
    pub(super) submitter: &'a Submitter,
    /// The rules that it goes by.
    pub(super) config: &'a Config,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is in the queue, or a web server has taken it: RFC 8460 3 wants one destination that has it.
    Taken,
    /// The domain asks for none (any more), or a rule drops it.
    Unwanted,
    /// The DNS, the queue or all web servers failed: it is tried again.
    Failed,
}

impl Sent {
    /// The label of the metric.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "sent",
            Self::Unwanted => "unwanted",
            Self::Failed => "failed",
        }
    }

    /// What became of a report that two ways were tried for.
    const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Taken, _) | (_, Self::Taken) => Self::Taken,
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            (Self::Unwanted, Self::Unwanted) => Self::Unwanted,
        }
    }
}

impl Reporter {
    /// Makes a report and sends it to all who should have it.
    pub(super) async fn report(&self, due: &Due<'_>, turn: &Turn) -> Sent {
        let to = match self.record(due.domain).await {
            Record::Wanted(to) => to,
            Record::Absent => return Sent::Unwanted,
            Record::Failed => return Sent::Failed,
        };
        let counts = match self.shards.tally_of(&due.day.to_string(), due.domain).await {
            Ok(fields) => Counts::read(fields.iter().map(|(field, count)| (field.as_str(), *count))),
            Err(why) => return failed(due.domain, &why),
        };
        let Some(report) = Report::of(&counts, due.day, due.domain, due.submitter) else {
            return Sent::Unwanted;
        };
        match pack(&report) {
            Ok(gzip) => self.send(due, turn, (&report, &gzip.into()), &to).await,
            Err(why) => failed(due.domain, &why),
        }
    }

    /// By mail first: it costs no time, and one destination that has it is enough. So the turn is done before web servers are asked,
    /// which may be slow: a relay that stops meanwhile leaves no other one to mail it again.
    async fn send(&self, due: &Due<'_>, turn: &Turn, file: (&Report, &Bytes), to: &Recipients) -> Sent {
        let by_mail = self.mail(due, turn, file, &to.mailboxes).await;
        if to.urls.is_empty() {
            return by_mail;
        }
        if by_mail == Sent::Taken
            && let Err(why) = self.shards.turn_done(turn.clone(), &due.day.to_string(), due.domain).await
        {
            tracing::debug!(domain = due.domain.as_str(), %why, "the queue's store was not told that a TLS report is mailed; it is told again");
        }
        let may_go_to = ports::destinations(due.config, &self.own_addresses);
        let is_posted = self.post(&to.urls, file.1, &may_go_to).await;
        by_mail.or(if is_posted { Sent::Taken } else { Sent::Failed })
    }

    async fn mail(
        &self,
        due: &Due<'_>,
        turn: &Turn,
        (report, gzip): (&Report, &Bytes),
        to: &[Mailbox],
    ) -> Sent {
        if to.is_empty() {
            return Sent::Unwanted;
        }
        let date = leaves(due.day, due.domain);
        let Due { day, domain, submitter, .. } = *due;
        let message = render(&Letter { report, day, domain, submitter, to, date }, gzip);
        let message = Ready { due, to, text: message.into(), name: name(report.id()) };
        match self.enqueue(&message, turn).await {
            Ok(sent) => sent,
            Err(why) => failed(due.domain, &why),
        }
    }

    /// Enqueues it in the shard that keeps the turn, under its name; in another under any, where that certainly hasn't taken it.
    async fn enqueue(&self, ready: &Ready<'_>, turn: &Turn) -> Result<Sent, EnqueueError> {
        let refused = |why: postrider_queue::shards::NoPartition| {
            tracing::debug!(%why, "no shard takes a TLS report");
            EnqueueError::Full
        };
        let own = self.shards.get(turn.partition());
        let why = match own {
            Some(partition) => {
                let id = QueueId::new(partition.name().clone(), ready.at(), ready.name);
                match self.enqueue_as(ready, &partition, id).await {
                    Err(why) if why.is_certain() => why,
                    sent => return sent,
                }
            }
            None => EnqueueError::Full,
        };
        // An enqueue that was aborted before is certain, too, and its name is used up.
        let not = if matches!(why, EnqueueError::Aborted) { vec![] } else { vec![turn.partition().clone()] };
        let other = self.shards.choose_other(&not).map_err(refused)?;
        let id = other.new_id();
        self.enqueue_as(ready, &other, id).await
    }

    async fn enqueue_as(
        &self,
        ready: &Ready<'_>,
        partition: &Partition,
        id: QueueId,
    ) -> Result<Sent, EnqueueError> {
        let body = Body::from_chunks(vec![ready.text.clone()]);
        let deliveries = ready.deliveries();
        if deliveries.is_empty() {
            return Ok(Sent::Unwanted);
        }
        let message = NewMessage {
            envelope: ready.envelope(),
            received: ready.received(),
            dkim: ready.dkim(),
            body: partition.ready_body(&id, &body),
            deliveries,
        };
        let enqueued = partition.enqueue(message, PATIENCE).await?;
        tracing::info!(queue_id = %enqueued.receipt, domain = ready.due.domain.as_str(), "a TLS report is on its way");
        self.dispatcher.wake(partition.name());
        Ok(Sent::Taken)
    }
}

/// A report, ready for the queue.
struct Ready<'a> {
    due: &'a Due<'a>,
    to: &'a [Mailbox],
    text: Bytes,
    name: u128,
}

impl Ready<'_> {
    fn at(&self) -> u64 {
        leaves(self.due.day, self.due.domain).unix_millis()
    }

    /// Nobody wants to hear that a report didn't arrive.
    fn envelope(&self) -> Envelope {
        let recipient =
            |mailbox: &Mailbox| Recipient { notify: Some(Notify::Never), ..Recipient::new(mailbox.clone()) };
        Envelope {
            sender: ReversePath::Mailbox(self.due.submitter.from.clone()),
            recipients: self.to.iter().map(recipient).collect(),
            body: BodyEncoding::default(),
            smtputf8: false,
            return_content: None,
            envelope_id: None,
            // RFC 8460 3: a report goes also where TLS is what it complains of.
            tls: TlsRequirement::Lifted,
        }
    }

    fn received(&self) -> Received {
        Received {
            listener: LISTENER.into(),
            client: CLIENT,
            helo: Box::default(),
            user: None,
            tls: false,
            at: postrider_mail::Due::from_unix_millis(self.at()),
            size: self.text.len() as u64,
            has_8bit_body: false,
            has_8bit_header: false,
        }
    }

    /// Signed before it leaves, where the fleet has keys of its domain.
    fn dkim(&self) -> Dkim {
        let domain = self.due.submitter.from.domain();
        match self.due.config.signing(Some(domain)) {
            Signing::None => Dkim::None,
            Signing::Owed | Signing::By(_) => Dkim::Owed(domain.clone()),
        }
    }

    fn deliveries(&self) -> Vec<NewDelivery> {
        let sender = ReversePath::Mailbox(self.due.submitter.from.clone());
        let fate = |recipient: &Mailbox| {
            let listener = Some(LISTENER);
            let facts = Facts { sender: &sender, recipient, listener, client: Some(CLIENT), user: None };
            // A rule that rejects a report spares it.
            fates::decide(self.due.config, &facts).unwrap_or(Fate::Discarded)
        };
        let groups = fates::gather(self.to.iter().map(fate).collect()).into_iter();
        let delivery = |group: fates::Group| {
            let start = group.plan.first.clone().start();
            group.delivery(start)
        };
        groups.map(delivery).collect()
    }
}

/// What rules see as the client of reports.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// 80 bits that name a report in the queue, the same wherever it is made.
fn name(report: &str) -> u128 {
    let digest = Sha256::digest(report);
    digest.iter().take(10).fold(0, |name, byte| (name << 8) | u128::from(*byte))
}

fn failed(domain: &Domain, why: &dyn std::fmt::Display) -> Sent {
    tracing::warn!(domain = domain.as_str(), %why, "a TLS report was not sent; it is tried again");
    Sent::Failed
}

#[cfg(test)]
mod tests {
    use super::Sent::{Failed, Taken, Unwanted};

    #[test]
    fn one_destination_that_has_it_is_enough() {
        for other in [Taken, Failed, Unwanted] {
            assert_eq!((Taken.or(other), other.or(Taken)), (Taken, Taken));
        }
        assert_eq!((Failed.or(Unwanted), Unwanted.or(Failed)), (Failed, Failed));
        assert_eq!(Unwanted.or(Unwanted), Unwanted);
    }
}
