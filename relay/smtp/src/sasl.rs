//! AUTH's mechanisms, both sides: PLAIN and LOGIN.
//! **Owns:** base64 and what stands in it. **Never:** checks a password, keeps one for longer than it is asked about.
//! RFC 4954 (AUTH), RFC 4616 (PLAIN), draft-murchison-sasl-login (LOGIN).

/// The longest line of an AUTH exchange, its CRLF included: RFC 4954 4.
pub const MAX_AUTH_LINE_BYTES: usize = 12_288;
/// The longest user name or password that is taken.
pub const MAX_CREDENTIAL_BYTES: usize = 1024;

/// A mechanism that both sides know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// All in one.
    Plain,
    /// Name, then password; old programs know no other.
    Login,
}

/// A name and the password that proves it. Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: Box<str>,
    password: Box<str>,
}

impl Credentials {
    /// A name and its password.
    pub fn new(user: &str, password: &str) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// The name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password, for where it has to be used.
    pub fn expose_password(&self) -> &str {
        &self.password
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}
