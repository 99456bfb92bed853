//! Commands on the wire: read by the server, written by the client.
//! **Owns:** their syntax. **Never:** whether one may come now (the server's states). Parts: parameters, xtext.
//! RFC 5321 4.1.1; RFC 1870 (SIZE), 3030 (BDAT), 3461 (RET, ENVID, NOTIFY, ORCPT), 4954 (AUTH), 6152 (BODY), 6531 (SMTPUTF8),
//! 8689 (REQUIRETLS).

mod parameter;
mod path;
mod write;
mod xtext;

use postrider_mail::{BodyEncoding, InvalidMailbox, Recipient, ReturnContent, ReversePath};

pub use self::write::{EnvelopeParameters, write_mail, write_recipient};
use crate::sasl::Mechanism;

/// The longest name behind EHLO that is taken, RFC 5321 4.5.3.1.2.
const MAX_HELLO_BYTES: usize = 255;

/// A command, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO and its name.
    Ehlo(&'a str),
    /// HELO and its name.
    Helo(&'a str),
    /// MAIL.
    Mail(MailCommand),
    /// RCPT.
    Rcpt(RcptCommand),
    /// DATA.
    Data,
    /// BDAT.
    Bdat {
        /// Octets that follow.
        octets: u64,
        /// LAST.
        is_last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// EXPN, and others that are known and not for us.
    NotImplemented,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Auth {
        /// PLAIN or LOGIN; `None` for one that isn't known.
        mechanism: Option<Mechanism>,
        /// The initial response.
        initial: Option<&'a str>,
    },
    /// A browser, or somebody who uses one against us.
    Http,
    /// Anything else.
    Unknown,
}

/// MAIL, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailCommand {
    /// Where bounces go.
    pub sender: ReversePath,
    /// SIZE=.
    pub size: Option<u64>,
    /// BODY=.
    pub body: BodyEncoding,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET=.
    pub return_content: Option<ReturnContent>,
    /// ENVID=, decoded.
    pub envelope_id: Option<Box<str>>,
    /// REQUIRETLS.
    pub requiretls: bool,
    /// Whether the path has characters beyond ASCII: then SMTPUTF8 has to stand beside it.
    pub path_is_utf8: bool,
}

/// RCPT, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptCommand {
    /// Whom to, and DSN's parameters.
    pub recipient: Recipient,
    /// Whether the path has characters beyond ASCII.
    pub path_is_utf8: bool,
}

/// Why a command can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// Neither ASCII nor UTF-8, or control characters.
    #[error("found characters that no command has")]
    Characters,
    /// An argument is missing, or one is there where there is none, or its form is wrong.
    #[error("found arguments of another form; expected {0}")]
    Arguments(&'static str),
    /// The address isn't one that mail is relayed from or to.
    #[error(transparent)]
    Mailbox(#[from] InvalidMailbox),
    /// A source route.
    #[error("found a source route; expected an address alone")]
    SourceRoute,
    /// A parameter that wasn't offered.
    #[error("found a parameter that isn't offered")]
    UnknownParameter,
    /// A parameter's value, or a parameter that stands twice.
    #[error("found a bad value of {0}")]
    ParameterValue(&'static str),
}

/// Reads a command from a line without its CRLF.
///
/// # Errors
/// The verb is known, and what follows it isn't as it has to be; or the line has characters that no command has.
pub fn parse(line: &[u8]) -> Result<Command<'_>, BadCommand> {
    let line = std::str::from_utf8(line).map_err(|_| BadCommand::Characters)?;
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(BadCommand::Characters);
    }
    let line = line.trim_end_matches([' ', '\t']);
    let (verb, arguments) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let arguments = arguments.trim_start_matches([' ', '\t']);
    let Some(verb) = upper_case(verb) else { return Ok(Command::Unknown) };
    match &verb[..] {
        b"EHLO\0\0\0\0" => hello(arguments).map(Command::Ehlo),
        b"HELO\0\0\0\0" => hello(arguments).map(Command::Helo),
        b"MAIL\0\0\0\0" => mail(arguments).map(Command::Mail),
        b"RCPT\0\0\0\0" => recipient(arguments).map(Command::Rcpt),
        b"DATA\0\0\0\0" => alone(Command::Data, arguments),
        b"BDAT\0\0\0\0" => bdat(arguments),
        b"RSET\0\0\0\0" => alone(Command::Rset, arguments),
        b"NOOP\0\0\0\0" => Ok(Command::Noop),
        b"VRFY\0\0\0\0" => Ok(Command::Vrfy),
        b"EXPN\0\0\0\0" | b"ETRN\0\0\0\0" | b"TURN\0\0\0\0" | b"ATRN\0\0\0\0" => Ok(Command::NotImplemented),
        b"HELP\0\0\0\0" => Ok(Command::Help),
        b"QUIT\0\0\0\0" => Ok(Command::Quit),
        b"STARTTLS" => alone(Command::StartTls, arguments),
        b"AUTH\0\0\0\0" => auth(arguments),
        b"GET\0\0\0\0\0" | b"POST\0\0\0\0" | b"PUT\0\0\0\0\0" | b"CONNECT\0" | b"OPTIONS\0"
        | b"DELETE\0\0" | b"PATCH\0\0\0" => Ok(Command::Http),
        // A head without body, or a header field of HTTP.
        b"HEAD\0\0\0\0" | b"HOST:\0\0\0" | b"TRACE\0\0\0" | b"PRI\0\0\0\0\0" => Ok(Command::Http),
        _ => Ok(Command::Unknown),
    }
}

/// The verb in upper case, filled with NULs; none of ours is longer than eight letters.
fn upper_case(verb: &str) -> Option<[u8; 8]> {
    let mut upper = [0; 8];
    upper.get_mut(..verb.len())?.copy_from_slice(verb.as_bytes());
    upper.make_ascii_uppercase();
    Some(upper)
}

fn alone<'a>(command: Command<'a>, arguments: &str) -> Result<Command<'a>, BadCommand> {
    if arguments.is_empty() { Ok(command) } else { Err(BadCommand::Arguments("none")) }
}

/// Names are taken as they are: half of the world's clients call themselves something that isn't one.
fn hello(name: &str) -> Result<&str, BadCommand> {
    let is_name = (1..=MAX_HELLO_BYTES).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if is_name { Ok(name) } else { Err(BadCommand::Arguments("a domain or an address literal")) }
}

fn mail(arguments: &str) -> Result<MailCommand, BadCommand> {
    let rest = after_keyword(arguments, "FROM:").ok_or(BadCommand::Arguments("FROM:<address>"))?;
    let (path, parameters) = path::split(rest)?;
    let mut command = MailCommand {
        sender: path::reverse(path)?,
        size: None,
        body: BodyEncoding::SevenBit,
        smtputf8: false,
        return_content: None,
        envelope_id: None,
        requiretls: false,
        path_is_utf8: !path.is_ascii(),
    };
    parameter::read_mail(parameters, &mut command)?;
    Ok(command)
}

fn recipient(arguments: &str) -> Result<RcptCommand, BadCommand> {
    let rest = after_keyword(arguments, "TO:").ok_or(BadCommand::Arguments("TO:<address>"))?;
    let (path, parameters) = path::split(rest)?;
    let mut recipient = Recipient::new(path::forward(path)?);
    parameter::read_recipient(parameters, &mut recipient)?;
    Ok(RcptCommand { recipient, path_is_utf8: !path.is_ascii() })
}

/// A space behind the colon is wrong and common.
fn after_keyword<'a>(arguments: &'a str, keyword: &str) -> Option<&'a str> {
    let found = arguments.get(..keyword.len())?;
    found.eq_ignore_ascii_case(keyword).then(|| arguments[keyword.len()..].trim_start_matches(' '))
}

fn bdat(arguments: &str) -> Result<Command<'static>, BadCommand> {
    let bad = BadCommand::Arguments("a number of octets, and perhaps LAST");
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let Some(octets) = words.next().and_then(number) else { return Err(bad) };
    let is_last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(bad),
    };
    if words.next().is_some() { Err(bad) } else { Ok(Command::Bdat { octets, is_last }) }
}

/// Digits only: `u64`'s own parser takes a `+` too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn auth(arguments: &str) -> Result<Command<'_>, BadCommand> {
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let bad = BadCommand::Arguments("a mechanism, and perhaps an initial response");
    let Some(name) = words.next() else { return Err(bad) };
    let mechanism = match name {
        name if name.eq_ignore_ascii_case("PLAIN") => Some(Mechanism::Plain),
        name if name.eq_ignore_ascii_case("LOGIN") => Some(Mechanism::Login),
        _ => None,
    };
    let initial = words.next();
    if words.next().is_some() { Err(bad) } else { Ok(Command::Auth { mechanism, initial }) }
}

#[cfg(test)]
mod tests;
