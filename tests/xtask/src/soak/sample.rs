//! What relays and the queue's servers take, every few seconds.
//! **Owns:** reading it while faults strike, and the file of samples. **Never:** judges.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use postrider_tests::{process::usage_of, redis::Door, source::Source};
use serde::Serialize;

use super::calm;
use crate::{
    bench::usage,
    chaos::{books::Began, stage::Stage},
};

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// All of one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Sample {
    /// Seconds of the load.
    pub(crate) at: f64,
    /// One each, in their order; null while there is no process.
    pub(crate) relays: Vec<Option<Process>>,
    /// One each; null while it doesn't answer.
    pub(crate) servers: Vec<Option<Server>>,
    /// 250s so far.
    pub(crate) accepted: usize,
    /// 4xx and lost connections at the source so far.
    pub(crate) retries: u64,
    /// From the dot to the 250, of those since the last sample.
    pub(crate) accept: Option<Accept>,
}

/// A relay's process.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) age_seconds: f64,
    pub(crate) rss_kib: u64,
    pub(crate) open_files: usize,
}

/// A server of the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Server {
    /// Those that don't leave by themselves.
    pub(crate) lasting_keys: u64,
    /// Those that do.
    pub(crate) expiring_keys: u64,
    pub(crate) used_memory: u64,
    pub(crate) rss: u64,
    pub(crate) aof_bytes: u64,
    /// Since its process began.
    pub(crate) rewrites: u64,
    pub(crate) is_rewriting: bool,
}

/// In seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Accept {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

/// Takes them.
pub(crate) struct Sampler {
    doors: Vec<Door>,
    groups: Vec<u32>,
    began: Began,
    file: File,
    pub(crate) samples: Vec<Sample>,
}

impl Sampler {
    /// What it asks stays the same while faults have the parts of the stage to themselves: doors of servers, groups of relays.
    pub(crate) fn new(stage: &Stage, began: Began, file: &Path) -> Result<Self> {
        let file = File::create(file).with_context(|| file.display().to_string())?;
        let doors = stage.world.redis.iter().map(postrider_tests::redis::Redis::door).collect();
        Ok(Self { doors, groups: stage.groups.clone(), began, file, samples: Vec::new() })
    }

    /// Takes them until then.
    pub(crate) async fn until(&mut self, source: &Source, end: Instant) -> Result<()> {
        let (mut next, mut seen) = (self.began.instant, 0);
        while next < end {
            next += EVERY;
            tokio::time::sleep_until(next.into()).await;
            let waits = source.waits_from(seen);
            seen += waits.len();
            let accept = calm::spread(waits).map(|spread| Accept {
                p50: spread.p50.as_secs_f64(),
                p99: spread.p99.as_secs_f64(),
                most: spread.most.as_secs_f64(),
            });
            let now = self.look().await?;
            let sample = Sample { accepted: source.count(), retries: source.retries(), accept, ..now };
            writeln!(self.file, "{}", serde_json::to_string(&sample)?)?;
            self.samples.push(sample);
        }
        Ok(())
    }

    /// One of the parts, without the load.
    pub(crate) async fn look(&self) -> Result<Sample> {
        let mut servers = Vec::new();
        for door in &self.doors {
            let info = door.command(&["INFO", "everything"]).await;
            servers.push(info.ok().and_then(|info| Server::of(&info)));
        }
        let pids = pids(&self.groups)?;
        // A process may be gone by now.
        let relays = pids.iter().map(|pid| pid.and_then(|pid| Process::of(pid).ok())).collect();
        Ok(Sample { at: self.began.instant.elapsed().as_secs_f64(), relays, servers, ..Sample::default() })
    }
}

/// The process of each group: relays run as one of their own.
fn pids(groups: &[u32]) -> Result<Vec<Option<i32>>> {
    let mut pids = vec![None; groups.len()];
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Gid:")).unwrap_or_default();
        let group = line.split_whitespace().next().and_then(|group| group.parse::<u32>().ok());
        if let Some(at) = groups.iter().position(|own| Some(*own) == group) {
            pids[at] = Some(pid);
        }
    }
    Ok(pids)
}

impl Process {
    fn of(pid: i32) -> Result<Self> {
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let uptime: f64 = uptime.split(' ').next().context("uptime has a first field")?.parse()?;
        Ok(Self {
            pid,
            age_seconds: uptime - usage::began_at(pid)?.as_secs_f64(),
            rss_kib: usage_of(pid)?.rss_kib,
            open_files: std::fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }
}

impl Server {
    /// Of an INFO.
    fn of(info: &str) -> Option<Self> {
        let text = |name: &str| {
            let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.map(str::trim)
        };
        let number = |name: &str| text(name)?.parse::<u64>().ok();
        // `db0:keys=7,expires=2,avg_ttl=5`; without keys there is no such line.
        let keys = |name: &str| {
            let fields = text("db0").unwrap_or_default().split(',');
            let value = fields.filter_map(|field| field.split_once('=')).find(|(key, _)| *key == name);
            value.and_then(|(_, value)| value.parse::<u64>().ok()).unwrap_or(0)
        };
        Some(Self {
            lasting_keys: keys("keys").saturating_sub(keys("expires")),
            expiring_keys: keys("expires"),
            used_memory: number("used_memory")?,
            rss: number("used_memory_rss")?,
            aof_bytes: number("aof_current_size")?,
            rewrites: number("aof_rewrites")?,
            is_rewriting: number("aof_rewrite_in_progress")? == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn an_info_tells_keys_that_last_from_those_that_leave() {
        let info = "# Memory\r\nused_memory:100\r\nused_memory_rss:200\r\naof_current_size:7\r\naof_rewrites:3\r\n\
                    aof_rewrite_in_progress:1\r\ndb0:keys=9,expires=4,avg_ttl=1\r\n";
        let found = Server::of(info).expect("all is there");
        assert_eq!((found.lasting_keys, found.expiring_keys, found.rewrites), (5, 4, 3));
        assert!(found.is_rewriting);
        assert_eq!(Server::of("used_memory:100\r\n"), None);
    }
}
