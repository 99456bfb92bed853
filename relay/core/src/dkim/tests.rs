//! The examples of RFC 6376 and RFC 8463, and what holds for any message.

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::prelude::*;

use super::*;

const RSA: &str = include_str!("fixtures/rsa.pem");
/// RFC 8463 A.2.
const ED25519: &str = include_str!("fixtures/ed25519.pem");
/// RFC 8463 A.3.
const HEADER: &[u8] = b"From: Joe SixPack <joe@football.example.com>\r\n\
    To: Suzie Q <suzie@shopping.example.net>\r\n\
    Subject: Is dinner ready?\r\n\
    Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
    Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
const BODY: &[u8] = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";

fn digest(body: &[u8]) -> BodyDigest {
    let mut hash = BodyHash::default();
    hash.feed(body);
    hash.finish()
}

fn relaxed(header: &[u8]) -> String {
    let mut text = Vec::new();
    for field in fields::fields(header) {
        fields::relax(field, &mut text);
        text.extend_from_slice(b"\r\n");
    }
    String::from_utf8(text).expect("text")
}

fn signer(selector: &str, pem: &str) -> Signer {
    let key = SigningKey::parse(pem).expect("a key");
    Signer { domain: "football.example.com".into(), selector: selector.into(), key }
}

/// RFC 6376 3.4.5.
#[test]
fn the_relaxed_example() {
    assert_eq!(relaxed(b"A: X\r\nB : Y\t\r\n\tZ  \r\n"), "a:X\r\nb:Y Z\r\n");
    assert_eq!(digest(b" C \r\nD \t E\r\n\r\n\r\n"), digest(b" C\r\nD E\r\n"));
    assert_eq!(
        digest(b" C\r\nD E\r\n").as_bytes(),
        ring::digest::digest(&ring::digest::SHA256, b" C\r\nD E\r\n").as_ref()
    );
}

/// RFC 6376 3.4.4: what an empty body hashes to.
#[test]
fn bodies_of_nothing_are_empty() {
    for body in ["", "\r\n", "\r\n\r\n", " \t\r\n", "  "] {
        let hash = BASE64_STANDARD.encode(digest(body.as_bytes()).as_bytes());
        assert_eq!(hash, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "{body:?}");
    }
    assert_eq!(digest(b"no end"), digest(b"no end \r\n\r\n"));
}

/// RFC 8463 A.3: the very signature.
#[test]
fn the_ed25519_example() {
    let hash = BASE64_STANDARD.encode(digest(BODY).as_bytes());
    assert_eq!(hash, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
    let unsigned = format!(
        " v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n \
         q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n \
         bh={hash};\r\n b="
    );
    let mut text = relaxed(HEADER).into_bytes();
    fields::relax(fields::Field { name: b"DKIM-Signature", value: unsigned.as_bytes() }, &mut text);
    let signature = signer("brisbane", ED25519).key.sign(&text).expect("signs");
    assert_eq!(
        BASE64_STANDARD.encode(signature),
        "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
    );
}

#[test]
fn each_key_has_its_field() {
    let signers = [signer("r", RSA), signer("e", ED25519)];
    let text = sign(&signers, HEADER, digest(BODY), 7).expect("signs");
    assert_eq!(text.matches("DKIM-Signature:").count(), 2);
    assert!(text.contains("a=rsa-sha256;") && text.contains("a=ed25519-sha256;"), "{text}");
    assert!(text.contains("t=7;\r\n\td=football.example.com; s=e;"), "{text}");
    assert!(text.ends_with("\r\n") && text.lines().all(|line| line.len() < 78), "{text}");
    // The same message gives the same signature.
    assert_eq!(sign(&signers, HEADER, digest(BODY), 7).as_deref(), Ok(&*text));
}

#[test]
fn fields_are_signed_from_the_last_and_once_more() {
    let (names, text) =
        fields::signed(b"Subject: 1\r\nX-Other: 2\r\nsubject: 3\r\nFrom: a\r\nList-Id: 4\r\n");
    let count = |wanted| names.iter().filter(|name| **name == wanted).count();
    assert_eq!((count("from"), count("subject"), count("cc"), count("list-id")), (2, 3, 1, 1));
    assert_eq!((count("x-other"), count("list-post"), count("received")), (0, 0, 0));
    assert_eq!(String::from_utf8(text).expect("text"), "from:a\r\nsubject:3\r\nsubject:1\r\nlist-id:4\r\n");
}

#[test]
fn keys_are_read_from_both_forms() {
    let pkcs1 = SigningKey::parse(include_str!("fixtures/rsa-pkcs1.pem")).expect("a key");
    let pkcs8 = SigningKey::parse(RSA).expect("a key");
    assert_eq!(pkcs1.sign(b"x"), pkcs8.sign(b"x"));
    assert_eq!(pkcs1.algorithm(), Algorithm::RsaSha256);
    assert_eq!(SigningKey::parse(ED25519).expect("a key").algorithm(), Algorithm::Ed25519Sha256);
}

#[test]
fn what_is_no_key_is_refused_and_not_shown() {
    let small = SigningKey::parse(include_str!("fixtures/rsa-1024.pem"));
    assert_eq!(small.expect_err("too small"), InvalidKey::Kind);
    assert_eq!(SigningKey::parse("canary").expect_err("no PEM"), InvalidKey::Pem);
    let public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(SigningKey::parse(public).expect_err("public"), InvalidKey::Pem);
    assert_eq!(format!("{:?}", signer("s", ED25519).key), "SigningKey(…)");
}

#[test]
fn authors_are_found_in_what_people_write() {
    for (from, domains) in [
        ("a@one.example", "one.example"),
        ("A <a@One.Example>", "one.example"),
        ("\"a@two.example, <x@three.example>\" <a@one.example>", "one.example"),
        ("b@two.example <a@one.example>", "one.example"),
        ("a@one.example (or b@two.example)", "one.example"),
        ("A <a@one.example>, b@two.example", "one.example two.example"),
        ("Team: a@one.example, B <b@two.example>;", "one.example two.example"),
        ("\r\n\ta@\r\n\tone.example", "one.example"),
        ("\"a@x\"@one.example", "one.example"),
        ("a@m\u{fc}ller.example", "xn--mller-kva.example"),
        ("A <@relay.example:a@one.example>", "one.example"),
        ("nobody", ""),
        ("a@[192.0.2.1]", ""),
    ] {
        let found = author_domains(format!("Subject: x\r\nFROM : {from}\r\n").as_bytes());
        let found: Vec<&str> = found.iter().map(|domain| domain.as_str()).collect();
        assert_eq!(found.join(" "), domains, "{from}");
    }
    let two = author_domains(b"From: a@one.example\r\nFrom: b@two.example\r\n");
    assert_eq!(two.len(), 2);
}

proptest! {
    #[test]
    fn any_split_of_a_body_gives_the_same_hash(
        text in "[ab \t\r\n]{0,60}(\r\n){0,2}[ \t]{0,3}",
        cuts in proptest::collection::vec(0_usize..80, 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let (mut hash, mut start) = (BodyHash::default(), 0);
        for cut in cuts {
            hash.feed(&text.as_bytes()[start..cut]);
            start = cut;
        }
        prop_assert_eq!(hash.finish(), digest(text.as_bytes()));
    }

    #[test]
    fn any_header_is_signed_without_a_panic(header: Vec<u8>) {
        let signers = [signer("e", ED25519)];
        prop_assert!(sign(&signers, &header, digest(b""), 0).is_ok());
        author_domains(&header);
    }
}
