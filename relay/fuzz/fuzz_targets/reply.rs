//! Replies of a far side's, and the offers in them.
//! **Owns:** any split of the bytes gives the same replies; their words are one bounded line; what is written is read. **Never:**
//! what a reply means.
//! Input: a byte for the sizes of pieces, then what the far side sends.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use postrider_fuzz::{has_whole_line_ends, pieces};
use postrider_mail::{Reply, reply::MAX_FAR_TEXT_BYTES};
use postrider_smtp::{
    extension::Extensions,
    reply_codec::{Garbage, MAX_READ_LINE_BYTES, MAX_READ_LINES, ReadReply, ReplyReader, write},
};

/// The replies until one is garbage.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<ReadReply>, Option<Garbage>) {
    let (mut reader, mut input, mut replies) = (ReplyReader::default(), BytesMut::new(), Vec::new());
    reader.keep_lines(true);
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.read(&mut input) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break assert!(input.len() < MAX_READ_LINE_BYTES),
                Err(garbage) => return (replies, Some(garbage)),
            }
        }
    }
    (replies, None)
}

fn check(read_reply: &ReadReply) {
    let ReadReply { reply, lines } = read_reply;
    let text = reply.text.as_str();
    assert!(text.len() <= MAX_FAR_TEXT_BYTES && !text.contains(char::is_control));
    assert!((1..=MAX_READ_LINES as usize).contains(&lines.len()));
    let shown = lines.iter().map(|line| line.to_string().into()).collect();
    let mut written = BytesMut::new();
    write(&Reply::bare(reply.code, shown), &mut written);
    assert!(has_whole_line_ends(&written));
    let (again, garbage) = read(std::iter::once(&written[..]));
    assert!(garbage.is_none() && again.len() == 1, "one reply, written, is one");
    assert_eq!((again[0].reply.code, again[0].lines.len()), (reply.code, lines.len()));
    let offers = Extensions::from_lines(lines.iter().map(|line| &**line));
    let keywords = offers.lines();
    let again = Extensions::from_lines(std::iter::once("host").chain(keywords.iter().map(String::as_str)));
    assert_eq!(again, offers, "offers are read as they were written");
}

fuzz_target!(|input: &[u8]| {
    let [seed, bytes @ ..] = input else { return };
    let whole = read(std::iter::once(bytes));
    assert_eq!(read(pieces(bytes, *seed)), whole, "any split of the bytes gives the same replies");
    whole.0.iter().for_each(check);
});
