//! What a far side's answer, or its silence, means: for whom, whether it is final, and what the attempt does next.
//! **Owns:** the classification of failures by stage and scope. **Never:** when to retry (retry.rs), a socket.
//! Bounces come only of a 5yz at the scope of a message or a recipient, or of what every host lacks; all else defers.
//! RFC 5321 4.2.1, 4.5.3.1.10, 4.5.4.2; RFC 3463 2; RFC 7504 (521); RFC 1047 (no reply to the dot).

mod heeding;
mod tally;

use postrider_mail::{EnhancedCode, FarReply, FarText, HostName, Outcome, OutcomeKind, Severity, Stage};

use crate::{
    mx::Unresolved,
    shape::Feedback,
    tls_policy::{self, AfterTls, Protection, TlsFailure},
};

pub use tally::{Again, Ended, Tally};

/// What ended a step of an attempt otherwise than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How far the attempt had come.
    pub stage: Stage,
    /// What happened.
    pub cause: Cause,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A reply that isn't the one that this stage goes on with.
    Reply(FarReply),
    /// The connection was never there: refused, unreachable, no answer.
    NoConnection(FarText),
    /// The far side closed or reset the connection. At [`Stage::Dot`]: before the final dot was sent.
    Closed,
    /// The wait of this stage was over. At [`Stage::Dot`]: before the final dot was sent.
    TimedOut,
    /// The final dot was sent, and no reply to it came, for whatever reason.
    Unanswered,
    /// What came is no reply, or none that can stand here; or more than we read.
    Garbage(FarText),
    /// TLS failed.
    Tls(TlsFailure),
    /// AUTH is wanted, and no mechanism in common offered.
    NoAuthMechanism,
    /// The far side lacks what the message needs; nothing was sent of it.
    Lacks(Lack),
    /// Our own side can't: no source to send from, no time left in this attempt, …
    Ours(FarText),
}

/// What a message may need of a far side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// 8BITMIME, RFC 6152.
    EightBitMime,
    /// SMTPUTF8, RFC 6531.
    SmtpUtf8,
    /// REQUIRETLS, RFC 8689.
    RequireTls,
    /// SIZE: its limit is lower, RFC 1870.
    Size {
        /// What it takes at most, in bytes.
        limit: u64,
    },
}

/// What judging a failure needs to know beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// How mail to this far side is protected.
    pub tls: Protection,
    /// Whether HELO wasn't tried yet, and nothing of this mail needs EHLO.
    pub may_helo: bool,
    /// How many recipients this transaction has accepted so far.
    pub accepted: u32,
}

/// Whom a failure is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This host: everyone of the delivery who has no final answer yet.
    Host,
    /// This message at this host: the same recipients, but the host is well.
    Message,
    /// The one recipient that was answered.
    Recipient,
    /// The recipients that this transaction had accepted.
    Transaction,
}

/// What the attempt does next, for those in scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing more: that is their outcome.
    Stop,
    /// The next address, then the next host; without one, that is their outcome.
    NextHost,
    /// Another transaction, at once: they weren't refused, there was just no room in this one.
    Again,
    /// HELO on this connection. Nobody is charged.
    Helo,
    /// Go on without TLS on this connection. Nobody is charged.
    GoOnInClear,
    /// Connect again to the same address, without TLS. Nobody is charged.
    ReconnectInClear,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It can be used for more, after RSET if a transaction is open.
    Keep,
    /// Its two ends may disagree about what comes next, or it is gone.
    Close,
}

/// The meaning of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// Who it is charged to.
    pub scope: Scope,
    /// What the attempt does next.
    pub next: Next,
    /// What they get if nothing else is tried.
    pub kind: OutcomeKind,
    /// With that status.
    pub status: EnhancedCode,
    /// How far it had come.
    pub stage: Stage,
    /// The reply that decided, if one did.
    pub reply: Option<FarReply>,
    /// Our own words, if none did.
    pub explanation: FarText,
    /// What becomes of the connection.
    pub connection: Connection,
    /// What the site learns from it; nothing where it says nothing about the site.
    pub feedback: Option<Feedback>,
    /// Whether the far side may have taken the message all the same (RFC 1047).
    pub is_ambiguous: bool,
    /// Whether the message may come again soon: nothing was wrong but that too much came at once.
    pub is_soon: bool,
}

/// Judges a failure.
pub fn judge(failure: Failure, context: &Context) -> Ruling {
    let stage = failure.stage;
    match failure.cause {
        Cause::Reply(reply) => judge_reply(stage, reply, context),
        Cause::NoConnection(why) => host(stage, EnhancedCode::transient(4, 1), why),
        Cause::Closed => host(stage, LOST, FarText::new("the far side closed the connection")),
        Cause::TimedOut => host(stage, LOST, FarText::new("the far side did not answer in time")),
        Cause::Unanswered => unanswered(stage),
        Cause::Garbage(_) if stage == Stage::Dot => unanswered(stage),
        Cause::Garbage(what) => {
            let text = format!("the far side sent what is no reply here: {}", what.as_str());
            host(stage, PROTOCOL, FarText::new(&text))
        }
        Cause::Tls(failure) => judge_tls(stage, failure, &context.tls),
        Cause::NoAuthMechanism => {
            let why = FarText::new("the far side offers no AUTH mechanism that this relay knows");
            host(stage, EnhancedCode::transient(7, 4), why)
        }
        Cause::Lacks(lack) => lacks(stage, lack),
        Cause::Ours(why) => {
            Ruling { feedback: None, next: Next::Stop, ..host(stage, EnhancedCode::transient(3, 0), why) }
        }
    }
}

/// Outcomes of recipients whose domain gave no host to try.
pub fn unresolved(recipients: &[u32], why: &Unresolved) -> Vec<Outcome> {
    let outcome = |recipient| ours(recipient, Stage::Dns, why.kind(), why.status(), &why.to_string());
    recipients.iter().copied().map(outcome).collect()
}

/// The outcome of a recipient whose time is over. What was last heard is told with it.
pub fn expired(recipient: u32, last: Option<&Outcome>) -> Outcome {
    let heard = last.map(|last| match &last.reply {
        Some(reply) => reply.to_string(),
        None => last.explanation.as_str().to_owned(),
    });
    let text = match heard {
        Some(heard) if !heard.is_empty() => {
            format!("delivery time expired; the last attempt ended with: {heard}")
        }
        _ => "delivery time expired before an attempt was made".to_owned(),
    };
    Outcome {
        reply: last.and_then(|last| last.reply.clone()),
        host: last.and_then(|last| last.host.clone()),
        ..ours(recipient, Stage::Expiry, OutcomeKind::Bounced, EnhancedCode::permanent(4, 7), &text)
    }
}

/// An outcome that no far side had a part in: a rule's, a person's, our own trouble.
///
/// The status takes the class that the kind has (RFC 3463 2).
pub fn ours(recipient: u32, stage: Stage, kind: OutcomeKind, status: EnhancedCode, text: &str) -> Outcome {
    let explanation = FarText::new(text);
    let status = status.with_severity(severity_of(kind));
    Outcome { recipient, kind, stage, status, reply: None, explanation, host: None }
}

/// The outcome of a recipient that the far side took.
pub fn delivered(recipient: u32, reply: FarReply, host: &HostName) -> Outcome {
    Outcome {
        status: status_of(&reply, OutcomeKind::Delivered),
        reply: Some(reply),
        host: Some(host.clone()),
        ..ours(recipient, Stage::Dot, OutcomeKind::Delivered, EnhancedCode::success(0, 0), "")
    }
}

/// 4.4.2: a bad connection.
const LOST: EnhancedCode = EnhancedCode::transient(4, 2);
/// 4.5.0: the protocol.
const PROTOCOL: EnhancedCode = EnhancedCode::transient(5, 0);

fn judge_reply(stage: Stage, reply: FarReply, context: &Context) -> Ruling {
    // 421 may come at any point: whoever has no answer yet goes on elsewhere (RFC 5321 3.8).
    if reply.code.get() == 421 {
        return at_host(stage, reply);
    }
    match stage {
        Stage::Ehlo if context.may_helo && reply.code.severity() == Severity::Permanent => {
            Ruling { next: Next::Helo, connection: Connection::Keep, feedback: None, ..at_host(stage, reply) }
        }
        Stage::Tls => judge_tls(stage, TlsFailure::Refused(reply), &context.tls),
        // A greeting of 5yz is a block list or a mistake more often than the truth: other hosts first, and never a bounce.
        Stage::Route
        | Stage::Dns
        | Stage::Connect
        | Stage::Banner
        | Stage::Ehlo
        | Stage::Auth
        | Stage::Expiry
        | Stage::Admin => at_host(stage, reply),
        Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot if is_desync(&reply) => desync(stage, reply),
        Stage::Mail => judge_mail(reply),
        Stage::Rcpt => judge_rcpt(reply, context),
        Stage::Data | Stage::Dot => of_message(Scope::Transaction, stage, Next::Stop, reply),
    }
}

/// 503 says that commands came in an order that the far side doesn't see as ours is; 530, that the session lacks
/// something (TLS, AUTH) that other mail may have had; a 2yz or 3yz here belongs to another command.
fn is_desync(reply: &FarReply) -> bool {
    matches!(reply.code.get(), 503 | 530)
        || matches!(reply.code.severity(), Severity::Success | Severity::Intermediate)
}

fn desync(stage: Stage, reply: FarReply) -> Ruling {
    let is_reply_of_another = matches!(reply.code.severity(), Severity::Success | Severity::Intermediate);
    if stage == Stage::Dot && is_reply_of_another {
        return Ruling { reply: Some(reply), ..unanswered(stage) };
    }
    at_host(stage, reply)
}

fn judge_mail(reply: FarReply) -> Ruling {
    let is_too_big = reply.code.get() == 552 || reply.enhanced == Some(EnhancedCode::permanent(3, 4));
    let next = match reply.code.severity() {
        // Another host may have another limit, or none; and may take what this one can't now.
        Severity::Permanent if !is_too_big => Next::Stop,
        _ => Next::NextHost,
    };
    of_message(Scope::Message, Stage::Mail, next, reply)
}

fn judge_rcpt(reply: FarReply, context: &Context) -> Ruling {
    if is_too_many(&reply, context.accepted) {
        let status = EnhancedCode::transient(5, 3);
        let kind = OutcomeKind::Deferred;
        let next = Next::Again;
        return Ruling { kind, status, ..of_message(Scope::Recipient, Stage::Rcpt, next, reply) };
    }
    of_message(Scope::Recipient, Stage::Rcpt, Next::Stop, reply)
}

/// RFC 5321 4.5.3.1.10: 452, or 552 of old. Both also mean a full mailbox or disk; then the first RCPT would get it too,
/// and trying again at once would go in a circle.
fn is_too_many(reply: &FarReply, accepted: u32) -> bool {
    let says_so = reply.enhanced.is_none_or(|code| code.subject() == 5 && code.detail() == 3);
    matches!(reply.code.get(), 452 | 552) && says_so && accepted > 0
}

fn judge_tls(stage: Stage, failure: TlsFailure, protection: &Protection) -> Ruling {
    let next = match tls_policy::after_failure(protection, &failure) {
        AfterTls::GoOnInClear => Next::GoOnInClear,
        AfterTls::ReconnectInClear => Next::ReconnectInClear,
        AfterTls::NextHost => Next::NextHost,
    };
    let keeps = next == Next::GoOnInClear;
    let (status, reply, text) = match failure {
        TlsFailure::NotOffered => {
            (EnhancedCode::transient(7, 4), None, "the far side offers no TLS".to_owned())
        }
        TlsFailure::Refused(reply) => (EnhancedCode::transient(7, 4), Some(reply), String::new()),
        TlsFailure::Handshake(why) => {
            (EnhancedCode::transient(7, 5), None, format!("the TLS handshake failed: {}", why.as_str()))
        }
        TlsFailure::Certificate(why) => {
            (EnhancedCode::transient(7, 5), None, format!("the certificate is not trusted: {}", why.as_str()))
        }
    };
    let text = match protection {
        Protection::Dane { .. } if reply.is_none() => format!("DANE: {text}"),
        Protection::MtaSts if reply.is_none() => format!("MTA-STS: {text}"),
        _ => text,
    };
    let feedback = (next == Next::NextHost).then_some(Feedback::Bad);
    let connection = if keeps { Connection::Keep } else { Connection::Close };
    Ruling { next, reply, connection, feedback, ..host(stage, status, FarText::new(&text)) }
}

/// The dot is out and nothing came back: the message may have arrived. Another host would make a second copy of it for
/// sure, so the attempt ends here (RFC 1047).
fn unanswered(stage: Stage) -> Ruling {
    let text = "the far side did not answer the end of the message; it may have taken it";
    Ruling {
        scope: Scope::Transaction,
        next: Next::Stop,
        is_ambiguous: true,
        ..host(stage, LOST, FarText::new(text))
    }
}

/// Other hosts of the domain may have what this one lacks; if none has, it will not come by waiting.
fn lacks(stage: Stage, lack: Lack) -> Ruling {
    let (status, text) = match lack {
        Lack::EightBitMime => (
            EnhancedCode::permanent(6, 3),
            "the far side takes no 8-bit data (8BITMIME), and the message has some".to_owned(),
        ),
        Lack::SmtpUtf8 => (
            EnhancedCode::permanent(6, 7),
            "the far side takes no international addresses or headers (SMTPUTF8)".to_owned(),
        ),
        Lack::RequireTls => (
            EnhancedCode::permanent(7, 30),
            "the message requires TLS all the way, and the far side does not promise it (REQUIRETLS)"
                .to_owned(),
        ),
        Lack::Size { limit } => (
            EnhancedCode::permanent(3, 4),
            format!("the message is larger than the {limit} bytes that the far side takes"),
        ),
    };
    Ruling {
        scope: Scope::Message,
        kind: OutcomeKind::Bounced,
        connection: Connection::Keep,
        feedback: Some(Feedback::Good),
        ..host(stage, status, FarText::new(&text))
    }
}

fn of_message(scope: Scope, stage: Stage, next: Next, reply: FarReply) -> Ruling {
    let kind = match reply.code.severity() {
        Severity::Permanent => OutcomeKind::Bounced,
        Severity::Success | Severity::Intermediate | Severity::Transient => OutcomeKind::Deferred,
    };
    // A host that answers at RCPT is well; one that won't take a message now may be busy, which says nothing yet.
    let feedback = (scope == Scope::Recipient || kind == OutcomeKind::Bounced).then_some(Feedback::Good);
    Ruling {
        scope,
        next,
        kind,
        status: status_of(&reply, kind),
        reply: Some(reply),
        connection: Connection::Keep,
        feedback,
        ..host(stage, LOST, FarText::default())
    }
}

fn at_host(stage: Stage, reply: FarReply) -> Ruling {
    let status = status_of(&reply, OutcomeKind::Deferred);
    Ruling { reply: Some(reply), ..host(stage, status, FarText::default()) }
}

fn host(stage: Stage, status: EnhancedCode, explanation: FarText) -> Ruling {
    Ruling {
        scope: Scope::Host,
        next: Next::NextHost,
        kind: OutcomeKind::Deferred,
        status,
        stage,
        reply: None,
        explanation,
        connection: Connection::Close,
        feedback: Some(Feedback::Bad),
        is_ambiguous: false,
        is_soon: false,
    }
}

/// The far side's enhanced code in the class of what became of it: where its codes disagree, the reply code decided
/// (RFC 3463 2). None is made up from its words.
fn status_of(reply: &FarReply, kind: OutcomeKind) -> EnhancedCode {
    let severity = severity_of(kind);
    reply.enhanced.unwrap_or(EnhancedCode::success(0, 0)).with_severity(severity)
}

const fn severity_of(kind: OutcomeKind) -> Severity {
    match kind {
        OutcomeKind::Delivered => Severity::Success,
        OutcomeKind::Deferred => Severity::Transient,
        OutcomeKind::Bounced => Severity::Permanent,
    }
}

#[cfg(test)]
mod tests;
