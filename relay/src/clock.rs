//! The boot-time clock: it goes on while the machine sleeps, and never back.
//! **Owns:** reading it. **Never:** a wall clock: leases and deadlines must not jump.

use std::time::Duration;

use postrider_mail::Mono;
use postrider_queue::incarnation::Clock;
use rustix::time::{ClockId, clock_gettime};

/// The clock that leases run by.
pub fn boot_clock() -> Clock {
    Clock::new(now)
}

/// The time since the machine started.
pub fn now() -> Mono {
    // Where a pod sleeps with its node, CLOCK_MONOTONIC would stand still and a lease would outlive its claims.
    #[cfg(target_os = "linux")]
    let id = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = ClockId::Monotonic;
    let since = clock_gettime(id);
    let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(since.tv_nsec).unwrap_or(0);
    Mono::from_start(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_goes_on() {
        let before = super::now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(super::now().since(before) >= std::time::Duration::from_millis(2));
    }
}
