//! What a reply asks of all mail to its site, heeded.
//! **Owns:** that the site's pace, window or suspension change, and the attempt ends. **Never:** what a reply asks (core::shape::reply).
//! What is heeded in vain isn't heeded: then the site is one that refuses, as any other.

use postrider_core::{
    outcome::{self, Again, Context, Failure, Ruling},
    shape::{
        Change,
        pace::Heard,
        reply::{Asked, asked},
    },
};
use postrider_mail::FarReply;
use postrider_queue::limit::Limiter;

use super::Run;

impl Run<'_> {
    /// What a failure means. What its reply asks of us is heeded at once: others are about to send.
    pub(super) fn ruling(&mut self, failure: Failure, context: &Context) -> Ruling {
        let ruling = outcome::judge(failure, context);
        let asked = ruling.reply.as_ref().and_then(|reply| Some((asked(self.site.provider, reply)?, reply)));
        match asked {
            Some((asked, reply)) if ruling.can_be_heeded() && self.heed(asked, reply) => {
                self.asked = Some(asked);
                ruling.heeding(asked)
            }
            Some(_) | None => ruling,
        }
    }

    /// Whether its site asked something, so that the attempt is over.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// When those come again whom the attempt didn't come to.
    pub(super) fn untried(&self) -> Again {
        match self.asked {
            Some(Asked::Slower | Asked::FewerConnections) => Again::Soon,
            Some(Asked::Suspend(_)) => Again::OnSchedule,
            // By another source they go at once.
            None if self.put_off.is_some_and(|one| one.limited.limiter == Limiter::WarmUp) => Again::AtOnce,
            None => Again::OnSchedule,
        }
    }

    /// Does what is asked; says whether that makes sense.
    fn heed(&mut self, asked: Asked, reply: &FarReply) -> bool {
        let site = self.site;
        match asked {
            Asked::Slower => match site.pace.slower() {
                (Heard::InVain, _) => return false,
                (Heard::Begun, per_second) => {
                    let lane = self.who.lane;
                    tracing::info!(%lane, per_second, code = %reply.code, "the far side wants mail slower");
                    self.put_off = Some(site.pace.put_off(self.who));
                }
                (Heard::Heeded, _) => self.put_off = Some(site.pace.put_off(self.who)),
            },
            Asked::FewerConnections => {
                let Some(limit) = site.pulse.fewer(self.shared.clock.now()) else { return false };
                site.pool.set_limit(limit);
            }
            Asked::Suspend(_) => {}
        }
        true
    }

    /// Suspends the site if it asked for that.
    pub(super) fn suspended_by_reply(&self) -> Option<Change> {
        let Some(Asked::Suspend(wait)) = self.asked else { return None };
        Some(self.site.pulse.suspend(wait, self.shared.clock.now()))
    }
}
