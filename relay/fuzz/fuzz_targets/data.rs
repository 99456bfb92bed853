//! Bodies: behind DATA, in chunks, and on the way out.
//! **Owns:** only CRLF.CRLF ends a message, no CR or LF is left alone, any split gives the same, what is encoded is decoded; all held
//! against a few lines that do it the slow way. **Never:** what a body says.
//! Input: a byte for the sizes of pieces, then the bytes.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::{has_whole_line_ends, pieces};
use postrider_smtp::{
    data::{Decoder, Encoder},
    server::BareNewlines,
};

/// What is content of bytes behind DATA, and what stands behind the end; by the letter of RFC 5321 4.5.2.
fn slowly(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let end = if bytes.starts_with(b".\r\n") {
        0
    } else {
        bytes.windows(5).position(|five| five == b"\r\n.\r\n")? + 2
    };
    let mut content = Vec::new();
    let mut rest = &bytes[..end];
    while !rest.is_empty() {
        let len = rest.windows(2).position(|two| two == b"\r\n").map_or(rest.len(), |at| at + 2);
        let (line, behind) = rest.split_at(len);
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        rest = behind;
    }
    Some((content, &bytes[end + 3..]))
}

/// Each CR, LF and CRLF a CRLF.
fn in_lines(bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && bytes[at - 1] == b'\r' => {}
            b'\r' | b'\n' => lines.extend_from_slice(b"\r\n"),
            other => lines.push(*other),
        }
    }
    lines
}

/// Content, what is left when the end came (nothing if it didn't), and whether a CR or LF stood alone.
fn data(bytes: &[u8], seed: Option<u8>) -> (Vec<u8>, Option<Vec<u8>>, bool) {
    let mut decoder = Decoder::data(BareNewlines::Normalize);
    let (mut input, mut content, mut rest) = (BytesMut::new(), Vec::new(), None);
    let whole = [bytes];
    let pieces: Vec<&[u8]> = match seed {
        Some(seed) => pieces(bytes, seed).collect(),
        None => whole.to_vec(),
    };
    for piece in pieces {
        input.extend_from_slice(piece);
        if rest.is_some() {
            continue;
        }
        let decoded = decoder.decode(&mut input);
        content.extend_from_slice(&decoded.content);
        assert!(decoded.is_end || input.len() <= 3, "what can't be told yet is little");
        rest = decoded.is_end.then_some(());
    }
    (content, rest.map(|()| input.to_vec()), decoder.has_bare_newline())
}

fn check_data(bytes: &[u8], seed: u8) {
    let whole = data(bytes, None);
    assert_eq!(data(bytes, Some(seed)), whole, "any split of the bytes gives the same content");
    let (content, rest, has_bare_newline) = whole;
    assert!(has_whole_line_ends(&content));
    let slow = slowly(bytes);
    assert_eq!(slow.as_ref().map(|(_, rest)| rest.to_vec()), rest, "only CRLF.CRLF is an end");
    if let Some((slow, _)) = slow {
        assert_eq!(content, in_lines(&slow));
        assert_eq!(has_bare_newline, !has_whole_line_ends(&slow));
    }
}

/// Chunks of BDAT: wherever they are cut, and in whatever pieces they come.
fn check_octets(bytes: &[u8], seed: u8) {
    let mut decoder = Decoder::octets(BareNewlines::Normalize);
    let mut content = Vec::new();
    for chunk in pieces(bytes, seed) {
        let mut input = BytesMut::new();
        let (last, others) = chunk.split_last().expect("pieces aren't empty");
        for piece in others.chunks(2) {
            input.extend_from_slice(piece);
            content.extend_from_slice(&decoder.decode_octets(&mut input));
            assert!(input.is_empty(), "octets are taken whole");
        }
        input.extend_from_slice(&[*last]);
        content.extend_from_slice(&decoder.decode_octets(&mut input));
    }
    content.extend_from_slice(decoder.finish_octets());
    let mut expected = in_lines(bytes);
    if !expected.is_empty() && !expected.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(content, expected);
    assert_eq!(decoder.has_bare_newline(), !has_whole_line_ends(bytes));
    assert_eq!(decoder.has_nul(), bytes.contains(&0));
}

fn encoded<'a>(mut encoder: Encoder, pieces: impl Iterator<Item = &'a [u8]>) -> BytesMut {
    let mut output = BytesMut::new();
    pieces.for_each(|piece| encoder.encode(piece, &mut output));
    encoder.finish(&mut output);
    output
}

fn check_encoder(bytes: &[u8], seed: u8) {
    for encoder in [Encoder::data(), Encoder::octets()] {
        let whole = encoded(encoder.clone(), std::iter::once(bytes));
        assert_eq!(encoded(encoder, pieces(bytes, seed)), whole, "any split of the content gives the same");
        assert!(has_whole_line_ends(&whole) && (whole.is_empty() || whole.ends_with(b"\r\n")));
    }
    let mut wire = encoded(Encoder::data(), std::iter::once(bytes));
    wire.extend_from_slice(b".\r\nQUIT");
    let mut expected = in_lines(bytes);
    if !expected.is_empty() && !expected.ends_with(b"\r\n") {
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(data(&wire, None), (expected, Some(b"QUIT".to_vec()), false), "what is encoded is decoded");
}

fuzz_target!(|input: &[u8]| {
    let [seed, bytes @ ..] = input else { return };
    check_data(bytes, *seed);
    check_octets(bytes, *seed);
    check_encoder(bytes, *seed);
});
