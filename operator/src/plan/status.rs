//! What a MailRelay's status says. Pure.
//! **Owns:** its conditions, by Gateway API's manners: each with the generation that it speaks of, `Ready` on top. **Never:** writes it, tells of
//! what wasn't applied.

pub mod conditions;
pub mod identity;
pub mod rule;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use postrider_core::{
    compile::{Problem, Weight},
    identity::Judgement,
};
use postrider_crds::{
    Durability, Duration, ListenerStatus, MailRelayStatus, QueueStatus, ShardStatus,
    status::{conditions as types, reasons},
};

use super::rollout::Rollout;
use crate::{
    gather::{Snapshot, child::Progress},
    names::{self, Key},
    report::ShardReport,
    validate::{Ending, Judged},
};
use conditions::{Say, keep_times};

/// All conditions of a MailRelay, in the order in which they are shown.
pub const RELAY_CONDITIONS: [&str; 9] = [
    types::ACCEPTED,
    types::RESOLVED_REFS,
    types::QUEUE_DURABLE,
    types::QUEUE_LOST,
    types::QUEUE_CLOCK,
    types::EGRESS_IDENTITY,
    types::DKIM_PUBLISHED,
    types::PROGRAMMED,
    types::READY,
];

/// What a status speaks of.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What is known.
    pub snapshot: &'a Snapshot,
    /// What core says of it.
    pub judged: &'a Judged,
    /// What stands in the way beyond that: reason and message. The configuration is too large, a name is taken, the API server
    /// refused an object.
    pub obstacle: Option<(&'static str, String)>,
    /// The hash that pods should run; none, while there is none.
    pub hash: Option<&'a str>,
    /// How far it has come.
    pub rollout: &'a Rollout,
    /// How many pods there should be.
    pub wanted: i32,
    /// Whether it is going.
    pub ending: Ending,
    /// What the DNS says of it; none, while nobody has looked.
    pub identity: Option<&'a Judgement>,
}

/// The status, with times of what hasn't changed as they were.
pub fn relay_status(facts: &Facts<'_>, now: &Time) -> MailRelayStatus {
    let relay = &facts.snapshot.relay;
    let before = relay.status.clone().unwrap_or_default();
    let generation = relay.metadata.generation;
    let progress = facts.snapshot.deployment().map(|child| child.progress).unwrap_or_default();
    let mut said = vec![
        accepted(facts),
        resolved(facts),
        queue_durable(facts),
        queue_lost(facts),
        queue_clock(facts),
        identity::egress_identity(facts),
        identity::dkim_published(facts),
        programmed(facts),
    ];
    said.push(ready(facts, &said, progress));
    let mut conditions: Vec<Condition> = said.into_iter().map(|say| say.condition(generation, now)).collect();
    keep_times(&mut conditions, &before.conditions);
    let name = relay.metadata.name.clone().unwrap_or_default();
    MailRelayStatus {
        observed_generation: generation,
        replicas: progress.replicas,
        ready_replicas: progress.ready,
        selector: Some(selector(&name)),
        attached_rules: attached(facts, None),
        queue: queue(facts.snapshot).or(before.queue),
        shards: shards(facts.snapshot),
        config_hash: facts.hash.map(str::to_owned).or(before.config_hash),
        listeners: listeners(facts, now),
        conditions,
    }
}

fn selector(name: &str) -> String {
    let labels = names::selector(name, names::RELAY);
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn of_weight<'p>(problems: &'p [Problem], weights: &'p [Weight]) -> impl Iterator<Item = &'p Problem> {
    problems.iter().filter(|problem| weights.contains(&problem.weight))
}

fn accepted(facts: &Facts<'_>) -> Say {
    if let Some((reason, message)) = &facts.obstacle {
        return Say::no(types::ACCEPTED, reason, message.clone());
    }
    let problems = &facts.judged.relay.problems;
    let worst: Vec<&Problem> = of_weight(problems, &[Weight::Invalid, Weight::NotAllowed]).collect();
    match worst.first() {
        Some(first) => Say::no(types::ACCEPTED, first.reason, told(&worst)),
        None => {
            let warnings: Vec<&Problem> = of_weight(problems, &[Weight::Warning]).collect();
            Say::yes(types::ACCEPTED, reasons::ACCEPTED, told(&warnings))
        }
    }
}

fn resolved(facts: &Facts<'_>) -> Say {
    let missing: Vec<&Problem> = of_weight(&facts.judged.relay.problems, &[Weight::Unresolved]).collect();
    match missing.first() {
        Some(first) => Say::no(types::RESOLVED_REFS, first.reason, told(&missing)),
        None => Say::yes(types::RESOLVED_REFS, reasons::RESOLVED_REFS, String::new()),
    }
}

fn told(problems: &[&Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn reports(snapshot: &Snapshot) -> impl Iterator<Item = &ShardReport> {
    let queues = snapshot.pods.iter().filter_map(|pod| pod.report.as_ref()?.queue.as_ref());
    queues.flat_map(|queue| &queue.shards)
}

fn queue_durable(facts: &Facts<'_>) -> Say {
    let type_ = types::QUEUE_DURABLE;
    let Some(problems) = shard_lines(facts, |shard| {
        (!shard.is_in_use()).then(|| {
            let why = shard.problems.join("; ");
            if why.is_empty() { shard.standing.clone() } else { why }
        })
    }) else {
        return Say::unknown(type_, reasons::NO_REPORT, "no pod tells of the queue yet");
    };
    if !problems.is_empty() {
        let is_away = reports(facts.snapshot).any(|shard| shard.standing == "Unreachable");
        let reason = if is_away { reasons::UNREACHABLE } else { reasons::NOT_DURABLE };
        return Say::no(type_, reason, problems.join("\n"));
    }
    if facts.snapshot.relay.spec.queue.durability == Durability::Unchecked {
        let message = "spec.queue.durability is Unchecked: the servers' settings are not looked at";
        return Say::yes(type_, reasons::UNCHECKED, message.to_owned());
    }
    Say::yes(type_, reasons::DURABLE, String::new())
}

fn queue_lost(facts: &Facts<'_>) -> Say {
    let type_ = types::QUEUE_LOST;
    let lost = shard_lines(facts, |shard| {
        shard.is_lost().then(|| {
            let count = shard.lost_deliveries.map_or("an unknown number of".to_owned(), |count| count.to_string());
            format!(
                "found an empty server where {count} deliveries were; expected that queue; bring its volume back, or accept the \
                 loss: postrider-relay ctl queue adopt {}",
                shard.name
            )
        })
    });
    match lost {
        None => Say::unknown(type_, reasons::NO_REPORT, "no pod tells of the queue yet"),
        Some(lost) if lost.is_empty() => Say::no(type_, reasons::NOTHING_LOST, String::new()),
        Some(lost) => Say::yes(type_, reasons::LOST, lost.join("\n")),
    }
}

fn queue_clock(facts: &Facts<'_>) -> Say {
    let type_ = types::QUEUE_CLOCK;
    let differ = shard_lines(facts, |shard| {
        (shard.clock_agrees == Some(false)).then(|| {
            "found a clock that differs from the relays' by more than 5 minutes; expected them to agree; set the nodes' clocks".to_owned()
        })
    });
    match differ {
        None => Say::unknown(type_, reasons::NO_REPORT, "no pod tells of the queue yet"),
        Some(differ) if differ.is_empty() => Say::yes(type_, reasons::CLOCKS_AGREE, String::new()),
        Some(differ) => Say::no(type_, reasons::CLOCKS_DIFFER, differ.join("\n")),
    }
}

/// A line for each shard of which some pod says something; none at all, if no pod tells.
fn shard_lines(facts: &Facts<'_>, line: impl Fn(&ShardReport) -> Option<String>) -> Option<Vec<String>> {
    let names = facts.snapshot.shard_names();
    if names.is_empty() {
        return None;
    }
    let lines = names.iter().filter_map(|name| {
        let said = facts.snapshot.shard_reports(name).find_map(&line)?;
        let said = said.trim_start_matches(&format!("shard {name}: "));
        Some(format!("shard {name}: {said}"))
    });
    Some(lines.collect())
}

fn programmed(facts: &Facts<'_>) -> Say {
    let (type_, rollout) = (types::PROGRAMMED, facts.rollout);
    if facts.judged.valid.is_none() || facts.obstacle.is_some() {
        let message = "what was asked for can't be used; what ran before stays";
        return Say::no(type_, reasons::INVALID, message.to_owned());
    }
    if rollout.is_programmed() {
        return Say::yes(type_, reasons::PROGRAMMED, String::new());
    }
    if let Some(failure) = rollout.failures.first() {
        return Say::no(type_, reasons::NOT_LOADED, failure.clone());
    }
    let message = match rollout.ready {
        0 => "no pod is ready".to_owned(),
        ready => format!("{} of {ready} ready pods run the newest configuration", rollout.current),
    };
    Say::no(type_, reasons::PENDING, message)
}

fn ready(facts: &Facts<'_>, said: &[Say], progress: Progress) -> Say {
    let type_ = types::READY;
    if let Ending::Waits(left) = facts.ending {
        let left = left.map_or("nobody knows how many".to_owned(), |left| left.to_string());
        let message = format!(
            "{left} deliveries are left in its queue; it goes when there are none, or with the annotation {}: \"true\"",
            names::ABANDON_QUEUE
        );
        return Say::no(type_, reasons::DELETING, message);
    }
    let is_needed = |say: &&Say| {
        [types::ACCEPTED, types::RESOLVED_REFS, types::QUEUE_DURABLE, types::PROGRAMMED].contains(&say.type_)
    };
    // Accepted and resolved come first: what is asked for is what people can mend.
    if let Some(bad) = said.iter().filter(is_needed).find(|say| !say.is_true()) {
        return Say::no(type_, bad.reason, bad.message.clone());
    }
    if progress.ready < facts.wanted || progress.updated < facts.wanted || !progress.is_seen {
        let message = format!(
            "{} of {} pods are ready and up to date",
            progress.ready.min(progress.updated),
            facts.wanted
        );
        return Say::no(type_, reasons::PODS_NOT_READY, message);
    }
    Say::yes(type_, reasons::READY, String::new())
}

/// Rules that have an effect; of one listener, those that name it as sectionName or name none.
fn attached(facts: &Facts<'_>, listener: Option<&str>) -> i32 {
    let own = Key::of(&facts.snapshot.relay.metadata);
    let rules = facts.judged.rules.iter().zip(&facts.snapshot.resources.rules);
    let attached = rules.filter(|(verdict, rule)| {
        let names_it = |listener: &str| {
            let refs = rule.spec.parent_refs.iter().filter(|parent| parent.name == own.name);
            refs.map(|parent| parent.section_name.as_deref())
                .any(|name| name.is_none_or(|name| name == listener))
        };
        verdict.effect != postrider_core::compile::Effect::None && listener.is_none_or(names_it)
    });
    i32::try_from(attached.count()).unwrap_or(i32::MAX)
}

fn listeners(facts: &Facts<'_>, now: &Time) -> Vec<ListenerStatus> {
    let relay = &facts.snapshot.relay;
    let before = relay.status.as_ref().map(|status| status.listeners.as_slice()).unwrap_or_default();
    let listeners = relay.spec.listeners.iter().enumerate().map(|(index, listener)| {
        let field = format!("spec.listeners[{index}].");
        let problems = of_weight(&facts.judged.relay.problems, &[Weight::Unresolved]);
        let missing: Vec<&Problem> = problems.filter(|problem| problem.field.starts_with(&field)).collect();
        let say = match missing.first() {
            Some(first) => Say::no(types::RESOLVED_REFS, first.reason, told(&missing)),
            None => Say::yes(types::RESOLVED_REFS, reasons::RESOLVED_REFS, String::new()),
        };
        let mut conditions = vec![say.condition(relay.metadata.generation, now)];
        let known = before.iter().find(|known| known.name == listener.name);
        keep_times(&mut conditions, known.map(|known| known.conditions.as_slice()).unwrap_or_default());
        ListenerStatus {
            name: listener.name.clone(),
            attached_rules: attached(facts, Some(&listener.name)),
            conditions,
        }
    });
    listeners.collect()
}

fn queue(snapshot: &Snapshot) -> Option<QueueStatus> {
    let deliveries = snapshot.deliveries()?;
    let shards = snapshot.shard_names();
    let first =
        |name: &String, of: fn(&ShardReport) -> Option<u64>| snapshot.shard_reports(name).find_map(of);
    let held: u64 = shards.iter().filter_map(|name| first(name, |shard| shard.held)).sum();
    let oldest = shards.iter().filter_map(|name| first(name, |shard| shard.oldest_seconds)).max();
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Some(QueueStatus {
        deliveries: signed(deliveries),
        held: signed(held),
        // By the minute: a status isn't written for seconds.
        oldest: oldest.map(|seconds| Duration::from_secs(seconds - seconds % 60)),
    })
}

fn shards(snapshot: &Snapshot) -> Vec<ShardStatus> {
    let before = snapshot.relay.status.as_ref().map(|status| status.shards.as_slice()).unwrap_or_default();
    let names = snapshot.shard_names();
    if names.is_empty() {
        return before.to_vec();
    }
    let shards = names.into_iter().map(|name| {
        let standing = snapshot.shard_reports(&name).map(|report| report.standing.clone()).max();
        ShardStatus { uuid: snapshot.uuid_of(&name), standing, name }
    });
    shards.collect()
}

#[cfg(test)]
mod tests;
