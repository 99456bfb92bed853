//! The file of providers says what it has to, and finds who it is about.

use std::{collections::HashSet, time::Duration};

use super::*;
use crate::{
    config::{ConfigParts, Rule, RuleName, Scope},
    limits::Rate,
    route,
};

fn host(name: &str) -> HostName {
    HostName::parse(name).expect("a name")
}

fn found(hosts: &[&str]) -> Option<&'static str> {
    let hosts: Vec<HostName> = hosts.iter().map(|name| host(name)).collect();
    of_hosts(&hosts).map(|provider| provider.name.as_str())
}

#[test]
fn the_file_can_be_read_and_each_provider_says_where_its_figures_come_from() {
    let known = Known::read(TEXT).expect("the file");
    assert_eq!(known.providers.len(), 16);
    for provider in &known.providers {
        assert!(provider.source.len() > 20, "{}: found {:?}", provider.name, provider.source);
        let only_limits = PolicyFields {
            connections: provider.limits.connections,
            messages_per_connection: provider.limits.messages_per_connection,
            recipients_per_message: provider.limits.recipients_per_message,
            rate: provider.limits.rate,
            connection_rate: provider.limits.connection_rate,
            ..PolicyFields::default()
        };
        assert_eq!(provider.limits, only_limits);
        assert_ne!(provider.limits, PolicyFields::default(), "{}", provider.name);
    }
}

#[test]
fn no_name_and_no_end_of_hosts_is_there_twice() {
    let (mut names, mut ends) = (HashSet::new(), HashSet::new());
    for provider in all() {
        assert!(names.insert(&provider.name), "{}", provider.name);
        for end in &provider.hosts {
            assert!(ends.insert(end), "{end}");
            let is_of_others =
                |other: &&Provider| other.hosts.iter().any(|one| one != end && end.ends_with(one.as_str()));
            assert!(all().iter().find(is_of_others).is_none(), "{end} is within another");
        }
    }
}

#[test]
fn a_host_is_found_by_whole_labels() {
    for (hosts, provider) in [
        (&["aspmx.l.google.com", "alt1.aspmx.l.google.com", "aspmx2.googlemail.com"][..], Some("google")),
        (&["smtp.google.com"], Some("google")),
        (&["mta5.am0.yahoodns.net"], Some("yahoo")),
        (&["hotmail-com.olc.protection.outlook.com"], Some("outlook")),
        (&["far-example.mail.protection.outlook.com"], Some("microsoft-365")),
        (&["far-example.o-v1.mx.microsoft"], Some("microsoft-365")),
        (&["mx01.mail.icloud.com"], Some("icloud")),
        (&["mx1.mail.yahoo.co.jp"], Some("yahoo-japan")),
        (&["mx00.gmx.net", "mx-ha02.web.de"], Some("gmx")),
        (&["mx00.mail.com"], Some("mail.com")),
        (&["mx.notgoogle.com"], None),
        (&["google.com"], None),
        (&["com"], None),
        (&["mx.far.co.jp"], None),
        (&["outlook.com"], None),
        (&["aspmx.l.google.com", "mx.far.example"], None),
        (&["aspmx.l.google.com", "mta5.am0.yahoodns.net"], None),
        (&[], None),
    ] {
        assert_eq!(found(hosts), provider, "{hosts:?}");
    }
}

#[test]
fn what_a_provider_takes_goes_behind_rules_and_before_the_defaults_field_by_field() {
    let fleet = crate::config::Fleet { namespace: "mail".into(), name: "outbound".into(), uid: None };
    let mut parts = ConfigParts::minimal(fleet, host("mail.example.com"));
    parts.defaults.connections = Some(33);
    parts.defaults.recipients_per_message = Some(44);
    parts.defaults.rate = Some(Rate::new(9, Duration::from_secs(1), None));
    let limits = |parts: &ConfigParts, name: &str| {
        let config: Config = parts.clone().into();
        let (sender, recipient) = ("a@app.example".to_owned(), "b@far.example".parse().expect("an address"));
        let sender = postrider_mail::ReversePath::try_from(sender).expect("an address");
        let facts =
            route::Facts { sender: &sender, recipient: &recipient, listener: None, client: None, user: None };
        let decision = route::decide(&config, &facts);
        let provider = of_decision(&config, &decision, &[host(name)]);
        decision.limits_at(provider, &config.defaults)
    };
    let google = limits(&parts, "aspmx.l.google.com");
    assert_eq!(
        (google.connections, google.messages_per_connection, google.recipients_per_message),
        (5, 50, 44)
    );
    assert_eq!(google.fleet.connections.map(|owned| owned.limit), Some(5));
    assert_eq!(google.fleet.messages.map(|owned| owned.limit), parts.defaults.rate);
    let elsewhere = limits(&parts, "mx.far.example");
    assert_eq!((elsewhere.connections, elsewhere.messages_per_connection), (33, 100));
    let name = RuleName::new("mail", "mail", "ours");
    let rule = Rule {
        name: name.clone(),
        priority: 0,
        created: 0,
        matches: Vec::new(),
        scope: Scope::default(),
        route: None,
        policy: PolicyFields { connections: Some(2), ..PolicyFields::default() },
        broken: None,
    };
    parts.rules = vec![rule];
    let ruled = limits(&parts, "aspmx.l.google.com");
    assert_eq!((ruled.connections, ruled.messages_per_connection), (2, 50));
    assert_eq!(ruled.fleet.connections.map(|owned| owned.owner), Some(crate::limits::Owner::rule(&name)));
    parts.provider_defaults = ProviderDefaults::Disabled;
    assert_eq!(limits(&parts, "aspmx.l.google.com").messages_per_connection, 100);
}

#[test]
fn a_smarthost_is_nobodys() {
    let fleet = crate::config::Fleet { namespace: "mail".into(), name: "outbound".into(), uid: None };
    let mut parts = ConfigParts::minimal(fleet, host("mail.example.com"));
    let smarthost = crate::config::Smarthost { hosts: Vec::new(), tls: None, credentials: None };
    parts.default_route = crate::config::Route::Smarthost(smarthost);
    let config: Config = parts.into();
    let recipient = "b@far.example".parse().expect("an address");
    let sender = &postrider_mail::ReversePath::Null;
    let facts = route::Facts { sender, recipient: &recipient, listener: None, client: None, user: None };
    let decision = route::decide(&config, &facts);
    assert_eq!(of_decision(&config, &decision, &[host("smtp-relay.google.com")]), None);
}

#[test]
fn a_wrong_end_of_hosts_says_what_is_expected() {
    let file = |end: &str| {
        format!(
            "everywhere: []\nproviders:\n- {{name: far, hosts: ['{end}'], counted: Together, source: here}}"
        )
    };
    assert!(Known::read(&file(".far.example")).is_ok());
    for end in ["far.example", ".example", ".FAR.example", "."] {
        let told = Known::read(&file(end)).err().map(|why| why.to_string()).unwrap_or_default();
        assert!(told.contains("expected a dot and at least two labels"), "{end}: {told}");
    }
}

#[test]
fn the_docs_name_each_provider_with_its_figures() {
    let docs = include_str!("../../../../docs/limits.md");
    for provider in all() {
        let begin = format!("| {} |", provider.name);
        let row =
            docs.lines().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("no row {begin}"));
        for end in &provider.hosts {
            assert!(row.contains(&format!("`{end}`")), "{row}: no {end}");
        }
        let cell = |limit: Option<u32>| limit.map_or_else(|| "–".to_owned(), |limit| limit.to_string());
        let figures = format!(
            "| {} | {} |",
            cell(provider.limits.connections),
            cell(provider.limits.messages_per_connection)
        );
        assert!(row.contains(&figures), "{row}: expected {figures}");
        assert_eq!(row.contains("by MX set"), provider.counted == Counted::Apart, "{row}");
    }
}
