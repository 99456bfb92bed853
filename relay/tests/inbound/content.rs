//! What is stored is what was sent, with one field on top.

use crate::{
    peer::Peer,
    rig::{Rig, Setup, queue_id},
};

/// Takes the Received field off, and checks it.
fn without_received<'a>(stored: &'a [u8], reply: &str) -> &'a [u8] {
    let text = String::from_utf8_lossy(stored);
    assert!(
        text.starts_with("Received: from client.example ([127.0.0.1])\r\n\tby mail.example.com with ESMTP"),
        "{text:.300}"
    );
    assert!(
        text.contains(&format!(" id {}\r\n\tfor <b@far.example>;\r\n\t", queue_id(reply))),
        "{text:.300}"
    );
    let mut at = 0;
    loop {
        at += stored[at..].iter().position(|b| *b == b'\n').expect("a line") + 1;
        if stored[at] != b'\t' {
            return &stored[at..];
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_stored_as_it_was_sent() {
    let rig = Rig::usual().await;
    let mut peer = rig.peer().await;
    let sent = b"Subject: J\xc3\xbcrgen\r\n\r\n..\r\n...two\r\nna\xefve \0 bytes\r\n\r\n\r\n";
    let reply = peer.message(sent).await;
    assert!(reply.starts_with("250 2.0.0 "), "{reply}");
    let stored = rig.stored(&reply).await;
    assert_eq!(
        without_received(&stored, &reply),
        b"Subject: J\xc3\xbcrgen\r\n\r\n.\r\n..two\r\nna\xefve \0 bytes\r\n\r\n\r\n"
    );
    // No Date and no Message-ID: another server's mail is passed on as it is.
    assert_eq!(rig.metrics.messages_accepted.with_label_values(&["smtp"]).get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_is_streamed_and_stored_as_it_was_sent() {
    let rig = Rig::usual().await;
    let mut peer = rig.peer().await;
    let mut sent = b"Subject: large\r\n\r\n".to_vec();
    let mut state = 1_u32;
    while sent.len() < 3 << 20 {
        for _ in 0..76 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            sent.push(b'a' + u8::try_from((state >> 16) % 26).expect("a letter"));
        }
        sent.extend_from_slice(b"\r\n");
    }
    let reply = peer.message(&sent).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let stored = rig.stored(&reply).await;
    assert!(without_received(&stored, &reply) == sent, "a large message was changed");
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bdat_and_pipelining_store_the_same() {
    let rig = Rig::usual().await;
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.send(b"MAIL FROM:<a@app.example>\r\nRCPT TO:<b@far.example>\r\nBDAT 14\r\nSubject: x\r\n\r\nBDAT 8 LAST\r\n.\r\nend\r\n")
        .await;
    for _ in 0..3 {
        let reply = peer.reply().await;
        assert!(reply.starts_with("250"), "{reply}");
    }
    let reply = peer.reply().await;
    assert!(reply.starts_with("250"), "{reply}");
    let stored = rig.stored(&reply).await;
    assert!(stored.ends_with(b"Subject: x\r\n\r\n.\r\nend\r\n"), "{}", String::from_utf8_lossy(&stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_messages_share_a_session_and_get_names_of_their_own() {
    let rig = Rig::usual().await;
    let mut peer = rig.peer().await;
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..20 {
        let reply = peer.message(format!("Subject: {n}\r\n\r\n{n}\r\n").as_bytes()).await;
        assert!(reply.starts_with("250 "), "{reply}");
        assert!(ids.insert(queue_id(&reply).to_string()));
        assert!(rig.stored(&reply).await.ends_with(format!("Subject: {n}\r\n\r\n{n}\r\n").as_bytes()));
    }
    peer.expect("QUIT", "221").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_not_told_of_each_other() {
    let rig = Rig::usual().await;
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
    peer.expect("RCPT TO:<b@far.example>", "250").await;
    peer.expect("RCPT TO:<c@other.example>", "250").await;
    peer.expect("DATA", "354").await;
    let reply = peer.expect("Subject: x\r\n\r\nx\r\n.", "250").await;
    assert!(!String::from_utf8_lossy(&rig.stored(&reply).await).contains(".example>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_line_ends_are_refused_or_normalised_as_the_listener_says() {
    let (reject, mut normalize) = (crate::rig::listener("smtp"), crate::rig::listener("normal"));
    normalize.bare_line_ends = postrider_core::config::BareLineEnds::Normalize;
    let rig = Rig::start(Setup { listeners: vec![reject, normalize], ..Setup::default() }).await;
    let trick = b"Subject: x\r\n\r\na\n.\nMAIL FROM:<evil@app.example>\n.\r\nb\rc\r\n";
    let refused = rig.peer().await.message(trick).await;
    assert!(refused.starts_with("550 5.5.2 "), "{refused}");
    let mut peer = Peer::connect(rig.address("normal")).await;
    peer.reply().await;
    let reply = peer.message(trick).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let stored = rig.stored(&reply).await;
    let body = without_received(&stored, &reply);
    let text = String::from_utf8_lossy(body);
    assert!(text.contains("MAIL FROM:<evil@app.example>\r\n"), "{text}");
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text:?}");
}
