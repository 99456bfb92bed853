//! Far sides that break off, fall silent, or speak what isn't SMTP.

use super::*;

/// A far side that has answered so many of: banner, EHLO, MAIL, RCPT, DATA, dot.
fn after(steps: usize, offers: &[&str]) -> Talk {
    let mut talk = Talk::new(settings(), Channel::Clear);
    let ehlo = ehlo_reply(offers);
    let replies = ["220 mx\r\n", &ehlo, "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];
    talk.run();
    for (at, reply) in replies.iter().take(steps).enumerate() {
        talk.hears(reply);
        if at == 1 {
            talk.sends(mail(&["bob"]));
        }
    }
    talk
}

const STAGES: [&str; 6] = ["Banner", "Ehlo", "Mail", "Rcpt", "Data", "Dot"];

/// What `break_off` gives at each stage: (stage, answers, end).
fn check(break_off: impl Fn(&mut Talk), mut expect: impl FnMut(&str, Vec<String>, String)) {
    for offers in [MODERN, &[]] {
        for (steps, stage) in STAGES.into_iter().enumerate() {
            let mut talk = after(steps, offers);
            break_off(&mut talk);
            let answers = if steps < 2 { Vec::new() } else { talk.answers() };
            assert_eq!(talk.finished.len(), usize::from(steps >= 2), "{stage}");
            expect(stage, answers, talk.end());
        }
    }
}

#[test]
fn a_421_ends_the_session_at_any_point() {
    check(
        |talk| assert_eq!(talk.hears("421 4.3.2 going down\r\n"), "", "nothing comes behind a 421"),
        |stage, answers, end| {
            assert!(answers.iter().all(|one| *one == format!("{stage} refused 421")), "{answers:?}");
            assert_eq!(end, format!("{stage} refused 421"));
        },
    );
    let mut talk = Talk::ready(MODERN);
    talk.hears("421 idle for too long\r\n");
    assert_eq!((talk.end().as_str(), talk.finished.len()), ("Mail refused 421", 0));
}

#[test]
fn a_421_leaves_those_alone_that_have_their_answer() {
    let mut talk = Talk::ready(MODERN);
    talk.sends(mail(&["bob", "cid", "dan"]));
    talk.hears("250 ok\r\n550 who?\r\n250 ok\r\n421 bye\r\n");
    assert_eq!(talk.answers(), ["Rcpt refused 550", "Rcpt refused 421", "Rcpt refused 421"]);
}

#[test]
fn a_421_behind_the_last_reply_takes_nothing_back() {
    let mut talk = Talk::ready(MODERN);
    talk.up_to_dot(&["bob"]);
    talk.hears("250 queued\r\n421 bye\r\n");
    assert_eq!(
        (talk.answers(), talk.end().as_str()),
        (vec!["Dot accepted 250".to_owned()], "Mail refused 421")
    );
    let mut talk = Talk::ready(&[]);
    talk.sends(mail(&["bob"]));
    talk.hears("250 ok\r\n");
    talk.hears("550 who?\r\n421 too many errors\r\n");
    assert_eq!(
        (talk.answers(), talk.end().as_str()),
        (vec!["Rcpt refused 550".to_owned()], "Mail refused 421")
    );
    let mut talk = Talk::ready(&[]);
    talk.sends(mail(&["bob", "cid"]));
    talk.hears("250 ok\r\n");
    talk.hears("550 who?\r\n421 too many errors\r\n");
    assert_eq!(talk.answers(), ["Rcpt refused 550", "Rcpt refused 421"]);
}

#[test]
fn a_closed_connection_is_unknown_only_behind_the_dot() {
    check(
        |talk| assert_eq!(talk.closes(), ""),
        |stage, answers, end| {
            let word = if stage == "Dot" { "unknown" } else { "failed" };
            assert!(answers.iter().all(|one| *one == format!("{stage} {word} Closed")), "{answers:?}");
            assert_eq!(end, format!("{stage} failed Closed"));
        },
    );
}

#[test]
fn silence_ends_each_wait_at_its_time() {
    let waits = [("Banner", 300), ("Ehlo", 300), ("Mail", 300), ("Rcpt", 300), ("Data", 120), ("Dot", 600)];
    for offers in [MODERN, &[]] {
        for (steps, (stage, seconds)) in waits.into_iter().enumerate() {
            let mut talk = after(steps, offers);
            talk.pass(seconds - 1);
            assert_eq!(talk.end(), "it goes on", "{stage}");
            assert_eq!(talk.client.deadline(), Some(talk.now.after(Duration::from_secs(1))));
            talk.pass(1);
            let wait = match stage {
                "Data" => "DataStart",
                "Dot" => "DotReply",
                other => other,
            };
            assert_eq!(talk.end(), format!("{stage} failed TimedOut({wait})"));
            if steps >= 2 {
                let word = if stage == "Dot" { "unknown" } else { "failed" };
                assert_eq!(talk.answers(), [format!("{stage} {word} TimedOut({wait})")]);
            }
        }
    }
}

#[test]
fn other_waits_have_an_end_too() {
    let mut talk = Talk::with(settings(), &["STARTTLS"]);
    talk.pass(120);
    assert_eq!(talk.end(), "Tls failed TimedOut(StartTls)");
    let auth =
        Settings { auth: Some(crate::sasl::Credentials::new("a", "b")), auth_in_clear: true, ..settings() };
    let mut talk = Talk::with(auth, &["AUTH PLAIN"]);
    talk.pass(120);
    assert_eq!(talk.end(), "Auth failed TimedOut(Auth)");
    let mut talk = Talk::ready(MODERN);
    talk.sends(mail(&["bob"]));
    talk.hears("250 ok\r\n550 who?\r\n354 go\r\n");
    talk.pass(180);
    assert_eq!(
        (talk.answers(), talk.end().as_str()),
        (vec!["Rcpt refused 550".to_owned()], "Dot failed TimedOut(DataBlock)")
    );
    let mut talk = Talk::ready(MODERN);
    talk.sends(mail(&["bob"]));
    talk.hears("250 ok\r\n550 who?\r\n550 no\r\n");
    talk.sends(mail(&["cid"]));
    talk.pass(20);
    assert_eq!(talk.end(), "Mail failed TimedOut(Reset)");
}

#[test]
fn a_drip_of_bytes_is_no_reply() {
    let mut talk = Talk::ready(MODERN);
    talk.sends(mail(&["bob"]));
    for byte in b"250-slowly does it, slowly does it".chunks(1).cycle().take(300) {
        talk.pass(1);
        talk.hears(byte);
    }
    assert_eq!(talk.answers(), ["Mail failed TimedOut(Mail)"]);
}

#[test]
fn each_reply_of_a_group_begins_the_wait_anew() {
    let mut talk = Talk::ready(MODERN);
    talk.sends(mail(&["bob", "cid"]));
    for reply in ["250 ok\r\n", "250 ok\r\n", "250 ok\r\n"] {
        talk.pass(299);
        talk.hears(reply);
    }
    talk.pass(119);
    talk.hears("354 go\r\n");
    talk.pass(599);
    talk.hears("250 ok\r\n");
    assert_eq!(talk.answers(), ["Dot accepted 250", "Dot accepted 250"]);
    assert_eq!(talk.client.deadline(), None, "an idle connection waits for nothing");
    talk.pass(1 << 20);
    assert_eq!(talk.end(), "it goes on");
}

#[test]
fn what_is_no_reply_ends_the_connection() {
    let megabyte_line = [b"250 ".as_slice(), &[b'x'; 1 << 20]].concat();
    let megabyte_lines = b"250-x\r\n".repeat(150_000);
    for bytes in
        [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x15\x03\x01", b"\0", &megabyte_line, &megabyte_lines]
    {
        check(
            |talk| assert_eq!(talk.hears(bytes), ""),
            |stage, answers, end| {
                let word = if stage == "Dot" { "unknown" } else { "failed" };
                assert!(answers.iter().all(|one| *one == format!("{stage} {word} Garbage")), "{answers:?}");
                assert_eq!(end, format!("{stage} failed Garbage"));
            },
        );
    }
}

#[test]
fn a_long_reply_within_bounds_is_cut_and_taken() {
    let mut talk = Talk::ready(MODERN);
    talk.up_to_dot(&["bob"]);
    talk.hears(b"554-5.7.1 no, and here is why: and so on and so on\r\n".repeat(200));
    talk.hears("554 5.7.1 that is why\r\n");
    assert_eq!(talk.answers(), ["Dot refused 554"]);
    let Answer::Refused(reply) = &talk.finished[0][0].answer else { panic!("refused") };
    assert!(reply.text.as_str().len() <= postrider_mail::reply::MAX_FAR_TEXT_BYTES);
}

#[test]
fn a_reply_before_its_command_is_no_reply_to_it() {
    // Else each reply would be taken for the next command's, and a recipient bounce by another's 550.
    for (heard, end) in [
        ("220 mx\r\n220 really\r\n", "Ehlo failed out of step 220"),
        ("220 mx\r\n250-mx\r\n250 PIPELINING\r\n", "Ehlo failed out of step 250"),
        ("220 mx\r\nwhat?\r\n", "Ehlo failed Garbage"),
        ("220 mx\r\n421 bye\r\n", "Ehlo refused 421"),
    ] {
        let mut talk = Talk::new(settings(), Channel::Clear);
        talk.hears(heard);
        assert_eq!(talk.end(), end, "{heard}");
    }
    let mut talk = Talk::ready(&[]);
    talk.sends(mail(&["bob", "cid"]));
    talk.hears("250 ok\r\n250 ok\r\n");
    assert_eq!(talk.answers(), ["Rcpt failed out of step 250"; 2]);
    let mut talk = Talk::ready(&[]);
    talk.sends(mail(&["bob"]));
    talk.hears("250 ok\r\n25");
    talk.hears("0 ok\r\n");
    assert_eq!(talk.answers(), ["Rcpt failed out of step 250"], "in pieces as well");
    let mut talk = Talk::ready(&[]);
    talk.hears("250 a");
    talk.sends(mail(&["bob"]));
    talk.hears("nd so on\r\n");
    assert_eq!(talk.answers(), ["Mail failed out of step 250"], "nor one that came while nothing was asked");
    let mut talk = Talk::ready(MODERN);
    talk.hears("250 what else?\r\n");
    assert_eq!((talk.end().as_str(), talk.finished.len()), ("Mail failed out of step 250", 0));
}

#[test]
fn a_reply_that_came_before_the_end_still_counts() {
    let mut talk = Talk::ready(MODERN);
    talk.up_to_dot(&["bob"]);
    talk.client.input().extend_from_slice(b"250 queued\r\n");
    talk.client.connection_lost(Failure::Lost("reset".into()));
    talk.run();
    assert_eq!(
        (talk.answers(), talk.end().as_str()),
        (vec!["Dot accepted 250".to_owned()], "Mail failed Lost(\"reset\")")
    );
}

#[test]
fn half_a_reply_before_the_end_does_not() {
    let mut talk = Talk::ready(MODERN);
    talk.up_to_dot(&["bob"]);
    talk.hears("250 que");
    talk.closes();
    assert_eq!(talk.answers(), ["Dot unknown Closed"]);
}

#[test]
fn what_the_shell_does_after_the_end_changes_nothing() {
    let mut talk = Talk::ready(MODERN);
    talk.up_to_dot(&["bob"]);
    talk.closes();
    let end = talk.end();
    talk.client.connection_lost(Failure::Abandoned);
    talk.client.quit();
    talk.client.tls_established(talk.now);
    talk.client.body(&Bytes::from_static(b"x"));
    talk.client.end_body();
    assert_eq!(talk.hears("250 queued\r\n"), "");
    assert_eq!((talk.end(), talk.answers()), (end, vec!["Dot unknown Closed".to_owned()]));
}
