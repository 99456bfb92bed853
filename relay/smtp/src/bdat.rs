//! BDAT: chunks of a message whose octets are counted.
//! **Owns:** the count. **Never:** what the octets are (data.rs checks line ends). RFC 3030.

use bytes::BytesMut;

/// A chunk that is coming in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    remaining: u64,
    is_last: bool,
}

impl Chunk {
    /// What a BDAT command announced.
    pub const fn new(octets: u64, is_last: bool) -> Self {
        Self { remaining: octets, is_last }
    }

    /// Octets still to come.
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether all of it was taken.
    pub const fn is_complete(&self) -> bool {
        self.remaining == 0
    }

    /// Whether it ends the message.
    pub const fn is_last(&self) -> bool {
        self.is_last
    }

    /// How many bytes of a buffer of `available` are the chunk's.
    pub fn within(&self, available: usize) -> usize {
        usize::try_from(self.remaining).unwrap_or(usize::MAX).min(available)
    }

    /// Counts octets as taken.
    pub fn take(&mut self, octets: usize) {
        self.remaining = self.remaining.saturating_sub(octets as u64);
    }

    /// Drops what the chunk has in a buffer, and nothing behind it.
    pub fn swallow(&mut self, input: &mut BytesMut) {
        let taken = self.within(input.len());
        let _ = input.split_to(taken);
        self.take(taken);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exactly_the_announced_octets_are_swallowed() {
        let mut chunk = Chunk::new(5, true);
        let mut input = BytesMut::from(&b"abc"[..]);
        chunk.swallow(&mut input);
        assert_eq!((input.len(), chunk.remaining()), (0, 2));
        input.extend_from_slice(b"\r\nQUIT\r\n");
        chunk.swallow(&mut input);
        assert!(chunk.is_complete() && chunk.is_last());
        assert_eq!(&input[..], b"QUIT\r\n");
    }

    proptest! {
        #[test]
        fn any_split_swallows_the_same(octets in 0_usize..50, is_last: bool, sizes in prop::collection::vec(1_usize..9, 1..5)) {
            let bytes: Vec<u8> = (0..60).collect();
            let mut chunk = Chunk::new(octets as u64, is_last);
            let (mut input, mut sizes) = (BytesMut::new(), sizes.into_iter().cycle());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                input.extend_from_slice(piece);
                chunk.swallow(&mut input);
                rest = behind;
            }
            prop_assert!(chunk.is_complete() && chunk.is_last() == is_last);
            prop_assert_eq!(&input[..], &bytes[octets..]);
        }
    }
}
