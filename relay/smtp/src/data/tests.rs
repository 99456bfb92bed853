//! Bodies on the wire: where they end, their dots and line ends.

use proptest::prelude::*;

use super::*;

/// Decodes `wire` in pieces; gives content, what stood behind the end (`None` if there was none), bare, NUL.
fn decode(wire: &[u8], policy: BareNewlines, sizes: &[usize]) -> (Vec<u8>, Option<Vec<u8>>, bool, bool) {
    let mut decoder = Decoder::data(policy);
    let (mut input, mut content) = (BytesMut::new(), Vec::new());
    let mut rest = wire;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        rest = behind;
        input.extend_from_slice(piece);
        let decoded = decoder.decode(&mut input);
        content.extend_from_slice(&decoded.content);
        if decoded.is_end {
            input.extend_from_slice(rest);
            return (content, Some(input.to_vec()), decoder.has_bare_newline(), decoder.has_nul());
        }
        assert!(input.len() <= 3, "what stays behind is bounded");
    }
    (content, None, decoder.has_bare_newline(), decoder.has_nul())
}

fn whole(wire: &[u8], policy: BareNewlines) -> (Vec<u8>, Option<Vec<u8>>, bool, bool) {
    decode(wire, policy, &[wire.len()])
}

#[test]
fn dots_are_taken_out_and_the_end_is_found() {
    let (content, behind, bare, nul) = whole(b"a\r\n..b\r\n...\r\n.c\r\n.\r\nQUIT\r\n", BareNewlines::Refuse);
    assert_eq!(content, b"a\r\n.b\r\n..\r\nc\r\n");
    assert_eq!((behind.as_deref(), bare, nul), (Some(&b"QUIT\r\n"[..]), false, false));
    assert_eq!(whole(b".\r\n", BareNewlines::Refuse).0, b"");
}

#[test]
fn nothing_but_crlf_dot_crlf_ends_a_message() {
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r\r\n.\r\r\n",
        "\n.\r",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\r\n.\r.\r\n",
        "\n\n.\n\n",
    ] {
        let wire = format!("body{end}MAIL FROM:<evil@x.example>\r\n.\r\nQUIT\r\n");
        for policy in [BareNewlines::Refuse, BareNewlines::Normalize] {
            let (content, behind, bare, _) = whole(wire.as_bytes(), policy);
            assert_eq!(behind.as_deref(), Some(&b"QUIT\r\n"[..]), "{end:?} ended the message");
            assert!(bare || end.contains('\0'), "{end:?}");
            let text = String::from_utf8(content).expect("ASCII");
            assert!(policy == BareNewlines::Refuse || text.contains("MAIL FROM"), "{end:?}");
        }
    }
}

#[test]
fn a_normalized_message_has_only_crlf() {
    let (content, ..) = whole(b"a\nb\rc\r\n\n.\nd\r\n.\r\n", BareNewlines::Normalize);
    assert_eq!(content, b"a\r\nb\r\nc\r\n\r\n.\r\nd\r\n");
}

#[test]
fn nul_is_reported() {
    assert!(whole(b"a\0b\r\n.\r\n", BareNewlines::Refuse).3);
}

#[test]
fn octets_keep_their_dots_and_get_a_last_line_end() {
    let mut decoder = Decoder::octets(BareNewlines::Refuse);
    let mut content = Vec::new();
    for chunk in [&b".\r\n..\r"[..], b"\nx", b""] {
        content.extend_from_slice(&decoder.decode_octets(&mut BytesMut::from(chunk)));
    }
    content.extend_from_slice(decoder.finish_octets());
    assert_eq!(content, b".\r\n..\r\nx\r\n");
    assert!(!decoder.has_bare_newline());
}

#[test]
fn a_cr_at_the_end_of_all_octets_stands_alone() {
    let mut decoder = Decoder::octets(BareNewlines::Refuse);
    decoder.decode_octets(&mut BytesMut::from(&b"a\r"[..]));
    assert_eq!(decoder.finish_octets(), b"\r\n");
    assert!(decoder.has_bare_newline());
}

fn encoded(content: &[u8], sizes: &[usize]) -> BytesMut {
    let (mut encoder, mut wire) = (Encoder::data(), BytesMut::new());
    let mut rest = content;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        encoder.encode(piece, &mut wire);
        rest = behind;
    }
    encoder.finish(&mut wire);
    wire
}

/// What any text becomes on its way: each CR, LF and CRLF a CRLF, the last line ended.
fn normal_form(text: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at..] {
            [b'\r', b'\n', ..] => {
                content.extend_from_slice(b"\r\n");
                at += 1;
            }
            [b'\r' | b'\n', ..] => content.extend_from_slice(b"\r\n"),
            _ => content.push(text[at]),
        }
        at += 1;
    }
    if !content.is_empty() && !content.ends_with(b"\r\n") {
        content.extend_from_slice(b"\r\n");
    }
    content
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&b"ab..\r\n\r\n\0\xe9"[..]), 0..60)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(body in bodies(), sizes in prop::collection::vec(1_usize..9, 1..5)) {
        let mut wire = encoded(&body, &sizes);
        wire.extend_from_slice(b".\r\n");
        let (content, behind, bare, _) = decode(&wire, BareNewlines::Refuse, &sizes);
        prop_assert_eq!(content, normal_form(&body));
        prop_assert_eq!((behind, bare), (Some(Vec::new()), false));
    }

    #[test]
    fn any_split_is_encoded_alike(body in bodies(), sizes in prop::collection::vec(1_usize..9, 1..5)) {
        prop_assert_eq!(encoded(&body, &sizes), encoded(&body, &[body.len().max(1)]));
    }

    #[test]
    fn any_split_is_decoded_alike(wire in bodies(), sizes in prop::collection::vec(1_usize..5, 1..5)) {
        for policy in [BareNewlines::Refuse, BareNewlines::Normalize] {
            prop_assert_eq!(decode(&wire, policy, &sizes), whole(&wire, policy));
        }
    }

    #[test]
    fn any_chunks_of_octets_are_decoded_alike(text in bodies(), cuts in prop::collection::vec(0_usize..60, 0..4)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let mut decoder = Decoder::octets(BareNewlines::Normalize);
        let mut content = Vec::new();
        for pair in cuts.windows(2) {
            content.extend_from_slice(&decoder.decode_octets(&mut BytesMut::from(&text[pair[0]..pair[1]])));
        }
        content.extend_from_slice(decoder.finish_octets());
        prop_assert_eq!(content, normal_form(&text));
    }
}
