//! Mail that asks for TLS all the way, and mail that rather goes in clear than waits (RFC 8689).
//! **Owns:** far sides that promise it and such that don't. **Never:** how a certificate is judged (the tests of DANE and MTA-STS).

use postrider_tests::{
    client::Client,
    manifests::{MailRelay, rule, tls_secret},
    policy_host::{policy, response},
    sink::Setup,
};

use crate::{SOON, mta_sts::Bed};

/// A listener that clients may encrypt.
const LISTENERS: &str = "- name: smtp\n  port: 25\n  protocol: SMTP\n  tls: {mode: Optional, certificateRef: {name: mail-tls}}\n  \
                         allowedClients: {cidrs: [127.0.0.0/8]}";

/// A far side whose certificate is good, and that passes the requirement on or doesn't.
fn far(bed: &Bed, domain: &str, promises: bool) -> Setup {
    let mut setup = Setup { tls: Some(bed.good(domain)), ..Setup::default() };
    if promises {
        setup.extensions.push("REQUIRETLS".to_owned());
    }
    setup
}

/// Sends mail that requires TLS; its queue ID.
async fn send(bed: &Bed, domain: &str) -> String {
    let mut client = Client::greeted(bed.world.relays[0].smtp()).await.unwrap().start_tls().await.unwrap();
    let offer = client.say("EHLO client.example", 250).await.unwrap();
    assert!(offer.text.contains("REQUIRETLS"), "{}", offer.text);
    client.say("MAIL FROM:<a@sender.example> REQUIRETLS RET=FULL", 250).await.unwrap();
    client.say(&format!("RCPT TO:<b@{domain}>"), 250).await.unwrap();
    client.say("DATA", 354).await.unwrap();
    // The header's word is void beside the envelope's.
    client.send(b"Subject: x\r\nTLS-Required: No\r\n\r\nfor your eyes only\r\n.\r\n").await.unwrap();
    client.expect(250).await.unwrap().queue_id()
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_requires_tls_goes_where_it_is_vouched_for_and_passed_on() {
    let mut bed = Bed::new().await;
    let by_policy = Some(response(&policy("enforce", "mx.policy.example")));
    for (domain, promises, file) in [
        ("policy.example", true, by_policy),
        ("rule.example", true, None),
        ("unwilling.example", false, None),
        ("unknown.example", true, None),
        ("named.example", true, None),
    ] {
        let setup = far(&bed, domain, promises);
        match file {
            Some(file) => bed.domain_with(domain, setup, file).await,
            None => drop(bed.world.domain_with(domain, setup).await.unwrap()),
        }
    }
    bed.world.domain("sender.example").await.unwrap();
    // The name of a smarthost is the rule's own; that of a mail host is anybody's, without signatures in the DNS.
    let port = bed.world.setup().mx_port;
    for domain in ["rule.example", "unwilling.example"] {
        let host = format!("{{host: mx.{domain}, port: {port}}}");
        let route = format!("{{type: Smarthost, smarthost: {{hosts: [{host}], tls: {{mode: Verify}}}}}}");
        let spec = format!("matches: [{{recipientDomains: [{domain}]}}]\nroute: {route}");
        let name = domain.replace('.', "-");
        bed.world.manifests.write(&format!("{name}.yaml"), &rule(&name, &spec)).unwrap();
    }
    let spec = "matches: [{recipientDomains: [named.example]}]\npolicy: {tls: {mode: Verify}}";
    bed.world.manifests.write("named.yaml", &rule("named", spec)).unwrap();
    let relay = MailRelay { listeners: LISTENERS.into(), ..MailRelay::default() };
    bed.world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    let certificate = bed.authority.issue(&["relay.example"]).unwrap();
    bed.world.manifests.write("tls.yaml", &tls_secret("mail-tls", &certificate)).unwrap();
    bed.relay().await;
    for domain in ["policy.example", "rule.example"] {
        send(&bed, domain).await;
        let entry = bed.world.arrival(&format!("b@{domain}"), SOON).await.unwrap();
        assert!(entry.is_tls && entry.requires_tls, "{domain}: {entry:?}");
    }
    // Nobody says whose certificate it must be: a policy may yet come.
    for domain in ["unknown.example", "named.example"] {
        let id = send(&bed, domain).await;
        bed.waits(&id, domain, "REQUIRETLS").await;
    }
    let log = bed.world.relays[0].log();
    assert!(!log.contains("the destination is suspended"), "what it asks is no matter of other mail: {log}");
    // A host that won't pass it on: the report tells of it, without the body and without the requirement.
    send(&bed, "unwilling.example").await;
    let bounce = bed.world.arrival("a@sender.example", SOON).await.unwrap();
    assert!(bounce.text().contains("Status: 5.7.30"), "{}", bounce.text());
    assert!(!bounce.requires_tls && !bounce.text().contains("for your eyes only"), "{}", bounce.text());
    assert!(bed.world.ledger.to("b@unwilling.example").is_empty());
    // Without TLS nobody can ask for it.
    let mut clear = Client::greeted(bed.world.relays[0].smtp()).await.unwrap();
    clear.say("MAIL FROM:<a@sender.example> REQUIRETLS", 555).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_lifts_tls_goes_in_clear_past_what_is_published_and_not_past_a_rule() {
    let mut bed = Bed::new().await;
    for domain in ["lifted.example", "ruled.example"] {
        let file = response(&policy("enforce", &format!("mx.{domain}")));
        bed.domain_with(domain, Setup::default(), file).await;
    }
    let spec = "matches: [{recipientDomains: [ruled.example]}]\npolicy: {tls: {mode: Require}}";
    bed.world.manifests.write("rule.yaml", &rule("strict", spec)).unwrap();
    bed.relay().await;
    let send = async |domain: &str, field: &str| {
        let mut client = Client::greeted(bed.world.relays[0].smtp()).await.unwrap();
        let text = format!("Subject: x\r\n{field}\r\nhello");
        let reply = client.message("a@sender.example", &[&format!("b@{domain}")], &text).await.unwrap();
        reply.queue_id()
    };
    let id = send("lifted.example", "TLS-Required: Yes\r\n").await;
    bed.waits(&id, "lifted.example", "MTA-STS: the far side offers no TLS").await;
    send("lifted.example", "TLS-Required: No\r\n").await;
    assert!(!bed.world.arrival("b@lifted.example", SOON).await.unwrap().is_tls);
    let id = send("ruled.example", "TLS-Required: No\r\n").await;
    bed.waits(&id, "ruled.example", "the far side offers no TLS").await;
}
