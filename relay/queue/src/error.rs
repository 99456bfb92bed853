//! What goes wrong between a process and its queue.
//! **Owns:** [`Unavailable`], [`Fault`]. **Never:** SMTP replies (the shell turns a fault into one).

/// Whose fault an error is. It alone picks level, metric and reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Who configured it.
    User,
    /// Who hands us mail.
    Client,
    /// Who we hand mail to.
    FarSide,
    /// The queue's store: down, full, or set up so that it can't keep a promise.
    Store,
    /// Ours.
    Bug,
}

/// The partition gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is no connection: nothing was sent.
    #[error("no connection to the queue: {reason}")]
    NotConnected {
        /// What the attempt to connect said.
        reason: Box<str>,
    },
    /// There is a store, but it can't keep the promise, or is another one than expected: nothing was sent.
    #[error("the queue's store was refused: {reason}")]
    Refused {
        /// Where: found; expected; do.
        reason: Box<str>,
    },
    /// The command was sent, and no answer came: it may have run, or may still run.
    #[error("the queue did not answer: {reason}")]
    Unanswered {
        /// How the connection ended.
        reason: Box<str>,
    },
    /// The store answered with an error; nothing was changed.
    #[error("the queue answered with an error: {reply}")]
    Failed {
        /// Its words.
        reply: Box<str>,
    },
    /// The store answered something that this version can't read.
    #[error("the queue's answer can't be read: {what}")]
    Unreadable {
        /// What was found, what was expected.
        what: Box<str>,
    },
}

impl Unavailable {
    pub(crate) fn unreadable(found: impl std::fmt::Display, expected: &str) -> Self {
        Self::Unreadable { what: format!("found {found}; expected {expected}").into() }
    }

    pub(crate) fn failed(error: &redis::ServerError) -> Self {
        let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
        Self::Failed { reply: text.chars().take(300).collect() }
    }

    /// Whether the store said that it has no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Failed { reply } if reply.contains("OOM"))
    }

    /// Whether the command may have run.
    pub const fn may_have_run(&self) -> bool {
        match self {
            Self::NotConnected { .. } | Self::Refused { .. } | Self::Failed { .. } => false,
            Self::Unanswered { .. } | Self::Unreadable { .. } => true,
        }
    }

    /// What is known of a command that was asked again after a try without an answer: that it may have run, even if this try didn't.
    pub(crate) fn after_unclear(self) -> Self {
        if self.may_have_run() { self } else { Self::Unanswered { reason: self.to_string().into() } }
    }

    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::NotConnected { .. }
            | Self::Refused { .. }
            | Self::Unanswered { .. }
            | Self::Failed { .. } => Fault::Store,
            Self::Unreadable { .. } => Fault::Bug,
        }
    }
}
