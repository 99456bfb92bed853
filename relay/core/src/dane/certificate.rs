//! The public key in a certificate, as the bytes that stand there.
//! **Owns:** the way to that field. **Never:** what another field says, whether the certificate is valid.
//! The way is walked by tag and length and nothing is read again into other bytes, so that a certificate whose other fields no
//! library likes (version 1, an odd serial number) is compared all the same.
//! RFC 5280 4.1.

use x509_cert::der::{Header, Reader, Result, SliceReader, Tag, TagNumber, Tagged as _, asn1::AnyRef};

/// The `SubjectPublicKeyInfo` of a certificate in DER, tag and length included; nothing if it is no certificate.
pub(super) fn key_of(certificate: &[u8]) -> Option<&[u8]> {
    key_in(certificate).ok()
}

/// Whether bytes are a `SubjectPublicKeyInfo` in DER: an algorithm, then a bit string.
pub(super) fn is_key(bytes: &[u8]) -> bool {
    let read = || -> Result<()> {
        let mut key = whole(bytes)?;
        sequence(&mut key)?;
        let bits: AnyRef<'_> = key.decode()?;
        bits.tag().assert_eq(Tag::BitString)?;
        key.finish(())
    };
    read().is_ok()
}

fn key_in(certificate: &[u8]) -> Result<&[u8]> {
    let mut certificate = whole(certificate)?;
    let mut signed = sequence(&mut certificate)?;
    let version = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
    if signed.peek_tag()? == version {
        signed.tlv_bytes()?;
    }
    // Serial number, algorithm, issuer, validity, subject.
    for _ in 0..5 {
        signed.tlv_bytes()?;
    }
    let key = signed.tlv_bytes()?;
    if is_key(key) { Ok(key) } else { Err(Tag::Sequence.value_error()) }
}

/// Reads what is in a sequence that is all of `bytes`.
fn whole(bytes: &[u8]) -> Result<SliceReader<'_>> {
    let mut all = SliceReader::new(bytes)?;
    let inside = sequence(&mut all)?;
    all.finish(inside)
}

fn sequence<'a>(from: &mut SliceReader<'a>) -> Result<SliceReader<'a>> {
    let header: Header = from.decode()?;
    header.tag.assert_eq(Tag::Sequence)?;
    SliceReader::new(from.read_slice(header.length)?)
}
