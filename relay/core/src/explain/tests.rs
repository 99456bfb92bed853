//! What is told beyond the golden texts of compile/tests.rs.

use postrider_mail::{HostName, Mailbox, ReversePath};

use super::*;
use crate::config::{ConfigParts, DeliveryMode, Fleet};

#[test]
fn a_paused_fleet_says_so() {
    let fleet = Fleet { namespace: "mail".into(), name: "outbound".into(), uid: None };
    let hostname = HostName::parse("mail.example.com").expect("a name");
    let parts = ConfigParts { delivery: DeliveryMode::Paused, ..ConfigParts::minimal(fleet, hostname) };
    let config: Config = parts.into();
    let recipient: Mailbox = "a@b.example".parse().expect("an address");
    let facts =
        Facts { sender: &ReversePath::Null, recipient: &recipient, listener: None, client: None, user: None };
    let told = explain(&config, &facts).to_string();
    assert!(told.contains("Paused") && told.contains("none matches"), "{told}");
}

#[test]
fn each_limit_says_who_set_it_once_the_hosts_are_known() {
    let fleet = Fleet { namespace: "mail".into(), name: "outbound".into(), uid: None };
    let mut parts = ConfigParts::minimal(fleet, HostName::parse("mail.example.com").expect("a name"));
    parts.defaults.messages_per_connection = Some(7);
    parts.defaults.recipients_per_message = Some(9);
    let told = |parts: &ConfigParts, host: &str| {
        let config: Config = parts.clone().into();
        let recipient: Mailbox = "a@b.example".parse().expect("an address");
        let sender = &ReversePath::Null;
        let facts = Facts { sender, recipient: &recipient, listener: None, client: None, user: None };
        let hosts = [HostName::parse(host).expect("a name")];
        let told = explain(&config, &facts).at(&config, &hosts);
        told.policy.into_iter().filter(|(name, ..)| name.starts_with("limits.")).collect::<Vec<_>>()
    };
    let google = "provider google (postrider's providers.yaml)".to_owned();
    assert_eq!(
        told(&parts, "aspmx.l.google.com"),
        [
            ("limits.connections", "5".to_owned(), google.clone()),
            ("limits.messagesPerConnection", "50".to_owned(), google),
            ("limits.recipientsPerMessage", "9".to_owned(), "spec.defaults".to_owned()),
        ]
    );
    let elsewhere = told(&parts, "mx.b.example");
    assert_eq!(elsewhere[0].2, "built-in default");
    assert_eq!(elsewhere[1].2, "spec.defaults");
    parts.provider_defaults = crate::config::ProviderDefaults::Disabled;
    assert_eq!(told(&parts, "aspmx.l.google.com"), elsewhere);
}
