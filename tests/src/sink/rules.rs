//! What a sink does out of the ordinary: where, for whom, how often.
//! **Owns:** rules and their counting. **Never:** I/O.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::wait::locked;

/// A point of the dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    /// Before the banner.
    Banner,
    /// EHLO or HELO.
    Ehlo,
    /// Behind the 220 to STARTTLS, in place of the handshake.
    Handshake,
    /// MAIL.
    Mail,
    /// Each RCPT.
    Rcpt,
    /// DATA, before the 354.
    Data,
    /// The end of the message.
    Dot,
}

/// Whom a rule is for.
#[derive(Debug, Clone)]
pub enum Who {
    /// All.
    Any,
    /// A recipient's domain (at [`At::Dot`]: any of the recipients).
    Domain(String),
    /// A recipient.
    Recipient(String),
    /// A sender.
    Sender(String),
}

/// What to do in place of the ordinary.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answer this line (the CRLF is added); the command has failed unless it begins with 2 or 3.
    Reply(String),
    /// Send these bytes and go on as if the command had failed.
    Raw(Vec<u8>),
    /// Send these bytes one at a time with a pause between; the command is done as usual but for its reply.
    Drip(Vec<u8>, Duration),
    /// Wait, then do the ordinary.
    Delay(Duration),
    /// Never answer.
    Hang,
    /// Send this reply and never answer, or read, again.
    ReplyAndHang(String),
    /// Send these bytes again and again, until the client has gone.
    Endless(Vec<u8>),
    /// Close the connection; at [`At::Dot`] the message isn't kept.
    Close,
    /// At [`At::Dot`]: keep the message, then close without a reply. RFC 1047's case.
    KeepAndClose,
    /// Send this reply and close.
    ReplyAndClose(String),
}

/// One thing that is out of the ordinary.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Where.
    pub at: At,
    /// For whom.
    pub who: Who,
    /// How often; always if absent.
    pub times: Option<u32>,
    /// Only each so many-th time.
    pub each: u32,
    /// How many times since the last.
    passed: u32,
    /// Only what comes beyond so many in any second.
    beyond: Option<usize>,
    /// When the last of those came that aren't beyond.
    within: VecDeque<Instant>,
    /// What.
    pub act: Act,
}

impl Rule {
    /// For everyone, always.
    pub fn new(at: At, act: Act) -> Self {
        let within = VecDeque::new();
        Self { at, who: Who::Any, times: None, each: 1, passed: 0, beyond: None, within, act }
    }

    /// A reply for everyone, always.
    pub fn reply(at: At, line: &str) -> Self {
        Self::new(at, Act::Reply(line.to_owned()))
    }

    /// Only so often.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Only one time in so many.
    pub fn one_in(mut self, each: u32) -> Self {
        self.each = each;
        self
    }

    /// Only what comes beyond so many in any second. For what doesn't, no later rule is looked at either.
    pub fn beyond(mut self, per_second: usize) -> Self {
        self.beyond = Some(per_second);
        self
    }

    /// Only for one recipient.
    pub fn recipient(mut self, recipient: &str) -> Self {
        self.who = Who::Recipient(recipient.to_ascii_lowercase());
        self
    }

    /// Only for the recipients of one domain.
    pub fn domain(mut self, domain: &str) -> Self {
        self.who = Who::Domain(domain.to_ascii_lowercase());
        self
    }

    /// Only for one sender.
    pub fn sender(mut self, sender: &str) -> Self {
        self.who = Who::Sender(sender.to_ascii_lowercase());
        self
    }
}

/// The rules in force; the first that fits is followed.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Mutex<Vec<Rule>>,
    followed: Mutex<HashMap<At, u64>>,
    has_any: AtomicBool,
}

impl Rules {
    pub(crate) fn replace(&self, rules: Vec<Rule>) {
        self.has_any.store(!rules.is_empty(), Ordering::Release);
        *locked(&self.rules) = rules;
    }

    pub(crate) fn followed(&self, at: At) -> u64 {
        locked(&self.followed).get(&at).copied().unwrap_or(0)
    }

    /// What to do here for these, if it isn't the ordinary.
    pub(crate) fn next(&self, at: At, sender: &str, recipients: &[String]) -> Option<Act> {
        // The way of a bench: no lock where there is no rule.
        if !self.has_any.load(Ordering::Acquire) {
            return None;
        }
        let mut rules = locked(&self.rules);
        let fits =
            |rule: &&mut Rule| rule.at == at && rule.times != Some(0) && rule.who.fits(sender, recipients);
        let rule = rules.iter_mut().find(fits)?;
        if rule.is_within(Instant::now()) {
            return None;
        }
        rule.passed += 1;
        if rule.passed < rule.each {
            return None;
        }
        rule.passed = 0;
        rule.times = rule.times.map(|times| times - 1);
        *locked(&self.followed).entry(at).or_default() += 1;
        Some(rule.act.clone())
    }
}

impl Rule {
    /// Whether what comes now is no more than may come in a second.
    fn is_within(&mut self, now: Instant) -> bool {
        let Some(per_second) = self.beyond else { return false };
        while self.within.front().is_some_and(|one| now.duration_since(*one) >= Duration::from_secs(1)) {
            self.within.pop_front();
        }
        let is_within = self.within.len() < per_second;
        if is_within {
            self.within.push_back(now);
        }
        is_within
    }
}

impl Who {
    fn fits(&self, sender: &str, recipients: &[String]) -> bool {
        let is_in = |address: &String, domain: &str| {
            address.rsplit_once('@').is_some_and(|(_, other)| other.eq_ignore_ascii_case(domain))
        };
        match self {
            Self::Any => true,
            Self::Domain(domain) => recipients.iter().any(|address| is_in(address, domain)),
            Self::Recipient(wanted) => recipients.iter().any(|address| address.eq_ignore_ascii_case(wanted)),
            Self::Sender(wanted) => sender.eq_ignore_ascii_case(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_within_a_rate_is_let_through() {
        let mut rule = Rule::reply(At::Mail, "421 4.7.0 too fast").beyond(2);
        let begin = Instant::now();
        let mut passes = |millis| rule.is_within(begin + Duration::from_millis(millis));
        assert!(passes(0) && passes(10));
        assert!(!passes(20) && !passes(999));
        assert!(passes(1_000));
        assert!(!passes(1_001) && passes(1_010));
    }
}
