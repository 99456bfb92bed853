//! Whatever a client sends, in whatever pieces.

use proptest::prelude::*;

use super::*;

/// A long exchange in which the client keeps to what may be pipelined, cut where it has to wait.
fn groups() -> impl Strategy<Value = Vec<String>> {
    let body = prop::collection::vec(
        prop::sample::select(vec!["a", "..", "\r\n", "\r\n", "\r\n..", "\n", "é"]),
        0..30,
    );
    let message = (body, any::<bool>()).prop_map(|(body, is_chunk)| {
        let body = body.concat();
        if is_chunk {
            vec![format!("{ENVELOPE}BDAT {} LAST\r\n{body}", body.len())]
        } else {
            vec![format!("NOOP\r\n{ENVELOPE}DATA\r\n"), format!("{body}\r\n.\r\n")]
        }
    });
    prop::collection::vec(message, 1..5).prop_map(|messages| messages.concat())
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_session(groups in groups(), sizes in prop::collection::vec(1_usize..20, 1..6)) {
        let (mut whole, mut split) = (Session::greeted(settings()), Session::greeted(settings()));
        let mut sizes = sizes.into_iter().cycle();
        for group in groups {
            let expected = whole.send(&group);
            let (mut rest, mut output) = (group.as_bytes(), String::new());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                output.push_str(&split.send(piece));
                rest = behind;
            }
            prop_assert_eq!(&output, &expected);
            prop_assert_eq!(&split.log, &whole.log);
            prop_assert_eq!(&split.content, &whole.content);
        }
    }

    #[test]
    fn any_bytes_end_in_replies(lines in prop::collection::vec("(EHLO a|MAIL FROM:<>|RCPT TO:<a@b.example>|DATA|BDAT [0-9]{1,2}( LAST)?|RSET|STARTTLS|\\.|AUTH PLAIN|[ -~é]{0,20})(\r\n|\r|\n)", 0..20)) {
        let mut session = Session::new(Settings { tls: Tls::Optional, ..settings() }, Channel::Tls);
        session.run();
        for line in lines {
            session.send(&line);
            if session.end.is_some() {
                break;
            }
            prop_assert!(session.server.input().len() < 2048);
        }
    }
}
