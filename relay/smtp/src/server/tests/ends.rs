//! How sessions end: silence, slowness, a client that goes, a shutdown.

use super::*;

#[test]
fn silence_ends_a_session() {
    let mut session = Session::greeted(settings());
    session.pass(299);
    session.send("NO");
    session.pass(1);
    assert_eq!(session.end, Some(End::TimedOut), "half a command doesn't begin the wait anew");
    let mut session = Session::greeted(settings());
    session.pass(299);
    assert_eq!(session.codes("NOOP\r\n"), [250]);
    assert_eq!(session.pass(299), "");
    assert_eq!(session.pass(1), "421 4.4.2 Timed out\r\n");
}

#[test]
fn one_byte_a_second_is_too_slow_for_a_body() {
    let mut session = Session::greeted(settings());
    session.send(format!("{ENVELOPE}DATA\r\n"));
    for _ in 0..200 {
        session.send("x");
        session.pass(1);
    }
    assert_eq!(session.end, Some(End::TimedOut));
    assert_eq!(session.log.last().map(String::as_str), Some("aborted SessionEnded"));
    let mut session = Session::greeted(settings());
    session.send(format!("{ENVELOPE}DATA\r\n"));
    for _ in 0..400 {
        session.send("x".repeat(200));
        session.pass(1);
    }
    assert_eq!(session.end, None, "faster than the slowest rate");
    assert!(session.server.deadline() > session.now);
    session.pass(180);
    assert_eq!(session.end, Some(End::TimedOut), "but no block may take longer than its wait");
}

#[test]
fn a_session_has_an_end() {
    let limits = Limits { session_seconds: 1000, idle_commands: 10_000, ..Limits::default() };
    let mut session = Session::greeted(Settings { limits, ..settings() });
    for _ in 0..12 {
        session.send("NOOP\r\n");
        session.pass(100);
    }
    assert_eq!(session.end, Some(End::SessionTooLong));
}

#[test]
fn a_client_that_goes_leaves_nothing_open() {
    let mut session = Session::greeted(settings());
    session.server.end_of_input();
    session.run();
    assert_eq!((session.end, session.log.len()), (Some(End::ClosedByClient), 0));
    for (script, log) in [("", "aborted SessionEnded"), ("DATA\r\n", "aborted SessionEnded")] {
        let mut session = Session::greeted(settings());
        session.send(format!("{ENVELOPE}{script}"));
        session.server.end_of_input();
        session.run();
        assert_eq!(session.end, Some(End::ClosedInTransaction));
        assert_eq!(session.log.last().map(String::as_str), Some(log));
    }
}

#[test]
fn what_came_before_the_end_of_input_is_still_done() {
    let mut session = Session::greeted(settings());
    session.send(format!("{ENVELOPE}DATA\r\n"));
    session.server.end_of_input();
    assert_eq!(session.codes("x\r\n.\r\n"), [250]);
    assert_eq!(session.end, Some(End::ClosedByClient));
}

#[test]
fn a_shutdown_is_told_as_soon_as_no_question_is_open() {
    let mut session = Session::greeted(settings());
    assert!(session.server.is_idle());
    session.server.end(no(421));
    assert_eq!(session.run(), "421 4.0.0 no\r\n");
    let mut session = Session::greeted(settings());
    session.server.input().extend_from_slice(b"MAIL FROM:<>\r\n");
    let Event::Mail(ask) = session.server.poll(session.now) else { panic!("MAIL is asked about") };
    session.server.end(no(421));
    assert!(!session.server.is_idle());
    session.server.resume(ask.accept());
    assert_eq!(session.run(), "250 2.1.0 Ok\r\n421 4.0.0 no\r\n");
    assert_eq!(
        (session.end, &session.log[..]),
        (Some(End::Refused), &["aborted SessionEnded".to_owned()][..])
    );
}
