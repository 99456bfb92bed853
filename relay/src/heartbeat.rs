//! Says that this process lives, looks whether the others do, takes over from the dead.
//! **Owns:** the beats (one thread, one connection per partition), reaping, new lives after a fence, the comparison of claims with the
//! attempts that run. **Never:** settles, or sends a dot.
//! A beat goes out only while the delivery runtime ticks: a process that no longer works must not look alive.

mod beats;
mod claims;
mod pulse;

use std::{collections::BTreeMap, thread, time::Duration};

use postrider_mail::PartitionName;
use postrider_queue::Partition;
pub use postrider_queue::incarnation::{LeaseHandle, NoPermit};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use claims::{Facts, Running, RunningClaim};
pub use pulse::Pulse;

use crate::metrics::Metrics;

/// This process's standing in every partition, kept alive until [`Self::stop`] or the end of the process.
pub struct Heartbeat {
    partitions: Vec<Partition>,
    pulse: Pulse,
    running: Running,
    stop: CancellationToken,
    ended: watch::Receiver<bool>,
}

impl Heartbeat {
    /// Starts to beat in all partitions: each gets an incarnation as soon as it is reachable.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(partitions: Vec<Partition>, metrics: &Metrics) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let pulse = Pulse::new();
        let (has_ended, ended) = watch::channel(false);
        let job = beats::Job {
            partitions: partitions.clone(),
            pulse: pulse.clone(),
            metrics: metrics.clone(),
            stop: stop.clone(),
        };
        // A thread of its own: however busy the sessions keep the other threads, beats are sent in time.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            runtime.block_on(job.run());
            has_ended.send_replace(true);
        })?;
        Ok(Self { partitions, pulse, running: Running::default(), stop, ended })
    }

    /// What the delivery runtime ticks, at least once a second, to show that it works.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Where every attempt is entered while it has its claim.
    pub fn running(&self) -> Running {
        self.running.clone()
    }

    /// The lease in a partition.
    pub fn lease(&self, partition: &PartitionName) -> Option<LeaseHandle> {
        let mut of_name = self.partitions.iter().filter(|found| found.name() == partition);
        of_name.next().map(|found| found.lease().clone())
    }

    /// All leases, by partition.
    pub fn leases(&self) -> BTreeMap<PartitionName, LeaseHandle> {
        self.partitions
            .iter()
            .map(|partition| (partition.name().clone(), partition.lease().clone()))
            .collect()
    }

    /// Keeps claims and attempts in step, for as long as the process lives: attempts of a lost life are told so; once a minute what
    /// the store says is claimed and no attempt knows goes back; after a change of the store `facts` (what was delivered in the
    /// last minutes in that partition) is told again and the claims are re-asserted. The shell's app.rs runs it, on the
    /// delivery runtime.
    pub fn follow(&self, facts: Facts) -> impl Future<Output = ()> + Send + use<> {
        claims::follow_all(self.partitions.clone(), self.running.clone(), facts)
    }

    /// Ends when the heartbeat has: only a bug, or [`Self::stop`], does that. A process without heartbeat should end too.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // The sender gone without a word is a panic of the thread: an end as well.
        let _ = ended.wait_for(|has_ended| *has_ended).await;
    }

    /// Leaves every partition, so that nobody has to wait for this process: what it still has claimed goes back at once.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(LEAVE_LIMIT, self.ended()).await;
    }
}

/// How long leaving may take; whoever can't leave is reaped.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
