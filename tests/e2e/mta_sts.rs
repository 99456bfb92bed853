//! MTA-STS (RFC 8461): policies over HTTPS, certificates good and bad, and what neither a bad day of the DNS nor a restart changes.
//! **Owns:** far sides that have a policy. **Never:** the syntax of policies (core's tests).

use std::{net::SocketAddr, sync::Arc};

use postrider_tests::{
    World,
    certs::{self, Authority, odd::Odd},
    dns::Fault,
    manifests::rule,
    policy_host::{PolicyHost, policy, response},
    ports, relay,
    sink::{Setup, Sink},
    wait::eventually,
};
use rustls::ServerConfig;

use crate::{LATER, SOON};

/// The last byte of the first policy host's address; far sides are below.
const FIRST_POLICY_HOST: u8 = 100;

pub(crate) struct Bed {
    pub(crate) world: World,
    pub(crate) authority: Authority,
    policies: Vec<PolicyHost>,
    /// Of all web servers.
    pub(crate) port: u16,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::of(World::new().await.unwrap())
    }

    fn of(world: World) -> Self {
        let authority = Authority::new().unwrap();
        std::fs::write(world.folder().join("roots.pem"), authority.pem()).unwrap();
        let port = ports::free_at(world.subnet.address(FIRST_POLICY_HOST).into()).unwrap();
        Self { world, authority, policies: Vec::new(), port }
    }

    /// A domain whose exchanger shows `tls`, and whose policy file comes in `response`.
    pub(crate) async fn domain(&mut self, domain: &str, tls: Option<Arc<ServerConfig>>, response: String) {
        self.domain_with(domain, Setup { tls, ..Setup::default() }, response).await;
    }

    /// The same with any exchanger.
    pub(crate) async fn domain_with(&mut self, domain: &str, setup: Setup, response: String) {
        self.world.domain_with(domain, setup).await.unwrap();
        let host = format!("mta-sts.{domain}");
        let address =
            self.world.subnet.address(FIRST_POLICY_HOST + u8::try_from(self.policies.len()).unwrap());
        self.world.dns.a(&host, address).await.unwrap();
        self.world.dns.txt(&format!("_mta-sts.{domain}"), "v=STSv1; id=1;").await.unwrap();
        let certificate = self.authority.issue(&[&host]).unwrap();
        let at = SocketAddr::new(address.into(), self.port);
        self.policies.push(PolicyHost::start(at, certificate.server, response).await.unwrap());
    }

    /// The same with an enforced policy that names the exchanger.
    pub(crate) async fn enforcing(&mut self, domain: &str, tls: Option<Arc<ServerConfig>>) {
        self.domain(domain, tls, response(&policy("enforce", &format!("mx.{domain}")))).await;
    }

    pub(crate) fn good(&self, domain: &str) -> Arc<ServerConfig> {
        self.authority.issue(&[&format!("mx.{domain}")]).unwrap().server
    }

    pub(crate) async fn relay(&mut self) {
        self.relay_with(&[]).await;
    }

    pub(crate) async fn relay_with(&mut self, more: &[&str]) {
        let roots = self.world.folder().join("roots.pem").display().to_string();
        let arguments = ["--roots", &roots, "--https-port", &self.port.to_string()];
        let arguments = arguments.iter().chain(more).map(|word| (*word).to_owned()).collect();
        let setup = relay::Setup { arguments, ..self.world.setup() };
        self.world.relay_with(setup).await.unwrap();
    }

    /// A relay that has far.example's enforced policy, and by it has mailed there.
    async fn with_policy_fetched(&mut self) {
        let tls = self.good("far.example");
        self.enforcing("far.example", Some(tls)).await;
        self.relay().await;
        self.send("far.example").await;
        assert!(self.world.arrival("b@far.example", SOON).await.unwrap().is_tls);
    }

    /// What an attacker on the way takes: the policy's host, and the TLS of the first far side.
    async fn attack(&mut self) {
        self.policies.clear();
        self.world.sinks[0].stop();
        let at = self.world.address(0);
        self.world.sinks[0] = eventually("the address to be free", SOON, async || {
            Sink::start(at, self.world.ledger.clone(), Setup::default()).await.ok()
        })
        .await
        .unwrap();
        self.world.ledger.clear();
    }

    async fn send(&self, domain: &str) -> String {
        self.send_by(0, domain).await
    }

    pub(crate) async fn send_by(&self, relay: usize, domain: &str) -> String {
        let to = format!("b@{domain}");
        self.world.send(relay, "a@sender.example", &[&to], domain).await.unwrap()
    }

    /// Waits until an attempt has been put off for a reason that has these words in it, and sees that nothing arrived.
    pub(crate) async fn waits(&self, id: &str, domain: &str, words: &str) {
        let what = format!("{domain} to be put off for {words:?}");
        let told = eventually(&what, SOON, async || {
            let told = self.world.relays[0].ctl(&["inspect", id]).await.ok()?;
            told.contains(words).then_some(told)
        });
        if let Err(why) = told.await {
            panic!("{why}: {:?}", self.world.relays[0].ctl(&["inspect", id]).await);
        }
        assert!(self.world.ledger.to(&format!("b@{domain}")).is_empty(), "{domain} got it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enforced_policy_lets_mail_go_to_its_hosts_with_good_certificates_only() {
    let mut bed = Bed::new().await;
    let tls = bed.good("good.example");
    bed.enforcing("good.example", Some(tls)).await;
    let tls = certs::tls12_only(&bed.authority.issue(&["mx.old.example"]).unwrap()).unwrap();
    bed.enforcing("old.example", Some(tls)).await;
    let tls = bed.authority.issue_expired(&["mx.expired.example"]).unwrap().server;
    bed.enforcing("expired.example", Some(tls)).await;
    let tls = bed.authority.issue(&["mx.another.example"]).unwrap().server;
    bed.enforcing("misnamed.example", Some(tls)).await;
    bed.enforcing("selfsigned.example", Some(certs::self_signed("mx.selfsigned.example").unwrap().server))
        .await;
    for (name, odd) in [("sha1.example", Odd::Sha1), ("version1.example", Odd::Version1)] {
        let tls = bed.authority.issue_odd(&format!("mx.{name}"), odd).await.unwrap().server;
        bed.enforcing(name, Some(tls)).await;
    }
    bed.enforcing("stripped.example", None).await;
    let tls = bed.good("moved.example");
    bed.domain("moved.example", Some(tls), response(&policy("enforce", "mx.elsewhere.example"))).await;
    bed.relay().await;
    for domain in ["good.example", "old.example"] {
        bed.send(domain).await;
        assert!(bed.world.arrival(&format!("b@{domain}"), SOON).await.unwrap().is_tls);
    }
    let cases = [
        ("expired.example", "expired"),
        ("misnamed.example", "certificate"),
        ("selfsigned.example", "certificate"),
        ("sha1.example", "certificate"),
        ("version1.example", "certificate"),
        ("stripped.example", "MTA-STS: the far side offers no TLS"),
        ("moved.example", "MTA-STS policy does not allow mx.moved.example"),
    ];
    let mut sent = Vec::new();
    for (domain, words) in cases {
        sent.push((bed.send(domain).await, domain, words));
    }
    for (id, domain, words) in &sent {
        bed.waits(id, domain, words).await;
    }
    // A rule that says so goes before what is published.
    let spec = "policy: {tls: {mode: Opportunistic}}";
    bed.world.manifests.write("rule.yaml", &rule("lax", spec)).unwrap();
    for (domain, _) in cases {
        bed.world.arrival(&format!("b@{domain}"), LATER).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_in_testing_or_that_can_not_be_had_holds_nothing_up() {
    let mut bed = Bed::new().await;
    bed.domain("testing.example", None, response(&policy("testing", "mx.elsewhere.example"))).await;
    bed.domain("none.example", None, response("version: STSv1\nmode: none\nmax_age: 86400\n")).await;
    let moved = "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n";
    bed.domain("redirected.example", None, moved.to_owned()).await;
    let html = response(&policy("enforce", "mx.elsewhere.example")).replace("text/plain", "text/html");
    bed.domain("html.example", None, html).await;
    bed.domain("long.example", None, response(&"x".repeat(70_000))).await;
    bed.domain("broken.example", None, response("mode: enforce\n")).await;
    bed.relay().await;
    let domains = [
        "testing.example",
        "none.example",
        "redirected.example",
        "html.example",
        "long.example",
        "broken.example",
    ];
    for (number, domain) in domains.into_iter().enumerate() {
        bed.send(domain).await;
        bed.world.arrival(&format!("b@{domain}"), SOON).await.unwrap();
        assert_eq!(bed.policies[number].asked(), 1, "{domain}");
    }
    // What failed is not asked for again with each message.
    bed.send("redirected.example").await;
    eventually("the second message", SOON, async || {
        (bed.world.ledger.to("b@redirected.example").len() == 2).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(bed.policies[2].asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_was_fetched_outlives_its_host_its_record_and_the_relay() {
    let mut bed = Bed::new().await;
    bed.with_policy_fetched().await;
    // An attacker: no policy host, no record, no TLS.
    bed.world.dns.fail("_mta-sts.far.example", None, Fault::ServFail);
    bed.attack().await;
    bed.world.relays[0].stop().await.unwrap();
    bed.world.relays[0].restart().await.unwrap();
    let id = bed.send("far.example").await;
    bed.waits(&id, "far.example", "offers no TLS").await;
    bed.world.dns.heal("_mta-sts.far.example");
    bed.world.dns.remove("_mta-sts.far.example").await.unwrap();
    bed.world.relays[0].stop().await.unwrap();
    bed.world.relays[0].restart().await.unwrap();
    let id = bed.send("far.example").await;
    bed.waits(&id, "far.example", "offers no TLS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_while_a_relay_starts_is_no_downgrade() {
    let mut bed = Bed::new().await;
    bed.with_policy_fetched().await;
    bed.attack().await;
    let id = bed.send("far.example").await;
    bed.waits(&id, "far.example", "offers no TLS").await;
    bed.world.relays[0].stop().await.unwrap();
    let number = |line: &serde_json::Value| line["attempt"].as_u64();
    let before = number(&bed.world.attempt("far.example", SOON).await.unwrap());
    bed.world.redis[0].kill().await.unwrap();
    bed.world.relays[0].replace(|_| {}).await.unwrap();
    bed.world.redis[0].restart().await.unwrap();
    bed.world.relays[0].ready().await.unwrap();
    let again = bed.world.attempt_with("far.example", LATER, |line| number(line) > before).await.unwrap();
    assert_eq!(again["outcome"], "Deferred", "{again}");
    assert!(bed.world.ledger.is_empty(), "it went in clear");
}

/// Each shard has the policy, so that whichever is away, the others say it to a new relay.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_outlives_a_relay_while_any_one_shard_is_away() {
    let mut bed = Bed::of(World::with_shards(2).await.unwrap());
    bed.with_policy_fetched().await;
    bed.attack().await;
    for away in 0..2 {
        bed.world.relays[0].stop().await.unwrap();
        bed.world.redis[away].kill().await.unwrap();
        bed.world.relays[0].restart().await.unwrap();
        let id = bed.send("far.example").await;
        let waits = |line: &serde_json::Value| {
            line["queue_id"].as_str().is_some_and(|other| id.contains(other)) && line["outcome"] == "Deferred"
        };
        let attempt = bed.world.attempt_with("far.example", LATER, waits).await;
        assert!(bed.world.ledger.is_empty(), "it went in clear");
        attempt.unwrap();
        bed.world.redis[away].restart().await.unwrap();
    }
}
