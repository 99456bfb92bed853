//! The public half of a key: what is published of it.
//! **Owns:** its two forms. **Never:** the private half.
//! RFC 6376 3.6.1 names RSAPublicKey and shows a SubjectPublicKeyInfo; both are found in zones. RFC 8463 4 (Ed25519: 32 bytes).

use super::Algorithm;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// RSAPublicKey in DER, or the 32 bytes of Ed25519.
    bytes: Box<[u8]>,
}

/// SEQUENCE { OID rsaEncryption, NULL }: RFC 8017 A.1.
const RSA_ENCRYPTION: &[u8] = &[0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 3;

impl PublicKey {
    pub(super) fn new(algorithm: Algorithm, bytes: &[u8]) -> Self {
        Self { algorithm, bytes: bytes.into() }
    }

    /// How the private half signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What `p=` holds, before base64.
    pub fn published(&self) -> Vec<u8> {
        match self.algorithm {
            Algorithm::Ed25519Sha256 => self.bytes.to_vec(),
            Algorithm::RsaSha256 => {
                let whole_bytes = [&[0], &*self.bytes].concat();
                let inner = [RSA_ENCRYPTION, &der(BIT_STRING, &whole_bytes)].concat();
                der(SEQUENCE, &inner)
            }
        }
    }

    /// Whether what stands in `p=` is this key, in either form.
    pub fn is(&self, published: &[u8]) -> bool {
        published == &*self.bytes || published == self.published()
    }
}

/// A value with its tag and length: X.690 8.1.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut out = vec![tag];
    match significant {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            // A length has 8 bytes at most.
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(value);
    out
}
