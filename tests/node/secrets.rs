//! Secrets of a running fleet: renewed, missing, wrong.
//! **Owns:** that nothing restarts for them, and that mail waits which needs one. **Never:** what a Secret holds in earnest.

use std::net::SocketAddr;

use postrider_tests::{
    Ledger, certs,
    client::Client,
    cluster::ADDRESS,
    eventually, manifests, ports,
    sink::{Setup, Sink},
};

use crate::world::{WITHIN, World};

/// The certificate is all that an edit adds, so that no pod is replaced for it.
fn spec(tls: &str) -> String {
    format!(
        "  replicas: 2\n  listeners: [{{name: smtp, port: 25, allowedClients: {{cidrs: [10.0.0.0/8]}}{tls}}}]\n  drain: {{delay: 1s, \
         timeout: 10s}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let world = World::start("secrets", 1, &spec("")).await;
    let pods = world.relays().await;
    let authority = certs::Authority::new().unwrap();
    let issue = || authority.issue(&[&format!("mail.{}", world.zone)]).unwrap();
    let (first, renewed) = (issue(), issue());
    world.apply(&manifests::tls_secret("mail-tls", &first)).await;
    world.apply(&world.relay(1, &spec(", tls: {certificateRef: {name: mail-tls}}"))).await;
    let service = ["get", "service", "outbound", "-n", &world.namespace];
    let service = world.kubectl.json(&service).await.unwrap();
    let bound = service["spec"]["ports"][0]["targetPort"].as_u64().unwrap();
    let serves = async |certificate: &certs::Certificate| {
        for pod in &pods {
            let address = SocketAddr::new(pod.admin.ip(), bound.try_into().unwrap());
            eventually("the certificate to be served", WITHIN, async || {
                let client = Client::greeted(address).await.ok()?.start_tls().await.ok()?;
                (client.certificate()? == certificate.der.as_ref()).then_some(())
            })
            .await
            .unwrap();
        }
    };
    serves(&first).await;
    world.apply(&manifests::tls_secret("mail-tls", &renewed)).await;
    serves(&renewed).await;
    assert_eq!(world.relays().await, pods, "the same containers, none restarted");

    mail_waits_for_its_secret(&world).await;
    world.end().await;
}

/// Three destinations: a good one, one whose credentials aren't there, one whose Secret lacks the password.
async fn mail_waits_for_its_secret(world: &World) {
    let (ledger, port) = (Ledger::default(), ports::free_at(ADDRESS.into()).unwrap());
    let gateway = Setup {
        tls: Some(certs::self_signed(&format!("gw.{}", world.zone)).unwrap().server),
        auth: Some(("ann".to_owned(), "pencil".to_owned())),
        ..Setup::default()
    };
    let gateway = Sink::start((ADDRESS, port).into(), ledger, gateway).await.unwrap();
    world.dns.a(&format!("gw.{}", world.zone), ADDRESS).await.unwrap();
    let rule = |name: &str| {
        let zone = &world.zone;
        let spec = format!(
            "matches: [{{recipientDomains: [{name}.{zone}]}}]\nroute: {{type: Smarthost, smarthost: {{hosts: [{{host: gw.{zone}, port: \
             {port}}}], tls: {{mode: Require}}, auth: {{credentialsRef: {{name: {name}}}}}}}}}\npolicy: {{retry: {{initial: 1s, max: \
             2s}}}}"
        );
        manifests::rule(name, &spec)
    };
    let user = ("username", "ann");
    let incomplete = manifests::secret("wrong", &[user]);
    world.apply(&[rule("absent"), rule("wrong"), incomplete].join("---\n")).await;
    for (name, reason) in [("absent", "SecretNotFound"), ("wrong", "SecretInvalid")] {
        let told = refs(world, name, "False").await;
        println!("{name}: {told}");
        assert!(told.contains(reason), "{told}");
    }
    let service = world.service(25).await;
    let send = async |to: &str| {
        let mut client = Client::greeted(service).await.unwrap();
        let text = format!("Subject: a test\r\nX-Ledger-Id: {to}\r\n\r\nHello.\r\n");
        let reply = client.message("app@example.com", &[to], &text).await.unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
    };
    for domain in ["absent.", "wrong.", ""] {
        send(&format!("ann@{domain}{}", world.zone)).await;
    }
    // The good one flows beside the two that wait.
    world.arrivals(1).await;
    let queued = eventually("the two to be in the queue", WITHIN, async || {
        let relay =
            world.kubectl.json(&["get", "mailrelay", "outbound", "-n", &world.namespace]).await.ok()?;
        (relay["status"]["queue"]["deliveries"] == 2).then_some(())
    });
    queued.await.unwrap();
    assert!(gateway.ledger().is_empty());
    let whole = ["absent", "wrong"].map(|name| manifests::secret(name, &[user, ("password", "pencil")]));
    world.apply(&whole.join("---\n")).await;
    for name in ["absent", "wrong"] {
        refs(world, name, "True").await;
    }
    eventually("the mail to flow", WITHIN, async || (gateway.ledger().distinct() == 2).then_some(()))
        .await
        .unwrap();
    world.run(&["delete", "routingrule", "absent", "wrong"]).await;
}

/// Waits until a rule's ResolvedRefs is so and every pod knows; its reason and message.
async fn refs(world: &World, rule: &str, status: &str) -> String {
    let object = ["routingrule", rule, "--namespace", &world.namespace];
    let look = |rule: &serde_json::Value| {
        let conditions = rule["status"]["parents"][0]["conditions"].as_array()?;
        let find = |kind: &str, status: &str| {
            conditions.iter().find(|one| one["type"] == kind && one["status"] == status)
        };
        find("Programmed", "True")?;
        let one = find("ResolvedRefs", status)?;
        Some(format!("{} {}", one["reason"], one["message"]))
    };
    world.kubectl.until(&format!("{rule}: ResolvedRefs {status}"), WITHIN, &object, look).await.unwrap()
}
