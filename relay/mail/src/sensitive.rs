//! Values that logs show a part of: addresses are personal.
//! **Owns:** what is shown of them. **Never:** secrets (those have no `Debug` and no `Display` at all).

use crate::mailbox::{Mailbox, ReversePath};

/// A value whose `Display` and `Debug` show what isn't personal: of a mailbox, its domain.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for where it has to be used.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl std::fmt::Display for Sensitive<&Mailbox> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "…@{}", self.0.domain())
    }
}

impl std::fmt::Display for Sensitive<&ReversePath> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ReversePath::Null => f.write_str("<>"),
            ReversePath::Mailbox(mailbox) => Sensitive(mailbox).fmt(f),
        }
    }
}

impl<T> std::fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sensitive(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensitive_mailbox_shows_its_domain_only() {
        let mailbox: Mailbox = "canary@example.com".parse().expect("a mailbox");
        assert_eq!(Sensitive::new(&mailbox).to_string(), "…@example.com");
        assert!(!format!("{:?}", Sensitive::new(&mailbox)).contains("canary"));
    }
}
