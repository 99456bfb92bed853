//! Postrider and Postfix beside each other, in front of one far side.
//! **Owns:** starting both with what they promise alike, and looking at them. **Never:** a load.

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use postrider_tests::{
    Ledger, World, eventually,
    manifests::{MailRelay, rule},
    postfix::{self, Postfix},
    redis::Redis,
    relay::Relay,
    sink,
};

use super::usage::{Cpu, memory_kib, peak_kib};

/// To whom all mail goes.
pub(crate) const RECIPIENT: &str = "somebody@far.example";
/// How long one may take to have nothing left to do.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mta {
    Postrider,
    Postfix,
}

/// Both of them. Fields are dropped in this order: Postfix lives in the world's folder.
pub(crate) struct Stage {
    postfix: Postfix,
    world: World,
}

/// CPU time so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Took {
    /// Of the mail server's own processes, also of those that have ended.
    pub(crate) mta: Cpu,
    /// Of its store's.
    pub(crate) store: Cpu,
}

/// Memory now, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) mta: u64,
    pub(crate) peak: u64,
    pub(crate) store: u64,
    pub(crate) processes: usize,
}

impl Stage {
    /// Both deliver to the far side.
    pub(crate) async fn delivers() -> Result<Self> {
        Self::set("Active", &[]).await
    }

    /// Both keep what they take in: Postrider is paused, Postfix puts all on hold.
    pub(crate) async fn keeps() -> Result<Self> {
        let on_hold = "check_recipient_access static:HOLD, permit_mynetworks, reject";
        Self::set("Paused", &[("smtpd_recipient_restrictions", on_hold)]).await
    }

    async fn set(delivery: &str, more: &[(&str, &str)]) -> Result<Self> {
        let mut world = World::new().await?;
        // One that only counts: bodies would make the far side a part of what is measured.
        world.ledger = Ledger::default();
        let number = world.sink(sink::Setup::default()).await?;
        let far = world.address(number);
        let smarthost = format!(
            "matches: [{{recipientDomains: [far.example]}}]\n\
             route: {{type: Smarthost, smarthost: {{hosts: [{{host: {}, port: {}}}]}}}}",
            far.ip(),
            far.port()
        );
        world.manifests.write("rule.yaml", &rule("far", &smarthost))?;
        write_relay(&world, delivery)?;
        world.relay().await?;
        let setup = postfix::Setup {
            relayhost: Some(far),
            more: more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..postfix::Setup::default()
        };
        let postfix = Postfix::start(&world.folder().join("postfix"), setup).await?;
        Ok(Self { postfix, world })
    }

    /// Lets the relay deliver what it has kept.
    pub(crate) fn resume(&self) -> Result<()> {
        write_relay(&self.world, "Active")
    }

    /// Where one takes mail.
    pub(crate) fn address(&self, mta: Mta) -> SocketAddr {
        match mta {
            Mta::Postrider => self.world.relays.first().map_or(self.postfix.address(), Relay::smtp),
            Mta::Postfix => self.postfix.address(),
        }
    }

    /// The far side's book.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.world.ledger
    }

    pub(crate) fn relay(&self) -> Result<&Relay> {
        self.world.relays.first().context("the relay was started")
    }

    pub(crate) fn redis(&self) -> Result<&Redis> {
        self.world.redis.first().context("Redis was started")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.world.folder()
    }

    /// CPU time so far.
    pub(crate) fn took(&self, mta: Mta) -> Result<Took> {
        match mta {
            Mta::Postrider => Ok(Took {
                mta: Cpu::of(self.relay()?.process().pid())?,
                store: Cpu::of(self.redis()?.running()?.pid())?,
            }),
            Mta::Postfix => {
                // Who ends between two looks is counted with the master's ended children, which are looked at last.
                let living = self.postfix.pids().into_iter().filter_map(|pid| Cpu::of(pid).ok());
                let living = living.fold(Cpu::default(), |sum, cpu| sum + cpu);
                let ended = Cpu::of_ended_children(self.postfix.master().pid())?;
                Ok(Took { mta: living + ended, store: Cpu::default() })
            }
        }
    }

    /// Memory now.
    pub(crate) fn memory(&self, mta: Mta) -> Result<Memory> {
        match mta {
            Mta::Postrider => {
                let (relay, redis) = (self.relay()?.process().pid(), self.redis()?.running()?.pid());
                Ok(Memory {
                    mta: memory_kib(relay)?,
                    peak: peak_kib(relay)?,
                    store: memory_kib(redis)?,
                    processes: 1,
                })
            }
            Mta::Postfix => {
                let pids = self.postfix.pids();
                let all: Vec<u64> = pids.iter().filter_map(|pid| memory_kib(*pid).ok()).collect();
                Ok(Memory { mta: all.iter().sum(), processes: all.len(), ..Memory::default() })
            }
        }
    }

    /// Waits until nothing is left to do but to wait.
    pub(crate) async fn quiet(&self, mta: Mta) -> Result<()> {
        match mta {
            Mta::Postrider => {
                let relay = self.relay()?;
                eventually("the relay to have no attempt left", QUIET_WITHIN, async || {
                    let metrics = relay.metrics().await.ok()?;
                    (metrics.sum("postrider_attempts_running", &[]) == 0.0).then_some(())
                })
                .await
            }
            Mta::Postfix => {
                eventually("Postfix to have nothing queued", QUIET_WITHIN, async || {
                    (self.postfix.queued() == 0).then_some(())
                })
                .await
            }
        }
    }

    /// How many messages are kept.
    pub(crate) async fn kept(&self, mta: Mta) -> Result<u64> {
        match mta {
            Mta::Postrider => {
                let metrics = self.relay()?.metrics().await?;
                Ok(metrics.sum("postrider_queue_deliveries", &["state=\"Waiting\""]) as u64)
            }
            Mta::Postfix => {
                let folder = self.world.folder().join("postfix/queue/hold");
                Ok(std::fs::read_dir(folder)?.count() as u64)
            }
        }
    }

    /// What all of it runs on.
    pub(crate) async fn machine(&self) -> Result<String> {
        let cores = std::thread::available_parallelism()?;
        let info = self.redis()?.command(&["INFO", "server"]).await?;
        let redis = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("?").trim();
        let postfix = std::process::Command::new("postconf").args(["-d", "-h", "mail_version"]).output()?;
        let sync = sync_time(self.folder())?;
        Ok(format!(
            "{cores} cores; Redis {redis} (appendfsync always), Postfix {}; a sync of 4 KiB takes {:.2} ms (median) in {}",
            String::from_utf8_lossy(&postfix.stdout).trim(),
            sync.as_secs_f64() * 1e3,
            std::env::temp_dir().display()
        ))
    }
}

fn write_relay(world: &World, delivery: &str) -> Result<()> {
    let more = format!("{}\ndelivery: {delivery}", MailRelay::default().more);
    // All load comes from one address; Postfix has no such limit for the networks it trusts.
    let listeners = "- {name: smtp, port: 25, protocol: SMTP, allowedClients: {cidrs: [127.0.0.0/8]}, limits: {connectionsPerClient: 1000}}";
    let relay = MailRelay { more, listeners: listeners.to_owned(), ..MailRelay::default() };
    world.manifests.write("relay.yaml", &relay.yaml())
}

/// What both of them wait for.
fn sync_time(folder: &Path) -> Result<Duration> {
    let mut file = File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..101 {
        file.write_all(&[b'a'; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times.get(50).copied().context("there were 101")
}
