//! Every DNS case that mail meets, asked of a real socket on loopback.

pub(super) mod server;

use std::{net::IpAddr, time::Duration};

use hickory_proto::op::ResponseCode;
use postrider_core::mx::{Destinations, DnsFailure, Families, Host, Unresolved};
use postrider_mail::{Domain, HostName, OutcomeKind};

use self::server::{Server, Speak, a, aaaa, cname, mx};
use super::{Dns, DnsSettings, Ttls};

const PUBLIC: [u8; 4] = [93, 184, 216, 34];
const OTHER: [u8; 4] = [93, 184, 216, 35];

fn settings(servers: &[&Server]) -> DnsSettings {
    DnsSettings {
        timeout: Duration::from_millis(300),
        ask_next_after: Duration::from_millis(100),
        deadline: Duration::from_secs(2),
        family_grace: Duration::from_millis(50),
        ..DnsSettings::new(servers.iter().map(|server| server.address()).collect())
    }
}

fn dns(server: &Server) -> Dns {
    Dns::new(settings(&[server])).expect("a resolver is named")
}

async fn hosts(dns: &Dns, domain: &str) -> Result<Vec<Host>, Unresolved> {
    hosts_to(dns, domain, &Destinations::default()).await
}

async fn hosts_to(dns: &Dns, domain: &str, to: &Destinations) -> Result<Vec<Host>, Unresolved> {
    dns.hosts(&Domain::parse(domain).expect("a domain"), to).await
}

fn names(hosts: &[Host]) -> Vec<&str> {
    hosts.iter().map(|host| host.name.as_str()).collect()
}

fn failed(name: &str, failure: DnsFailure) -> Result<Vec<Host>, Unresolved> {
    Err(Unresolved::Failed { name: name.into(), failure })
}

#[tokio::test]
async fn hosts_come_by_preference_with_their_addresses() {
    let server = Server::start([
        ("d.example", mx(&[(20, "two.example."), (10, "one.example.")])),
        ("one.example", a(PUBLIC)),
        ("one.example", aaaa("2606:2800:220:1::1")),
        ("two.example", a(OTHER)),
    ])
    .await;
    let found = hosts(&dns(&server), "d.example").await.expect("hosts");
    assert_eq!(names(&found), ["one.example", "two.example"]);
    let v6: IpAddr = "2606:2800:220:1::1".parse().expect("an address");
    assert_eq!(found[0].addresses, [IpAddr::from(PUBLIC), v6]);
}

#[tokio::test]
async fn only_authoritative_absence_bounces() {
    let server = Server::start([
        ("null.example", mx(&[(0, ".")])),
        ("empty.example", Speak::NoData),
        ("servfail.example", Speak::Code(ResponseCode::ServFail)),
        ("refused.example", Speak::Code(ResponseCode::Refused)),
        ("formerr.example", Speak::Code(ResponseCode::FormErr)),
        ("silent.example", Speak::Silence),
        ("garbage.example", Speak::Garbage),
        ("referral.example", Speak::Referral),
        ("gone.example", mx(&[(10, "no.example."), (20, "10.0.0.1.")])),
        ("shaky.example", mx(&[(10, "no.example."), (20, "servfail.example.")])),
    ])
    .await;
    let dns = dns(&server);
    for (domain, expected) in [
        ("null.example", Err(Unresolved::NullMx)),
        ("no.example", Err(Unresolved::NoSuchDomain)),
        ("empty.example", Err(Unresolved::NoMailHost)),
        ("gone.example", Err(Unresolved::HostsAbsent)),
        ("servfail.example", failed("servfail.example", DnsFailure::ServFail)),
        ("refused.example", failed("refused.example", DnsFailure::Refused)),
        ("formerr.example", failed("formerr.example", DnsFailure::OtherCode)),
        ("silent.example", failed("silent.example", DnsFailure::Timeout)),
        ("referral.example", failed("referral.example", DnsFailure::OtherCode)),
        ("shaky.example", failed("servfail.example", DnsFailure::ServFail)),
    ] {
        let found = hosts(&dns, domain).await;
        assert_eq!(found, expected, "{domain}");
        let is_absent = !matches!(found, Err(Unresolved::Failed { .. }));
        let bounces = found.err().map(|why| why.kind()) == Some(OutcomeKind::Bounced);
        assert_eq!(bounces, is_absent, "{domain}");
    }
    let garbage = hosts(&dns, "garbage.example").await.expect_err("no answer can be read");
    assert_eq!(garbage.kind(), OutcomeKind::Deferred, "{garbage:?}");
}

#[tokio::test]
async fn without_mx_the_domain_itself_is_the_host() {
    let server = Server::start([("d.example", a(PUBLIC))]).await;
    let found = hosts(&dns(&server), "d.example").await.expect("hosts");
    assert_eq!(names(&found), ["d.example"]);
}

#[tokio::test]
async fn a_host_that_fails_is_passed_over_for_one_that_is_found() {
    let server = Server::start([
        ("d.example", mx(&[(10, "bad.example."), (20, "good.example.")])),
        ("bad.example", Speak::Code(ResponseCode::ServFail)),
        ("good.example", a(PUBLIC)),
    ])
    .await;
    assert_eq!(names(&hosts(&dns(&server), "d.example").await.expect("hosts")), ["good.example"]);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let many: Vec<(u16, String)> = (0..200).map(|n| (n, format!("host-{n}.long-name.example."))).collect();
    let many: Vec<(u16, &str)> = many.iter().map(|(preference, name)| (*preference, name.as_str())).collect();
    let server = Server::start([
        ("d.example", Speak::TruncatedOverUdp(Box::new(mx(&many)))),
        ("host-0.long-name.example", a(PUBLIC)),
    ])
    .await;
    assert_eq!(names(&hosts(&dns(&server), "d.example").await.expect("hosts")), ["host-0.long-name.example"]);
}

#[tokio::test]
async fn a_truncated_answer_without_tcp_defers() {
    let server =
        Server::start_udp_only([("d.example", Speak::TruncatedOverUdp(Box::new(Speak::NoData)))]).await;
    let why = hosts(&dns(&server), "d.example").await.expect_err("half an answer is none");
    assert_eq!(why.kind(), OutcomeKind::Deferred, "{why:?}");
}

#[tokio::test]
async fn aliases_are_followed_whether_or_not_the_resolver_did() {
    let server = Server::start([
        ("followed.example", Speak::Records(vec![cname("target.example."), mx_data(10, "one.example.")])),
        ("bare.example", Speak::Records(vec![cname("target.example.")])),
        ("target.example", mx(&[(10, "one.example.")])),
        ("plain.example", Speak::Records(vec![cname("one.example.")])),
        ("dangling.example", Speak::Records(vec![cname("no.example.")])),
        ("circle.example", Speak::Records(vec![cname("circle2.example.")])),
        ("circle2.example", Speak::Records(vec![cname("circle.example.")])),
        ("via-alias.example", mx(&[(10, "alias-host.example.")])),
        ("alias-host.example", Speak::Records(vec![cname("one.example.")])),
        ("one.example", a(PUBLIC)),
    ])
    .await;
    let dns = dns(&server);
    for (domain, expected) in [
        ("followed.example", "one.example"),
        ("bare.example", "one.example"),
        ("plain.example", "plain.example"),
        ("via-alias.example", "alias-host.example"),
    ] {
        assert_eq!(names(&hosts(&dns, domain).await.expect(domain)), [expected], "{domain}");
    }
    assert_eq!(hosts(&dns, "dangling.example").await, Err(Unresolved::NoSuchDomain));
    assert_eq!(hosts(&dns, "circle.example").await, failed("circle.example", DnsFailure::AliasLoop));
}

fn mx_data(preference: u16, host: &str) -> hickory_proto::rr::RData {
    let Speak::Records(mut records) = mx(&[(preference, host)]) else { panic!("records were made") };
    records.remove(0)
}

#[tokio::test]
async fn mail_to_ourselves_is_a_loop_and_only_better_hosts_are_tried() {
    let server = Server::start([
        ("self.example", mx(&[(10, "us.example."), (20, "other.example.")])),
        ("better.example", mx(&[(5, "other.example."), (10, "us.example."), (20, "worse.example.")])),
        ("by-address.example", mx(&[(10, "alias-of-us.example.")])),
        ("alias-of-us.example", a(OTHER)),
        ("other.example", a(PUBLIC)),
        ("worse.example", a(PUBLIC)),
        ("us.example", a(OTHER)),
    ])
    .await;
    let to = Destinations {
        own_names: vec![HostName::parse("us.example").expect("a name")],
        own_addresses: vec![OTHER.into()],
        ..Destinations::default()
    };
    let dns = dns(&server);
    assert_eq!(hosts_to(&dns, "self.example", &to).await, Err(Unresolved::Loop));
    assert_eq!(hosts_to(&dns, "by-address.example", &to).await, Err(Unresolved::Loop));
    let better = hosts_to(&dns, "better.example", &to).await.expect("a better host");
    assert_eq!(names(&better), ["other.example"]);
}

#[tokio::test]
async fn loopback_and_private_addresses_are_refused_unless_allowed() {
    let server = Server::start([
        ("inner.example", mx(&[(10, "loop.example."), (20, "private.example.")])),
        ("loop.example", a([127, 0, 0, 1])),
        ("private.example", a([10, 1, 2, 3])),
        ("mixed.example", mx(&[(10, "loop.example."), (20, "public.example.")])),
        ("public.example", a(PUBLIC)),
    ])
    .await;
    let dns = dns(&server);
    let why = hosts(&dns, "inner.example").await.expect_err("nothing may be tried");
    assert_eq!(why, Unresolved::Forbidden([127, 0, 0, 1].into()));
    assert_eq!(names(&hosts(&dns, "mixed.example").await.expect("one is public")), ["public.example"]);
    let to =
        Destinations { allowed: vec!["10.1.0.0/16".parse().expect("a network")], ..Destinations::default() };
    assert_eq!(names(&hosts_to(&dns, "inner.example", &to).await.expect("allowed")), ["private.example"]);
}

#[tokio::test]
async fn the_next_resolver_is_asked_when_one_fails_or_is_slow() {
    for speak in [Speak::Code(ResponseCode::ServFail), Speak::Code(ResponseCode::Refused), Speak::Silence] {
        let (bad, good) = (
            Server::start([("d.example", speak)]).await,
            Server::start([("d.example", mx(&[(1, "h.example.")])), ("h.example", a(PUBLIC))]).await,
        );
        let dns = Dns::new(settings(&[&bad, &good])).expect("resolvers are named");
        assert_eq!(names(&hosts(&dns, "d.example").await.expect("the second knows")), ["h.example"]);
    }
}

#[tokio::test]
async fn a_resolver_that_is_not_there_defers() {
    let address = Server::start([]).await.address();
    let settings = DnsSettings { timeout: Duration::from_millis(200), ..DnsSettings::new(vec![address]) };
    let dns = Dns::new(settings).expect("a resolver is named");
    let why = hosts(&dns, "d.example").await.expect_err("nobody answers");
    assert_eq!(why.kind(), OutcomeKind::Deferred, "{why:?}");
}

#[tokio::test]
async fn a_slow_family_does_not_hold_up_the_other() {
    let server = Server::start([("d.example", Speak::SilentFor6(Box::new(a(PUBLIC))))]).await;
    let settings = DnsSettings { timeout: Duration::from_secs(60), ..settings(&[&server]) };
    let dns = Dns::new(settings).expect("a resolver is named");
    let found = dns
        .addresses(&HostName::parse("d.example").expect("a name"), &Destinations::default())
        .await
        .expect("IPv4 is there");
    assert_eq!(found.addresses, [IpAddr::from(PUBLIC)]);
}

#[tokio::test]
async fn a_smarthost_that_does_not_exist_defers() {
    let server = Server::start([]).await;
    let host = HostName::parse("gw.example").expect("a name");
    let why = dns(&server).addresses(&host, &Destinations::default()).await.expect_err("no such host");
    assert_eq!((why.kind(), why), (OutcomeKind::Deferred, Unresolved::SmarthostAbsent("gw.example".into())));
}

#[tokio::test]
async fn hosts_of_a_family_that_is_not_used_defer() {
    let server = Server::start([("d.example", aaaa("2606:2800:220:1::1"))]).await;
    let to = Destinations { families: Families::V4Only, ..Destinations::default() };
    assert_eq!(hosts_to(&dns(&server), "d.example", &to).await, Err(Unresolved::OtherFamily));
}

#[tokio::test]
async fn callers_at_the_same_time_share_one_question_and_later_ones_the_answer() {
    let server = Server::start([("d.example", mx(&[(1, "h.example.")])), ("h.example", a(PUBLIC))]).await;
    let dns = dns(&server);
    let all = futures::future::join_all((0..50).map(|_| hosts(&dns, "d.example"))).await;
    assert!(all.iter().all(Result::is_ok));
    hosts(&dns, "d.example").await.expect("hosts");
    assert_eq!(server.questions(), 3, "MX, A and AAAA once each");
}

#[tokio::test]
async fn old_answers_bridge_an_outage_of_the_resolver() {
    let server = Server::start([("d.example", mx(&[(1, "h.example.")])), ("h.example", a(PUBLIC))]).await;
    // Nothing stays fresh, so that each look-up asks.
    let ttls = Ttls { min: Duration::ZERO, max: Duration::ZERO, ..Ttls::default() };
    let dns = Dns::new(DnsSettings { ttls, ..settings(&[&server]) }).expect("a resolver is named");
    hosts(&dns, "d.example").await.expect("hosts");
    let address = server.address();
    server.stop().await;
    let found = hosts(&dns, "d.example").await.unwrap_or_else(|why| panic!("{address} is away: {why}"));
    assert_eq!(names(&found), ["h.example"]);
    let why = hosts(&dns, "unknown.example").await.expect_err("never seen");
    assert_eq!(why.kind(), OutcomeKind::Deferred);
}
