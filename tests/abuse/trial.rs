//! A relay under abuse: others send mail by it all the time, and its memory is watched.
//! **Owns:** the bystander, the watch, the judgement at the end. **Never:** the abuse.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    World, certs,
    client::Client,
    manifests::{MailRelay, tls_secret},
    process::usage_of,
    relay::{Setup, last_lines},
    source, wait,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{LATER, MEMORY_MIB};

/// The listener of the dull defaults.
const LISTENER: &str = "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}}";
/// How often the bystander sends, and how often memory is looked at.
const EVERY: Duration = Duration::from_millis(20);
/// So many messages the bystander sends once the abuse is over.
const FEW: usize = 5;
/// Where the bystander comes from: limits are counted by client.
const BYSTANDER: Ipv4Addr = Ipv4Addr::new(127, 99, 99, 99);
/// Where its mail goes.
const GOOD: &str = "b@good.example";

/// One relay under abuse.
pub(crate) struct Trial {
    pub(crate) world: World,
    stop: CancellationToken,
    bystander: JoinHandle<Result<Vec<String>>>,
    watch: JoinHandle<()>,
    most_kib: Arc<AtomicU64>,
    sent: Arc<AtomicUsize>,
}

impl Trial {
    /// A relay with one listener, and domains `far.example` and `good.example`.
    pub(crate) async fn start() -> Result<Self> {
        Self::with(LISTENER).await
    }

    /// The same with these limits of the listener, as YAML flow.
    pub(crate) async fn with_limits(limits: &str) -> Result<Self> {
        Self::with(&LISTENER.replace("}}", &format!("}}, limits: {limits}}}"))).await
    }

    /// The same with these listeners: the bystander's is the first, and a certificate is there as `mail-tls`.
    pub(crate) async fn with(listeners: &str) -> Result<Self> {
        let world = World::new().await?;
        let certificate = certs::self_signed("relay.example")?;
        world.manifests.write("tls.yaml", &tls_secret("mail-tls", &certificate))?;
        let relay = MailRelay { listeners: listeners.to_owned(), ..MailRelay::default() };
        world.manifests.write("relay.yaml", &relay.yaml())?;
        Self::of(world, listeners).await
    }

    /// A relay in a world that is prepared but for `far.example` and `good.example`.
    pub(crate) async fn of(mut world: World, listeners: &str) -> Result<Self> {
        world.domain("good.example").await?;
        world.domain("far.example").await?;
        let names = listeners.split("name: ").skip(1).filter_map(|rest| rest.split([',', '}', '\n']).next());
        let listeners = names.map(str::to_owned).filter(|name| name != "mail-tls").collect();
        let setup = Setup { listeners, ..world.setup() };
        let relay = world.relay_with(setup).await?;
        let (address, pid) = (relay.smtp(), relay.process().pid());
        let (stop, most_kib) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let sent = Arc::new(AtomicUsize::new(0));
        let bystander = tokio::spawn(send_all_the_time(address, sent.clone(), stop.clone()));
        let watch = tokio::spawn(watch(pid, most_kib.clone(), stop.clone()));
        Ok(Self { world, stop, bystander, watch, most_kib, sent })
    }

    /// The first listener.
    pub(crate) fn smtp(&self) -> SocketAddr {
        self.world.relays[0].smtp()
    }

    /// A client that has said EHLO.
    pub(crate) async fn client(&self) -> Result<Client> {
        Client::greeted(self.smtp()).await
    }

    /// That mail is taken on this connection and arrives.
    pub(crate) async fn goes_on(&self, client: &mut Client, id: &str) -> Result<()> {
        let to = format!("{id}@far.example");
        let text = source::message(id, "a@sender.example", &to, 500);
        let reply = client.message("a@sender.example", &[&to], text.trim_end()).await?;
        ensure!(reply.code == 250, "{}", reply.text);
        let entry = self.world.arrival(&to, LATER).await?;
        ensure!(entry.text().ends_with(&text), "{}", entry.text());
        Ok(())
    }

    /// That nobody was harmed: the relay is as it was, took a bounded amount of memory, and all that the bystander sent
    /// meanwhile was taken at once and has arrived once.
    pub(crate) async fn unharmed(self) -> Result<()> {
        self.unharmed_within(MEMORY_MIB).await
    }

    /// The same with a bound on memory of its own.
    pub(crate) async fn unharmed_within(mut self, memory_mib: u64) -> Result<()> {
        // Also behind the abuse others are served.
        let enough = self.sent.load(Ordering::Relaxed) + FEW;
        let is_over = || self.bystander.is_finished() || self.sent.load(Ordering::Relaxed) >= enough;
        wait::until("the bystander to go on", LATER, is_over).await?;
        self.stop.cancel();
        self.watch.await?;
        let log = last_lines(&self.world.relays[0].log(), 20);
        let sent = self.bystander.await?.with_context(|| format!("the bystander's mail\n{log}"))?;
        let missing = || {
            let counts = self.world.ledger.counts();
            sent.iter().filter(|id| counts.get(*id) != Some(&1)).count()
        };
        wait::until("the bystander's mail", LATER, || missing() == 0)
            .await
            .with_context(|| format!("{} of {} are missing\n{log}", missing(), sent.len()))?;
        let most_mib = self.most_kib.load(Ordering::Relaxed) / 1024;
        println!("{} messages of others went by; the relay took {most_mib} MiB at most", sent.len());
        ensure!(most_mib > 0 && most_mib < memory_mib, "{most_mib} MiB, expected less than {memory_mib}");
        let relay = &mut self.world.relays[0];
        relay.ready().await?;
        ensure!(!relay.log().contains("panicked"), "{log}");
        Ok(())
    }
}

/// Sends short messages, some to a connection, each of which must be taken; their IDs.
async fn send_all_the_time(
    relay: SocketAddr,
    count: Arc<AtomicUsize>,
    stop: CancellationToken,
) -> Result<Vec<String>> {
    const PER_CONNECTION: usize = 10;
    let prefix = format!("bystander-{:08x}", rand::random::<u32>());
    let mut sent = Vec::new();
    let mut client = None;
    while !stop.is_cancelled() {
        let mut open = match client.take() {
            Some(open) => open,
            None => Client::connect_from(BYSTANDER, relay).await?.greet().await?,
        };
        let id = format!("{prefix}-{}", sent.len());
        let text = source::message(&id, "app@sender.example", GOOD, 600);
        let reply = open.message("app@sender.example", &[GOOD], text.trim_end()).await?;
        ensure!(reply.code == 250, "{id}: {}", reply.text);
        sent.push(id);
        count.store(sent.len(), Ordering::Relaxed);
        client = (sent.len() % PER_CONNECTION != 0).then_some(open);
        tokio::time::sleep(EVERY).await;
    }
    Ok(sent)
}

async fn watch(pid: i32, most_kib: Arc<AtomicU64>, stop: CancellationToken) {
    loop {
        if let Ok(usage) = usage_of(pid) {
            most_kib.fetch_max(usage.rss_kib, Ordering::Relaxed);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
