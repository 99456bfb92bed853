//! Bodies that shrink about as much as real ones do: what compresses to nothing would flatter whoever compresses.
//! **Owns:** what they look like. **Never:** chance: all runs send the same.

use std::{fmt::Write as _, sync::Arc};

/// From this size on a message is mostly an attachment.
const ATTACHED_FROM: usize = 16 << 10;
/// What the header takes.
const HEADER: usize = 256;
const LINE: usize = 76;

/// The body of a message of `size` bytes: words, or an attachment in base64.
pub(crate) fn body(size: usize) -> Arc<str> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut text = String::with_capacity(size);
    let words: Vec<String> = (0..1024).map(|_| word(&mut dice)).collect();
    while text.len() + HEADER < size {
        if size < ATTACHED_FROM {
            words_line(&mut text, &words, &mut dice);
        } else {
            base64_line(&mut text, &mut dice);
        }
    }
    text.into()
}

fn word(dice: &mut Dice) -> String {
    let letters = 2 + dice.roll(8);
    (0..letters).map(|_| char::from(b"etaoinshrdlucmfwypvbgkqjxz"[dice.roll(6) + dice.roll(21)])).collect()
}

/// Frequent words are frequent: a product of chances is small more often than not.
fn words_line(text: &mut String, words: &[String], dice: &mut Dice) {
    let end = text.len() + LINE;
    while text.len() < end {
        let word = &words[dice.roll(32) * dice.roll(32)];
        let _ = write!(text, "{word} ");
    }
    text.truncate(text.trim_end().len());
    text.push_str("\r\n");
}

fn base64_line(text: &mut String, dice: &mut Dice) {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text.extend((0..LINE).map(|_| char::from(DIGITS[dice.roll(DIGITS.len())])));
    text.push_str("\r\n");
}

/// A plain generator (xorshift), always from the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }
}
