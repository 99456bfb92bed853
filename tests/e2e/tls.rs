//! TLS to far sides, and from clients.
//! **Owns:** STARTTLS both ways, AUTH, PROXY. **Never:** which policy applies (core's tests).

use postrider_tests::{
    World, certs,
    client::Client,
    manifests::{HASH_OF_PENCIL, MailRelay, rule, secret, tls_secret},
    sink::{Act, At, Rule, Setup},
};
use serde_json::json;

use crate::{LATER, SOON, mta_sts::Bed};

fn with_tls(name: &str) -> Setup {
    Setup { tls: Some(certs::self_signed(name).unwrap().server), ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn opportunistic_takes_any_certificate_and_falls_back_to_clear() {
    let mut world = World::new().await.unwrap();
    world.domain_with("good.example", with_tls("other.example")).await.unwrap();
    let bad = world.domain_with("bad.example", with_tls("bad.example")).await.unwrap();
    world.sinks[bad].behave([Rule::new(At::Handshake, Act::Raw(b"no TLS here at all\r\n".to_vec()))]);
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@good.example"], "1").await.unwrap();
    assert!(world.arrival("b@good.example", SOON).await.unwrap().is_tls);
    world.send(0, "a@sender.example", &["b@bad.example"], "2").await.unwrap();
    assert!(!world.arrival("b@bad.example", SOON).await.unwrap().is_tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_waits_for_a_certificate_that_holds() {
    let mut world = World::new().await.unwrap();
    world.domain_with("far.example", with_tls("mx.far.example")).await.unwrap();
    let spec = "matches: [{recipientDomains: [far.example]}]\npolicy: {tls: {mode: Verify}}";
    world.manifests.write("rule.yaml", &rule("strict", spec)).unwrap();
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    let attempt = world.attempt("far.example", SOON).await.unwrap();
    assert_eq!((&attempt["outcome"], &attempt["status"]), (&json!("Deferred"), &json!("4.7.5")), "{attempt}");
    assert!(world.ledger.is_empty(), "nobody vouches for that certificate");
    world.manifests.remove("rule.yaml").unwrap();
    assert!(world.arrival("b@far.example", LATER).await.unwrap().is_tls);
}

/// The certificate is of an authority that is believed, and of another name: nothing but the name stands in the way.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_and_no_session_crosses_from_one_policy_to_another() {
    let mut bed = Bed::new().await;
    let tls = Some(bed.authority.issue(&["mx.other.example"]).unwrap().server);
    bed.world.domain_with("far.example", Setup { tls, ..Setup::default() }).await.unwrap();
    for (name, sender, mode) in [("lax", "lax", "Opportunistic"), ("strict", "a", "Verify")] {
        let spec =
            format!("matches: [{{senders: [{sender}@sender.example]}}]\npolicy: {{tls: {{mode: {mode}}}}}");
        bed.world.manifests.write(&format!("{name}.yaml"), &rule(name, &spec)).unwrap();
    }
    bed.relay().await;
    let lax = async |to: &str| {
        bed.world.send(0, "lax@sender.example", &[to], to).await.unwrap();
        bed.world.arrival(to, SOON).await.unwrap()
    };
    let first = lax("c@far.example").await;
    let second = lax("d@far.example").await;
    assert!(first.is_tls);
    assert_eq!(first.client, second.client, "there is a connection that is used again");
    let id = bed.send_by(0, "far.example").await;
    bed.waits(&id, "far.example", "certificate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_authenticate_over_tls_only() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    let listeners = "- name: submission\n  port: 587\n  protocol: SMTP\n  tls: {mode: Optional, certificateRef: {name: mail-tls}}\n  \
                     auth: {usersRef: {name: users}}";
    world
        .manifests
        .write("relay.yaml", &MailRelay { listeners: listeners.into(), ..MailRelay::default() }.yaml())
        .unwrap();
    let certificate = certs::self_signed("relay.example").unwrap();
    world.manifests.write("tls.yaml", &tls_secret("mail-tls", &certificate)).unwrap();
    world.manifests.write("users.yaml", &secret("users", &[("shop", HASH_OF_PENCIL)])).unwrap();
    let setup = postrider_tests::relay::Setup { listeners: vec!["submission".into()], ..world.setup() };
    world.relay_with(setup).await.unwrap();
    let mut client = Client::connect(world.relays[0].smtp()).await.unwrap();
    client.expect(220).await.unwrap();
    let clear = client.say("EHLO c.example", 250).await.unwrap();
    assert!(clear.text.contains("STARTTLS") && !clear.text.contains("AUTH"), "{}", clear.text);
    let mut client = client.start_tls().await.unwrap();
    let tls = client.say("EHLO c.example", 250).await.unwrap();
    assert!(tls.text.contains("AUTH") && !tls.text.contains("STARTTLS"), "{}", tls.text);
    client.say("AUTH PLAIN AHNob3AAd3Jvbmc=", 535).await.unwrap(); // \0shop\0wrong
    client.say("MAIL FROM:<a@sender.example>", 250).await.unwrap();
    client.say("RCPT TO:<b@far.example>", 550).await.unwrap();
    client.say("RSET", 250).await.unwrap();
    client.say("AUTH PLAIN AHNob3AAcGVuY2ls", 235).await.unwrap(); // \0shop\0pencil
    let reply = client.message("a@sender.example", &["b@far.example"], "Subject: x\r\n\r\nx").await.unwrap();
    assert_eq!(reply.code, 250, "{}", reply.text);
    let entry = world.arrival("b@far.example", SOON).await.unwrap();
    assert!(entry.text().contains("ESMTPSA"), "RFC 3848: {}", entry.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smarthost_gets_its_credentials_under_tls() {
    let mut world = World::new().await.unwrap();
    let setup = Setup { auth: Some(("shop".into(), "pass".into())), ..with_tls("gw.example") };
    let smart = world.sink(setup).await.unwrap();
    let address = world.address(smart);
    let spec = format!(
        "route: {{type: Smarthost, smarthost: {{hosts: [{{host: {}, port: {}}}], tls: {{mode: Require}}, auth: {{credentialsRef: {{name: gw}}}}}}}}",
        address.ip(),
        address.port()
    );
    world.manifests.write("rule.yaml", &rule("smart", &spec)).unwrap();
    let credentials = secret("gw", &[("username", "shop"), ("password", "pass")])
        .replace("type: Opaque", "type: kubernetes.io/basic-auth");
    world.manifests.write("gw.yaml", &credentials).unwrap();
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    assert!(world.arrival("b@far.example", SOON).await.unwrap().is_tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_says_who_the_client_is() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    let listeners = "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [203.0.113.0/24]}, proxyProtocol: {trustedCIDRs: [127.0.0.0/8]}}";
    world
        .manifests
        .write("relay.yaml", &MailRelay { listeners: listeners.into(), ..MailRelay::default() }.yaml())
        .unwrap();
    world.relay().await.unwrap();
    let mut client = Client::connect(world.relays[0].smtp()).await.unwrap();
    client.send(b"PROXY TCP4 203.0.113.7 198.51.100.1 51234 25\r\n").await.unwrap();
    client.expect(220).await.unwrap();
    client.say("EHLO c.example", 250).await.unwrap();
    let reply = client.message("a@sender.example", &["b@far.example"], "Subject: x\r\n\r\nx").await.unwrap();
    assert_eq!(reply.code, 250, "{}", reply.text);
    assert!(world.arrival("b@far.example", SOON).await.unwrap().text().contains("203.0.113.7"));
}
