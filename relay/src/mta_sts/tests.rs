//! Tests of what is known of a domain while the queue's store is silent. **Owns:** nothing. **Never:** a fetch: that is tested end to
//! end.

use std::collections::BTreeMap;

use postrider_core::mta_sts::Policy;
use postrider_mail::PartitionName;
use postrider_queue::{
    Durability,
    connection::{Target, Topology},
    keys::FleetName,
    shards::{ShardOptions, ShardsOptions},
};

use super::*;
use crate::{dns::DnsSettings, https::Https, tls::connect::Connectors};

/// Nobody answers there.
const NOBODY: &str = "127.0.0.1:9";

/// Those of a relay that reaches neither the queue's store nor the DNS.
fn policies() -> Policies {
    let shard = ShardOptions {
        name: PartitionName::parse("a").expect("a name"),
        target: Target { url: format!("redis://{NOBODY}/"), topology: Topology::Standalone, ca: None },
        uuid: None,
        is_draining: false,
    };
    let shards = Shards::new(ShardsOptions {
        fleet: FleetName::parse("mail/test").expect("a name"),
        relay_uid: None,
        shards: vec![shard],
        durability: Durability::Synced,
        remembered: BTreeMap::new(),
        clock: clock::boot_clock(),
    });
    let dns = Dns::new(DnsSettings::new(vec![NOBODY.parse().expect("an address")])).expect("a resolver");
    let https = Https::new(dns.clone(), Connectors::new(&[]).expect("TLS"), 443);
    let lookups = IntCounterVec::new(prometheus::Opts::new("lookups", "Look-ups."), &["result"]);
    let (shards, lookups) = (shards.expect("a URL"), lookups.expect("a counter"));
    Policies::new(dns, Fetcher::new(https), shards, lookups, TlsReports::default())
}

fn domain() -> Domain {
    Domain::parse("d.example").expect("a domain")
}

fn kept() -> Arc<Kept> {
    let file = b"version: STSv1\nmode: enforce\nmx: mx.d.example\nmax_age: 864000\n";
    let Record::Id(id) = Record::of(["v=STSv1; id=1"]) else { panic!("it has an ID") };
    Arc::new(Kept { policy: Policy::parse(file).expect("a policy"), id, fetched: now() })
}

/// What is said of a domain of which this was known, and is to be looked at again.
async fn said(kept: Option<Arc<Kept>>, is_shared: bool) -> (Result<Option<Arc<Kept>>, Unknown>, Known) {
    let policies = policies();
    let known = Known { until: Instant::now(), ..Known::new(kept, is_shared, false) };
    policies.inner.known.insert(domain(), known).await;
    let said = policies.of(&domain(), &Destinations::default()).await;
    (said, policies.inner.known.get(&domain()).await.expect("it was looked at"))
}

#[tokio::test]
async fn a_store_that_is_silent_has_not_said_that_there_is_no_policy() {
    assert_eq!(policies().of(&domain(), &Destinations::default()).await, Err(Unknown));
    assert_eq!(said(None, false).await.0, Err(Unknown));
    assert_eq!(
        said(None, true).await.0,
        Err(Unknown),
        "it had said so, and others may have fetched one since"
    );
}

#[tokio::test]
async fn a_policy_that_the_store_did_not_take_holds_and_is_given_to_it_again_soon() {
    let (said, known) = said(Some(kept()), false).await;
    assert!(said.is_ok_and(|kept| kept.is_some()));
    assert!(!known.is_shared && known.until <= Instant::now() + ASK_STORE_AGAIN_AFTER);
}
