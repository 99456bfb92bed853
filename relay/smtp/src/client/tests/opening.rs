//! From the connection to the first MAIL: banner, EHLO, STARTTLS, AUTH.

use super::*;
use crate::sasl::Credentials;

fn tls(tls: Tls) -> Settings {
    Settings { tls, ..settings() }
}

fn with_auth() -> Settings {
    Settings { auth: Some(Credentials::new("ann", "secret")), ..settings() }
}

#[test]
fn a_far_side_that_greets_is_ready_after_ehlo() {
    let talk = Talk::ready(MODERN);
    assert_eq!(talk.end(), "it goes on");
    assert!(talk.client.offers().pipelining && talk.client.offers().dsn);
    assert_eq!(talk.client.offers().size, Some(1000));
}

#[test]
fn a_banner_of_many_lines_in_pieces_is_one_banner() {
    let mut talk = Talk::new(settings(), Channel::Clear);
    for piece in ["2", "20", "-mx\r", "\n220", "-we log\r\n22", "0 all\r"] {
        assert_eq!(talk.hears(piece), "");
    }
    assert_eq!(talk.hears("\n"), "EHLO relay.example\r\n");
}

#[test]
fn a_refusing_banner_is_told_and_left_in_order() {
    for (banner, said, end) in [
        ("554 5.7.1 go away\r\n", "QUIT\r\n", "Banner refused 554"),
        ("450 later\r\n", "QUIT\r\n", "Banner refused 450"),
        ("521 no mail here\r\n", "QUIT\r\n", "Banner refused 521"),
        ("421 busy\r\n", "", "Banner refused 421"),
        ("354 go\r\n", "", "Banner failed out of step 354"),
        ("SSH-2.0-OpenSSH\r\n", "", "Banner failed Garbage"),
    ] {
        let mut talk = Talk::new(settings(), Channel::Clear);
        assert_eq!((talk.hears(banner).as_str(), talk.end().as_str()), (said, end), "{banner}");
        assert!(talk.finished.is_empty());
    }
}

#[test]
fn who_knows_no_ehlo_is_greeted_with_helo() {
    let mut talk = Talk::new(settings(), Channel::Clear);
    talk.hears("220 mx\r\n");
    assert_eq!(talk.hears("502 5.5.1 what?\r\n"), "HELO relay.example\r\n");
    talk.hears("250-mx\r\n250 PIPELINING\r\n");
    assert!(talk.is_ready);
    assert_eq!(*talk.client.offers(), Extensions::default(), "HELO offers nothing");
    assert_eq!(talk.sends(mail(&["bob"])), "MAIL FROM:<ann@app.example>\r\n");
}

#[test]
fn helo_is_no_way_around_tls_or_auth() {
    for settings in [tls(Tls::Required), with_auth()] {
        let mut talk = Talk::new(settings, Channel::Clear);
        talk.hears("220 mx\r\n");
        assert_eq!(talk.hears("500 what?\r\n"), "QUIT\r\n");
        assert_eq!(talk.end(), "Ehlo refused 500");
    }
}

#[test]
fn a_far_side_that_refuses_both_greetings_is_left() {
    let mut talk = Talk::new(settings(), Channel::Clear);
    talk.hears("220 mx\r\n");
    talk.hears("500 what?\r\n");
    assert_eq!(talk.hears("550 who?\r\n"), "QUIT\r\n");
    assert_eq!(talk.end(), "Ehlo refused 550");
    let mut talk = Talk::new(settings(), Channel::Clear);
    talk.hears("220 mx\r\n");
    assert_eq!(talk.hears("451 later\r\n"), "QUIT\r\n", "HELO wouldn't help");
    assert_eq!(talk.end(), "Ehlo refused 451");
}

#[test]
fn all_is_said_anew_under_tls() {
    let mut talk = Talk::with(settings(), &["STARTTLS", "SIZE 5"]);
    assert_eq!(talk.hears("220 go\r\n"), "");
    assert!(talk.wants_tls && !talk.is_ready);
    talk.client.tls_established(talk.now);
    assert_eq!(talk.run(), "EHLO relay.example\r\n");
    assert_eq!(talk.client.channel(), Channel::Tls);
    talk.hears(ehlo_reply(&["STARTTLS", "PIPELINING"]));
    assert!(talk.is_ready, "STARTTLS isn't said twice");
    assert_eq!((talk.client.offers().size, talk.client.offers().pipelining), (None, true));
}

#[test]
fn clear_text_behind_the_answer_to_starttls_ends_the_connection() {
    let mut talk = Talk::with(settings(), &["STARTTLS"]);
    assert_eq!(talk.hears("220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n"), "");
    assert_eq!((talk.end().as_str(), talk.wants_tls), ("Tls failed TlsInjection", false));
    let mut talk = Talk::with(settings(), &["STARTTLS"]);
    talk.hears("220 go\r\n");
    talk.client.input().extend_from_slice(b"250 mx\r\n");
    talk.client.tls_established(talk.now);
    assert_eq!((talk.run().as_str(), talk.end().as_str()), ("", "Tls failed TlsInjection"));
}

#[test]
fn starttls_refused_ends_only_what_demands_it() {
    for reply in ["454 4.7.0 not now\r\n", "502 what?\r\n"] {
        let mut talk = Talk::with(tls(Tls::IfOffered), &["STARTTLS", "PIPELINING"]);
        assert_eq!(talk.hears(reply), "");
        assert!(talk.is_ready && talk.client.channel() == Channel::Clear, "{reply}");
        assert!(talk.client.offers().pipelining, "what was offered in clear text still holds");
        let mut talk = Talk::with(tls(Tls::Required), &["STARTTLS"]);
        assert_eq!(talk.hears(reply), "QUIT\r\n");
        assert_eq!(talk.end(), format!("Tls refused {}", &reply[..3]));
    }
}

#[test]
fn tls_is_used_as_the_settings_say() {
    let mut talk = Talk::new(tls(Tls::Required), Channel::Clear);
    talk.hears("220 mx\r\n");
    assert_eq!(talk.hears(ehlo_reply(&["SIZE"])), "QUIT\r\n");
    assert_eq!(talk.end(), "Tls failed TlsNotOffered");
    assert!(Talk::with(tls(Tls::Never), &["STARTTLS"]).is_ready);
    let mut talk = Talk::new(tls(Tls::Required), Channel::Tls);
    talk.hears("220 mx\r\n");
    assert_eq!(talk.hears(ehlo_reply(&["STARTTLS"])), "", "it is there already");
    assert!(talk.is_ready);
}

#[test]
fn a_connection_lost_in_the_handshake_has_an_end() {
    let mut talk = Talk::with(settings(), &["STARTTLS"]);
    talk.hears("220 go\r\n");
    talk.client.connection_lost(Failure::Lost("reset".into()));
    talk.run();
    assert_eq!(talk.end(), "Tls failed Lost(\"reset\")");
}

fn authenticating(offers: &[&str]) -> (Talk, String) {
    let mut talk = Talk::new(with_auth(), Channel::Tls);
    talk.hears("220 mx\r\n");
    let said = talk.hears(ehlo_reply(offers));
    (talk, said)
}

#[test]
fn plain_goes_in_one_line() {
    let (mut talk, said) = authenticating(&["AUTH LOGIN PLAIN"]);
    assert_eq!(said, "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n");
    assert_eq!(talk.hears("235 2.7.0 welcome\r\n"), "");
    assert!(talk.is_ready);
    let (mut talk, _) = authenticating(&["AUTH PLAIN"]);
    assert_eq!(talk.hears("334 \r\n"), "AGFubgBzZWNyZXQ=\r\n", "one that wants to be asked twice");
    talk.hears("235 welcome\r\n");
    assert!(talk.is_ready);
}

#[test]
fn login_is_for_those_that_know_no_other() {
    let (mut talk, said) = authenticating(&["AUTH=LOGIN"]);
    assert_eq!(said, "AUTH LOGIN\r\n");
    assert_eq!(talk.hears("334 VXNlcm5hbWU6\r\n"), "YW5u\r\n");
    assert_eq!(talk.hears("334 UGFzc3dvcmQ6\r\n"), "c2VjcmV0\r\n");
    talk.hears("235 welcome\r\n");
    assert!(talk.is_ready);
}

#[test]
fn auth_refused_or_out_of_order_brings_no_mail() {
    for (offer, replies, said, end) in [
        ("AUTH PLAIN", &["535 5.7.8 no\r\n"][..], "QUIT\r\n", "Auth refused 535"),
        ("AUTH PLAIN", &["454 4.7.0 later\r\n"], "QUIT\r\n", "Auth refused 454"),
        ("AUTH PLAIN", &["421 busy\r\n"], "", "Auth refused 421"),
        ("AUTH PLAIN", &["334 \r\n", "334 \r\n"], "", "Auth failed out of step 334"),
        ("AUTH LOGIN", &["235 so soon?\r\n"], "", "Auth failed out of step 235"),
        ("AUTH LOGIN", &["334 a\r\n", "535 who?\r\n"], "QUIT\r\n", "Auth refused 535"),
    ] {
        let (mut talk, _) = authenticating(&[offer]);
        let last = replies.iter().map(|reply| talk.hears(reply)).last();
        assert_eq!((last.as_deref(), talk.end().as_str()), (Some(said), end), "{offer} {replies:?}");
        assert!(!talk.is_ready);
    }
}

#[test]
fn a_password_is_sent_to_nobody_who_can_not_have_it() {
    let (talk, said) = authenticating(&["AUTH CRAM-MD5"]);
    assert_eq!((said.as_str(), talk.end().as_str()), ("QUIT\r\n", "Auth failed AuthNotOffered"));
    let mut talk = Talk::new(with_auth(), Channel::Clear);
    talk.hears("220 mx\r\n");
    assert_eq!(talk.hears(ehlo_reply(&["AUTH PLAIN"])), "QUIT\r\n");
    assert_eq!(talk.end(), "Auth failed AuthInClear");
    let mut talk = Talk::with(with_auth(), &["STARTTLS", "AUTH PLAIN"]);
    assert_eq!(talk.hears("454 no TLS today\r\n"), "QUIT\r\n", "whoever cuts TLS away gets no password");
    assert_eq!(talk.end(), "Auth failed AuthInClear");
    let mut talk = Talk::new(Settings { auth_in_clear: true, ..with_auth() }, Channel::Clear);
    talk.hears("220 mx\r\n");
    assert_eq!(talk.hears(ehlo_reply(&["AUTH PLAIN"])), "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n");
}
