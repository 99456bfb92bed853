//! A message is there as a whole; the client waits for the word that it is safe.
//! **Owns:** the only 250 to a message. **Never:** makes it without a receipt. Invariant: I1.
//! RFC 5321 4.2.5 (what a 250 promises).

use std::{fmt::Display, marker::PhantomData};

use postrider_mail::Reply;

use super::next::{Effect, Next, State};

/// A message is there as a whole; the client waits for the word that it is safe.
#[derive(Debug)]
#[must_use = "the client waits for its answer"]
pub struct ExpectReceipt<R> {
    receipt: PhantomData<fn(R)>,
}

/// The reply to a message that is safe. Only this file makes one.
#[derive(Debug)]
pub(super) struct Safe(String);

impl Safe {
    pub(super) fn line(&self) -> &str {
        &self.0
    }
}

impl<R: Display> ExpectReceipt<R> {
    pub(super) fn new() -> Self {
        Self { receipt: PhantomData }
    }

    /// The only 250 to a message (I1).
    #[allow(clippy::needless_pass_by_value, reason = "a receipt is good for one 250")]
    pub fn accept(self, receipt: R) -> Next {
        Next::new(State::ExpectMail, Effect::Safe(Safe(format!("250 2.0.0 Ok: queued as {receipt}\r\n"))))
    }

    /// The message isn't safe, or not wanted: 4yz or 5yz. A 421 ends the session.
    pub fn refuse(self, reply: Reply) -> Next {
        Next::new(State::ExpectMail, Effect::Refuse(reply))
    }
}
