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
