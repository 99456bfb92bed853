//! Until a session may bring mail: greeting, EHLO, STARTTLS, AUTH.

use super::*;

#[test]
fn who_speaks_before_the_greeting_is_not_heard() {
    let mut session = Session::new(settings(), Channel::Clear);
    assert_eq!(session.codes("EHLO a\r\n"), [554]);
    assert_eq!(session.end, Some(End::EarlyTalker));
}

#[test]
fn a_browser_is_sent_away() {
    let mut session = Session::new(settings(), Channel::Clear);
    session.run();
    assert_eq!(session.codes("POST / HTTP/1.1\r\nHost: mx.example\r\n\r\nEHLO a\r\n"), [554]);
    assert_eq!(session.end, Some(End::Http));
}

#[test]
fn what_is_offered_depends_on_the_channel() {
    let settings = Settings { tls: Tls::Optional, auth: Auth::Optional, ..settings() };
    let mut session = Session::new(settings, Channel::Clear);
    session.run();
    let clear = session.send("EHLO a\r\n");
    assert!(clear.contains("250-STARTTLS\r\n") && !clear.contains("AUTH"));
    assert!(
        clear.contains("250-SIZE 26214400\r\n")
            && clear.contains("250 LIMITS RCPTMAX=1000 MAILMAX=10000\r\n")
    );
    assert_eq!(session.send("STARTTLS\r\n"), "220 2.0.0 Ready to start TLS\r\n");
    session.server.tls_established(session.now);
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [503], "all is forgotten");
    let tls = session.send("EHLO a\r\n");
    assert!(!tls.contains("STARTTLS") && tls.contains("250-AUTH PLAIN LOGIN\r\n"));
    assert_eq!(session.codes("STARTTLS\r\n"), [503]);
}

#[test]
fn clear_text_behind_starttls_ends_the_session() {
    let mut session = Session::greeted(Settings { tls: Tls::Optional, ..settings() });
    assert_eq!(session.codes("STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n"), [554]);
    assert_eq!((session.end, session.log.len()), (Some(End::StartTlsInjection), 0));
    let mut session = Session::greeted(Settings { tls: Tls::Optional, ..settings() });
    assert_eq!(session.codes("STARTTLS\r\n"), [220]);
    session.server.input().extend_from_slice(b"MAIL FROM:<evil@x.example>\r\n");
    session.server.tls_established(session.now);
    session.run();
    assert_eq!(session.end, Some(End::StartTlsInjection));
}

#[test]
fn starttls_does_not_stand_within_a_transaction() {
    let mut session = Session::greeted(Settings { tls: Tls::Optional, ..settings() });
    assert_eq!(session.codes("MAIL FROM:<>\r\nSTARTTLS\r\n"), [250, 503]);
}

#[test]
fn tls_and_auth_are_demanded_where_the_listener_says_so() {
    let mut session = Session::greeted(Settings { tls: Tls::Required, auth: Auth::Required, ..settings() });
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [530]);
    assert_eq!(session.codes("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"), [538]);
    let mut session = Session::under_tls(Settings { auth: Auth::Required, ..settings() });
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [530]);
    assert_eq!(session.codes("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"), [235]);
    assert_eq!(session.server.user(), Some("ann"));
    assert_eq!(session.codes("AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"), [503]);
    assert_eq!(session.codes("MAIL FROM:<>\r\n"), [250]);
}

#[test]
fn auth_goes_by_its_mechanisms() {
    let auth = || Session::under_tls(Settings { auth: Auth::Optional, ..settings() });
    let mut session = auth();
    assert_eq!(session.send("AUTH LOGIN\r\n"), "334 VXNlcm5hbWU6\r\n");
    assert_eq!(session.send("YW5u\r\n"), "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(session.codes("c2VjcmV0\r\n"), [235]);
    let mut session = auth();
    assert_eq!(session.codes("AUTH PLAIN\r\n"), [334]);
    assert_eq!(session.codes("*\r\n"), [501]);
    assert_eq!(session.codes("AUTH SCRAM-SHA-256\r\n"), [504]);
    for code in [535, 535, 421] {
        assert_eq!(session.codes("AUTH PLAIN AGFubgB3cm9uZw==\r\n"), [code]);
    }
    assert_eq!(session.end, Some(End::TooManyAuthFailures));
    let mut session = auth();
    assert_eq!(session.codes(format!("AUTH PLAIN {}\r\n", "A".repeat(11_000))), [501]);
    assert_eq!(session.codes("x".repeat(13_000)), [500]);
}
