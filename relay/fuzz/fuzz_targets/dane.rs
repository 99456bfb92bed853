//! TLSA records, and the certificates that a host presents.
//! **Owns:** records never make a host ask for less than TLS, one that fits is one of the records, the order of records is no
//! matter. **Never:** a signature, a path.
//! Input: pieces with their length before them in two bytes; the first byte of a piece, if it is below 128, makes it a record (the two
//! bits of each field), else a certificate of the chain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_core::dane::{Demand, Fit, MAX_CHAIN, Tlsa};

/// A piece with its length before it; what is left where that is too long.
fn cut<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return std::mem::take(input) };
    let (piece, behind) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    *input = behind;
    piece
}

fn record(fields: u8, data: &[u8]) -> Tlsa {
    Tlsa { usage: fields & 3, selector: fields >> 2 & 3, matching: fields >> 4 & 3, data: data.to_vec() }
}

fn check_fit(demand: &Demand, chain: &[&[u8]]) {
    match demand.fits(chain) {
        Fit::Any => assert_eq!(*demand, Demand::Encrypted),
        Fit::Leaf => assert!(!chain.is_empty() && demand.is_fitting()),
        Fit::Anchors(anchors) => {
            assert!(!anchors.is_empty() && !chain.is_empty());
            assert!(anchors.is_sorted(), "each once");
        }
        Fit::Nothing => assert!(demand.is_fitting()),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let (mut records, mut chain) = (Vec::new(), Vec::new());
    while !input.is_empty() {
        match cut(&mut input).split_first() {
            Some((fields, data)) if *fields < 128 => records.push(record(*fields, data)),
            Some((_, certificate)) => chain.push(certificate),
            None => {}
        }
    }
    let demand = Demand::of(&records);
    assert_eq!(demand.is_none(), records.is_empty(), "records always demand something");
    let Some(demand) = demand else { return };
    check_fit(&demand, &chain);
    records.reverse();
    assert_eq!(Demand::of(&records).as_ref(), Some(&demand), "in whatever order they come");
    // What a host says of its own certificate fits it, whatever the bytes are.
    if let Some(leaf) = chain.first().filter(|_| chain.len() <= MAX_CHAIN) {
        let own = Tlsa { usage: 3, selector: 0, matching: 0, data: leaf.to_vec() };
        let own = Demand::of(&[own]).expect("a record");
        assert!(matches!(own.fits(&chain), Fit::Leaf | Fit::Any));
    }
});
