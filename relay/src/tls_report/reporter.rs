//! Stores what was counted, and sends the reports of days that are over.
//! **Owns:** when. **Never:** how a report is made and sent (send.rs).
//! RFC 8460 4.1: a report for each UTC day. All relays of a fleet try; the queue's store lets one of them, for each domain and day.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use postrider_core::{
    day::Day,
    mx::Answer,
    tls_report::{Counts, Record, leaves},
};
use postrider_mail::{Domain, Due};
use postrider_queue::{
    Unavailable,
    shards::Shards,
    tally::{Additions, Taken},
};
use prometheus::IntCounterVec;
use rand::seq::SliceRandom as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    TlsReports, post,
    send::{self, Sent},
};
use crate::{config::ConfigSource, dispatch::Dispatcher, dns::Dns, https::Https};

/// How often what was counted is stored, and reports are looked for.
const EVERY: Duration = Duration::from_secs(60);
/// The same in tests.
const HASTE: Duration = Duration::from_secs(1);
/// How long storing may take when the relay stops.
const LAST: Duration = Duration::from_secs(2);
/// How long one relay has the right to a report. The queue remembers a message that has left for longer, so that a report which was
/// enqueued by a relay that died then isn't enqueued again.
const TURN: Duration = Duration::from_secs(600);
const _: () =
    assert!(post::POSTED_WITHIN.as_secs() * 2 < TURN.as_secs(), "a turn outlasts what is done in it");
/// Records looked up at a time.
const LOOKUPS: usize = 16;
/// Days behind that reports are sent for: the last, and the one before if no relay was there to send it.
const DAYS_BEHIND: u32 = 2;
/// Turns taken before what was counted is stored again: so many, and in this time.
const TURNS_IN_A_ROUND: usize = 200;
/// Reports under way at a time: a web server that doesn't answer holds up its own.
const REPORTS_AT_ONCE: usize = 32;

/// Stores and sends.
pub struct Reporter {
    /// What was counted.
    pub reports: TlsReports,
    /// Where the fleet's counts and the queue are.
    pub shards: Shards,
    /// Whether reports are sent, and how they are signed.
    pub config: ConfigSource,
    /// The DNS.
    pub dns: Dns,
    /// The way to web servers that take reports.
    pub https: Https,
    /// This machine's, which no report is posted to.
    pub own_addresses: Vec<IpAddr>,
    /// Wakes who delivers.
    pub dispatcher: Dispatcher,
    /// Counts reports, with the label `result`.
    pub sent: IntCounterVec,
    /// Names this process among those of the fleet.
    pub holder: Box<str>,
    /// Whether this is a test: then it looks every second, and reports leave some seconds after their day.
    pub is_hasty: bool,
}

impl Reporter {
    /// Does so until `stopped`; what was counted is stored once more then.
    pub async fn run(self, stopped: CancellationToken) {
        let mut ticks = tokio::time::interval(if self.is_hasty { HASTE } else { EVERY });
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let round = async {
                self.store().await;
                self.send_due().await;
            };
            // A report that is broken off here is another relay's when its turn is over.
            if stopped.run_until_cancelled(round).await.is_none() {
                break;
            }
        }
        if tokio::time::timeout(LAST, self.store()).await.is_err() {
            tracing::debug!("what was counted for TLS reports was not stored before the end");
        }
    }

    /// Stores what was counted of domains that ask for reports.
    async fn store(&self) {
        let mut counted = self.reports.take();
        if self.config.current().tls_reports.is_none() {
            counted.left.clear();
            return;
        }
        let keys: Vec<_> = counted.left.keys().cloned().collect();
        let asked = futures::stream::iter(keys)
            .map(|key| async move {
                // Whoever can't be asked now is counted, and asked again before a report leaves.
                (self.record(&key.1).await == Record::Absent).then_some(key)
            })
            .buffer_unordered(LOOKUPS);
        let mut asked = std::pin::pin!(asked);
        while let Some(unwanted) = asked.next().await {
            if let Some(key) = unwanted {
                counted.left.remove(&key);
            }
        }
        let mut days: BTreeMap<Day, Vec<(Domain, Additions)>> = BTreeMap::new();
        // From here on nobody knows what is stored: if this is broken off, too few are better than made up ones.
        for ((day, domain), counts) in counted.left.drain() {
            let fields = counts.increments().into_iter().map(|one| (one.field, one.by)).collect();
            days.entry(day).or_default().push((domain, fields));
        }
        for (day, additions) in days {
            if let Err((rest, why)) = self.shards.tally(&day.to_string(), additions).await {
                tracing::debug!(%why, "what was counted for TLS reports was not stored; it is tried again");
                for (domain, fields) in rest {
                    let counts = Counts::read(fields.iter().map(|(field, by)| (field.as_str(), *by)));
                    self.reports.put_back((day, domain), counts);
                }
            }
        }
    }

    async fn send_due(&self) {
        let config = self.config.current();
        let Some(from) = &config.tls_reports else { return };
        let submitter = Arc::new(from.submitter(&config.hostname));
        let now = self.reports.now();
        let mut day = Day::of(now);
        let (turns, until) = (AtomicUsize::new(0), Instant::now() + EVERY);
        for _ in 0..DAYS_BEHIND {
            day = day.before();
            let mut domains = match self.shards.tallied(&day.to_string()).await {
                Ok(domains) => domains,
                Err(why) => {
                    tracing::debug!(%why, "TLS reports that are due were not found out");
                    return;
                }
            };
            domains.retain(|domain| self.leaves(day, domain) <= now);
            // Those who can't be reached come up again and again: they aren't always the first.
            domains.shuffle(&mut rand::rng());
            let has_room = || turns.load(Ordering::Relaxed) < TURNS_IN_A_ROUND && Instant::now() < until;
            let (submitter, config, turns) = (&submitter, &config, &turns);
            futures::stream::iter(domains)
                .take_while(|_| std::future::ready(has_room()))
                .for_each_concurrent(REPORTS_AT_ONCE, |domain| async move {
                    match self.turn(&send::Due { day, domain: &domain, submitter, config }).await {
                        Ok(true) => drop(turns.fetch_add(1, Ordering::Relaxed)),
                        Ok(false) => {}
                        Err(why) => {
                            tracing::debug!(domain = domain.as_str(), %why, "a TLS report waits for the queue's store");
                        }
                    }
                })
                .await;
        }
    }

    /// Sends a report, if it is this relay's to send; whether it was.
    async fn turn(&self, due: &send::Due<'_>) -> Result<bool, Unavailable> {
        let day = due.day.to_string();
        let turn = match self.shards.take_turn(&day, due.domain, &self.holder, TURN).await? {
            Taken::Ours(turn) => turn,
            Taken::Another => return Ok(false),
        };
        let sent = self.report(due, &turn).await;
        self.sent.with_label_values(&[sent.as_str()]).inc();
        match sent {
            Sent::Taken | Sent::Unwanted => self.shards.turn_done(turn, &day, due.domain).await?,
            // Its time runs on, so that it isn't tried again at once.
            Sent::Failed => {}
        }
        Ok(true)
    }

    /// When a domain's report leaves.
    fn leaves(&self, day: Day, domain: &Domain) -> Due {
        if self.is_hasty { day.end().after(HASTE * 5) } else { leaves(day, domain) }
    }

    pub(super) async fn record(&self, domain: &Domain) -> Record {
        match self.dns.texts(&Record::name(domain)).await {
            Answer::Records(texts) => Record::of(texts.iter().map(|text| &*text.0)),
            Answer::NoData | Answer::NxDomain => Record::Absent,
            Answer::Failed(_) => Record::Failed,
        }
    }
}
