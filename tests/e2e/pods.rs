//! What a relay finds in a pod: a mounted configuration, a resolver with a search list, a stop that was announced.
//! **Owns:** the process as Kubernetes runs it, on loopback. **Never:** a cluster.

use std::{net::Ipv4Addr, time::Duration};

use postrider_tests::{
    World,
    client::Client,
    eventually,
    manifests::MailRelay,
    mounted,
    sink::{Act, At, Rule},
};

use crate::{LATER, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_is_told_and_the_last_good_one_stays() {
    let mut world = World::new().await.unwrap();
    let mut mounted = world.mounted().await.unwrap();
    let setup = world.setup_mounted(&mounted);
    world.relay_with(setup).await.unwrap();
    let before = world.relays[0].json("/v1/config").await.unwrap();
    assert!(before["hash"].as_str().is_some_and(|hash| hash.len() == 64), "{before}");
    assert!(before.get("error").is_none(), "{before}");
    mounted.edit(|config| mounted::shard(config, "a")["url"] = serde_json::json!(["canary"])).unwrap();
    let told = eventually("the error is told", SOON, async || {
        let page = world.relays[0].json("/v1/config").await.ok()?;
        page.get("error").is_some().then_some(page)
    });
    let told = told.await.unwrap();
    assert_eq!(told["hash"], before["hash"]);
    assert!(told["error"].as_str().is_some_and(|error| error.contains("queue.shards[0].url")), "{told}");
    let log = world.relays[0].log();
    assert!(!told.to_string().contains("canary") && !log.contains("canary"), "{told}\n{log}");
    let metrics = world.relays[0].metrics().await.unwrap();
    assert_eq!(metrics.sum("postrider_config_load_errors_total", &[]), 1.0);
    let url = world.redis[0].url();
    mounted
        .edit(|config| {
            mounted::shard(config, "a")["url"] = url.into();
            config["hostname"] = "other.example".into();
        })
        .unwrap();
    let healed = eventually("another configuration", SOON, async || {
        let page = world.relays[0].json("/v1/config").await.ok()?;
        (page["hash"] != before["hash"]).then_some(page)
    });
    assert!(healed.await.unwrap().get("error").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_check_writes_is_what_run_takes() {
    let mut world = World::new().await.unwrap();
    world.domain("far.example").await.unwrap();
    let file = world.folder().join("config.json.gz");
    let folder = world.manifests.folder().as_os_str();
    let arguments = ["check".as_ref(), "--manifests".as_ref(), folder, "--write".as_ref(), file.as_os_str()];
    let output = postrider_tests::relay::command(arguments).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(std::fs::read(&file).unwrap()[..2], [0x1f, 0x8b]);
    let setup = postrider_tests::relay::Setup { config: Some(file), ..world.setup() };
    world.relay_with(setup).await.unwrap();
    let hash = world.relays[0].json("/v1/config").await.unwrap()["hash"].clone();
    // The shard's place is said on the command line, so it isn't the hash of the file.
    assert_eq!(hash.as_str().map(str::len), Some(64));
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    world.arrival("b@far.example", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_is_ready_as_long_as_it_accepts() {
    let mut world = World::new().await.unwrap();
    let relay = MailRelay { more: "drain: {delay: 3s, timeout: 60s}".to_owned(), ..MailRelay::default() };
    world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    let far = world.domain("far.example").await.unwrap();
    // An attempt under way keeps the process, so that it can be asked.
    world.sinks[far].behave([Rule::new(At::Dot, Act::Delay(Duration::from_secs(9)))]);
    world.relay().await.unwrap();
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    let smtp = world.relays[0].smtp();
    let relay = &world.relays[0];
    relay.process().signal(rustix::process::Signal::TERM).unwrap();
    // Asked in this order: were it told not to be ready first, what is sent to it would be refused before others know.
    let mut looks = 0;
    eventually("it refuses", LATER, async || {
        let ready = relay.readyz().await.ok()?.0;
        match Client::greeted(smtp).await {
            Ok(_) => {
                assert_eq!(ready, 200, "it accepts, so it is ready");
                looks += 1;
                None
            }
            Err(_) => Some(()),
        }
    })
    .await
    .unwrap();
    assert!(looks > 0, "it went on accepting for the delay");
    let (status, text) = relay.readyz().await.unwrap();
    assert!(status == 503 && text.contains("the relay stops"), "{status} {text}");
    world.arrival("b@far.example", LATER).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_that_has_passed_before_the_signal_is_not_waited_for_again() {
    let mut world = World::new().await.unwrap();
    let relay = MailRelay { more: "drain: {delay: 5m, timeout: 10s}".to_owned(), ..MailRelay::default() };
    world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    let mut setup = world.setup();
    setup.arguments.extend(["--drain-delay".to_owned(), "0s".to_owned()]);
    let relay = world.relay_with(setup).await.unwrap();
    let status = relay.stop().await.unwrap();
    assert!(status.success(), "{status}: it was killed for waiting\n{}", relay.log());
}

/// A pod's resolv.conf: every name with less than five dots is first looked for in the cluster's domains. For the queue's host that is
/// what finds it; mail to a name that exists there too must not go there.
#[tokio::test(flavor = "multi_thread")]
async fn the_search_list_of_a_pod_finds_the_queue_and_no_mail() {
    const NAMESERVER: Ipv4Addr = Ipv4Addr::new(127, 53, 53, 53);
    if !rustix::process::geteuid().is_root() {
        println!("skipped: found another user; expected root, to bind port 53 and to mount a resolv.conf");
        return;
    }
    let mut world = World::new().await.unwrap();
    world.dns = postrider_tests::dns::Dns::start_at((NAMESERVER, 53).into()).await.unwrap();
    world.domain("far.example").await.unwrap();
    let trap = world.sink(Default::default()).await.unwrap();
    let std::net::IpAddr::V4(trapped) = world.address(trap).ip() else { unreachable!() };
    for domain in ["mail.svc.cluster.local", "svc.cluster.local", "cluster.local"] {
        world.dns.domain(&format!("far.example.{domain}"), trapped.into()).await.unwrap();
        world.dns.a(&format!("mx.far.example.{domain}"), trapped).await.unwrap();
    }
    let host = "outbound-queue-0.outbound-queue.mail.svc";
    world.dns.a(&format!("{host}.cluster.local"), Ipv4Addr::LOCALHOST).await.unwrap();
    let resolv = world.folder().join("resolv.conf");
    let text = format!(
        "search mail.svc.cluster.local svc.cluster.local cluster.local\nnameserver {NAMESERVER}\noptions ndots:5\n"
    );
    std::fs::write(&resolv, text).unwrap();
    let mut mounted = world.mounted().await.unwrap();
    let url = world.redis[0].url().replace("127.0.0.1", host);
    mounted.edit(|config| mounted::shard(config, "a")["url"] = url.into()).unwrap();
    let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", script, "sh", resolv.to_str().unwrap()];
    let mut setup = world.setup_mounted(&mounted);
    setup.wrapper = wrapper.map(str::to_owned).to_vec();
    setup.dns = None;
    world.relay_with(setup).await.unwrap();
    assert!(world.dns.asked(&format!("{host}.cluster.local")) > 0, "the queue was found by the search list");
    world.send(0, "a@sender.example", &["b@far.example"], "1").await.unwrap();
    let entry = world.arrival("b@far.example", SOON).await.unwrap();
    assert_ne!(entry.at, world.address(trap));
    // Nor is a name that exists nowhere looked for elsewhere.
    world.send(0, "", &["b@nowhere.example"], "2").await.unwrap();
    eventually("it is asked for", SOON, async || (world.dns.asked("nowhere.example") > 0).then_some(()))
        .await
        .unwrap();
    for domain in ["mail.svc.cluster.local", "svc.cluster.local", "cluster.local"] {
        for name in ["far.example", "mx.far.example", "nowhere.example"] {
            assert_eq!(world.dns.asked(&format!("{name}.{domain}")), 0, "{name}.{domain}");
        }
    }
}
