//! May this client relay, may this sender, and is there room for a session and a body.
//! **Owns:** those judgements, and the counts they stand on. **Never:** a socket, the queue, the words of a reply.
//! Nobody may relay by default: a listener names networks, or users who authenticate.

pub mod budget;
pub mod counts;

use std::net::IpAddr;

use postrider_core::config::Listener;
use postrider_mail::ReversePath;

/// Who wants to relay.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its address.
    pub address: IpAddr,
    /// Who it authenticated as.
    pub user: Option<&'a str>,
}

/// Why mail isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Nothing allows this client to relay.
    Stranger {
        /// Whether AUTH could change that.
        may_authenticate: bool,
    },
    /// Nothing allows this client to relay yet: the listener takes mail of pods, and one that just started isn't known at once.
    Unknown,
    /// The listener takes mail of other sender domains only.
    SenderDomain,
}

/// Whether a listener lets this client relay.
pub fn may_relay(listener: &Listener, client: Client<'_>) -> bool {
    let is_user = listener.auth.is_some() && client.user.is_some();
    is_user || listener.allows(client.address)
}

/// Judges one recipient's transaction.
///
/// # Errors
/// Client or sender may not.
pub fn judge(listener: &Listener, client: Client<'_>, sender: &ReversePath) -> Result<(), NotAdmitted> {
    if !may_relay(listener, client) {
        let stranger = NotAdmitted::Stranger { may_authenticate: listener.auth.is_some() };
        return Err(if listener.allows_pods { NotAdmitted::Unknown } else { stranger });
    }
    match sender.mailbox() {
        Some(mailbox) if !listener.takes_sender(mailbox.domain()) => Err(NotAdmitted::SenderDomain),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use postrider_core::config::{Auth, BareLineEnds, DomainSet, ListenerLimits, Protocol};

    use super::*;

    fn listener() -> Listener {
        Listener {
            name: "smtp".into(),
            port: 25,
            protocol: Protocol::Smtp,
            allowed_clients: Vec::new(),
            allows_pods: false,
            sender_domains: None,
            tls: None,
            auth: None,
            proxies: Vec::new(),
            limits: ListenerLimits::default(),
            bare_line_ends: BareLineEnds::Reject,
        }
    }

    fn client(user: Option<&str>) -> Client<'_> {
        Client { address: "192.0.2.1".parse().expect("an address"), user }
    }

    #[test]
    fn nobody_may_relay_by_default() {
        let stranger = Err(NotAdmitted::Stranger { may_authenticate: false });
        assert_eq!(judge(&listener(), client(None), &ReversePath::Null), stranger);
        // A user of a session that began before AUTH was taken out of the listener.
        assert_eq!(judge(&listener(), client(Some("ann")), &ReversePath::Null), stranger);
    }

    #[test]
    fn a_pod_that_just_started_is_told_to_come_again() {
        let of_pods = Listener { allows_pods: true, ..listener() };
        assert_eq!(judge(&of_pods, client(None), &ReversePath::Null), Err(NotAdmitted::Unknown));
        let known = Listener { allowed_clients: vec!["192.0.2.1/32".parse().expect("a net")], ..of_pods };
        assert_eq!(judge(&known, client(None), &ReversePath::Null), Ok(()));
    }

    #[test]
    fn networks_and_users_may_relay() {
        let by_network =
            Listener { allowed_clients: vec!["192.0.2.0/24".parse().expect("a net")], ..listener() };
        assert_eq!(judge(&by_network, client(None), &ReversePath::Null), Ok(()));
        let by_user = Listener { auth: Some(Auth { users: [].into() }), ..listener() };
        assert_eq!(judge(&by_user, client(Some("ann")), &ReversePath::Null), Ok(()));
        let stranger = Err(NotAdmitted::Stranger { may_authenticate: true });
        assert_eq!(judge(&by_user, client(None), &ReversePath::Null), stranger);
    }

    #[test]
    fn sender_domains_may_be_named() {
        let pattern = "example.com".parse().expect("a pattern");
        let listener = Listener {
            allowed_clients: vec!["0.0.0.0/0".parse().expect("a net")],
            sender_domains: Some(DomainSet(vec![pattern])),
            ..listener()
        };
        let sender = |text: &str| ReversePath::Mailbox(text.parse().expect("a mailbox"));
        assert_eq!(judge(&listener, client(None), &sender("a@example.com")), Ok(()));
        assert_eq!(judge(&listener, client(None), &ReversePath::Null), Ok(()));
        assert_eq!(judge(&listener, client(None), &sender("a@else.example")), Err(NotAdmitted::SenderDomain));
    }
}
