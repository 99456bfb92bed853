//! The words of a notice: what happened, to whom, what to do.
//! **Owns:** the words. **Never:** queue internals beyond the queue ID, secrets, file paths.

use std::fmt::Write as _;

use postrider_mail::{Outcome, Stage};

use super::{Kind, Report, Reported, encode};

/// The first part of a report, lines ended by CRLF.
pub(super) fn words(report: &Report<'_>) -> String {
    let mut words = format!("This is the mail system at {}.\r\n\r\n", report.hostname);
    words.push_str(&opening(report));
    for reported in &report.recipients {
        words.push_str("\r\n");
        words.push_str(&about(report.kind, reported));
    }
    let _ = write!(
        words,
        "\r\nYour message came to us on {}.\r\nIf you ask for help, quote this: {}\r\n",
        encode::date(report.accepted),
        report.queue_id,
    );
    words
}

fn opening(report: &Report<'_>) -> String {
    match report.kind {
        Kind::Bounce => "Your message could not be delivered to the recipients below, and will not\r\n\
                         be tried again. What we know of it is attached.\r\n"
            .to_owned(),
        Kind::Delay => format!(
            "Your message has not yet been delivered to the recipients below. You need\r\n\
             not send it again: we go on trying until {}.\r\n",
            encode::date(report.expires),
        ),
        Kind::Success => "Your message was passed on for the recipients below. Their mail system\r\n\
                          sends no reports, so you will not hear more from us.\r\n"
            .to_owned(),
    }
}

fn about(kind: Kind, reported: &Reported<'_>) -> String {
    let mut words = wrapped(&format!("<{}>", reported.recipient.mailbox), "");
    words.push_str(&wrapped(&what_happened(kind, reported.outcome), "    "));
    if let Some(advice) = (kind == Kind::Bounce).then(|| advice(reported.outcome)).flatten() {
        words.push_str(&wrapped(advice, "    "));
    }
    words
}

fn what_happened(kind: Kind, outcome: &Outcome) -> String {
    let host = outcome.host.as_ref().map_or_else(|| "the far side".to_owned(), ToString::to_string);
    let said = outcome.reply.as_ref().map(|reply| format!("{host} said: {reply}"));
    let explanation = outcome.explanation.as_str();
    match (kind, outcome.stage, said) {
        (Kind::Success, _, Some(said)) => said,
        (Kind::Success, _, None) => format!("{host} has it."),
        // The explanation of an expiry already quotes what was heard last.
        (_, Stage::Expiry, _) => format!("{}.", sentence(explanation)),
        (_, stage, Some(said)) => format!("{said} ({}).", when(stage)),
        (_, _, None) if explanation.is_empty() => format!("Status {}.", outcome.status),
        (_, Stage::Dns | Stage::Route | Stage::Admin, None) => format!("{}.", sentence(explanation)),
        (_, stage, None) => format!("{} ({host}, {}).", sentence(explanation), when(stage)),
    }
}

const fn when(stage: Stage) -> &'static str {
    match stage {
        Stage::Route => "by a rule of this mail system",
        Stage::Dns => "looking for its mail servers",
        Stage::Connect => "connecting",
        Stage::Banner => "as greeting",
        Stage::Ehlo => "in answer to EHLO",
        Stage::Tls => "setting up encryption",
        Stage::Auth => "in answer to AUTH",
        Stage::Mail => "in answer to MAIL FROM",
        Stage::Rcpt => "in answer to RCPT TO",
        Stage::Data => "in answer to DATA",
        Stage::Dot => "in answer to the message",
        Stage::Expiry => "after its time was over",
        Stage::Admin => "by an administrator of this mail system",
    }
}

/// What a sender can do, by the status: RFC 3463 3.
fn advice(outcome: &Outcome) -> Option<&'static str> {
    match (outcome.status.subject(), outcome.status.detail()) {
        (1, 1 | 3 | 6) => Some("Check the spelling of the address; ask the recipient for the right one."),
        (1, 2 | 10) | (4, 4) => Some("Check the spelling of the part behind the @: it takes no mail."),
        (2, 1) => Some("The mailbox is switched off; reach the recipient in another way."),
        (2, 2) => Some("The mailbox is full; reach the recipient in another way, or send it again later."),
        (2 | 3, 3 | 4) => Some("Send a smaller message, or share the content in another way."),
        (4, 6) => Some("The domain points back at this mail system; its administrator has to correct that."),
        (4, 7) => Some("Their mail system was not ready to take it for all this time; send it again later."),
        (6, _) => Some("Their mail system cannot take a message of this form; send it in plain ASCII text."),
        (7, _) => Some(
            "Their mail system refused it by its rules; what it said may tell why. Forward this report to your \
             administrator.",
        ),
        _ => None,
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Lines of at most 74 characters where words allow it.
fn wrapped(text: &str, indent: &str) -> String {
    const WIDTH: usize = 74;
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = write!(lines, "{indent}{line}\r\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = write!(lines, "{indent}{line}\r\n");
    lines
}
