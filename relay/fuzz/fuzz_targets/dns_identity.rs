//! What zones say of a fleet: SPF, DMARC and DKIM records, names of addresses and of mail hosts.
//! **Owns:** a judgement ends, asks nothing twice, and is bounded; a fleet is good only if nothing was found. **Never:** a look-up.
//! Input: lines; the first byte of each says which records it is, `0` to `9`, and the rest is their text or name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_core::{
    dkim::SigningKey,
    identity::{Answers, KeyAt, Kind, Question, Record, SenderDomain, Step, Subject, judge},
    mx::{Answer, DnsFailure},
};
use postrider_mail::{Domain, HostName};

/// Rounds of look-ups: SPF has ten terms that ask, and each of them two names one behind the other at most.
const MOST_ROUNDS: usize = 64;
const KEY: &str = include_str!("../../core/src/dkim/fixtures/ed25519.pem");

fn subject() -> Subject {
    let public = SigningKey::parse(KEY).expect("a key").public();
    Subject {
        addresses: vec![[203, 0, 113, 10].into(), "2001:db8::1".parse().expect("an address")],
        ehlo: HostName::parse("mail.example.com").expect("a name"),
        sources: Vec::new(),
        domains: vec![SenderDomain {
            domain: Domain::parse("example.com").expect("a domain"),
            subdomains: true,
            keys: vec![KeyAt { selector: "s1".into(), public }],
        }],
        is_egress_checked: true,
    }
}

/// The line of a question, by its digit.
fn digit(question: &Question) -> u8 {
    match (question.kind, &*question.name) {
        (Kind::Txt, "example.com") => b'0',
        (Kind::Txt, "mail.example.com") => b'1',
        (Kind::Txt, "_dmarc.example.com") => b'2',
        (Kind::Txt, "s1._domainkey.example.com") => b'3',
        (Kind::Txt, "_dmarc.com") => b'4',
        (Kind::Txt, _) => b'5',
        (Kind::Ptr, _) => b'6',
        (Kind::Mx, _) => b'7',
        (Kind::A, _) => b'8',
        (Kind::Aaaa, _) => b'9',
    }
}

fn answer(lines: &[&str], question: &Question) -> Answer<Record> {
    let wanted = digit(question);
    let values =
        lines.iter().filter_map(|line| (*line.as_bytes().first()? == wanted).then(|| line.get(1..))?);
    let records: Vec<Record> = values
        .filter_map(|value| match question.kind {
            Kind::Txt => Some(Record::Text(value.into())),
            Kind::Ptr | Kind::Mx => Some(Record::Name(value.into())),
            Kind::A | Kind::Aaaa => value.parse().ok().map(Record::Address),
        })
        .collect();
    if lines.contains(&"fail") && records.is_empty() {
        return Answer::Failed(DnsFailure::Timeout);
    }
    if records.is_empty() { Answer::NxDomain } else { Answer::Records(records) }
}

fuzz_target!(|zone: &[u8]| {
    let zone = String::from_utf8_lossy(zone);
    let lines: Vec<&str> = zone.lines().collect();
    let subject = subject();
    let mut answers = Answers::new();
    for _ in 0..MOST_ROUNDS {
        match judge(&subject, &answers) {
            Step::Ask(questions) => {
                assert!(!questions.is_empty());
                for question in questions {
                    let said = answer(&lines, &question);
                    assert!(answers.insert(question, said).is_none(), "nothing is asked twice");
                }
            }
            Step::Done(judgement) => {
                assert!(judgement.egress.len() <= 64 && judgement.keys.len() <= 64);
                assert!(judgement.egress.is_sorted() && judgement.keys.is_sorted());
                let failed = answers.values().any(|one| matches!(one, Answer::Failed(_)));
                assert!(failed || judgement.egress_unknown.is_empty() && judgement.keys_unknown.is_empty());
                return;
            }
        }
    }
    panic!("it goes on asking");
});
