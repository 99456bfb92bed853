//! The body: its end, its size, its line ends, its chunks.

use super::*;

#[test]
fn a_bare_newline_is_refused_at_the_messages_real_end() {
    for bare in ["a\nb", "a\rb", "\n.\r\n", "\r.\r", "\n.\nMAIL FROM:<evil@x.example>"] {
        let mut session = Session::greeted(settings());
        session.send(format!("{ENVELOPE}DATA\r\n"));
        let reply = session.send(format!("Subject: x\r\n\r\n{bare}\r\nrest\r\n.\r\n"));
        assert!(reply.starts_with("550 5.5.2 ") && reply.lines().count() == 1, "{bare:?}: {reply}");
        assert_eq!(session.log, ["mail a@b.example", "data", "aborted BareNewline"], "{bare:?}");
        assert_eq!(session.codes("NOOP\r\n"), [250]);
    }
}

#[test]
fn a_bare_newline_is_made_whole_where_the_listener_says_so() {
    let mut session = Session::greeted(Settings { bare_newlines: BareNewlines::Normalize, ..settings() });
    session.send(format!("{ENVELOPE}DATA\r\n"));
    assert_eq!(session.codes("a\n.\r\nb\r\n.\r\n"), [250]);
    assert_eq!(session.content, b"a\r\n.\r\nb\r\n");
}

#[test]
fn a_message_too_large_is_refused_as_soon_as_it_is_known() {
    let mut session = Session::greeted(small());
    assert!(session.send("MAIL FROM:<> SIZE=101\r\n").starts_with("552 5.3.4 "));
    assert_eq!(session.codes(format!("{ENVELOPE}DATA\r\n")), [250, 250, 354]);
    assert_eq!(session.send("x".repeat(200)), "");
    assert_eq!(session.log.last().map(String::as_str), Some("aborted TooLarge"));
    assert!(session.send("\r\nmore\r\n.\r\n").starts_with("552 5.3.4 "));
    assert_eq!(session.codes("NOOP\r\n"), [250]);
}

#[test]
fn a_message_without_end_is_cut() {
    let mut session = Session::greeted(small());
    session.send(format!("{ENVELOPE}DATA\r\n"));
    for _ in 0..40 {
        session.send(vec![b'x'; 64 << 10]);
        assert!(session.server.input().len() < 8);
        if session.end.is_some() {
            break;
        }
    }
    assert_eq!(session.end, Some(End::EndlessMessage));
}

#[test]
fn chunks_make_a_message() {
    let mut session = Session::greeted(settings());
    let script = format!("{ENVELOPE}BDAT 6\r\nab\r\n.\rBDAT 4\r\n\ncd\rBDAT 1 LAST\r\n\nNOOP\r\n");
    assert_eq!(session.codes(script), [250, 250, 250, 250, 250, 250]);
    assert_eq!(session.content, b"ab\r\n.\r\ncd\r\n");
    assert_eq!(session.log, ["mail a@b.example", "data", "message for 1"]);
    session.content.clear();
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT 0 LAST\r\n")), [250, 250, 250]);
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT 3 LAST\r\nabc")), [250, 250, 250]);
    assert_eq!(session.content, b"abc\r\n", "the last line is ended");
}

/// It went missing where the octets came in two pieces, and the message was taken without it.
#[test]
fn a_cr_before_a_cr_is_seen_wherever_octets_are_cut() {
    for cut in 1..8 {
        let mut session = Session::greeted(settings());
        session.send(ENVELOPE);
        let (first, second) = "ab\r\r\ncde".split_at(cut);
        session.send(format!("BDAT 8 LAST\r\n{first}"));
        assert_eq!(session.codes(second), [550], "{first:?}");
        assert!(session.log.iter().all(|line| !line.starts_with("message")), "{:?}", session.log);
    }
}

#[test]
fn octets_of_a_refused_chunk_are_no_commands() {
    let mut session = Session::greeted(small());
    assert_eq!(session.codes("BDAT 14\r\nMAIL FROM:<>\r\nNOOP\r\n"), [503, 250], "without a transaction");
    session.send(ENVELOPE);
    let big = "x".repeat(150);
    assert_eq!(session.codes(format!("BDAT 150\r\n{big}BDAT 6 LAST\r\nRSET\r\nNOOP\r\n")), [552, 503, 250]);
    session.send(ENVELOPE);
    assert_eq!(session.codes("BDAT 4\r\na\nb\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\n"), [550, 503, 250], "bare LF");
    session.refuses.push("data");
    session.send(ENVELOPE);
    assert_eq!(
        session.codes("BDAT 6\r\nRSET\r\nBDAT 0 LAST\r\nNOOP\r\n"),
        [452, 503, 250],
        "refused by the shell"
    );
    session.refuses.push("c");
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT 6\r\nRSET\r\nNOOP\r\n")), [250, 550, 554, 250]);
}

#[test]
fn a_chunk_whose_size_is_unknown_ends_the_session() {
    let mut session = Session::greeted(settings());
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT x\r\nQUIT\r\n")), [250, 250, 501]);
    let mut session = Session::greeted(settings());
    assert_eq!(session.codes("BDAT 999999999999\r\n"), [552]);
}

#[test]
fn data_does_not_stand_between_chunks() {
    let mut session = Session::greeted(settings());
    let script = format!("{ENVELOPE}BDAT 3\r\na\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\n");
    assert_eq!(session.codes(script), [250, 250, 250, 503, 503]);
    assert_eq!(session.codes("DATA\r\n"), [503]);
    assert_eq!(session.codes("BDAT 2 LAST\r\n\r\n"), [250]);
    assert_eq!(session.codes(format!("{ENVELOPE}BDAT 1\r\naRSET\r\n")), [250, 250, 250, 250]);
    assert_eq!(session.log.last().map(String::as_str), Some("aborted Reset"));
}
