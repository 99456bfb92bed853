//! The clocks: the boot-time one, which goes on while the machine sleeps and never back, and the one on the wall.
//! **Owns:** reading them. **Never:** a lease or a deadline by the wall: those must not jump.

use std::time::{Duration, SystemTime};

use postrider_mail::{Due, Mono};
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

/// The wall clock: for what people read, for what outlives the process, and for judging itself.
pub fn wall() -> Due {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Due::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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
