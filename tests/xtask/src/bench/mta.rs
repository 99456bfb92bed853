//! Either of the two, as it is looked at: where it takes mail, what it takes of the machine, when it is done.
//! **Owns:** what processes and files say of it. **Never:** a load, a setting.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use postrider_tests::{eventually, postfix::Postfix};

use super::{
    fleet::Fleet,
    redis_calls::RedisCalls,
    usage::{self, Cpu},
    workload::Workload,
};

/// How long one may take to have nothing left to do.
const QUIET_WITHIN: Duration = Duration::from_secs(90);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mta {
    Postrider,
    Postfix,
}

/// One of the two and the far side that both have.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) fleet: &'a Fleet,
    /// It is this, if given; the fleet, if not.
    pub(crate) postfix: Option<&'a Postfix>,
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
    /// Of the mail server's own processes; what several share counts once.
    pub(crate) mta: u64,
    pub(crate) store: u64,
}

impl Subject<'_> {
    pub(crate) fn mta(&self) -> Mta {
        if self.postfix.is_some() { Mta::Postfix } else { Mta::Postrider }
    }

    /// Where it takes mail.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.postfix.map_or_else(|| self.fleet.addresses(), |postfix| vec![postfix.address()])
    }

    /// A workload as a load for it.
    pub(crate) fn load(&self, workload: &Workload) -> postrider_tests::source::Load {
        workload.load(self.fleet, self.addresses(), self.mta())
    }

    /// Its processes, without its store's.
    pub(crate) fn pids(&self) -> Vec<i32> {
        match self.postfix {
            Some(postfix) => postfix.pids(),
            None => self.fleet.world.relays.iter().map(|relay| relay.process().pid()).collect(),
        }
    }

    /// CPU time so far.
    pub(crate) fn took(&self) -> Result<Took> {
        // Who ends between two looks is counted with the master's ended children, which are looked at last.
        let living = self.pids().into_iter().filter_map(|pid| Cpu::of(pid).ok());
        let living = living.fold(Cpu::default(), |sum, cpu| sum + cpu);
        match self.postfix {
            None => {
                // A child rewrites Redis's file now and then.
                let redis = self.fleet.redis()?.running()?.pid();
                Ok(Took { mta: living, store: Cpu::of(redis)? + Cpu::of_ended_children(redis)? })
            }
            Some(postfix) => {
                let ended = Cpu::of_ended_children(postfix.master().pid())?;
                Ok(Took { mta: living + ended, store: Cpu::default() })
            }
        }
    }

    /// Memory now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let mta = self.pids().iter().filter_map(|pid| usage::memory_kib(*pid).ok()).sum();
        let store = match self.postfix {
            Some(_) => 0,
            None => usage::memory_kib(self.fleet.redis()?.running()?.pid())?,
        };
        Ok(Memory { mta, store })
    }

    /// What Redis was asked so far; nothing where there is none.
    pub(crate) async fn redis_calls(&self) -> Result<RedisCalls> {
        match self.postfix {
            None => RedisCalls::so_far(self.fleet.redis()?).await,
            Some(_) => Ok(RedisCalls::default()),
        }
    }

    /// That its promise is on: Redis syncs before it answers. (Postfix always does; there is no setting for it.)
    pub(crate) async fn ensure_durable(&self) -> Result<()> {
        if self.postfix.is_some() {
            return Ok(());
        }
        let redis = self.fleet.redis()?;
        for (name, wanted) in [("appendonly", "yes"), ("appendfsync", "always")] {
            let found = redis.command(&["CONFIG", "GET", name]).await?;
            let found = found.lines().last().unwrap_or_default().to_owned();
            ensure!(found == wanted, "found {name} {found} in Redis; expected {wanted}");
        }
        let status = redis.command(&["INFO", "persistence"]).await?;
        ensure!(
            status.contains("aof_last_write_status:ok"),
            "found a write of Redis to its file that failed"
        );
        Ok(())
    }

    /// Waits until nothing is left to do but to wait.
    pub(crate) async fn quiet(&self) -> Result<()> {
        match self.postfix {
            None if self.fleet.has_hung_attempts => Ok(()),
            None => {
                eventually("the relays to have no attempt left", QUIET_WITHIN, async || {
                    self.fleet.attempts().await.ok().filter(|running| *running == 0).map(drop)
                })
                .await
            }
            Some(postfix) => {
                eventually("Postfix to have nothing queued", QUIET_WITHIN, async || {
                    (postfix.queued() == 0).then_some(())
                })
                .await
            }
        }
    }
}
