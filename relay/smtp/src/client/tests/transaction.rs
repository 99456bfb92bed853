//! MAIL, RCPT, DATA, dot: what each reply gives each recipient.

use super::*;

#[test]
fn a_group_is_one_write_where_pipelining_is_offered() {
    let mut talk = Talk::ready(MODERN);
    assert_eq!(
        talk.sends(mail(&["bob", "cid"])),
        "MAIL FROM:<ann@app.example> SIZE=15\r\nRCPT TO:<bob@far.example>\r\nRCPT TO:<cid@far.example>\r\nDATA\r\n"
    );
    assert_eq!(talk.hears("250 ok\r\n250 ok\r\n250 ok\r\n"), "");
    assert_eq!(talk.hears("354 go\r\n"), "Subject: x\r\n\r\nx\r\n.\r\n");
    assert!(talk.finished.is_empty());
    assert_eq!(talk.hears("250 2.0.0 queued\r\n"), "");
    assert_eq!(talk.answers(), ["Dot accepted 250", "Dot accepted 250"]);
    assert!(talk.is_ready, "the connection takes another");
    talk.client.quit();
    assert_eq!((talk.run().as_str(), talk.end().as_str()), ("QUIT\r\n", "Mail quit"));
}

#[test]
fn each_command_waits_for_its_reply_where_pipelining_is_not_offered() {
    let mut talk = Talk::ready(&["8BITMIME"]);
    assert_eq!(talk.sends(mail(&["bob", "cid"])), "MAIL FROM:<ann@app.example>\r\n");
    assert_eq!(talk.hears("250 ok\r\n"), "RCPT TO:<bob@far.example>\r\n");
    assert_eq!(talk.hears("550 who?\r\n"), "RCPT TO:<cid@far.example>\r\n");
    assert_eq!(talk.hears("250 ok\r\n"), "DATA\r\n");
    assert_eq!(talk.hears("354 go\r\n"), "Subject: x\r\n\r\nx\r\n.\r\n");
    talk.hears("250 ok\r\n");
    assert_eq!(talk.answers(), ["Rcpt refused 550", "Dot accepted 250"]);
    let mut talk = Talk::with(Settings { pipelining: false, ..settings() }, MODERN);
    assert_eq!(
        talk.sends(mail(&["bob"])),
        "MAIL FROM:<ann@app.example> SIZE=15\r\n",
        "nor where it isn't wanted"
    );
}

#[test]
fn each_recipient_has_its_own_reply() {
    let mut talk = Talk::ready(MODERN);
    talk.sends(mail(&["bob", "cid", "dan", "eve"]));
    talk.hears(
        "250 ok\r\n550-5.1.1 no\r\n550 5.1.1 such user\r\n250 ok\r\n451 later\r\n252 perhaps\r\n354 go\r\n",
    );
    talk.hears("250 ok\r\n");
    assert_eq!(
        talk.answers(),
        ["Rcpt refused 550", "Dot accepted 250", "Rcpt refused 451", "Dot accepted 250"]
    );
    let Answer::Refused(reply) = &talk.finished[0][0].answer else { panic!("refused") };
    assert_eq!(reply.to_string(), "550 5.1.1 no such user");
}

#[test]
fn mail_refused_amid_a_group_is_everybodys_answer() {
    for (mail_reply, answer) in [("550 5.7.1 not you\r\n", "550"), ("451 later\r\n", "451")] {
        let mut talk = Talk::ready(MODERN);
        talk.sends(mail(&["bob", "cid"]));
        let said = talk.hears(format!("{mail_reply}503 MAIL first\r\n503 MAIL first\r\n503 MAIL first\r\n"));
        assert_eq!(said, "");
        assert_eq!(talk.answers(), vec![format!("Mail refused {answer}"); 2]);
        assert!(talk.is_ready, "replies that only follow from it are no desync");
    }
    let mut talk = Talk::ready(&[]);
    talk.sends(mail(&["bob"]));
    assert_eq!(talk.hears("550 not you\r\n"), "", "no RCPT follows");
    assert_eq!(talk.answers(), ["Mail refused 550"]);
}

#[test]
fn a_reply_that_says_out_of_step_is_no_word_about_the_mail() {
    for (replies, answers, end) in [
        (&["503 EHLO first\r\n"][..], ["Mail failed out of step 503"; 2], "Mail failed out of step 503"),
        (&["354 go\r\n"], ["Mail failed out of step 354"; 2], "Mail failed out of step 354"),
        (&["250 ok\r\n", "503 what?\r\n"], ["Rcpt failed out of step 503"; 2], "Rcpt failed out of step 503"),
        (
            &["250 ok\r\n", "550 who?\r\n", "354 go\r\n"],
            ["Rcpt refused 550", "Rcpt failed out of step 354"],
            "Rcpt failed out of step 354",
        ),
        (
            &["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "503 RCPT first\r\n"],
            ["Data failed out of step 503"; 2],
            "Data failed out of step 503",
        ),
        (
            &["250 ok\r\n", "550 who?\r\n", "250 ok\r\n", "250 ok\r\n"],
            ["Rcpt refused 550", "Data failed out of step 250"],
            "Data failed out of step 250",
        ),
    ] {
        for offers in [MODERN, &[]] {
            let mut talk = Talk::ready(offers);
            talk.sends(mail(&["bob", "cid"]));
            for reply in replies {
                talk.hears(reply);
            }
            assert_eq!((talk.answers(), talk.end().as_str()), (answers.map(str::to_owned).to_vec(), end));
        }
    }
}

#[test]
fn data_refused_is_the_answer_of_those_that_were_accepted() {
    for offers in [MODERN, &[]] {
        let mut talk = Talk::ready(offers);
        talk.sends(mail(&["bob", "cid"]));
        for reply in ["250 ok\r\n", "550 who?\r\n", "250 ok\r\n", "451 4.3.0 no disk\r\n"] {
            talk.hears(reply);
        }
        assert_eq!(talk.answers(), ["Rcpt refused 550", "Data refused 451"]);
        assert_eq!(talk.dots_sent, 0);
        assert!(talk.is_ready);
    }
}

#[test]
fn a_body_nobody_takes_is_a_lone_dot() {
    let mut talk = Talk::ready(MODERN);
    talk.sends(mail(&["bob"]));
    assert_eq!(talk.hears("250 ok\r\n550 who?\r\n354 go\r\n"), ".\r\n");
    assert_eq!(talk.answers(), ["Rcpt refused 550"]);
    assert_eq!(talk.dots_sent, 0, "nothing ends here that needs a permit");
    assert!(!talk.is_ready, "its reply is still to come");
    talk.hears("250 queued\r\n");
    assert!(talk.is_ready);
    assert_eq!(talk.finished.len(), 1, "and gives nobody anything");
    assert!(talk.sends(mail(&["cid"])).starts_with("RSET\r\nMAIL "), "who knows where that has left it");
}

#[test]
fn the_next_transaction_begins_on_clean_ground() {
    for offers in [MODERN, &[]] {
        let is_group = !offers.is_empty();
        for (replies, refused) in [
            (&["250 ok\r\n", "550 who?\r\n", "554 no valid recipients\r\n"][..], "Rcpt refused 550"),
            (&["250 ok\r\n", "250 ok\r\n", "451 no disk\r\n"], "Data refused 451"),
        ] {
            let mut talk = Talk::ready(offers);
            talk.sends(mail(&["bob"]));
            // Without PIPELINING there is no DATA when nobody is there to have it.
            let needed = if !is_group && refused.starts_with("Rcpt") { 2 } else { 3 };
            for reply in &replies[..needed] {
                talk.hears(reply);
            }
            assert_eq!(talk.answers(), [refused]);
            let said = talk.sends(mail(&["cid"]));
            assert_eq!(said.starts_with("RSET\r\nMAIL "), is_group, "{said}");
            assert_eq!(said == "RSET\r\n", !is_group, "{said}");
            let more = talk.hears("250 flushed\r\n");
            assert_eq!(more.starts_with("MAIL "), !is_group);
            for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n"] {
                talk.hears(reply);
            }
            assert_eq!(talk.finished.len(), 2);
            assert_eq!(brief(&talk.finished[1][0]), "Dot accepted 250");
            assert!(talk.sends(mail(&["dan"])).starts_with("MAIL "), "once is enough");
        }
    }
}

#[test]
fn a_reset_that_is_refused_ends_the_connection() {
    let mut talk = Talk::ready(&[]);
    talk.sends(mail(&["bob"]));
    talk.hears("250 ok\r\n");
    talk.hears("550 who?\r\n");
    talk.sends(mail(&["cid"]));
    assert_eq!(talk.hears("500 what?\r\n"), "");
    assert_eq!(brief(&talk.finished[1][0]), "Mail failed out of step 500");
    assert_eq!(talk.end(), "Mail failed out of step 500");
}

#[test]
fn the_reply_to_the_dot_is_the_answer() {
    for (reply, answer) in [
        ("250 queued\r\n", "Dot accepted 250"),
        ("451 later\r\n", "Dot refused 451"),
        ("554 spam\r\n", "Dot refused 554"),
        ("354 more\r\n", "Dot unknown out of step 354"),
        ("503 what?\r\n", "Dot unknown out of step 503"),
    ] {
        let mut talk = Talk::ready(MODERN);
        talk.up_to_dot(&["bob"]);
        talk.hears(reply);
        assert_eq!(talk.answers(), [answer]);
        assert_eq!(talk.is_ready, !answer.contains("unknown"), "{reply}");
    }
}

#[test]
fn many_messages_go_over_one_connection() {
    let mut talk = Talk::ready(MODERN);
    for count in 1..=50 {
        assert!(talk.up_to_dot(&["bob", "cid"]).ends_with("\r\n.\r\n"));
        talk.hears("250 ok\r\n");
        assert_eq!((talk.client.transactions(), talk.finished.len()), (count, count as usize));
    }
    assert!(talk.finished.iter().flatten().all(|one| brief(one) == "Dot accepted 250"));
}

#[test]
fn a_transaction_that_can_not_begin_has_its_answer_too() {
    let mut talk = Talk::ready(MODERN);
    talk.closes();
    talk.sends(mail(&["bob"]));
    assert_eq!(talk.answers(), ["Mail failed Closed"]);
    assert_eq!(talk.end(), "Mail failed Closed");
    let mut talk = Talk::ready(MODERN);
    assert_eq!(talk.sends(mail(&[])), "");
    assert!(talk.answers().is_empty() && talk.is_ready);
}
