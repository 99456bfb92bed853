//! Tests of demands, on certificates made for them. **Owns:** nothing. **Never:** a handshake.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sha2::{Digest as _, Sha256, Sha512};

use super::*;

/// A chain of three: a leaf, its issuer, and that one's, which signed itself.
struct Chain {
    certificates: Vec<Vec<u8>>,
    keys: Vec<Vec<u8>>,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn chain() -> Chain {
    let key = || KeyPair::generate().unwrap();
    let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
    let middle = CertifiedIssuer::signed_by(authority("middle"), key(), &root).unwrap();
    let leaf_key = key();
    let leaf = CertificateParams::new(vec!["mx.example".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &middle).unwrap();
    let spki = |key: &KeyPair| rcgen::PublicKeyData::subject_public_key_info(key);
    Chain {
        certificates: vec![leaf.der().to_vec(), middle.der().to_vec(), root.der().to_vec()],
        keys: vec![spki(&leaf_key), spki(middle.key()), spki(root.key())],
    }
}

impl Chain {
    fn fit<'a>(&'a self, demand: &'a Demand) -> Fit<'a> {
        let chain: Vec<&[u8]> = self.certificates.iter().map(Vec::as_slice).collect();
        demand.fits(&chain)
    }

    /// The record about a certificate of the chain with these parameters.
    fn record(&self, usage: u8, selector: u8, matching: u8, at: usize) -> Tlsa {
        let whole = if selector == 0 { &self.certificates[at] } else { &self.keys[at] };
        let data = match matching {
            0 => whole.clone(),
            1 => Sha256::digest(whole).to_vec(),
            _ => Sha512::digest(whole).to_vec(),
        };
        Tlsa { usage, selector, matching, data }
    }
}

fn demand(records: &[Tlsa]) -> Demand {
    Demand::of(records).expect("there are records")
}

#[test]
fn every_selector_and_digest_finds_the_leaf_and_the_authorities() {
    let chain = chain();
    for selector in 0..=1 {
        for matching in 0..=2 {
            let of = |usage, at| demand(&[chain.record(usage, selector, matching, at)]);
            let what = format!("{selector} {matching}");
            assert_eq!(chain.fit(&of(3, 0)), Fit::Leaf, "{what}");
            for at in 1..=2 {
                let (of, expected) = (of(2, at), Fit::Anchors(vec![&chain.certificates[at]]));
                assert_eq!(chain.fit(&of), expected, "{what} {at}");
            }
            assert_eq!(chain.fit(&of(3, 1)), Fit::Nothing, "an authority isn't the leaf: {what}");
        }
    }
}

#[test]
fn an_authority_is_above_the_leaf() {
    let chain = chain();
    assert_eq!(chain.fit(&demand(&[chain.record(2, 1, 1, 0)])), Fit::Nothing);
}

#[test]
fn an_authority_that_was_not_sent_is_taken_from_the_record_that_has_all_of_it() {
    let mut chain = chain();
    let (whole, digest) = (chain.record(2, 0, 0, 2), chain.record(2, 0, 1, 2));
    let root = chain.certificates.pop().unwrap();
    assert_eq!(chain.fit(&demand(&[whole])), Fit::Anchors(vec![&root]));
    assert_eq!(chain.fit(&demand(&[digest])), Fit::Nothing);
}

#[test]
fn a_record_of_another_certificate_fits_nothing() {
    let (ours, other) = (chain(), chain());
    for usage in [2, 3] {
        for selector in 0..=1 {
            let records = [1, 2].map(|matching| other.record(usage, selector, matching, 0));
            assert_eq!(ours.fit(&demand(&records)), Fit::Nothing);
        }
    }
}

#[test]
fn one_that_fits_is_enough_during_a_change_of_keys() {
    let (ours, next) = (chain(), chain());
    let records = [next.record(3, 1, 1, 0), ours.record(3, 1, 1, 0)];
    assert_eq!(ours.fit(&demand(&records)), Fit::Leaf);
    assert_eq!(next.fit(&demand(&records)), Fit::Leaf);
}

#[test]
fn records_that_cannot_be_used_ask_for_tls_only() {
    let chain = chain();
    let good = chain.record(3, 1, 1, 0);
    let with = |change: &dyn Fn(&mut Tlsa)| {
        let mut record = good.clone();
        change(&mut record);
        record
    };
    let unusable = [
        with(&|record| record.usage = 0),
        with(&|record| record.usage = 1),
        with(&|record| record.usage = 255),
        with(&|record| record.selector = 2),
        with(&|record| record.matching = 3),
        with(&|record| record.matching = 2),
        with(&|record| record.data.truncate(31)),
        with(&|record| record.data.clear()),
        Tlsa { usage: 3, selector: 1, matching: 0, data: vec![0x30, 0] },
        Tlsa { usage: 2, selector: 0, matching: 0, data: b"no certificate".to_vec() },
    ];
    for record in &unusable {
        assert_eq!(demand(std::slice::from_ref(record)), Demand::Encrypted, "{record:?}");
    }
    assert_eq!(chain.fit(&Demand::Encrypted), Fit::Any);
    let mut mixed = unusable.to_vec();
    mixed.push(chain.record(3, 1, 1, 1));
    assert_eq!(chain.fit(&demand(&mixed)), Fit::Nothing, "one that can be used has to fit");
    assert_eq!(Demand::of(&[]), None);
}

#[test]
fn what_cannot_be_used_takes_no_place_of_what_can() {
    let chain = chain();
    let mut records = vec![Tlsa { usage: 1, ..chain.record(3, 1, 1, 0) }; 1_000];
    records.push(chain.record(3, 1, 1, 0));
    assert_eq!(chain.fit(&demand(&records)), Fit::Leaf);
    let many = |n: u16| {
        let data = Sha256::digest(n.to_be_bytes()).to_vec();
        Tlsa { usage: 3, selector: 1, matching: 1, data }
    };
    let Demand::Fitting(kept) = demand(&(0..1_000).map(many).collect::<Vec<_>>()) else { panic!("usable") };
    assert_eq!(kept.len(), MAX_RECORDS);
}

#[test]
fn the_order_of_records_makes_no_other_demand() {
    let chain = chain();
    let (a, b) = (chain.record(3, 1, 1, 0), chain.record(2, 0, 1, 2));
    assert_eq!(demand(&[a.clone(), b.clone(), a.clone()]), demand(&[b, a]));
}

#[test]
fn a_certificate_that_is_none_has_no_key_and_its_bytes_are_compared_all_the_same() {
    let data = Sha256::digest(b"odd").to_vec();
    let record = |selector| Tlsa { usage: 3, selector, matching: 1, data: data.clone() };
    assert_eq!(demand(&[record(0)]).fits(&[b"odd"]), Fit::Leaf);
    assert_eq!(demand(&[record(1)]).fits(&[b"odd"]), Fit::Nothing);
    assert_eq!(demand(&[record(0)]).fits(&[]), Fit::Nothing);
}

#[test]
fn bytes_that_are_cut_anywhere_are_no_certificate() {
    let whole = &chain().certificates[0];
    for end in 0..whole.len() {
        assert_eq!(certificate::key_of(&whole[..end]), None, "{end}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert_eq!(certificate::key_of(&longer), None);
}
