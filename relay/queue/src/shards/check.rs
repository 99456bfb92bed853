//! Finds out where each shard stands: on every new connection before it serves anyone, and in rounds.
//! **Owns:** the hook of new connections, [`Shards::look`]. **Never:** decides what facts mean (preflight.rs, identity.rs).
//! A connection for mail in needs the whole preflight; one for delivery needs to know that it is this queue, on a primary, with a
//! sound file; one for people needs nothing, or nobody could adopt a store.

use std::{sync::Arc, time::Duration};

use futures::future::{FutureExt, join_all};
use postrider_mail::{Due, Mono, PartitionName};
use redis::aio::MultiplexedConnection;

use super::{
    Known, Settings, Shard, Shards, State, Untried,
    identity::{Identity, Remembered, identify},
    lock,
    standing::{Found, Standing},
    store::{self, Record},
};
use crate::{
    connection::{OnConnect, Purpose},
    error::Unavailable,
    incarnation::{EpochChange, LeaseHandle},
    keys::{FleetName, Keys},
    partition::Durability,
    preflight::{self, Ask, Facts, Finding, Memory},
};

/// How often the whole preflight is run.
const PREFLIGHT_EVERY: Duration = Duration::from_secs(60);
/// How often a URL that didn't work is tried.
const TRY_ANEW_EVERY: Duration = Duration::from_secs(5);
/// How often what a shard has is written down elsewhere, if it changed.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);

/// What checks the new connections of one partition.
struct Checker {
    name: PartitionName,
    keys: Keys,
    known: Arc<Known>,
    settings: Arc<Settings>,
    lease: LeaseHandle,
}

pub(super) fn on_connect(
    fleet: &FleetName,
    name: &PartitionName,
    known: &Arc<Known>,
    settings: &Arc<Settings>,
    lease: &LeaseHandle,
) -> OnConnect {
    let checker = Arc::new(Checker {
        name: name.clone(),
        keys: Keys::new(fleet, name),
        known: known.clone(),
        settings: settings.clone(),
        lease: lease.clone(),
    });
    Arc::new(move |connection: MultiplexedConnection, purpose| {
        let checker = checker.clone();
        async move { checker.check(connection, purpose).await }.boxed()
    })
}

impl Checker {
    async fn check(&self, connection: MultiplexedConnection, purpose: Purpose) -> Result<(), Unavailable> {
        if purpose == Purpose::Admin {
            return Ok(());
        }
        let mut ask = Ask::Raw(connection);
        let facts = Facts::read(&mut ask).await?;
        let findings = self.findings(&facts, purpose);
        if !findings.is_empty() {
            let reason = joined(&findings);
            let mut standing = lock(&self.known.standing);
            let found = standing.found().cloned().map(Box::new);
            *standing = Standing::Unusable { findings, found };
            return Err(Unavailable::Refused { reason });
        }
        let known = self.lease.accepted_seen();
        let record = store::record(&mut ask, &self.keys).await?;
        match self.known.identify(&record, &self.settings, false) {
            // Messages that it forgot are told of by the next look, which also takes the other shards' word.
            Identity::Known { .. } => {}
            other => {
                let reason = other.describe(&self.name).into();
                *lock(&self.known.standing) = Standing::Stranger(other);
                return Err(Unavailable::Refused { reason });
            }
        }
        let epoch = store::epoch(&mut ask, &self.keys, &facts.run_id, record.meta.accepted, known).await?;
        if let EpochChange::WentBack { missing } = self.lease.observe_epoch(&epoch) {
            let partition = &self.name;
            tracing::error!(%partition, missing, "the store forgot messages that it had accepted; look for a failover or a restored backup");
        }
        if purpose == Purpose::Beat || self.settings.durability() == Durability::Unchecked {
            return Ok(());
        }
        preflight::clear_torn_tail(&mut ask, &self.keys, &facts).await
    }

    /// What keeps a connection from serving its purpose.
    fn findings(&self, facts: &Facts, purpose: Purpose) -> Vec<Finding> {
        let mut findings = preflight::judge(facts, self.settings.durability(), self.known.topology());
        if purpose != Purpose::Enqueue {
            findings.retain(|finding| matches!(finding.setting, "loading" | "role"));
        }
        findings
    }
}

impl Known {
    fn identify(&self, record: &Record, settings: &Settings, all_asked: bool) -> Identity {
        let remembered = lock(&self.remembered).clone();
        let config = lock(&self.wanted).uuid.clone();
        let relay_uid = settings.relay_uid.as_deref();
        identify(&record.meta, config.as_deref(), remembered.as_ref(), relay_uid, all_asked)
    }

    /// Takes what somebody remembers of this shard, if it is younger than what is known.
    fn take_memory(&self, seen: &Remembered) {
        let mut known = lock(&self.remembered);
        if known.as_ref().is_none_or(|known| known.at < seen.at) {
            *known = Some(seen.clone());
        }
    }
}

impl Shards {
    /// Looks at every shard once: who answers, which queue is there, whether its server keeps the promise, how full it is. A
    /// store that never was a queue becomes one, if nobody remembers another in its place.
    pub async fn look(&self) {
        let shards = &self.list();
        let records = join_all(shards.iter().map(|shard| shard.record())).await;
        for seen in records.iter().flatten().map(|record| &record.seen) {
            for shard in shards.iter() {
                if let Some(seen) = seen.get(shard.partition.name()) {
                    shard.known.take_memory(seen);
                }
            }
        }
        let silent = records.iter().filter(|record| record.is_err()).count();
        join_all(shards.iter().zip(records).map(|(shard, record)| async move {
            // All the others, that is.
            let all_asked = silent == usize::from(record.is_err());
            let standing = match record {
                Ok(record) => shard.judge(record, &self.0.settings, all_asked).await,
                Err(why) => Err(why),
            };
            let standing =
                standing.unwrap_or_else(|why| Standing::Unreachable { reason: why.to_string().into() });
            if shard.stands(standing) {
                *lock(&self.0.changed) = Some(self.0.settings.clock.now());
            }
            shard.tell();
            shard.try_anew(&self.0.settings).await;
        }))
        .await;
        self.remember(shards).await;
    }

    /// Writes down elsewhere what each shard has, if that changed.
    async fn remember(&self, shards: &[Arc<Shard>]) {
        let now = self.0.settings.clock.now();
        let written = self.0.remembered.borrow().clone();
        let mut changed: Vec<(PartitionName, Remembered)> = Vec::new();
        for shard in shards {
            let Some(seen) = lock(&shard.known.remembered).clone() else { continue };
            let before = written.get(shard.partition.name());
            if before.is_some_and(|before| before.has_same(&seen)) {
                continue;
            }
            // A shard that was closed may be gone a moment later.
            let is_urgent = before.is_some_and(|before| before.is_closed != seen.is_closed);
            if shard.is_write_due(now) || is_urgent {
                changed.push((shard.partition.name().clone(), seen));
            }
        }
        if changed.is_empty() {
            return;
        }
        join_all(shards.iter().map(|at| write_at(at, &changed))).await;
        let mut published = written;
        published.extend(changed);
        self.0.remembered.send_replace(published);
    }
}

impl Shard {
    async fn record(&self) -> Result<Record, Unavailable> {
        store::record(&mut Ask::Through(self.partition.connections()), self.partition.keys()).await
    }

    async fn judge(
        &self,
        record: Record,
        settings: &Settings,
        all_asked: bool,
    ) -> Result<Standing, Unavailable> {
        let mut ask = Ask::Through(self.partition.connections());
        // Before the figures are read: what was remembered by then they have, if nothing was lost. The record may be older.
        let before = lock(&self.known.remembered).clone();
        match self.known.identify(&record, settings, all_asked) {
            Identity::Known { .. } => {}
            Identity::Fresh => {
                store::init(&mut ask, self.partition.keys(), settings.relay_uid.as_deref(), "").await?;
                let made = self.record().await?;
                return Box::pin(self.judge(made, settings, all_asked)).await;
            }
            other => return Ok(Standing::Stranger(other)),
        }
        let judged = match &*lock(&self.known.standing) {
            Standing::InUse(found) if !self.is_preflight_due(settings) => Some((found.clock, found.version)),
            _ => None,
        };
        let mut findings = Vec::new();
        let (memory, clock, version) = match judged {
            Some((clock, version)) => (Memory::read(&mut ask).await?, clock, version),
            None => {
                let facts = Facts::read(&mut ask).await?;
                findings = preflight::judge(&facts, settings.durability(), self.known.topology());
                if findings.is_empty() {
                    lock(&self.known.times).preflight = Some(settings.clock.now());
                }
                (facts.memory, facts.clock, facts.version)
            }
        };
        let figures = match self.partition.figures().await {
            Ok(figures) => figures,
            Err(_) if !findings.is_empty() => return Ok(Standing::Unusable { findings, found: None }),
            Err(why) => return Err(why),
        };
        let uuid = record.meta.uuid.unwrap_or_default();
        let now = settings.clock.now();
        let state = self.keep_state(&mut ask, record.state, figures.messages(), now).await?;
        let seen = Remembered {
            uuid: uuid.clone(),
            accepted: figures.accepted,
            deliveries: figures.deliveries(),
            at: figures.now.unwrap_or(Due::from_unix_millis(0)),
            is_closed: state == State::Closed,
        };
        let forgotten = self.remembers(before.as_ref(), seen);
        let found = Box::new(Found { uuid, state, memory, figures, clock, version, forgotten });
        Ok(if findings.is_empty() {
            Standing::InUse(found)
        } else {
            Standing::Unusable { findings, found: Some(found) }
        })
    }

    /// Notes what the shard has, in place of `before`. Messages that it has forgotten since are told of first: nobody knows of them
    /// afterwards. Returns how many it has forgotten in this process's life.
    fn remembers(&self, before: Option<&Remembered>, seen: Remembered) -> u64 {
        let mut remembered = lock(&self.known.remembered);
        let missing = before.map_or(0, |before| before.missing_from(&seen.uuid, seen.accepted));
        // Else another look has come first, and told of them.
        let is_news = missing > 0 && remembered.as_ref() == before;
        *remembered = Some(seen);
        let mut forgotten = lock(&self.known.forgotten);
        if is_news {
            let partition = self.partition.name();
            let problem = Identity::Known { missing }.describe(partition);
            tracing::error!(%partition, missing, %problem, "a shard of the queue has lost mail");
            *forgotten = forgotten.saturating_add(missing);
        }
        *forgotten
    }

    fn is_write_due(&self, now: Mono) -> bool {
        let mut times = lock(&self.known.times);
        let is_due = times.written.is_none_or(|written| now.since(written) >= REMEMBER_EVERY);
        if is_due {
            times.written = Some(now);
        }
        is_due
    }

    /// Tries the URL that the config has now, if nobody has connected by it: what is wrong with it is better known before the
    /// connections made by the former one end.
    async fn try_anew(&self, settings: &Settings) {
        let now = settings.clock.now();
        let is_due = |untried: &Untried| untried.not_before.is_none_or(|not_before| not_before <= now);
        if !lock(&self.known.untried).as_ref().is_some_and(is_due) {
            return;
        }
        let said = match self.partition.connections().try_anew().await {
            Ok(()) => None,
            Err(why) => {
                let not_before = Some(now.after(TRY_ANEW_EVERY));
                Some(Untried { not_before, said: Some(why.to_string().into()) })
            }
        };
        *lock(&self.known.untried) = said;
    }

    fn is_preflight_due(&self, settings: &Settings) -> bool {
        let last = lock(&self.known.times).preflight;
        last.is_none_or(|last| settings.clock.now().since(last) >= PREFLIGHT_EVERY)
    }

    /// Logs where the shard stands, when that is another word than before.
    fn tell(&self) {
        let status = self.status();
        let word = status.standing.as_str();
        let before = std::mem::replace(&mut *lock(&self.known.told), word);
        if before == word {
            return;
        }
        let partition = &status.name;
        if status.standing.keeps_promise() {
            tracing::info!(%partition, standing = word, before, "a shard of the queue takes part");
        } else {
            tracing::warn!(%partition, standing = word, before, problem = %status, "a shard of the queue takes no part");
        }
    }

    /// Notes where the shard stands. One that can't keep the promise any longer takes nothing more over the connections that it
    /// still has either: the next ones are checked. Returns whether it became usable, or stopped being so.
    fn stands(&self, standing: Standing) -> bool {
        let is_usable = standing.keeps_promise();
        let before = std::mem::replace(&mut *lock(&self.known.standing), standing);
        if before.keeps_promise() && !is_usable {
            self.partition.connections().reconnect(Purpose::Enqueue);
        }
        // The first look of a new process moves no limit.
        let is_first = before == Standing::Unasked && lock(&self.known.times).added.is_none();
        !is_first && before.keeps_promise() != is_usable
    }
}

/// The other shards' totals are kept here; what this one has is worth nothing once it is lost.
async fn write_at(at: &Shard, changed: &[(PartitionName, Remembered)]) {
    if !lock(&at.known.standing).keeps_promise() {
        return;
    }
    let mut ask = Ask::Through(at.partition.connections());
    for (name, seen) in changed.iter().filter(|(name, _)| name != at.partition.name()) {
        // What can't be written now is written with the next change; memory and the shell's file have it meanwhile.
        let _ = store::remember(&mut ask, at.partition.keys(), name, seen).await;
    }
}

fn joined(findings: &[Finding]) -> Box<str> {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()
}
