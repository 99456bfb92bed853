//! From the words of smtp::client to those of core::outcome: the two don't know each other.
//! **Owns:** that translation, case by case. **Never:** judges (core does).

use postrider_core::{
    outcome::{Cause, Failure, Lack},
    providers::Provider,
    shape::reply::asked_in_words,
    tls_policy::TlsFailure,
};
use postrider_mail::{EnhancedCode, FarReply, FarText, ReplyCode, Stage};
use postrider_smtp::client::{self, Answer, Answered, EndCause};

use crate::{client::OpenError, tls::connect::HandshakeError};

/// Why a connection wasn't there for a first MAIL.
pub(super) fn of_open(error: OpenError) -> Failure {
    match error {
        OpenError::NoConnection(why) => {
            Failure { stage: Stage::Connect, cause: Cause::NoConnection(FarText::new(&why.to_string())) }
        }
        // Whoever opens connections doesn't ask what it means: no far side had a part in it.
        OpenError::Source(why) => {
            Failure { stage: Stage::Connect, cause: Cause::Ours(FarText::new(&why.to_string())) }
        }
        OpenError::Handshake(why) => Failure { stage: Stage::Tls, cause: Cause::Tls(of_handshake(&why)) },
        OpenError::Ended(ended) => Failure {
            stage: ended.stage,
            cause: match ended.cause {
                EndCause::Refused(reply) => Cause::Reply(reply),
                EndCause::Failed(failure) if ended.stage == Stage::Tls => of_tls(failure),
                EndCause::Failed(failure) => of_failure(failure),
                EndCause::Quit => Cause::Ours(FarText::new("the connection was ended by this relay")),
            },
        },
    }
}

/// Whoever breaks off at STARTTLS has no working TLS: mail that may go without shouldn't have to wait for it.
fn of_tls(failure: client::Failure) -> Cause {
    use client::Failure as F;
    match failure {
        F::Closed | F::Lost(_) | F::TimedOut(_) | F::OutOfStep(_) | F::Garbage => {
            Cause::Tls(TlsFailure::Handshake(FarText::new(&failure.to_string())))
        }
        other => of_failure(other),
    }
}

fn of_handshake(why: &HandshakeError) -> TlsFailure {
    let text = FarText::new(&why.to_string());
    let is_certificate = match why {
        HandshakeError::Failed(_) => why.certificate().is_some(),
        HandshakeError::Name(_) | HandshakeError::NoFit => true,
        HandshakeError::TooSlow => false,
    };
    if is_certificate { TlsFailure::Certificate(text) } else { TlsFailure::Handshake(text) }
}

/// What a recipient was answered that isn't a yes.
pub(super) fn of_answer(stage: Stage, answer: Answer) -> Failure {
    let cause = match answer {
        Answer::Accepted(reply) | Answer::Refused(reply) => Cause::Reply(reply),
        Answer::NotTried => return Failure { stage: Stage::Rcpt, cause: Cause::Reply(no_room()) },
        Answer::Failed(failure) => of_failure(failure),
        Answer::Unknown(_) => return Failure { stage: Stage::Dot, cause: Cause::Unanswered },
    };
    Failure { stage, cause }
}

fn of_failure(failure: client::Failure) -> Cause {
    use client::Failure as F;
    match failure {
        F::Closed | F::Lost(_) => Cause::Closed,
        F::TimedOut(_) => Cause::TimedOut,
        F::OutOfStep(reply) => Cause::Garbage(FarText::new(&reply.to_string())),
        F::Garbage => Cause::Garbage(FarText::new("bytes that are no SMTP reply")),
        F::TlsNotOffered => Cause::Tls(TlsFailure::NotOffered),
        F::TlsInjection => {
            Cause::Tls(TlsFailure::Handshake(FarText::new("clear text stood behind the 220 to STARTTLS")))
        }
        F::AuthNotOffered => Cause::NoAuthMechanism,
        F::AuthInClear => Cause::Ours(FarText::new(
            "there is no TLS with the far side, and a password is not sent in clear text",
        )),
        F::TooLarge(limit) => Cause::Lacks(Lack::Size { limit }),
        F::EightBitNotOffered => Cause::Lacks(Lack::EightBitMime),
        F::Utf8NotOffered => Cause::Lacks(Lack::SmtpUtf8),
        F::RequireTlsNotOffered => Cause::Lacks(Lack::RequireTls),
        F::Abandoned => {
            Cause::Ours(FarText::new("the message was not ended: this relay could not prove its claim"))
        }
    }
}

/// The machine doesn't say with which words the far side had enough recipients.
fn no_room() -> FarReply {
    FarReply {
        code: ReplyCode::new(452),
        enhanced: Some(EnhancedCode::transient(5, 3)),
        text: FarText::new("too many recipients in one transaction"),
    }
}

/// How many recipients a transaction had accepted: those that came further than RCPT.
pub(super) fn accepted(answers: &[Answered]) -> u32 {
    let has_passed = |one: &&Answered| {
        matches!(one.answer, Answer::Accepted(_) | Answer::Unknown(_)) || one.stage > Stage::Rcpt
    };
    u32::try_from(answers.iter().filter(has_passed).count()).unwrap_or(u32::MAX)
}

/// Whether a kept connection turned out to be dead before anything was said on it: closed, or a goodbye (421) where the answer to
/// MAIL should be that asks nothing of us.
pub(super) fn is_stale(answers: &[Answered], provider: Option<&Provider>) -> bool {
    answers.iter().all(|one| {
        one.stage == Stage::Mail
            && match &one.answer {
                Answer::Failed(client::Failure::Closed | client::Failure::Lost(_)) => true,
                Answer::Refused(reply) => {
                    reply.code.get() == 421 && asked_in_words(provider, reply).is_none()
                }
                Answer::Failed(_) | Answer::Accepted(_) | Answer::NotTried | Answer::Unknown(_) => false,
            }
    })
}
