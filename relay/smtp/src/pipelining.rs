//! Commands that were sent and have no reply yet, in their order.
//! **Owns:** which reply belongs to which command. **Never:** whether commands may share a write (the client's states).
//! RFC 2920 3.1: replies come in the order of the commands.

use std::collections::VecDeque;

use crate::timer::Wait;

/// A command without its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// RSET, before another transaction.
    Reset,
    /// MAIL.
    Mail,
    /// RCPT, and which recipient of the envelope.
    Rcpt(usize),
    /// DATA.
    Data,
}

impl Sent {
    /// How long its reply may take.
    pub const fn wait(self) -> Wait {
        match self {
            Self::Reset => Wait::Reset,
            Self::Mail => Wait::Mail,
            Self::Rcpt(_) => Wait::Rcpt,
            Self::Data => Wait::DataStart,
        }
    }
}

/// The commands that wait for their replies.
#[derive(Debug, Default)]
pub struct Pipeline {
    waiting: VecDeque<Sent>,
}

impl Pipeline {
    /// A command has been written.
    pub fn push(&mut self, sent: Sent) {
        self.waiting.push_back(sent);
    }

    /// A reply has come: to which command?
    pub fn pop(&mut self) -> Option<Sent> {
        self.waiting.pop_front()
    }

    /// What the next reply belongs to.
    pub fn front(&self) -> Option<Sent> {
        self.waiting.front().copied()
    }

    /// How many replies are still to come.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether each command has its reply.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_belong_to_commands_in_their_order() {
        let mut pipeline = Pipeline::default();
        for sent in [Sent::Mail, Sent::Rcpt(0), Sent::Data] {
            pipeline.push(sent);
        }
        assert_eq!(pipeline.front().map(Sent::wait), Some(Wait::Mail));
        assert_eq!(
            [pipeline.pop(), pipeline.pop(), pipeline.pop()],
            [Some(Sent::Mail), Some(Sent::Rcpt(0)), Some(Sent::Data)]
        );
        assert!(pipeline.is_empty() && pipeline.pop().is_none());
    }
}
