//! Whether a source works.
//! **Owns:** how long one that failed is left out, and that one attempt finds out whether it works again. **Never:** what a failure of a
//! source is (the shell knows its sockets).

use std::time::Duration;

use postrider_mail::Mono;

/// How long a source is left out after its first failure.
const FIRST_OUT: Duration = Duration::from_secs(30);
/// How long at most.
const LONGEST_OUT: Duration = Duration::from_secs(600);

/// How one source does, as one relay sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// Failures in a row; those that came together are one.
    failures: u32,
    /// It isn't tried before.
    until: Option<Mono>,
    /// Whether somebody is out to see.
    is_probed: bool,
}

impl Standing {
    /// Whether it works, as far as is known.
    pub const fn is_well(&self) -> bool {
        self.until.is_none()
    }

    /// Asks to send by it. One that was left out long enough is given to one who asks; the others stay away for as long again.
    ///
    /// # Errors
    /// How long to stay away.
    pub fn enter(&mut self, now: Mono) -> Result<(), Duration> {
        match self.until {
            None => Ok(()),
            Some(until) if now < until => Err(until.since(now)),
            Some(_) => {
                self.until = Some(now.after(self.wait()));
                self.is_probed = true;
                Ok(())
            }
        }
    }

    /// It failed. Says for how long it is left out, if that is news: those who were under way together find the same.
    pub fn failed(&mut self, now: Mono) -> Option<Duration> {
        if self.until.is_some() && !self.is_probed {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        self.is_probed = false;
        let wait = self.wait();
        self.until = Some(now.after(wait));
        Some(wait)
    }

    /// It works. Says whether that is news.
    pub fn works(&mut self) -> bool {
        !std::mem::take(self).is_well()
    }

    /// Nobody found out after all: the next one who asks does.
    pub fn left(&mut self, now: Mono) {
        if std::mem::take(&mut self.is_probed) {
            self.until = Some(now);
        }
    }

    fn wait(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        FIRST_OUT.saturating_mul(1 << doublings).min(LONGEST_OUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn a_source_that_fails_is_left_out_for_ever_longer_up_to_ten_minutes() {
        let (mut standing, mut now) = (Standing::default(), at(1));
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(standing.enter(now), Ok(()), "{waits:?}");
            let wait = standing.failed(now).expect("news");
            assert_eq!(standing.enter(now), Err(wait));
            waits.push(wait.as_secs());
            now = now.after(wait);
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600, 600]);
        assert!(standing.works() && !standing.works());
        assert!(standing.is_well());
        assert_eq!(standing.failed(now), Some(FIRST_OUT), "and it begins anew");
    }

    #[test]
    fn many_who_fail_together_are_one_failure() {
        let mut standing = Standing::default();
        assert_eq!(standing.failed(at(1)), Some(FIRST_OUT));
        for _ in 0..20 {
            assert_eq!(standing.failed(at(2)), None);
        }
        assert_eq!(standing.enter(at(3)), Err(Duration::from_secs(28)));
    }

    #[test]
    fn one_finds_out_for_all() {
        let mut standing = Standing::default();
        standing.failed(at(0));
        assert_eq!(standing.enter(at(30)), Ok(()));
        assert_eq!(standing.enter(at(30)), Err(FIRST_OUT), "the others wait for what it finds");
        assert_eq!(standing.failed(at(31)), Some(Duration::from_secs(60)));
        assert_eq!(standing.enter(at(91)), Ok(()));
        standing.left(at(92));
        assert_eq!(standing.enter(at(92)), Ok(()), "one that came to nothing is followed by another");
    }
}
