//! Replies as they are met, and what they ask.

use postrider_mail::FarText;
use proptest::prelude::*;

use super::*;

fn reply(line: &str) -> FarReply {
    let (code, text) = line.split_at(3);
    let text = text.trim_start();
    let (enhanced, text) = match EnhancedCode::split_from(text) {
        Some((code, text)) => (Some(code), text),
        None => (None, text),
    };
    FarReply { code: ReplyCode::new(code.parse().expect("a code")), enhanced, text: FarText::new(text) }
}

fn asked_by(name: &str, line: &str) -> Option<Asked> {
    let provider = providers::all().iter().find(|provider| provider.name == name);
    assert!(provider.is_some() || name.is_empty(), "{name}");
    asked(provider, &reply(line))
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn what_any_far_side_asks() {
    for (line, asks) in [
        ("421 4.7.0 rate limited", Some(Asked::Slower)),
        ("421 4.7.28 go away", Some(Asked::Slower)),
        ("450 4.7.1 Rate Limit exceeded", Some(Asked::Slower)),
        ("451 4.7.1 Please try again later", Some(Asked::Slower)),
        ("451 4.7.1 Greylisting in action, please try again later", None),
        ("450 4.7.1 <b@far.example>: Recipient address rejected: Greylisted", None),
        ("450 4.2.1 The user you are trying to contact is receiving mail too quickly", None),
        ("421 Too many connections from your address", Some(Asked::FewerConnections)),
        ("421 4.7.0 Too many concurrent SMTP connections", Some(Asked::FewerConnections)),
        ("421 4.7.0 Too many messages in this session", None),
        ("421 4.3.2 shutting down", None),
        ("421 bye", None),
        ("452 4.5.3 too many recipients", None),
        ("451 4.3.0 try again later", None),
        ("450 4.1.8 no such domain", None),
        ("550 5.7.1 rate limit exceeded", None),
        ("554 5.7.0 too many connections", None),
        ("250 2.0.0 rate limit", None),
    ] {
        assert_eq!(asked_by("", line), asks, "{line}");
    }
}

#[test]
fn what_providers_ask() {
    for (provider, line, asks) in [
        (
            "yahoo",
            "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred",
            Some(Asked::Suspend(2 * HOUR)),
        ),
        ("yahoo", "421 4.7.0 [TS01] Messages temporarily deferred", Some(Asked::Slower)),
        (
            "yahoo-japan",
            "421 [TSS04] Messages from 192.0.2.1 temporarily deferred",
            Some(Asked::Suspend(HOUR)),
        ),
        ("comcast", "421 4.1.0 192.0.2.1 Throttled - RL000003", Some(Asked::Slower)),
        (
            "outlook",
            "451 4.7.652 The mail server has exceeded the maximum number of connections",
            Some(Asked::FewerConnections),
        ),
        ("microsoft-365", "451 4.7.500 Server busy. Please try again later", Some(Asked::Slower)),
        ("google", "450 4.2.1 The user is receiving mail at a rate that prevents additional messages", None),
        (
            "google",
            "421 4.7.28 Our system has detected an unusual rate of unsolicited mail",
            Some(Asked::Slower),
        ),
        ("google", "421 4.7.26 This mail has been rate limited because it is unauthenticated", None),
        ("google", "421 4.7.29 TLS required", None),
        (
            "orange",
            "421 service refuse. Trop de connexions, veuillez verifier. OFR_104",
            Some(Asked::FewerConnections),
        ),
    ] {
        assert_eq!(asked_by(provider, line), asks, "{provider}: {line}");
    }
}

#[test]
fn a_goodbye_that_says_no_more_is_no_more_on_a_connection_that_was_used() {
    for (line, asks) in [
        ("421 4.7.0 20 messages are enough", None),
        ("421 4.7.0 rate limited", Some(Asked::Slower)),
        ("421 4.7.0 too many connections", Some(Asked::FewerConnections)),
    ] {
        assert_eq!(asked_in_words(None, &reply(line)), asks, "{line}");
        assert!(asked_by("", line).is_some(), "{line}");
    }
}

#[test]
fn a_pattern_that_could_end_mail_or_says_nothing_is_refused() {
    let read = |text: &str| serde_yaml_ng::from_str::<Pattern>(text).map_err(|why| why.to_string());
    assert!(read("{codes: [421], asks: Slower}").is_ok());
    for (text, told) in [
        ("{codes: [550], asks: Slower}", "codes: found [550]"),
        ("{codes: [], asks: Slower}", "codes: found []"),
        ("{codes: [421], enhanced: 5.7.1, asks: Slower}", "enhanced: found \"5.7.1\""),
        ("{codes: [421], enhanced: \"4\", asks: Slower}", "enhanced: found \"4\""),
        ("{codes: [421], texts: [Rate], asks: Slower}", "texts: found \"Rate\""),
        ("{codes: [421], texts: [\"\"], asks: Slower}", "texts: found \"\""),
        ("{codes: [421], asks: Suspend}", "for: found none"),
        ("{codes: [421], asks: Slower, for: 2h}", "for: found one"),
    ] {
        let why = read(text).expect_err(text);
        assert!(why.contains(told), "{text}: {why}");
    }
}

proptest! {
    #[test]
    fn no_reply_but_of_4yz_asks_anything(code in 200_u16..600, text in ".{0,60}") {
        let found = FarReply { code: ReplyCode::new(code), enhanced: None, text: FarText::new(&format!("{text} too many connections, rate limit")) };
        let asks = asked(None, &found);
        prop_assert!(asks.is_none() || (400..500).contains(&code));
    }
}
