//! A MailRelay's queue: which servers, and what a 250 promises.
//! **Owns:** its checks, what its Secrets must hold. **Never:** reads a URL further than to tell a wrong one (the queue crate does).

use postrider_crds as crds;
use postrider_mail::PartitionName;

use super::{Problem, Weight, names, secrets, secrets::Secrets, shown};
use crate::config::{Durability, Queue, QueueKind, QueueMode, Secret, Shard};

/// How long a replica's disk is waited for.
const REPLICA_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

pub(super) fn compile(queue: &crds::Queue, secrets: &Secrets<'_>, problems: &mut Vec<Problem>) -> Queue {
    let mut compiled = match (&queue.managed, &queue.external) {
        (Some(managed), None) => {
            let shards = names::bounded(managed.shards, 16, "spec.queue.managed.shards", problems);
            Queue::managed(u8::try_from(shards).unwrap_or(1))
        }
        (None, Some(external)) => external_queue(external, secrets, problems),
        (Some(_), Some(_)) => {
            problems.push(Problem::invalid("spec.queue", "managed and external", "one of them"));
            Queue::managed(1)
        }
        (None, None) => {
            problems.push(Problem::invalid("spec.queue", "neither managed nor external", "one of them"));
            Queue::managed(1)
        }
    };
    compiled.durability = durability(queue, problems);
    check_mode(&compiled, problems);
    compiled
}

/// A failover promotes a replica, which may not have what only the primary's disk has.
fn check_mode(queue: &Queue, problems: &mut Vec<Problem>) {
    if queue.durability == Durability::Synced && !queue.mode.is_standalone() {
        let found = format!("Synced beside external.mode {:?}", queue.mode);
        let expected = "Replicated or Unchecked, or mode Standalone";
        let problem = Problem::invalid("spec.queue.durability", found, expected);
        problems.push(problem.advise("a failover loses what only the old primary had synced"));
    }
}

fn durability(queue: &crds::Queue, problems: &mut Vec<Problem>) -> Durability {
    let field = "spec.queue.replicatedTo";
    match (queue.durability, queue.replicated_to) {
        (crds::Durability::Replicated, Some(replicas)) => Durability::Replicated {
            replicas: names::bounded(replicas, 5, field, problems),
            timeout: REPLICA_TIMEOUT,
        },
        (crds::Durability::Replicated, None) => {
            problems.push(Problem::invalid(
                field,
                "nothing",
                "a number of replicas beside durability Replicated",
            ));
            Durability::Synced
        }
        (other, Some(_)) => {
            let found = format!("it beside durability {other:?}");
            problems.push(Problem::invalid(field, found, "it with durability Replicated only"));
            Durability::Synced
        }
        (crds::Durability::Synced, None) => Durability::Synced,
        (crds::Durability::Unchecked, None) => Durability::Unchecked,
    }
}

/// Without all of its shards a queue can't be used: one that is left out would look like one that was removed.
fn external_queue(
    external: &crds::ExternalQueue,
    secrets: &Secrets<'_>,
    problems: &mut Vec<Problem>,
) -> Queue {
    let mut shards: Vec<Shard> = Vec::new();
    let mode = match external.mode {
        crds::QueueMode::Standalone => QueueMode::Standalone,
        crds::QueueMode::Sentinel => QueueMode::Sentinel,
        crds::QueueMode::Cluster => QueueMode::Cluster,
    };
    for (index, one) in external.shards.iter().enumerate() {
        let field = format!("spec.queue.external.shards[{index}]");
        let Ok(name) = PartitionName::parse(&one.name) else {
            let expected = names::expected(crds::text::SHARD);
            problems.push(Problem::invalid(format!("{field}.name"), shown(&one.name), expected));
            continue;
        };
        match url(one, mode, &format!("{field}.urlRef"), secrets) {
            Ok(url) => {
                // In a cluster each shard has a slot of its own, and so, with luck, a node of its own.
                let is_cluster = mode == QueueMode::Cluster;
                if let Some(other) =
                    shards.iter().find(|other| !is_cluster && other.url.as_ref() == Some(&url))
                {
                    let found = format!("the URL that shard {} has", shown(other.name.as_str()));
                    problems.push(Problem::invalid(format!("{field}.urlRef"), found, "a server of its own"));
                }
                shards.push(Shard { url: Some(url), ..Shard::new(name) });
            }
            Err(problem) => problems.push(fatal(problem)),
        }
    }
    let ca = external.ca_ref.as_ref().and_then(|reference| {
        secrets
            .value(reference, "spec.queue.external.caRef", "one with the authority's PEM")
            .map_err(|problem| problems.push(fatal(problem)))
            .ok()
    });
    Queue { kind: QueueKind::External, mode, durability: Durability::Synced, shards, ca }
}

fn fatal(problem: Problem) -> Problem {
    let reason = problem.reason;
    problem.because(Weight::Invalid, reason)
}

fn url(
    one: &crds::ExternalShard,
    mode: QueueMode,
    field: &str,
    secrets: &Secrets<'_>,
) -> Result<Secret<String>, Problem> {
    let expected = match mode {
        QueueMode::Standalone => "one with the server's URL",
        QueueMode::Sentinel => "one with the sentinels' URL",
        QueueMode::Cluster => "one with the nodes' URL",
    };
    let url = secrets.value(&one.url_ref, field, expected)?;
    let at = format!("under key {} of Secret {}", shown(&one.url_ref.key), shown(&one.url_ref.name));
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return Err(secrets::unusable(field, format!("no URL {at}"), "redis://… or rediss://…"));
    }
    let words = url.split_once('?').map_or("", |(_, words)| words);
    let has_master = words.split('&').any(|word| word.starts_with("master="));
    match (mode, has_master) {
        (QueueMode::Sentinel, false) => {
            let found = format!("a URL without a master's name {at}");
            let expected = "redis://SENTINEL[,SENTINEL…]/?master=NAME in mode Sentinel";
            Err(secrets::unusable(field, found, expected))
        }
        (QueueMode::Standalone | QueueMode::Cluster, true) => {
            let found = format!("a URL with a master's name {at}");
            Err(secrets::unusable(field, found, format!("one without in mode {mode:?}, or mode Sentinel")))
        }
        _ => Ok(Secret::new(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests::load;

    const SENTINELS: &str = "redis://:canary@a.example,b.example/?master=mail";
    const SERVER: &str = "redis://:canary@a.example/";

    /// What becomes of `spec.queue`, with this URL under key `url` of Secret `redis`.
    fn compiled(queue: &str, url: &str) -> Result<Queue, Vec<String>> {
        let text = format!(
            "apiVersion: postrider.dev/v1alpha1
kind: MailRelay
metadata: {{name: outbound, namespace: mail}}
spec:
  hostname: mail.example.com
  listeners: [{{name: smtp, port: 25, allowedClients: {{cidrs: [10.0.0.0/8]}}}}]
  queue: {queue}
---
apiVersion: v1
kind: Secret
metadata: {{name: redis, namespace: mail}}
stringData: {{url: {url:?}}}
"
        );
        let resources = load([("relay.yaml", text.as_str())]).resources;
        let relay = resources.select_relay(None).expect("one");
        let secrets = Secrets { resources: &resources, namespace: "mail" };
        let mut problems = Vec::new();
        let queue = compile(&relay.spec.queue, &secrets, &mut problems);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(!told.concat().contains("canary"), "{told:?}");
        if told.is_empty() { Ok(queue) } else { Err(told) }
    }

    fn external(mode: &str, durability: &str) -> String {
        let shard = |name: &str| format!("{{name: {name}, urlRef: {{name: redis, key: url}}}}");
        format!("{{external: {{{mode} shards: [{}]}}, {durability}}}", shard("a"))
    }

    #[test]
    fn the_mode_is_standalone_where_none_is_said_and_the_configuration_doesnt_name_it_then() {
        let queue = compiled(&external("", "durability: Synced"), SERVER).expect("good");
        assert_eq!((queue.mode, queue.durability), (QueueMode::Standalone, Durability::Synced));
        let json = serde_json::to_string(&queue).expect("JSON");
        assert!(!json.contains("mode"), "relays of before read it, and its hash stays: {json}");
    }

    #[test]
    fn where_something_fails_over_a_250_is_replicated_or_unchecked() {
        for (mode, expected, url) in
            [("Sentinel", QueueMode::Sentinel, SENTINELS), ("Cluster", QueueMode::Cluster, SERVER)]
        {
            let mode = format!("mode: {mode},");
            let told = compiled(&external(&mode, "durability: Synced"), url).expect_err("it isn't kept");
            assert!(
                told[0].starts_with("spec.queue.durability: found Synced beside external.mode"),
                "{told:?}"
            );
            assert!(told[0].contains("expected Replicated or Unchecked, or mode Standalone"), "{told:?}");
            for durability in ["durability: Replicated, replicatedTo: 1", "durability: Unchecked"] {
                let queue = compiled(&external(&mode, durability), url).expect("good");
                assert_eq!(queue.mode, expected);
                let again: Queue =
                    serde_json::from_str(&serde_json::to_string(&queue).expect("JSON")).expect("JSON");
                assert_eq!(again, queue);
            }
        }
    }

    #[test]
    fn a_url_has_a_master_s_name_where_sentinels_are_asked_and_nowhere_else() {
        let told =
            compiled(&external("mode: Sentinel,", "durability: Unchecked"), SERVER).expect_err("no name");
        assert_eq!(
            told,
            [
                "spec.queue.external.shards[0].urlRef: found a URL without a master's name under key \"url\" of Secret \"redis\"; \
              expected redis://SENTINEL[,SENTINEL…]/?master=NAME in mode Sentinel"
            ]
        );
        for mode in ["", "mode: Cluster,"] {
            let told = compiled(&external(mode, "durability: Unchecked"), SENTINELS).expect_err("a name");
            assert!(told[0].contains("found a URL with a master's name"), "{told:?}");
        }
    }

    #[test]
    fn several_shards_may_be_in_one_cluster_but_not_on_one_server() {
        let two = |mode: &str| {
            let shards =
                "[{name: a, urlRef: {name: redis, key: url}}, {name: b, urlRef: {name: redis, key: url}}]";
            format!("{{external: {{{mode} shards: {shards}}}, durability: Unchecked}}")
        };
        assert_eq!(compiled(&two("mode: Cluster,"), SERVER).expect("good").shards.len(), 2);
        let told = compiled(&two(""), SERVER).expect_err("one server");
        assert!(
            told[0].contains("found the URL that shard \"a\" has; expected a server of its own"),
            "{told:?}"
        );
        assert!(compiled(&two("mode: Sentinel,"), SENTINELS).is_err());
    }
}
