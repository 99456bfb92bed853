//! What is to be reconciled, and when.
//! **Owns:** one entry for each object however often it is touched, back-off after failures. **Never:** reconciles, spawns.
//! A touch never puts off what is due already, so that an object that changes all the time is not starved.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::Rng;
use tokio::{sync::Notify, time::Instant};

use crate::names::Key;

/// The wait after a first failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait after failures.
const LAST_RETRY: Duration = Duration::from_secs(300);

/// What can be reconciled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A MailRelay, with all that belongs to it.
    Relay(Key),
    /// A RoutingRule's status.
    Rule(Key),
}

impl Target {
    /// Its kind, for metrics and logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Relay(_) => "MailRelay",
            Self::Rule(_) => "RoutingRule",
        }
    }

    /// Which.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Relay(key) | Self::Rule(key) => key,
        }
    }
}

/// What is to be done. Shared by those who touch and those who work.
#[derive(Debug, Default)]
pub struct Agenda {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    due: HashMap<Target, Instant>,
    order: BTreeSet<(Instant, Target)>,
    running: HashSet<Target>,
    failures: HashMap<Target, u32>,
}

impl Agenda {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something about it has changed: it is looked at after `wait` at the latest.
    pub fn touch(&self, target: Target, wait: Duration) {
        self.inner().put(target, Instant::now() + wait);
        self.changed.notify_one();
    }

    /// Waits for the next target that is due and that nobody works on.
    pub async fn next(&self) -> Target {
        loop {
            let wait = match self.inner().take(Instant::now()) {
                Ok(target) => {
                    // Another worker may find more that is due.
                    self.changed.notify_one();
                    return target;
                }
                Err(next) => next,
            };
            match wait {
                None => self.changed.notified().await,
                Some(at) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
        }
    }

    /// Work on it has ended well; it is looked at again after `again`, if anything.
    pub fn done(&self, target: &Target, again: Option<Duration>) {
        let mut inner = self.inner();
        inner.running.remove(target);
        inner.failures.remove(target);
        if let Some(again) = again {
            inner.put(target.clone(), Instant::now() + again);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Work on it has failed: it is tried again, ever later. Returns when.
    pub fn failed(&self, target: &Target) -> Duration {
        let mut inner = self.inner();
        inner.running.remove(target);
        let failures = inner.failures.entry(target.clone()).or_default();
        let wait = FIRST_RETRY.saturating_mul(1 << (*failures).min(9)).min(LAST_RETRY);
        *failures = failures.saturating_add(1);
        let wait = wait.mul_f64(rand::rng().random_range(0.75..1.25));
        inner.put(target.clone(), Instant::now() + wait);
        drop(inner);
        self.changed.notify_one();
        wait
    }

    /// How many are due by now; what is only looked at again later doesn't wait.
    pub fn overdue(&self, kind: &str) -> usize {
        let now = Instant::now();
        let inner = self.inner();
        let due = inner.order.iter().take_while(|(at, _)| *at <= now);
        due.filter(|(_, target)| target.kind() == kind).count()
    }
}

impl Inner {
    fn put(&mut self, target: Target, at: Instant) {
        if let Some(due) = self.due.get(&target).copied() {
            if due <= at {
                return;
            }
            self.order.remove(&(due, target.clone()));
        }
        self.due.insert(target.clone(), at);
        self.order.insert((at, target));
    }

    /// The first that is due and not worked on; else when to look again.
    fn take(&mut self, now: Instant) -> Result<Target, Option<Instant>> {
        let mut ready = self.order.iter().take_while(|(at, _)| *at <= now);
        let found = ready.find(|(_, target)| !self.running.contains(target)).cloned();
        let Some((at, target)) = found else {
            return Err(self.order.iter().map(|(at, _)| *at).find(|at| *at > now));
        };
        self.order.remove(&(at, target.clone()));
        self.due.remove(&target);
        self.running.insert(target.clone());
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(name: &str) -> Target {
        Target::Relay(Key::new("mail", name))
    }

    #[tokio::test(start_paused = true)]
    async fn many_touches_are_one_reconcile_and_none_is_put_off() {
        let agenda = Agenda::default();
        let started = Instant::now();
        agenda.touch(relay("a"), Duration::from_millis(100));
        tokio::time::advance(Duration::from_millis(60)).await;
        agenda.touch(relay("a"), Duration::from_millis(100));
        assert_eq!(agenda.overdue("MailRelay"), 0);
        tokio::time::advance(Duration::from_millis(40)).await;
        assert_eq!(agenda.overdue("MailRelay"), 1);
        assert_eq!(agenda.next().await, relay("a"));
        assert_eq!(started.elapsed().as_millis(), 100);
        assert_eq!(agenda.overdue("MailRelay"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_touch_while_it_is_worked_on_makes_it_due_again() {
        let agenda = Agenda::default();
        agenda.touch(relay("a"), Duration::ZERO);
        let first = agenda.next().await;
        agenda.touch(relay("a"), Duration::ZERO);
        agenda.touch(relay("b"), Duration::from_millis(5));
        assert_eq!(agenda.next().await, relay("b"), "nobody else works on it");
        agenda.done(&first, None);
        assert_eq!(agenda.next().await, relay("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_ever_longer_and_a_success_forgets_them() {
        let agenda = Agenda::default();
        agenda.touch(relay("a"), Duration::ZERO);
        let mut last = Duration::ZERO;
        for _ in 0..6 {
            let target = agenda.next().await;
            let wait = agenda.failed(&target);
            assert!(wait > last.mul_f64(0.9), "{wait:?} after {last:?}");
            last = wait;
        }
        assert!(last > Duration::from_secs(20));
        let target = agenda.next().await;
        agenda.done(&target, None);
        agenda.touch(relay("a"), Duration::ZERO);
        let target = agenda.next().await;
        assert!(agenda.failed(&target) < Duration::from_secs(2));
    }
}
