//! The binaries run with no file but those of their images, as nobody, with nothing to write to but a mounted folder.
//! **Owns:** that mail flows so. **Never:** how the container is made.

use std::{net::Ipv4Addr, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    Ledger,
    client::Client,
    dns::Dns,
    eventually, http,
    manifests::{MailRelay, Manifests},
    ports::{self, Subnet},
    process::Process,
    redis::Redis,
    sink::{self, Sink},
    source,
};

use crate::{
    built,
    engine::Engine,
    sealed::{NOBODY, Sealed},
};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn each_binary_says_what_it_is() -> Result<()> {
    for built in built::all().await? {
        let (engine, folder) = (Engine::new()?, tempfile::tempdir()?);
        let root = engine.mount(&engine.load("oci-archive", &built.archive).await?).await?;
        let sealed = Sealed::new(root, folder.path(), "", "")?;
        let output = sealed.command(built.name).arg("--help").output().await?;
        assert!(output.status.success(), "{}: {output:?}", built.name);
    }
    Ok(())
}

#[tokio::test]
async fn the_relay_finds_its_queue_by_name_and_delivers() -> Result<()> {
    let built = built::all().await?.remove(0);
    let (engine, folder) = (Engine::new()?, tempfile::Builder::new().prefix("postrider-").tempdir()?);
    let redis = Redis::start(&folder.path().join("redis")).await?;
    // As in a pod: the search list completes the Service's name, and the one nameserver is at port 53.
    let subnet = Subnet::random()?;
    let nameserver = subnet.address(53);
    let dns = Dns::start_at(SocketAddr::new(nameserver.into(), 53)).await?;
    dns.a("outbound-queue-0.outbound-queue.mail.svc.cluster.test", Ipv4Addr::LOCALHOST).await?;
    dns.domain("far.example", subnet.address(1).into()).await?;
    let ledger = Ledger::with_bodies();
    let _far_side = Sink::start(subnet.socket(1), ledger.clone(), sink::Setup::default()).await?;

    let inside = folder.path().join("mounted");
    let manifests = Manifests::new(&inside.join("manifests"))?;
    manifests.write("relay.yaml", &MailRelay::default().yaml())?;
    let root = engine.mount(&engine.load("oci-archive", &built.archive).await?).await?;
    let resolv_conf = format!("search mail.svc.cluster.test\nnameserver {nameserver}\noptions ndots:5\n");
    let sealed = Sealed::new(root, &inside, "127.0.0.1 localhost\n", &resolv_conf)?;

    let local = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let (admin, smtp) = (local(ports::free()?), local(ports::free()?));
    let queue = redis.url().replace("127.0.0.1", "outbound-queue-0.outbound-queue");
    let mut command = sealed.command(built.name);
    command.arg("run").arg("--manifests").arg(manifests.folder()).args(["--redis", &queue]);
    command.args(["--mx-port", &subnet.port().to_string(), "--admin", &admin.to_string()]);
    command.args(["--listen", &format!("smtp={smtp}")]).arg("--ctl").arg(inside.join("ctl.sock"));
    command.arg("--state").arg(inside.join("state"));
    let mut relay = Process::start(command, &folder.path().join("relay.log"))?;
    let ready = eventually("the relay to be ready", SOON, async || {
        http::get(admin, "/readyz").await.ok().filter(|(status, _)| *status == 200)
    });
    ready.await.with_context(|| relay.output())?;
    ensure_sealed(&relay)?;

    let mut client = Client::greeted(smtp).await?;
    let text = source::message("1", "a@app.example", "b@far.example", 600);
    let reply = client.message("a@app.example", &["b@far.example"], text.trim_end()).await?;
    assert_eq!(reply.code, 250, "{}", reply.text);
    let arrived = eventually("the mail", SOON, async || ledger.to("b@far.example").pop());
    arrived.await.with_context(|| relay.output())?;
    assert!(relay.stop().await?.success(), "{}", relay.output());
    Ok(())
}

/// By the kernel's account the process is nobody, may do nothing of root's, and has a root that can't be written to.
fn ensure_sealed(relay: &Process) -> Result<()> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.pid()))?;
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found.map(str::trim).with_context(|| format!("status has {name}"))
    };
    let ids = [NOBODY; 4].map(|id| id.to_string()).join("\t");
    ensure!(line("Uid:")? == ids && line("Gid:")? == ids, "found {status}");
    ensure!(line("CapEff:")? == "0000000000000000", "found {status}");
    let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", relay.pid()))?;
    let root =
        mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).context("a root is mounted")?;
    let options = root.split(' ').nth(3).unwrap_or_default();
    ensure!(options.split(',').any(|option| option == "ro"), "found the root mounted as {root}");
    Ok(())
}
