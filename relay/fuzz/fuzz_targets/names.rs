//! The small words that all input is made of: domains, mailboxes, codes, durations, sizes.
//! **Owns:** what is printed reads back as the same, in its normal form; each has its bounds. **Never:** where a word stands.
//! Input: one word.
#![no_main]

use std::{fmt::Display, str::FromStr};

use libfuzzer_sys::fuzz_target;
use postrider_core::{matcher::DomainPattern, mx::MxTarget};
use postrider_crds::{Duration, Quantity};
use postrider_mail::{
    Domain, EnhancedCode, FarText, HostName, Mailbox, QueueId, ReversePath, reply::MAX_FAR_TEXT_BYTES,
};

/// Printed and read again it is the same, and prints alike.
fn check<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let read = text.parse::<T>().ok()?;
    let printed = read.to_string();
    let again = printed.parse::<T>().ok();
    assert_eq!(again.as_ref(), Some(&read), "{text:?} printed as {printed:?}");
    Some(read)
}

fn is_normal(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(is_plain) && !name.ends_with('.')
}

fn check_mail_exchanger(text: &str) {
    match MxTarget::parse(text) {
        MxTarget::Null => assert!(text.is_empty() || text == "."),
        MxTarget::Host(name) => {
            assert!(is_normal(name.as_str()));
            assert_eq!(MxTarget::parse(&format!("{name}.")), MxTarget::Host(name));
        }
        MxTarget::Broken(shown) => assert!(shown.chars().count() <= 80),
    }
}

fuzz_target!(|word: &[u8]| {
    let text = String::from_utf8_lossy(word);
    assert_eq!(check::<Domain>(&text).map(String::from), check::<HostName>(&text).map(String::from));
    if let Some(domain) = check::<Domain>(&text) {
        assert!(is_normal(domain.as_str()));
        assert!(domain.is_within(&domain));
    }
    if let Some(mailbox) = check::<Mailbox>(&text) {
        assert!(mailbox.local().len() <= 64 && is_normal(mailbox.domain().as_str()));
        assert!(!mailbox.to_string().contains(char::is_control));
    }
    let path = ReversePath::try_from(text.to_string());
    assert_eq!(path.is_ok(), text.is_empty() || text.parse::<Mailbox>().is_ok());
    check::<QueueId>(&text);
    check::<EnhancedCode>(&text);
    check::<DomainPattern>(&text);
    check::<Duration>(&text);
    check::<Quantity>(&text);
    check_mail_exchanger(&text);
    let kept = FarText::new(&text);
    assert!(kept.as_str().len() <= MAX_FAR_TEXT_BYTES && !kept.as_str().contains(char::is_control));
    assert_eq!(FarText::new(kept.as_str()), kept, "what was kept is kept as it is");
});
