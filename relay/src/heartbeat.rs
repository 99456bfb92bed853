//! Says that this process lives, looks whether the others do, takes over from the dead.
//! **Owns:** the beats (one thread, one connection per partition), reaping, new lives after a fence, the comparison of claims with the
//! attempts that run. **Never:** settles, or sends a dot.
//! A beat goes out only while the delivery runtime ticks: a process that no longer works must not look alive.

mod beats;
mod claims;
mod pulse;

use std::{thread, time::Duration};

use postrider_queue::Partition;
pub use postrider_queue::incarnation::{LeaseHandle, NoPermit};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use claims::{Facts, Running, RunningClaim};
pub use pulse::Pulse;

use crate::metrics::Metrics;

/// This process's standing in every partition, kept alive until [`Self::stop`] or the end of the process.
pub struct Heartbeat {
    pulse: Pulse,
    running: Running,
    joins: Joins,
    ended: watch::Receiver<bool>,
}

/// Lets partitions take part in the heartbeat. Cloning shares.
#[derive(Clone)]
pub struct Joins {
    sender: mpsc::Sender<beats::Joining>,
    stop: CancellationToken,
}

/// A partition's part in the heartbeat.
pub struct Attendance {
    leave: CancellationToken,
    left: oneshot::Receiver<()>,
}

impl Heartbeat {
    /// Starts to beat in these partitions: each gets an incarnation as soon as it is reachable. More may join.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(partitions: Vec<Partition>, metrics: &Metrics) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let pulse = Pulse::new();
        let (has_ended, ended) = watch::channel(false);
        let (sender, joins) = mpsc::channel(JOINS_MAX);
        let job = beats::Job {
            partitions,
            joins,
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
        Ok(Self { pulse, running: Running::default(), joins: Joins { sender, stop }, ended })
    }

    /// What lets more partitions take part.
    pub fn joins(&self) -> Joins {
        self.joins.clone()
    }

    /// What the delivery runtime ticks, at least once a second, to show that it works.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Where every attempt is entered while it has its claim.
    pub fn running(&self) -> Running {
        self.running.clone()
    }

    /// Ends when the heartbeat has: only a bug, or [`Self::stop`], does that. A process without heartbeat should end too.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // The sender gone without a word is a panic of the thread: an end as well.
        let _ = ended.wait_for(|has_ended| *has_ended).await;
    }

    /// Leaves every partition, so that nobody has to wait for this process: what it still has claimed goes back at once.
    pub async fn stop(self) {
        self.joins.stop.cancel();
        let _ = tokio::time::timeout(LEAVE_LIMIT, self.ended()).await;
    }
}

impl Joins {
    /// Beats in one more partition from now on.
    pub async fn attend(&self, partition: Partition) -> Attendance {
        let (has_left, left) = oneshot::channel();
        let leave = self.stop.child_token();
        // A heartbeat that has ended ends the process.
        let _ = self.sender.send(beats::Joining { partition, leave: leave.clone(), has_left }).await;
        Attendance { leave, left }
    }
}

impl Attendance {
    /// Leaves the partition: what is still claimed there goes back at once. Returns whether that could be done.
    pub async fn leave(self) -> bool {
        self.leave.cancel();
        tokio::time::timeout(LEAVE_LIMIT, self.left).await.is_ok_and(|left| left.is_ok())
    }
}

/// Keeps claims and attempts of a partition in step, for as long as it is in use: attempts of a lost life are told so; once a minute
/// what the store says is claimed and no attempt knows goes back; after a change of the store `facts` (what was delivered in the last
/// minutes) is told again and the claims are re-asserted. Runs on the delivery runtime.
pub fn follow(partition: Partition, running: Running, facts: Facts) -> impl Future<Output = ()> + Send {
    claims::follow(partition, running, facts)
}

/// Partitions that wait to be beaten in: more than a config has.
const JOINS_MAX: usize = 64;
/// How long leaving may take; whoever can't leave is reaped.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
