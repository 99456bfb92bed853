//! What a pod shows at most, and what goes when its listener or rule goes.

use postrider_core::{
    config::{Config, ConfigParts, Fleet, Rule, RuleName, Scope},
    egress::{Pool, Source, SourceName, Way},
};
use postrider_mail::{HostName, OutcomeKind};

use super::*;

/// What the schema lets a MailRelay have.
const LISTENERS: usize = 16;
const SHARDS: usize = 16;
/// Words for the ends of sessions; there are 23.
const ENDS: usize = 24;
/// More than there are stages of an attempt, and results of a look-up.
const STAGES: usize = 15;
const LOOKUPS: usize = 12;
const SERIES_MAX: usize = 1_500;

/// The largest `spec.egressPools`.
fn pools() -> Vec<Pool> {
    let source = |number: usize| Source {
        name: format!("source-{number}").into(),
        weight: 1,
        hostname: HostName::parse("mail.example.com").expect("a name"),
        family: None,
        warm_up: None,
        way: Way::Direct,
    };
    let pool = |number: usize| Pool {
        name: format!("pool-{number}").into(),
        sources: (0..64).map(source).collect(),
    };
    (0..16).map(pool).collect()
}

fn config(rules: usize) -> Config {
    let fleet = Fleet { namespace: "mail".into(), name: "outbound".into(), uid: None };
    let mut parts = ConfigParts::minimal(fleet, HostName::parse("mail.example.com").expect("a name"));
    parts.egress_pools = pools();
    parts.rules = (0..rules)
        .map(|number| Rule {
            name: RuleName::new("mail", "team", &format!("rule-{number:04}")),
            priority: 0,
            created: 0,
            matches: Vec::new(),
            scope: Scope::default(),
            route: None,
            policy: Default::default(),
            broken: None,
        })
        .collect();
    Config::from(parts)
}

fn series(metrics: &Metrics) -> Vec<String> {
    let text = prometheus::TextEncoder::new().encode_to_string(&metrics.registry.gather()).expect("text");
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn sum(metrics: &Metrics, needle: &str) -> f64 {
    let value = |line: &String| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
    series(metrics).iter().filter(|line| line.contains(needle)).filter_map(value).sum()
}

const OUTCOMES: [OutcomeKind; 3] = [OutcomeKind::Delivered, OutcomeKind::Deferred, OutcomeKind::Bounced];

/// Every series that the largest MailRelay can bring forth.
fn fill(metrics: &Metrics, rules: usize) {
    for number in 0..LISTENERS {
        let name = format!("listener-{number}");
        metrics.messages_accepted.with_label_values(&[&name]).inc();
        metrics.sessions.with_label_values(&[&name]).inc();
        metrics.certificate_not_after.with_label_values(&[&name]).set(1.0);
        for class in ["4yz", "5yz"] {
            metrics.messages_refused.with_label_values(&[&name, class]).inc();
        }
        for end in 0..ENDS {
            metrics.sessions_ended.with_label_values(&[&*name, &*end.to_string()]).inc();
        }
        for version in ["TLSv1.2", "TLSv1.3"] {
            metrics.tls_handshakes.with_label_values(&[&name, version]).inc();
        }
        for result in ["accepted", "refused", "unavailable"] {
            metrics.authentications.with_label_values(&[&name, result]).inc();
        }
    }
    for outcome in OUTCOMES {
        for stage in 0..STAGES {
            metrics.outbound.attempts.with_label_values(&[outcome.as_str(), &*stage.to_string()]).inc();
        }
        for number in 0..rules {
            metrics.rules.count(&format!("team/rule-{number:04}"), outcome);
        }
        metrics.rules.count(RuleName::DEFAULT, outcome);
    }
    for tls in ["verified", "unverified", "clear", "cleared"] {
        metrics.outbound.connections_out.with_label_values(&[tls]).inc();
    }
    for result in 0..LOOKUPS {
        metrics.outbound.dns_lookups.with_label_values(&[result.to_string()]).inc();
    }
    for shard in 0..SHARDS {
        metrics.queue.lost.with_label_values(&[shard.to_string()]).set(1);
    }
    for number in ["1", "2", "3", "4", "5", "6"] {
        metrics.queue.shards.with_label_values(&[number]).set(1);
        metrics.queue.deliveries.with_label_values(&[number, ""]).set(1);
        metrics.queue.round_trips.with_label_values(&[number]).inc();
        metrics.queue.oldest_age.with_label_values(&[number]).set(1.0);
        metrics.queue.lanes.with_label_values(&[number]).set(1);
        metrics.outbound.sites.with_label_values(&[number]).set(1);
    }
}

#[test]
fn the_largest_relay_has_at_most_1500_series() {
    let metrics = Metrics::new().expect("names are unique");
    metrics.follow(&config(10_000));
    pools()
        .iter()
        .for_each(|pool| pool.sources.iter().for_each(|one| metrics.sources.failed(&pool.name_of(one))));
    fill(&metrics, 1_000);
    let count = series(&metrics).len();
    assert!((1_000..=SERIES_MAX).contains(&count), "{count} series");
}

#[test]
fn the_first_rules_are_told_by_name_and_the_rest_together() {
    let metrics = Metrics::new().expect("names are unique");
    metrics.rules.follow(&config(NAMED_RULES + 2));
    for rule in ["team/rule-0000", "team/rule-0199", "team/rule-0200", "team/rule-0201", "default"] {
        metrics.rules.count(rule, OutcomeKind::Delivered);
    }
    assert_eq!(sum(&metrics, "outcome=\"Delivered\",rule=\"team/rule-0199\""), 1.0);
    assert_eq!(sum(&metrics, "outcome=\"Delivered\",rule=\"other\""), 2.0);
    assert_eq!(sum(&metrics, "outcome=\"Delivered\",rule=\"default\""), 1.0);
    // A rule that is gone isn't told of any more.
    metrics.rules.follow(&config(1));
    metrics.rules.count("team/rule-0199", OutcomeKind::Bounced);
    let left: Vec<String> = series(&metrics).into_iter().filter(|line| line.contains("rule-0")).collect();
    assert!(left.iter().all(|line| line.contains("rule-0000")), "{left:?}");
    assert_eq!(sum(&metrics, "outcome=\"Bounced\",rule=\"other\""), 1.0);
}

#[test]
fn the_first_sources_are_told_by_name_and_those_that_are_gone_no_more() {
    let metrics = Metrics::new().expect("names are unique");
    metrics.follow(&config(0));
    let name = |pool: &str, source: &str| SourceName { pool: pool.into(), source: source.into() };
    let (last, first_other) = (name("pool-0", "source-49"), name("pool-0", "source-50"));
    let of_last = "pool=\"pool-0\",source=\"source-49\"";
    assert_eq!(sum(&metrics, of_last), 0.0);
    metrics.sources.failed(&last);
    metrics.sources.spent(&last);
    metrics.sources.failed(&first_other);
    assert_eq!(sum(&metrics, &format!("failures_total{{{of_last}")), 1.0);
    assert_eq!(sum(&metrics, &format!("spent_total{{{of_last}")), 1.0);
    assert_eq!(sum(&metrics, "pool=\"other\",source=\"other\""), 1.0);
    metrics.sources.refresh(&[last, name("gone", "source-0")]);
    assert_eq!(sum(&metrics, "egress_sources{state=\"out\"}"), 1.0);
    assert_eq!(sum(&metrics, "egress_sources{state=\"well\"}"), 1023.0);
    let mut fewer =
        ConfigParts::minimal(config(0).fleet, HostName::parse("mail.example.com").expect("a name"));
    fewer.egress_pools = pools().into_iter().skip(1).take(1).collect();
    metrics.follow(&Config::from(fewer));
    assert!(!series(&metrics).iter().any(|line| line.contains("pool-0\"")));
    assert!(series(&metrics).iter().any(|line| line.contains("pool-1\"")));
}

#[test]
fn a_listener_takes_its_series_with_it() {
    let metrics = Metrics::new().expect("names are unique");
    fill(&metrics, 0);
    let before = series(&metrics).len();
    metrics.forget_listener("listener-7");
    let gone = before - series(&metrics).len();
    assert_eq!(gone, 3 + 2 + ENDS + 2 + 3);
    assert!(!series(&metrics).iter().any(|line| line.contains("listener-7\"")));
}

#[test]
fn every_metric_says_what_it_is_for() {
    let metrics = Metrics::new().expect("names are unique");
    fill(&metrics, 1);
    for family in metrics.registry.gather() {
        assert!(family.name().starts_with("postrider_"), "{}", family.name());
        assert!(
            family.help().len() > 15 && family.help().ends_with('.'),
            "{}: {}",
            family.name(),
            family.help()
        );
    }
}
