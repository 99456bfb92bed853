//! Configurations written, read, hashed; no secret shown.

use super::*;
use crate::{matcher::Match, tls_policy::TlsMode};

fn parts() -> ConfigParts {
    let fleet = Fleet { namespace: "mail".into(), name: "outbound".into(), uid: None };
    let credentials = Credentials { username: "us".into(), password: Secret::new("canary".into()) };
    let host = SmarthostHost {
        host: HostAddress::Name(HostName::parse("gw.example").expect("a name")),
        port: 587,
        protocol: Protocol::Smtp,
    };
    let rule = Rule {
        name: RuleName::new("mail", "team", "partner"),
        priority: 5,
        created: 0,
        matches: vec![Match {
            recipient_domains: Some(vec!["*.partner.example".parse().expect("a pattern")]),
            ..Default::default()
        }],
        scope: Scope::default(),
        route: Some(Route::Smarthost(Smarthost {
            hosts: vec![host],
            tls: Some(TlsMode::Verify),
            credentials: Some(credentials),
        })),
        policy: PolicyFields::default(),
        broken: None,
    };
    let hostname = HostName::parse("mail.example.com").expect("a name");
    ConfigParts { rules: vec![rule], ..ConfigParts::minimal(fleet, hostname) }
}

#[test]
fn a_configuration_is_read_back_as_it_was_written() {
    let config = Config::from(parts());
    let again = Config::from_json(&config.to_json()).expect("reads");
    assert_eq!(again, config);
    assert_eq!(again.hash(), config.hash());
    assert_eq!(again.rules.named("team/partner").map(|rule| rule.priority), Some(5));
}

#[test]
fn what_is_changed_has_another_hash() {
    let config = Config::from(parts());
    let mut paused = config.clone();
    assert_eq!(paused.hash(), config.hash());
    paused = paused.clone();
    paused.delivery = DeliveryMode::Paused;
    assert_ne!(paused.hash(), config.hash());
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let err = Config::from_json(br#"{"format": 99, "unheard_of": true}"#).expect_err("too new");
    assert!(err.to_string().starts_with("found format 99; expected at most 2"), "{err}");
}

#[test]
fn a_malformed_file_is_refused_with_the_place() {
    let text = String::from_utf8(Config::from(parts()).to_json()).expect("text");
    let text = text.replace("\"port\":587", "\"port\":\"x\"");
    let err = Config::from_json(text.as_bytes()).expect_err("malformed").to_string();
    assert!(err.contains("rules") && !err.contains("canary"), "{err}");
    assert!(Config::from_json(b"").is_err() && Config::from_json(b"[]").is_err());
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown() {
    let text = String::from_utf8(Config::from(parts()).to_json()).expect("text");
    let text = text.replace("\"port\":587", "\"port\":\"canary\"");
    let err = Config::from_json(text.as_bytes()).expect_err("malformed").to_string();
    assert!(err.contains("rules") && err.contains("string \"…\"") && !err.contains("canary"), "{err}");
}

#[test]
fn compressed_or_not_it_is_the_same_configuration() {
    let config = Config::from(parts());
    for bytes in [config.to_gzip(), config.to_json()] {
        let again = Config::from_bytes(&bytes).expect("reads");
        assert_eq!((again.hash(), &again), (config.hash(), &config));
    }
    assert_eq!(config.to_gzip(), config.clone().to_gzip());
    assert_eq!(config.to_gzip()[4..10], [0, 0, 0, 0, 0, 255], "no time, no system");
}

#[test]
fn what_is_no_whole_gzip_is_refused() {
    let whole = Config::from(parts()).to_gzip();
    let more = [&whole[..], b"x"].concat();
    let mut changed = whole.clone();
    changed[whole.len() - 8] ^= 1;
    for bytes in [&whole[..whole.len() - 1], &whole[..2], &more, &changed] {
        let err = Config::from_bytes(bytes).expect_err("broken").to_string();
        assert!(err.starts_with("found a broken gzip stream"), "{err}");
    }
}

#[test]
fn a_configuration_that_unpacks_without_end_is_refused() {
    let mut sink = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..=MAX_BYTES >> 20 {
        std::io::Write::write_all(&mut sink, &[b' '; 1 << 20]).expect("memory");
    }
    let bytes = sink.finish().expect("memory");
    assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
    let refused = |bytes: &[u8]| Config::from_bytes(bytes).expect_err("too large");
    assert!(matches!(refused(&bytes), UnreadableConfig::TooLarge));
    assert!(matches!(refused(&vec![b' '; MAX_BYTES + 1]), UnreadableConfig::TooLarge));
}

#[test]
fn secrets_are_not_in_debug() {
    assert!(!format!("{:?}", Config::from(parts())).contains("canary"));
}

#[test]
fn managed_shards_are_named_and_placed() {
    let mut queue = Queue::managed(3);
    let names: Vec<&str> = queue.shards.iter().map(|shard| shard.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let name = queue.shards[1].name.clone();
    assert!(queue.place(&name, "redis://127.0.0.1".into()));
    assert!(queue.shards[1].url.is_some() && queue.shards[0].url.is_none());
}

#[test]
fn a_shard_that_drains_says_so_and_the_others_nothing() {
    let mut with = parts();
    let text = String::from_utf8(Config::from(with.clone()).to_json()).expect("text");
    assert!(!text.contains("draining"), "{text}");
    with.queue.shards[0].draining = true;
    let config = Config::from(with);
    assert!(Config::from_json(&config.to_json()).expect("reads").queue.shards[0].draining);
    assert_ne!(config.hash(), Config::from(parts()).hash());
}

#[test]
fn the_longest_wait_is_that_of_any_rule_or_of_the_defaults() {
    let minutes = |count: u64| Some(Duration::from_secs(60 * count));
    let longest = |defaults: PolicyFields, rule: PolicyFields| {
        let provider_defaults = ProviderDefaults::Disabled;
        let mut parts = ConfigParts { defaults, provider_defaults, ..parts() };
        parts.rules[0].policy = rule;
        Config::from(parts).longest_wait().as_secs() / 60
    };
    assert_eq!(longest(PolicyFields::default(), PolicyFields::default()), 60);
    let short = PolicyFields { retry_initial: minutes(0), retry_max: minutes(0), ..PolicyFields::default() };
    assert_eq!(longest(short, PolicyFields::default()), 1);
    let long = PolicyFields { retry_max: minutes(240), ..PolicyFields::default() };
    assert_eq!(longest(short, long), 240);
    let first = PolicyFields { retry_initial: minutes(300), ..PolicyFields::default() };
    assert_eq!(longest(long, first), 300);
    // Of a day's eight, one comes due every three hours; one in three is for Bulk.
    let rate = crate::limits::Rate::new(8, Duration::from_secs(24 * 3_600), Some(8));
    let limited = PolicyFields { rate: Some(rate), ..PolicyFields::default() };
    assert_eq!(longest(short, limited), 9 * 60, "mail that a limit lets wait isn't looked at before");
    assert_eq!(
        longest(PolicyFields { connection_rate: Some(rate), ..short }, PolicyFields::default()),
        9 * 60
    );
}

#[test]
fn the_longest_wait_is_no_shorter_than_what_any_reply_asks() {
    let config = Config::from(ConfigParts { provider_defaults: ProviderDefaults::Enabled, ..parts() });
    for provider in providers::all() {
        let asked = provider.replies.iter().filter_map(|pattern| pattern.suspends_for()).max();
        assert!(asked.is_none_or(|wait| wait <= config.longest_wait()), "{}: {asked:?}", provider.name);
    }
    assert_eq!(config.longest_wait(), Duration::from_secs(4 * 3_600), "Yahoo's TSS05");
}
