//! Faults, done and undone.
//! **Owns:** what each does to the parts of a run. **Never:** decides when; judges what came of it.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use postrider_tests::{
    dns::{Dns, Fault},
    eventually,
    mounted::{self, Mounted},
    process::Process,
    redis::Redis,
    relay::Relay,
    sink::Sink,
};
use tokio::{process::Command, time::sleep};

use super::{
    clock::Clock,
    plan::{DOMAINS, RelayFault, StoreFault, Strike},
    protection::{self, Protection},
    replicas::Replicas,
    stage::{cut, domain},
    tail,
};

/// Where a relay may die.
pub(crate) const STEPS: [&str; 8] =
    ["Taken", "Enqueued", "Claimed", "Permitted", "DotSent", "Replied", "Settled", "Reaped"];
/// How long a server may take to be away from a full volume, or a relay to die at its step.
const ENDED_WITHIN: Duration = Duration::from_secs(8);
/// Seconds that a clock jumps.
const JUMP: i64 = 3_600;

/// The relays, and what is around them.
pub(crate) struct Relays<'a> {
    pub(crate) relays: &'a mut [Relay],
    pub(crate) dns: &'a Dns,
    pub(crate) clocks: &'a [Clock],
    pub(crate) groups: &'a [u32],
    /// Of the queue's servers.
    pub(crate) ports: Vec<u16>,
    pub(crate) older: Option<PathBuf>,
    /// The far sides.
    pub(crate) sinks: &'a [Sink],
    pub(crate) protection: Option<&'a Protection>,
}

impl Relays<'_> {
    /// Does it, and undoes it when its time is over. Whether it came to be.
    pub(crate) async fn suffer(&mut self, strike: &Strike<RelayFault>) -> Result<bool> {
        let relay = self.relays.get_mut(strike.whom).context("a relay of the plan")?;
        let done = match strike.fault {
            RelayFault::DieAtStep => return self.die_at_step(strike).await,
            RelayFault::KillRelay => {
                relay.kill().await?;
                sleep(strike.lasts).await;
                relay.restart().await
            }
            RelayFault::PauseRelay => {
                relay.process().pause()?;
                sleep(strike.lasts).await;
                relay.process().resume()
            }
            RelayFault::RollRelay => {
                relay.stop().await?;
                let older = self.older.clone().filter(|_| strike.chance.is_multiple_of(2));
                relay.replace(|setup| setup.binary = older).await?;
                relay.ready().await
            }
            RelayFault::RelayClock => {
                let clock = self.clocks.get(strike.whom).context("it has a clock")?;
                jump(clock, strike).await
            }
            RelayFault::Partition => {
                let group = *self.groups.get(strike.whom).context("it has a group")?;
                let port = *self.ports.get(strike.chance as usize % self.ports.len()).context("a server")?;
                cut(group, port, "-A").await?;
                sleep(strike.lasts).await;
                cut(group, port, "-D").await
            }
            RelayFault::Dns => {
                let of = domain(strike.whom % DOMAINS);
                let fault = match strike.chance % 4 {
                    0 => Fault::Silence,
                    1 => Fault::ServFail,
                    2 => Fault::Refused,
                    _ => Fault::Delay(Duration::from_millis(1_500)),
                };
                self.dns.fail(&of, None, fault);
                sleep(strike.lasts).await;
                self.dns.heal(&of);
                Ok(())
            }
            RelayFault::WrongCertificate => {
                let number = strike.whom % DOMAINS;
                let far_side = self.sinks.get(number).context("a far side of the plan")?;
                let protection = self.protection.context("a protected run")?;
                far_side.show(Some(protection.wrong(&domain(number), strike)?));
                sleep(strike.lasts).await;
                far_side.show(None);
                Ok(())
            }
        };
        done.map(|()| true)
    }

    async fn die_at_step(&mut self, strike: &Strike<RelayFault>) -> Result<bool> {
        let step = step_of(strike);
        let victim = victim_of(strike);
        // One death makes one reap; of the other steps, some pass first.
        let times = if victim.is_some() { 1 } else { 1 + strike.chance / 8 % 30 };
        let relay = self.relay(strike.whom)?;
        relay.kill().await?;
        let plain = relay.setup().wrapper.clone();
        let death = ["env".to_owned(), format!("POSTRIDER_DIE_AT={step}:{times}")];
        relay.replace(|setup| setup.wrapper.extend(death)).await?;
        if let Some(victim) = victim
            // It may die before, by what its own last life had in hand.
            && relay.ready().await.is_ok()
        {
            self.relay(victim)?.kill().await?;
        }
        let relay = self.relay(strike.whom)?;
        // A step that mail doesn't come to is a miss, as is a death that another relay sees first.
        let died = eventually("a death at a step", ENDED_WITHIN, async || relay.has_ended().then_some(()));
        let has_died = died.await.is_ok();
        relay.kill().await?;
        relay.replace(|setup| setup.wrapper = plain).await?;
        if let Some(victim) = victim {
            let victim = self.relay(victim)?;
            victim.kill().await?;
            victim.restart().await?;
        }
        self.relay(strike.whom)?.ready().await?;
        Ok(has_died)
    }

    fn relay(&mut self, number: usize) -> Result<&mut Relay> {
        self.relays.get_mut(number).context("a relay of the plan")
    }
}

/// Where a relay is to die.
fn step_of(strike: &Strike<RelayFault>) -> &'static str {
    STEPS.get(strike.chance as usize % STEPS.len()).copied().unwrap_or("Taken")
}

/// Who dies first, so that another can die amid its take-over. Never the first relay, which lives through all of a soak.
pub(crate) fn victim_of(strike: &Strike<RelayFault>) -> Option<usize> {
    let is_reap = strike.fault == RelayFault::DieAtStep && step_of(strike) == "Reaped";
    is_reap.then_some(if strike.whom == 1 { 2 } else { 1 })
}

/// What a fault is counted as.
pub(crate) fn name_of(strike: &Strike<RelayFault>) -> String {
    match strike.fault {
        RelayFault::DieAtStep => death_at(step_of(strike)),
        fault => format!("{fault:?}"),
    }
}

/// What a death at a step is counted as.
pub(crate) fn death_at(step: &str) -> String {
    format!("{:?} {step}", RelayFault::DieAtStep)
}

async fn jump<F>(clock: &Clock, strike: &Strike<F>) -> Result<()> {
    clock.set(if strike.chance.is_multiple_of(2) { JUMP } else { -JUMP })?;
    sleep(strike.lasts).await;
    clock.set(0)
}

/// The queue's servers, and the relays' configuration, which says where they are.
pub(crate) struct Store<'a> {
    pub(crate) servers: &'a mut [Redis],
    pub(crate) replicas: &'a Replicas,
    pub(crate) mounted: &'a mut Mounted,
    pub(crate) clock: &'a Clock,
}

impl Store<'_> {
    /// Does it, and undoes it when its time is over. Whether it came to be.
    pub(crate) async fn suffer(&mut self, strike: &Strike<StoreFault>) -> Result<bool> {
        let server = self.servers.get_mut(strike.whom).context("a server of the plan")?;
        let done = match strike.fault {
            StoreFault::KillRedis => {
                server.kill().await?;
                sleep(strike.lasts).await;
                server.restart().await
            }
            StoreFault::PauseRedis => {
                server.pause()?;
                sleep(strike.lasts).await;
                server.resume()
            }
            StoreFault::SlowDisk => slow_disk(server, strike.lasts).await,
            StoreFault::MemoryFull => memory_full(server, strike.lasts).await,
            StoreFault::DiskFull => return disk_full(server, strike.lasts).await,
            StoreFault::TornTail => return torn_tail(server, strike).await,
            StoreFault::RedisClock => jump(self.clock, strike).await,
            StoreFault::ScriptFlush => server.command(&["SCRIPT", "FLUSH"]).await.map(drop),
            StoreFault::Password => {
                let password = format!("{:016x}", strike.chance);
                server.set_password(&password).await?;
                let (name, url) = (postrider_tests::world::shard(strike.whom).to_string(), server.url());
                self.mounted.edit(|config| mounted::shard(config, &name)["url"] = url.into())?;
                server.cut_all().await
            }
            StoreFault::Reload => {
                let most = 4_000 + strike.chance % 1_000;
                self.mounted.edit(|config| config["defaults"]["retry_max"] = most.into())
            }
            StoreFault::KeyGone => {
                let mut before = serde_json::Value::Null;
                self.mounted.edit(|config| before = protection::take_key(config, strike.chance))?;
                sleep(strike.lasts).await;
                self.mounted.edit(|config| config["dkim"] = before)
            }
            StoreFault::FailOver => return self.replicas.fail_over(self.servers, strike.whom).await,
        };
        done.map(|()| true)
    }
}

/// Each sync takes 40 ms more.
async fn slow_disk(server: &Redis, lasts: Duration) -> Result<()> {
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-e",
        "trace=fdatasync,fsync",
        "-e",
        "inject=fdatasync,fsync:delay_exit=40000",
    ]);
    command.args(["-o", "/dev/null", "-p", &server.running()?.pid().to_string()]);
    let mut tracer = Process::start(command, &server.folder().with_extension("strace"))?;
    sleep(lasts).await;
    tracer.stop().await.map(drop)
}

async fn memory_full(server: &Redis, lasts: Duration) -> Result<()> {
    let room = server.figure("used_memory").await? + 100_000;
    server.set("maxmemory", &room.to_string()).await?;
    sleep(lasts).await;
    server.set("maxmemory", "0").await
}

/// A write that doesn't fit ends the server; once there is room it is started again.
async fn disk_full(server: &mut Redis, lasts: Duration) -> Result<bool> {
    let filler = server.folder().join("filler");
    let _ = std::io::copy(&mut std::io::repeat(b'x'), &mut std::fs::File::create(&filler)?);
    let ended = eventually("a full volume ends it", ENDED_WITHIN, async || server.has_ended().then_some(()));
    let has_hit = ended.await.is_ok();
    sleep(lasts).await;
    std::fs::remove_file(&filler)?;
    if server.has_ended() {
        server.restart().await?;
    }
    Ok(has_hit)
}

/// Twice started, for what the first start made of the end is read by the second.
async fn torn_tail(server: &mut Redis, strike: &Strike<StoreFault>) -> Result<bool> {
    server.kill().await?;
    let is_torn = tail::tear(server.folder(), strike.chance)?;
    server.restart().await?;
    sleep(strike.lasts).await;
    server.kill().await?;
    server.restart().await?;
    Ok(is_torn)
}

#[cfg(test)]
mod tests {
    use super::{Duration, RelayFault, STEPS, Strike, name_of, victim_of};

    fn death(whom: usize, chance: u64) -> Strike<RelayFault> {
        let (at, lasts) = (Duration::ZERO, Duration::ZERO);
        Strike { at, fault: RelayFault::DieAtStep, whom, lasts, chance }
    }

    #[test]
    fn for_a_death_amid_a_take_over_another_relay_dies_and_never_the_first() {
        for whom in 0..3 {
            for chance in 0..STEPS.len() as u64 {
                let strike = death(whom, chance);
                let victim = victim_of(&strike);
                assert_eq!(victim.is_some(), name_of(&strike) == "DieAtStep Reaped");
                assert!(victim != Some(whom) && victim != Some(0), "{strike:?}: {victim:?}");
            }
            assert_eq!(victim_of(&Strike { fault: RelayFault::KillRelay, ..death(whom, 7) }), None);
        }
    }
}
