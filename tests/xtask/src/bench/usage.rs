//! What processes took, as the kernel tells it.
//! **Owns:** reading `/proc`. **Never:** knows whose process it is.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use anyhow::{Context, Result};

/// CPU time. The kernel tells it in ticks of 10 ms, and of processes of one thread exactly: where there are many small ones, as
/// Postfix has them, ticks would hide much.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    /// Of one process.
    pub(crate) fn of(pid: i32) -> Result<Self> {
        let ticks = Self::fields(pid, 14, 15)?;
        if std::fs::read_dir(format!("/proc/{pid}/task"))?.count() > 1 {
            return Ok(ticks);
        }
        // Its first field is the time on a CPU in ns; how much of it was the system's, only ticks tell.
        let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
        let exact = text.split(' ').next().and_then(|field| field.parse().ok()).map(Duration::from_nanos);
        let Some(exact) = exact.filter(|exact| !exact.is_zero()) else { return Ok(ticks) };
        let part = match ticks.total() {
            Duration::ZERO => 0.5,
            total => ticks.system.as_secs_f64() / total.as_secs_f64(),
        };
        let system = exact.mul_f64(part);
        Ok(Self { user: exact - system, system })
    }

    /// Of the children of a process that have ended and been waited for.
    pub(crate) fn of_ended_children(pid: i32) -> Result<Self> {
        Self::fields(pid, 16, 17)
    }

    /// Of the whole machine: what was used, and what there was.
    pub(crate) fn of_machine() -> Result<(Duration, Duration)> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("stat has a first line")?;
        // proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
        let all: u64 = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Ok((Duration::from_millis((all - idle) * 10), Duration::from_millis(all * 10)))
    }

    /// Of this process.
    pub(crate) fn of_self() -> Result<Self> {
        Self::of(i32::try_from(std::process::id())?)
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    fn fields(pid: i32, user: usize, system: usize) -> Result<Self> {
        let [user, system] = ticks(pid, [user, system])?;
        Ok(Self { user, system })
    }
}

/// Times in a process's stat, by their fields' numbers.
fn ticks<const N: usize>(pid: i32, numbers: [usize; N]) -> Result<[Duration; N]> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // proc(5): the name in parentheses may hold spaces; what stands behind it begins with field 3.
    let fields: Vec<&str> = stat.rsplit_once(')').context("stat has a name")?.1.split_whitespace().collect();
    let mut times = [Duration::ZERO; N];
    for (time, number) in times.iter_mut().zip(numbers) {
        let field = fields.get(number - 3).context("stat has the field")?;
        *time = Duration::from_millis(field.parse::<u64>()? * 10);
    }
    Ok(times)
}

impl Add for Cpu {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sub for Cpu {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { user: self.user.saturating_sub(other.user), system: self.system.saturating_sub(other.system) }
    }
}

/// Resident memory in KiB, where pages that several share count once in all.
pub(crate) fn memory_kib(pid: i32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup has Pss")?;
    line.trim().trim_end_matches(" kB").parse().context("Pss is a number")
}

/// When a process began, since the machine did.
pub(crate) fn began_at(pid: i32) -> Result<Duration> {
    ticks(pid, [22]).map(|[began]| began)
}

/// How often a process's main thread called `write` and its like, and for how many bytes. (Of the whole process it would hold those
/// of ended children too: of Redis, when it has rewritten its file.)
pub(crate) fn written(pid: i32) -> Result<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/io"))?;
    let field = |name: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).context("io has the field")?;
        line.trim().parse().context("the field is a number")
    };
    Ok((field("syscw:")?, field("wchar:")?))
}
