//! The body on its way: dots, chunks, the permit, a far side that speaks too early.

use super::*;

const CHUNKS: &[&str] = &["PIPELINING", "CHUNKING", "8BITMIME"];

fn chunking() -> Settings {
    Settings { chunking: true, ..settings() }
}

fn pieces(pieces: &[&'static str]) -> Vec<Bytes> {
    pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect()
}

#[test]
fn dots_are_stuffed_wherever_the_pieces_are_cut() {
    for body in [&[".a\r\n..\r\nb.\r\n.\r\n"][..], &[".", "a\r", "\n.", ".\r\n", "b.", "\r\n", ".\r", "\n"]] {
        let mut talk = Talk::ready(MODERN);
        talk.body = pieces(body);
        assert_eq!(talk.up_to_dot(&["bob"]), "..a\r\n...\r\nb.\r\n..\r\n.\r\n", "{body:?}");
    }
}

#[test]
fn a_body_ends_at_the_start_of_a_line_and_has_no_bare_line_ends() {
    for (body, wire) in [
        (&[][..], ".\r\n"),
        (&["x"], "x\r\n.\r\n"),
        (&["x\r"], "x\r\n.\r\n"),
        (&["x\n.\ny\r.\r\n"], "x\r\n..\r\ny\r\n..\r\n.\r\n"),
    ] {
        let mut talk = Talk::ready(MODERN);
        talk.body = pieces(body);
        assert_eq!(talk.up_to_dot(&["bob"]), wire, "{body:?}");
    }
}

#[test]
fn no_dot_without_a_permit() {
    for (settings, offers, end) in [(settings(), MODERN, ".\r\n"), (chunking(), CHUNKS, "BDAT 17 LAST\r\n")] {
        let mut talk = Talk::with(settings.clone(), offers);
        talk.holds_dot = true;
        let is_chunked = settings.chunking;
        talk.sends(mail(&["bob"]));
        let said =
            talk.hears(if is_chunked { "250 ok\r\n250 ok\r\n" } else { "250 ok\r\n250 ok\r\n354 go\r\n" });
        assert_eq!(said, if is_chunked { "" } else { "Subject: x\r\n\r\nx\r\n" });
        assert_eq!(talk.pass(3600), "", "whoever waits for a permit is cut off by the shell only");
        let said = talk.let_dot_go();
        assert!(said.starts_with(end) && talk.finished.is_empty(), "{said}");
        talk.hears("250 ok\r\n");
        assert_eq!(talk.answers(), ["Dot accepted 250"]);
    }
}

#[test]
fn an_abandoned_message_is_not_ended() {
    let mut talk = Talk::ready(MODERN);
    talk.holds_dot = true;
    talk.up_to_dot(&["bob"]);
    let expect = talk.dot.take().expect("the dot is asked for");
    talk.client.resume(expect.abandon());
    assert_eq!(talk.run(), "", "a QUIT would be a line of the body");
    assert_eq!(
        (talk.answers(), talk.end().as_str()),
        (vec!["Dot failed Abandoned".to_owned()], "Dot failed Abandoned")
    );
    let mut talk = Talk::ready(MODERN);
    talk.holds_dot = true;
    talk.up_to_dot(&["bob"]);
    talk.client.end_of_input();
    assert_eq!(talk.let_dot_go(), "", "no dot into a connection that is known to be gone");
    assert_eq!(talk.answers(), ["Dot failed Closed"]);
}

#[test]
fn an_early_refusal_ends_the_body() {
    for (reply, answer) in [
        ("552 5.3.4 too much\r\n", "Dot refused 552"),
        ("421 bye\r\n", "Dot refused 421"),
        ("250 queued\r\n", "Dot failed out of step 250"),
        ("354 go on\r\n", "Dot failed out of step 354"),
        ("what?\r\n", "Dot failed Garbage"),
    ] {
        // Before the first piece, and before the dot.
        let mut talk = Talk::ready(MODERN);
        talk.sends(mail(&["bob"]));
        assert_eq!(talk.hears(format!("250 ok\r\n250 ok\r\n354 go\r\n{reply}")), "", "{reply}");
        assert_eq!((talk.answers(), talk.dots_sent), (vec![answer.to_owned()], 0));
        let mut talk = Talk::ready(MODERN);
        talk.holds_dot = true;
        talk.up_to_dot(&["bob"]);
        assert_eq!(talk.hears(reply), "");
        assert_eq!((talk.answers(), talk.dots_sent), (vec![answer.to_owned()], 0));
        assert!(talk.ended.is_some());
    }
}

#[test]
fn what_was_said_before_the_dot_is_no_answer_to_it() {
    // The reply comes while the permit is asked for, whole or in part.
    for (before, after) in [("250 queued\r\n", ""), ("25", "0 queued\r\n"), ("250-a\r\n", "250 b\r\n")] {
        let mut talk = Talk::ready(MODERN);
        talk.holds_dot = true;
        talk.up_to_dot(&["bob"]);
        talk.client.input().extend_from_slice(before.as_bytes());
        assert_eq!(talk.let_dot_go(), "", "{before:?}");
        talk.hears(after);
        assert_eq!(talk.answers(), ["Dot failed out of step 250"], "{before:?}");
    }
}

#[test]
fn half_a_reply_before_the_dot_is_not_waited_for_forever() {
    let mut talk = Talk::ready(MODERN);
    talk.holds_dot = true;
    talk.up_to_dot(&["bob"]);
    talk.client.input().extend_from_slice(b"55");
    talk.let_dot_go();
    assert!(talk.client.deadline().is_some());
    talk.pass(180);
    assert_eq!(talk.answers(), ["Dot failed TimedOut(DataBlock)"]);
}

#[test]
fn chunks_go_without_a_354() {
    let mut talk = Talk::with(chunking(), CHUNKS);
    talk.body = pieces(&[".a\r\n", "b\r", "\n"]);
    let said = talk.sends(mail(&["bob", "cid"]));
    assert!(
        said.ends_with("RCPT TO:<cid@far.example>\r\n"),
        "nothing of the body before somebody takes it: {said}"
    );
    assert_eq!(talk.hears("250 ok\r\n250 ok\r\n550 who?\r\n"), "BDAT 7 LAST\r\n.a\r\nb\r\n");
    talk.hears("250 ok\r\n");
    assert_eq!(talk.answers(), ["Dot accepted 250", "Rcpt refused 550"]);
    assert!(talk.sends(mail(&["dan"])).starts_with("MAIL "), "no RSET after what was taken");
}

/// So large that it takes three chunks.
fn large() -> (Talk, String) {
    let mut talk = Talk::with(chunking(), CHUNKS);
    talk.body = vec![Bytes::from("x".repeat(1022) + "\r\n"); 700];
    talk.sends(mail(&["bob"]));
    let said = talk.hears("250 ok\r\n250 ok\r\n");
    (talk, said)
}

#[test]
fn a_large_body_is_sent_in_chunks_that_have_their_replies() {
    let (mut talk, said) = large();
    let sizes: Vec<&str> = said.lines().filter(|line| line.starts_with("BDAT")).collect();
    assert_eq!(sizes, ["BDAT 262144", "BDAT 262144", "BDAT 192512 LAST"]);
    assert_eq!(said.len(), 700 * 1024 + sizes.iter().map(|line| line.len() + 2).sum::<usize>());
    talk.hears("250 ok\r\n");
    talk.hears("250 ok\r\n");
    assert!(talk.finished.is_empty(), "only the last reply is the message's");
    talk.hears("250 queued\r\n");
    assert_eq!(talk.answers(), ["Dot accepted 250"]);
    assert!(talk.is_ready);
    let (mut talk, _) = large();
    talk.hears("250 ok\r\n250 ok\r\n250 queued\r\n");
    assert_eq!(talk.answers(), ["Dot accepted 250"], "all at once as well");
}

#[test]
fn a_chunk_refused_refuses_the_message() {
    for (replies, answer, end) in [
        (&["250 ok\r\n", "552 too much\r\n"][..], "Dot refused 552", "Dot refused 552"),
        (&["451 later\r\n"], "Dot refused 451", "Dot refused 451"),
        (&["354 go\r\n"], "Dot unknown out of step 354", "Dot failed out of step 354"),
        (&["250 ok\r\n", "421 bye\r\n"], "Dot refused 421", "Dot refused 421"),
        (
            &["250 ok\r\n", "250 ok\r\n", "354 go\r\n"],
            "Dot unknown out of step 354",
            "Dot failed out of step 354",
        ),
    ] {
        let (mut talk, _) = large();
        for reply in replies {
            talk.hears(reply);
        }
        assert_eq!((talk.answers(), talk.end().as_str()), (vec![answer.to_owned()], end), "{replies:?}");
    }
    let (mut talk, _) = large();
    for reply in ["250 ok\r\n", "250 ok\r\n", "554 spam\r\n"] {
        talk.hears(reply);
    }
    assert_eq!(talk.answers(), ["Dot refused 554"]);
    // RFC 3030 2: what the far side makes of a failed BDAT isn't known.
    assert!(talk.sends(mail(&["cid"])).starts_with("RSET\r\nMAIL "));
}

#[test]
fn a_chunk_refused_before_the_last_one_stops_the_rest() {
    let mut talk = Talk::with(chunking(), CHUNKS);
    talk.body = vec![Bytes::from("x".repeat(1022) + "\r\n"); 700];
    talk.holds_dot = true;
    talk.sends(mail(&["bob"]));
    talk.hears("250 ok\r\n250 ok\r\n");
    assert_eq!(talk.hears("250 ok\r\n"), "", "a chunk that was taken changes nothing");
    assert_eq!(talk.hears("552 too much\r\n"), "");
    assert_eq!((talk.answers(), talk.dots_sent), (vec!["Dot refused 552".to_owned()], 0));
}

#[test]
fn chunks_answered_before_the_last_one_are_not_waited_for_again() {
    let mut talk = Talk::with(chunking(), CHUNKS);
    talk.body = vec![Bytes::from("x".repeat(1022) + "\r\n"); 700];
    talk.holds_dot = true;
    talk.sends(mail(&["bob"]));
    talk.hears("250 ok\r\n250 ok\r\n");
    talk.hears("250 ok\r\n250 ok\r\n");
    assert!(talk.let_dot_go().starts_with("BDAT 192512 LAST\r\n"));
    talk.hears("250 queued\r\n");
    assert_eq!(talk.answers(), ["Dot accepted 250"]);
}

#[test]
fn nobody_to_take_it_means_no_chunk() {
    let mut talk = Talk::with(chunking(), CHUNKS);
    talk.sends(mail(&["bob"]));
    assert_eq!(talk.hears("250 ok\r\n550 who?\r\n"), "");
    assert_eq!(talk.answers(), ["Rcpt refused 550"]);
    assert!(talk.sends(mail(&["cid"])).starts_with("RSET\r\nMAIL "));
}

#[test]
fn without_pipelining_there_are_no_chunks() {
    // RFC 3030 4.1: chunks may follow each other unanswered only where PIPELINING is offered.
    for (settings, offers) in [
        (chunking(), &["CHUNKING"][..]),
        (settings(), CHUNKS),
        (Settings { pipelining: false, ..chunking() }, CHUNKS),
    ] {
        let mut talk = Talk::with(settings, offers);
        let mut said = talk.sends(mail(&["bob"]));
        if !said.contains("DATA") {
            said = talk.hears("250 ok\r\n") + &talk.hears("250 ok\r\n");
        }
        assert!(said.ends_with("DATA\r\n"), "{said}");
    }
}
