//! The parts of the demo and where they are.
//! **Owns:** starting them from `examples/demo`, and the addresses. **Never:** what is shown with them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::{
    World,
    client::Client,
    relay::Relay,
    sink::{Act, At, Rule, Setup},
};

use crate::tools;

/// The file that is edited while mail waits.
const RULE_FILE: &str = "rule-support.yaml";

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) sinks: Sinks,
}

/// Numbers of the far sides in the world.
pub(crate) struct Sinks {
    pub(crate) one_first: usize,
    pub(crate) one_second: usize,
    pub(crate) two: usize,
    pub(crate) busy: usize,
    pub(crate) sender: usize,
    pub(crate) paused: usize,
    pub(crate) slow: usize,
}

impl Stage {
    /// Starts all of it.
    pub(crate) async fn set() -> Result<Self> {
        let mut world = World::new().await?;
        world.manifests.remove("relay.yaml")?;
        let examples = tools::root().join("examples/demo");
        for entry in std::fs::read_dir(&examples).with_context(|| examples.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                world.manifests.write(&name, &std::fs::read_to_string(&path)?)?;
            }
        }
        let sinks = far_sides(&mut world).await?;
        for _ in 0..2 {
            world.relay().await?;
        }
        Ok(Self { world, sinks })
    }

    /// Says what runs where.
    pub(crate) fn introduce(&self) {
        let world = &self.world;
        println!(
            "\n  redis      {}  (appendonly yes, appendfsync always)",
            world.redis.first().map_or(String::new(), |redis| redis.url())
        );
        println!("  nameserver {}", world.dns.address());
        for (number, relay) in world.relays.iter().enumerate() {
            println!("  relay {}    smtp {}  admin http://{}", name(number), relay.smtp(), relay.admin());
        }
        println!("  far sides  {}, port {}", world.subnet.cidr(), world.subnet.port());
        println!("  manifests  {}\n", world.manifests.folder().display());
    }

    /// What one can do with it now.
    pub(crate) fn stay_open(&self) {
        println!("\nStill running; Ctrl-C ends it. To try:");
        for relay in self.world.relays.iter().rev().take(1) {
            println!("  swaks --server {} --from app@sender.example --to a@one.example", relay.smtp());
            println!("  curl http://{}/metrics", relay.admin());
            println!("  postrider-relay ctl --ctl {} queue", relay.ctl_path().display());
        }
    }

    /// A relay by number: 0 is `a`, 1 is `b`.
    pub(crate) fn relay(&self, number: usize) -> Result<&Relay> {
        self.world.relays.get(number).context("both relays were started")
    }

    /// Sends one message by a relay; the reply to its dot.
    pub(crate) async fn send(&self, relay: usize, to: &str, subject: &str) -> Result<String> {
        let mut client = Client::greeted(self.relay(relay)?.smtp()).await?;
        let text = postrider_tests::source::message(subject, "app@sender.example", to, 600);
        let reply = client.message("app@sender.example", &[to], text.trim_end()).await?;
        ensure!(reply.code == 250, "the relay answered {:?} to mail for {to}", reply.text);
        Ok(reply.text)
    }

    /// Replaces a part of the rule's file, as a person would.
    pub(crate) fn edit_rule(&self, from: &str, to: &str) -> Result<()> {
        let path = self.world.manifests.folder().join(RULE_FILE);
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{}: found no {from:?}", path.display());
        self.world.manifests.write(RULE_FILE, &text.replace(from, to))
    }

    /// Ends relays the gentle way; the rest goes by itself.
    pub(crate) async fn clear(mut self) {
        for relay in &mut self.world.relays {
            // Whatever it answers, it is killed with the rest of the stage.
            drop(relay.stop().await);
        }
    }
}

/// A relay's name.
pub(crate) fn name(number: usize) -> char {
    if number == 0 { 'a' } else { 'b' }
}

async fn far_sides(world: &mut World) -> Result<Sinks> {
    let one_first = world.sink(named("mx1.one.example")).await?;
    let one_second = world.sink(named("mx2.one.example")).await?;
    for (preference, host, sink) in [(20, "mx2.one.example", one_second), (10, "mx1.one.example", one_first)]
    {
        world.dns.mx("one.example", preference, host).await?;
        let std::net::IpAddr::V4(address) = world.address(sink).ip() else { continue };
        world.dns.a(host, address).await?;
    }
    let sinks = Sinks {
        one_first,
        one_second,
        two: world.domain_with("two.example", named("mx.two.example")).await?,
        busy: world.domain_with("busy.example", named("mx.busy.example")).await?,
        sender: world.domain_with("sender.example", named("mx.sender.example")).await?,
        paused: world.domain_with("paused.example", named("mx.paused.example")).await?,
        slow: world.domain_with("slow.example", named("mx.slow.example")).await?,
    };
    let behave = |number: usize, rule: Rule| {
        if let Some(sink) = world.sinks.get(number) {
            sink.behave([rule]);
        }
    };
    let unknown = "550 5.1.1 no such user here";
    behave(sinks.two, Rule::reply(At::Rcpt, unknown).recipient("nobody@two.example"));
    behave(sinks.busy, Rule::reply(At::Rcpt, "451 4.3.2 busy, come back later").times(2));
    behave(sinks.slow, Rule::new(At::Dot, Act::Delay(Duration::from_secs(1))));
    Ok(sinks)
}

fn named(hostname: &str) -> Setup {
    Setup { hostname: hostname.to_owned(), ..Setup::default() }
}
