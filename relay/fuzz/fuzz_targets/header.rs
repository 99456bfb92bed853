//! A message's header while it streams by, and the fields that are put on top of it.
//! **Owns:** any split of the bytes finds the same; what a client calls itself can't end or forge a field. **Never:** what a field says.
//! Input: a byte for the sizes of pieces, what the client calls itself, a separator, the message.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use postrider_fuzz::{has_whole_line_ends, host, parts, pieces, text};
use postrider_mail::{Mailbox, QueueId};
use postrider_relay::intake::{
    scan::Scan,
    trace::{Hop, Protocol, date_field, message_id_field, received},
};

fn scan<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Scan {
    let mut scan = Scan::default();
    pieces.for_each(|piece| scan.feed(piece));
    scan
}

fn check_scan(message: &[u8], seed: u8) {
    let whole = scan(std::iter::once(message));
    // What is kept of a line that isn't over is of no matter once the header is.
    let facts = |scan: &Scan| {
        let counts =
            (scan.received, scan.header_bytes, scan.bytes, scan.header_is_over(), scan.lacks_header());
        (
            counts,
            scan.has_date,
            scan.has_message_id,
            scan.header_is_8bit,
            scan.body_is_8bit,
            scan.header_has_nul,
        )
    };
    assert_eq!(facts(&scan(pieces(message, seed))), facts(&whole), "any split of the bytes finds the same");
    assert_eq!(whole.bytes, message.len() as u64);
    let header = &message[..usize::try_from(whole.header_bytes).expect("it is in memory")];
    assert!(whole.header_is_over() || header.len() == message.len());
    let lines = header.split(|byte| *byte == b'\n');
    let fields =
        lines.filter(|line| line.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"received")));
    assert!(whole.received as usize <= fields.count());
    if whole.header_is_over() {
        assert_eq!(whole.header_is_8bit, !header.is_ascii());
        assert_eq!(whole.body_is_8bit, !message[header.len()..].is_ascii());
        assert_eq!(whole.header_has_nul, header.contains(&0));
    }
}

fn check_fields(client_name: &str, choices: u8) {
    let (id, host): (QueueId, _) =
        ("a-01k2v9q8h3m4n5p6r7s8t9v0wx".parse().expect("an ID"), host("mail.example.com"));
    let mailbox: Option<Mailbox> = client_name.parse().ok();
    let protocol = Protocol {
        is_extended: choices & 1 != 0,
        is_tls: choices & 2 != 0,
        is_authenticated: choices & 4 != 0,
        is_utf8: choices & 8 != 0,
    };
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let hop = Hop {
        client_name,
        client: if choices & 16 == 0 {
            [192, 0, 2, 7].into()
        } else {
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()
        },
        protocol,
        cipher: (choices & 32 != 0).then_some("TLS13_AES_128_GCM_SHA256"),
        host: &host,
        id: &id,
        recipient: mailbox.as_ref(),
        at,
    };
    let top = format!("{}{}{}\r\n", received(&hop), date_field(at), message_id_field(&id, &host));
    assert!(has_whole_line_ends(top.as_bytes()) && (top.is_ascii() || protocol.is_utf8));
    assert!(top.split("\r\n").all(|line| line.len() <= 998), "RFC 5322 2.1.1");
    let seen = scan(std::iter::once(top.as_bytes()));
    assert_eq!((seen.received, seen.has_date, seen.has_message_id), (1, true, true));
    assert_eq!(seen.header_bytes, top.len() as u64, "three fields and the empty line");
    let names = top.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with('\t'));
    assert_eq!(names.count(), 3, "no field is forged");
}

fuzz_target!(|input: &[u8]| {
    let [seed, input @ ..] = input else { return };
    let [client_name, message] = parts(input);
    check_scan(message, *seed);
    check_fields(&text(client_name), *seed);
});
