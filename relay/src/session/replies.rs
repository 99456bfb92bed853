//! What clients are told by the shell; all else is told by smtp itself.
//! **Owns:** codes and words. **Never:** decides. RFC 5321 4.2.2, RFC 3463, RFC 5248.

use postrider_core::config::Rejection;
use postrider_mail::{EnhancedCode, Reply, ReplyCode};

use crate::{admission::NotAdmitted, intake::Refusal};

/// 421: the relay ends.
pub(super) fn shutting_down() -> Reply {
    transient(421, (3, 2), "the service is going down; try another host or later")
}

/// 421: as many sessions as there may be.
pub(super) fn too_many_sessions() -> Reply {
    transient(421, (7, 0), "too many sessions; try again later")
}

/// 454: passwords can't be checked now. RFC 4954 6.
pub(super) fn cannot_authenticate() -> Reply {
    transient(454, (7, 0), "authentication is not available now; try again later")
}

/// The answer to a client or sender that may not.
pub(super) fn not_admitted(why: NotAdmitted) -> Reply {
    match why {
        NotAdmitted::Stranger { may_authenticate: true } => {
            permanent(550, (7, 1), "relaying denied: authenticate first")
        }
        NotAdmitted::Stranger { may_authenticate: false } => {
            permanent(550, (7, 1), "relaying denied for this client")
        }
        NotAdmitted::Unknown => transient(
            450,
            (7, 1),
            "relaying denied: this client is not among the allowed pods now; try again later",
        ),
        NotAdmitted::SenderDomain => permanent(550, (7, 1), "relaying denied for this sender domain"),
    }
}

/// The answer of a rule that rejects.
pub(super) fn rejection(of: &Rejection) -> Reply {
    // The compiler of rules checks that both codes say the same; if one doesn't, the code decides.
    let severity = of.code.severity();
    let enhanced =
        if of.enhanced.severity() == severity { of.enhanced } else { of.enhanced.with_severity(severity) };
    Reply::new(of.code, enhanced, of.text.clone())
}

/// The answer to a message, or to MAIL or DATA, that can't be taken.
pub(super) fn refusal(why: Refusal) -> Reply {
    match why {
        Refusal::NoRoom => transient(452, (3, 1), "no room for more mail now; try again later"),
        Refusal::Unavailable => transient(451, (3, 0), "the queue is not available now; try again later"),
        Refusal::TooSlow => transient(451, (4, 2), "the message took too long to arrive; send it again"),
        Refusal::Loop => permanent(554, (4, 6), "too many Received fields: the message is in a loop"),
        Refusal::HeaderTooLong => permanent(552, (3, 4), "the header is longer than 256 KiB"),
        Refusal::NulInHeader => permanent(550, (6, 0), "the header has a NUL"),
        Refusal::Author => permanent(550, (7, 1), "relaying denied for this From domain"),
    }
}

fn transient(code: u16, (subject, detail): (u16, u16), text: &'static str) -> Reply {
    Reply::new(ReplyCode::new(code), EnhancedCode::transient(subject, detail), text)
}

fn permanent(code: u16, (subject, detail): (u16, u16), text: &'static str) -> Reply {
    Reply::new(ReplyCode::new(code), EnhancedCode::permanent(subject, detail), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_has_one_severity() {
        // Reply::new asserts it.
        shutting_down();
        too_many_sessions();
        cannot_authenticate();
        for why in [
            NotAdmitted::Stranger { may_authenticate: true },
            NotAdmitted::Stranger { may_authenticate: false },
            NotAdmitted::SenderDomain,
        ] {
            assert_eq!(not_admitted(why).code().get(), 550);
        }
        assert_eq!(not_admitted(NotAdmitted::Unknown).code().get(), 450);
        for why in [
            Refusal::NoRoom,
            Refusal::Unavailable,
            Refusal::TooSlow,
            Refusal::Loop,
            Refusal::HeaderTooLong,
            Refusal::NulInHeader,
            Refusal::Author,
        ] {
            refusal(why);
        }
    }

    #[test]
    fn a_rule_whose_codes_differ_is_told_by_its_code() {
        let code = ReplyCode::new(550);
        let reply =
            rejection(&Rejection { code, enhanced: EnhancedCode::transient(7, 1), text: "no".into() });
        assert_eq!(reply.enhanced(), Some(EnhancedCode::permanent(7, 1)));
    }
}
