//! The memory that bodies in flight may take, over all sessions.
//! **Owns:** the count of bytes, and the [`Share`] that gives them back when it goes. **Never:** allocates a body, answers
//! a client.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The least that is of use: some messages of the usual size at once.
const LEAST_BYTES: u64 = 32 << 20;
/// Beyond this, more bodies in memory bring nothing.
const MOST_BYTES: u64 = 1 << 30;

/// Bytes of bodies that may be in memory at once. Cloning shares it.
#[derive(Debug, Clone)]
pub struct BodyBudget {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    limit: u64,
    used: AtomicU64,
}

/// A session's part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Share {
    state: Arc<State>,
    bytes: u64,
}

impl BodyBudget {
    /// A budget of so many bytes.
    pub fn new(limit_bytes: u64) -> Self {
        Self { state: Arc::new(State { limit: limit_bytes, used: AtomicU64::new(0) }) }
    }

    /// A quarter of what the process may use.
    pub fn of_memory(memory_bytes: u64) -> Self {
        Self::new((memory_bytes / 4).clamp(LEAST_BYTES, MOST_BYTES))
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.state.used.load(Ordering::Relaxed)
    }

    /// Whether so much could be had now.
    pub fn has(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) <= self.state.limit
    }

    /// Whether half of it is used.
    pub fn is_tight(&self) -> bool {
        !self.has(self.state.limit / 2)
    }

    /// An empty share, to grow as bytes come.
    pub fn share(&self) -> Share {
        Share { state: self.state.clone(), bytes: 0 }
    }
}

impl Share {
    /// Takes so many bytes more. Returns false, and takes nothing, when the budget hasn't them.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let limit = self.state.limit;
        let taken = self.state.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= limit)
        });
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }

    /// Gives so many bytes back: they are in the queue now.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.state.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// How many bytes this share has.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.state.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What memory this process may use: its cgroup's limit, else the machine's.
pub fn memory_bytes() -> u64 {
    let number = |text: String| text.trim().parse::<u64>().ok();
    let of_cgroup = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok().and_then(number));
    let of_machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
    });
    of_cgroup.unwrap_or(u64::MAX).min(of_machine.unwrap_or(4 * LEAST_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_budget_is_refused_and_takes_nothing() {
        let budget = BodyBudget::new(100);
        let (mut a, mut b) = (budget.share(), budget.share());
        assert!(a.grow(60) && b.grow(40) && !b.grow(1));
        assert_eq!(budget.used(), 100);
        a.shrink(10);
        assert!(budget.has(10) && !budget.has(11) && b.grow(10));
        drop(a);
        drop(b);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn this_process_has_some_memory() {
        assert!(memory_bytes() > LEAST_BYTES);
    }
}
