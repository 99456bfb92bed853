//! Tests of what a resolver's answers, or their lack, say of signatures. **Owns:** nothing. **Never:** a signature: those are
//! checked against a real nameserver, end to end.

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, rdata::SOA},
};
use postrider_core::mx::{Destinations, Unresolved};

use super::*;
use crate::dns::{
    Dns,
    tests::server::{Server, Speak, a, mx},
};

const PUBLIC: [u8; 4] = [93, 184, 216, 34];

fn settings(server: &Server) -> DnsSettings {
    DnsSettings {
        timeout: Duration::from_millis(300),
        deadline: Duration::from_secs(2),
        ..DnsSettings::new(vec![server.address()])
    }
}

fn secure(server: &Server) -> SecureDns {
    SecureDns::new(settings(server), Anchors::of_the_root(), None).expect("a resolver is named")
}

fn dns(server: &Server, secure: &SecureDns) -> Dns {
    Dns::new(settings(server)).expect("a resolver is named").secured(secure.clone())
}

fn domain() -> Domain {
    Domain::parse("d.example").expect("a domain")
}

/// What is known once it was tried.
async fn tried(secure: &SecureDns) -> Result<bool, DnsFailure> {
    tokio::select! {
        () = secure.run() => Ok(true),
        said = secure.is_available() => said,
    }
}

#[tokio::test]
async fn a_resolver_that_can_not_say_lets_mail_wait() {
    for speak in [Speak::Code(ResponseCode::ServFail), Speak::Silence] {
        let server =
            Server::start([("", speak), ("d.example", mx(&[(1, "h.example.")])), ("h.example", a(PUBLIC))])
                .await;
        let secure = secure(&server);
        let failure = tried(&secure).await.expect_err("no answer says anything of signatures");
        let found = dns(&server, &secure).vouched_hosts(&domain(), 25, &Destinations::default()).await;
        assert_eq!(found, Err(Unresolved::Failed { name: ".".into(), failure }));
    }
}

#[tokio::test]
async fn an_answer_without_signatures_says_that_there_are_none() {
    let name = || Name::from_ascii("ns.").expect("a name");
    let soa = RData::SOA(SOA::new(name(), name(), 1, 3600, 600, 86_400, 300));
    let server = Server::start([
        ("", Speak::Records(vec![soa])),
        ("d.example", mx(&[(1, "h.example.")])),
        ("h.example", a(PUBLIC)),
    ])
    .await;
    let secure = secure(&server);
    assert_eq!(tried(&secure).await, Ok(false));
    let found = dns(&server, &secure).vouched_hosts(&domain(), 25, &Destinations::default()).await;
    assert_eq!(found.map(|found| (found.hosts.len(), found.is_proven)), Ok((1, false)));
}

#[tokio::test]
async fn a_failure_takes_back_nothing_that_an_answer_said() {
    let server = Server::start([]).await;
    let secure = secure(&server);
    for (said, known) in [
        (Err(DnsFailure::ServFail), Err(DnsFailure::ServFail)),
        (Ok(false), Ok(false)),
        (Err(DnsFailure::Timeout), Ok(false)),
        (Ok(true), Ok(true)),
    ] {
        secure.inner.hear(said);
        assert_eq!(secure.is_available().await, known);
    }
}

#[tokio::test]
async fn an_absence_that_is_not_proven_bounces_nothing_where_it_could_be() {
    for names in [vec![], vec![("d.example", mx(&[(1, "absent.example.")]))]] {
        let server = Server::start(names).await;
        let secure = secure(&server);
        let dns = dns(&server, &secure);
        secure.inner.hear(Ok(false));
        let why = dns.hosts(&domain(), &Destinations::default()).await.expect_err("there is none");
        assert!(matches!(why, Unresolved::NoSuchDomain | Unresolved::HostsAbsent), "{why:?}");
        secure.inner.hear(Ok(true));
        let why = dns.hosts(&domain(), &Destinations::default()).await.expect_err("there is none");
        assert!(matches!(why, Unresolved::Failed { .. }), "{why:?}");
    }
}
