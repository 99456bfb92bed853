//! AUTH's mechanisms, both sides: PLAIN and LOGIN.
//! **Owns:** base64 and what stands in it. **Never:** checks a password, keeps one for longer than it is asked about.
//! RFC 4954 (AUTH), RFC 4616 (PLAIN), draft-murchison-sasl-login (LOGIN).

use base64::{Engine, engine::general_purpose::STANDARD};

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

/// Why an exchange gave no credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadExchange {
    /// The client sent `*`.
    #[error("the client cancelled")]
    Cancelled,
    /// Not base64, or not what the mechanism says.
    #[error("found no base64 of what the mechanism asks for")]
    Malformed,
    /// It wants to act as somebody else (RFC 4616's authzid): not possible here.
    #[error("found a name to act as; expected none, or the one that authenticates")]
    ActsAsAnother,
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

    /// PLAIN's one message, in base64.
    pub fn to_plain(&self) -> String {
        STANDARD.encode(format!("\0{}\0{}", self.user, self.password))
    }

    /// LOGIN's first answer, in base64.
    pub fn to_login_user(&self) -> String {
        STANDARD.encode(self.user.as_bytes())
    }

    /// LOGIN's second answer, in base64.
    pub fn to_login_password(&self) -> String {
        STANDARD.encode(self.password.as_bytes())
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The server's side of an exchange, between two lines of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// PLAIN's message comes next; its challenge is empty.
    PlainMessage,
    /// LOGIN's name comes next.
    LoginUser,
    /// LOGIN's password comes next.
    LoginPassword {
        /// Whose.
        user: Box<str>,
    },
}

/// What a line of an exchange led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Say 334 and the challenge; then the next line.
    Challenge(Exchange),
    /// The exchange is over.
    Complete(Credentials),
}

impl Exchange {
    /// The first step of a mechanism.
    pub const fn of(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::PlainMessage,
            Mechanism::Login => Self::LoginUser,
        }
    }

    /// What stands behind the 334.
    pub const fn challenge(&self) -> &'static str {
        match self {
            Self::PlainMessage => "",
            Self::LoginUser => "VXNlcm5hbWU6",
            Self::LoginPassword { .. } => "UGFzc3dvcmQ6",
        }
    }

    /// Takes the client's line, or the initial response behind AUTH (where `=` is an empty one).
    ///
    /// # Errors
    /// The line isn't what the mechanism asks for.
    pub fn answer(self, line: &[u8]) -> Result<Progress, BadExchange> {
        if line == b"*" {
            return Err(BadExchange::Cancelled);
        }
        let bytes = if line == b"=" { Vec::new() } else { decode(line)? };
        match self {
            Self::PlainMessage => plain(&bytes).map(Progress::Complete),
            Self::LoginUser => {
                let user = text(&bytes)?;
                if user.is_empty() {
                    return Err(BadExchange::Malformed);
                }
                Ok(Progress::Challenge(Self::LoginPassword { user: user.into() }))
            }
            Self::LoginPassword { user } => {
                Ok(Progress::Complete(Credentials { user, password: text(&bytes)?.into() }))
            }
        }
    }
}

fn decode(line: &[u8]) -> Result<Vec<u8>, BadExchange> {
    STANDARD.decode(line).map_err(|_| BadExchange::Malformed)
}

fn text(bytes: &[u8]) -> Result<&str, BadExchange> {
    if bytes.len() > MAX_CREDENTIAL_BYTES {
        return Err(BadExchange::Malformed);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BadExchange::Malformed)?;
    if text.contains('\0') { Err(BadExchange::Malformed) } else { Ok(text) }
}

/// `[authzid] NUL authcid NUL passwd`, RFC 4616 2.
fn plain(bytes: &[u8]) -> Result<Credentials, BadExchange> {
    let mut parts = bytes.split(|byte| *byte == 0);
    let (Some(acts_as), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BadExchange::Malformed);
    };
    let (acts_as, user, password) = (text(acts_as)?, text(user)?, text(password)?);
    if user.is_empty() {
        return Err(BadExchange::Malformed);
    }
    if !acts_as.is_empty() && acts_as != user {
        return Err(BadExchange::ActsAsAnother);
    }
    Ok(Credentials::new(user, password))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(mechanism: Mechanism, lines: &[&str]) -> Result<Progress, BadExchange> {
        let mut exchange = Exchange::of(mechanism);
        for line in lines {
            match exchange.answer(line.as_bytes())? {
                Progress::Challenge(next) => exchange = next,
                done @ Progress::Complete(_) => return Ok(done),
            }
        }
        Ok(Progress::Challenge(exchange))
    }

    #[test]
    fn the_password_is_not_shown() {
        assert!(!format!("{:?}", Credentials::new("ann", "canary")).contains("canary"));
    }

    #[test]
    fn broken_exchanges_give_no_credentials() {
        let encode = |text: &str| STANDARD.encode(text);
        for (message, why) in [
            ("*".to_owned(), BadExchange::Cancelled),
            ("no base64".to_owned(), BadExchange::Malformed),
            (encode("ann\0pw"), BadExchange::Malformed),
            (encode("\0ann\0pw\0x"), BadExchange::Malformed),
            (encode("\0\0pw"), BadExchange::Malformed),
            (encode("bob\0ann\0pw"), BadExchange::ActsAsAnother),
            (encode(&format!("\0ann\0{}", "x".repeat(1025))), BadExchange::Malformed),
        ] {
            assert_eq!(run(Mechanism::Plain, &[&message]), Err(why), "{message}");
        }
        assert_eq!(run(Mechanism::Login, &["="]), Err(BadExchange::Malformed));
    }

    #[test]
    fn one_may_act_as_oneself() {
        assert!(run(Mechanism::Plain, &[&STANDARD.encode("ann\0ann\0pw")]).is_ok());
    }

    proptest! {
        #[test]
        fn credentials_are_read_as_they_were_written(user in "[^\0]{1,20}", password in "[^\0]{0,20}") {
            let credentials = Credentials::new(&user, &password);
            prop_assert_eq!(run(Mechanism::Plain, &[&credentials.to_plain()]), Ok(Progress::Complete(credentials.clone())));
            let lines = [credentials.to_login_user(), credentials.to_login_password()];
            prop_assert_eq!(run(Mechanism::Login, &[&lines[0], &lines[1]]), Ok(Progress::Complete(credentials)));
        }

        #[test]
        fn any_line_is_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Exchange::PlainMessage.answer(&line);
            let _ = Exchange::LoginUser.answer(&line);
        }
    }
}
