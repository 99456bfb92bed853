//! Resolvers that fail and lie: mail for a domain that DANE speaks for waits, it neither goes unproven nor comes back.
//! **Owns:** when a resolver goes bad, and how. **Never:** what a zone itself has wrong (dane.rs).

use std::time::Duration;

use postrider_tests::{
    World,
    resolver::{Resolver, Tampering},
};

use super::{
    assert_deferred, assert_fits,
    bed::{Signing, of_another, presented},
    send_to,
};
use crate::{LATER, SOON};

/// From a resolver's recovery to the mail's arrival: a relay may not ask again at once.
const RECOVERED_WITHIN: Duration = Duration::from_secs(120);

/// A domain whose host is as its records say, one whose host isn't, and one that DANE doesn't speak for.
async fn three() -> Signing {
    let mut signing = Signing::new().await;
    let good = presented("other.example", false);
    signing.domain("good", Some(good.server.clone()), &[&good.of_leaf]).await;
    signing.domain("another", Some(good.server.clone()), &[&of_another()]).await;
    let host = signing.host("mx.plain", None, &[]).await;
    signing.plain = format!("plain. MX 10 mx.plain.\n{host}");
    signing
}

/// Mail is taken while a relay's resolver is bad, which then gets well: DANE was in force all the time.
async fn is_in_force(world: &World, resolver: &Resolver) {
    for domain in ["good.dane", "another.dane", "plain"] {
        send_to(world, domain).await;
    }
    // Whether this goes is the relay's choice. If it does, the relay knows by now what it makes of the resolver.
    drop(world.arrival("b@plain", LATER).await);
    resolver.heal();
    assert_fits(world, "good.dane", RECOVERED_WITHIN).await;
    assert_deferred(world, "another.dane", true).await;
}

/// What is asked of the root tells whether signatures come through; all else is answered well.
async fn starts_under(tampering: Tampering) {
    let mut signing = three().await;
    let bind = signing.serve().await;
    let resolver = Resolver::start(bind.address()).await.unwrap();
    resolver.tamper("", tampering);
    signing.relay(resolver.address(), &bind).await;
    is_in_force(&signing.world, &resolver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_under_servfail_is_no_downgrade() {
    starts_under(Tampering::ServFail).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_under_silence_is_no_downgrade() {
    starts_under(Tampering::Silence).await;
}

/// Each way, at each name that a domain's mail depends on.
#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_goes_bad_later_makes_mail_wait() {
    let mut signing = three().await;
    let good = presented("other.example", false);
    let mut bad = Vec::new();
    for (way, tampering) in [
        ("servfail", Tampering::ServFail),
        ("silence", Tampering::Silence),
        ("stripped", Tampering::Stripped),
        ("nxdomain", Tampering::NxDomain),
    ] {
        for at in ["domain", "host", "records"] {
            let name = format!("{at}-{way}");
            signing.domain(&name, Some(good.server.clone()), &[&good.of_leaf]).await;
            let domain = format!("{name}.dane");
            let asked = match at {
                "domain" => domain.clone(),
                "host" => format!("mx.{domain}"),
                _ => signing.tlsa(&format!("mx.{domain}")).trim_end_matches('.').to_owned(),
            };
            bad.push((domain, asked, tampering));
        }
    }
    let bind = signing.serve().await;
    let resolver = Resolver::start(bind.address()).await.unwrap();
    signing.relay(resolver.address(), &bind).await;
    let world = &signing.world;
    send_to(world, "good.dane").await;
    assert_fits(world, "good.dane", SOON).await;
    for (domain, asked, tampering) in &bad {
        resolver.tamper(asked, *tampering);
        send_to(world, domain).await;
    }
    for (domain, ..) in &bad {
        let line = world.attempt(domain, LATER).await.unwrap();
        assert_eq!(line["outcome"], "Deferred", "{line}");
        assert!(world.ledger.to(&format!("b@{domain}")).is_empty(), "{domain}");
    }
    resolver.heal();
    for (domain, ..) in &bad {
        assert_fits(world, domain, RECOVERED_WITHIN).await;
    }
}
