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
    assert!(err.to_string().starts_with("found format 99; expected at most 1"), "{err}");
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
