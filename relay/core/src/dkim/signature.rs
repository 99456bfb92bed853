//! The DKIM-Signature field.
//! **Owns:** its tags, their order and folding. **Never:** the canonical forms (body.rs, fields.rs).
//! RFC 6376 3.5 (tags), 3.7 (what is hashed: the signed fields, then this one with an empty `b=`).

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{BodyDigest, KeyFailed, SigningKey, fields};

/// Lines are folded at about this length (RFC 5322 2.1.1).
const LINE: usize = 72;

/// One key, and the names that its public half is found by.
#[derive(Debug, Clone)]
pub struct Signer {
    /// `d=`.
    pub domain: Box<str>,
    /// `s=`.
    pub selector: Box<str>,
    /// The key.
    pub key: SigningKey,
}

/// The fields to put on top of a message, one for each key. `header` ends before the empty line; `at` is in seconds since 1970.
///
/// # Errors
/// A key doesn't sign.
pub fn sign(signers: &[Signer], header: &[u8], body: BodyDigest, at: u64) -> Result<String, KeyFailed> {
    let (names, signed) = fields::signed(header);
    let mut all = String::new();
    for signer in signers {
        let unsigned = unsigned(signer, &names, body, at);
        let mut text = signed.clone();
        let value = unsigned.split_once(':').map_or("", |(_, value)| value);
        fields::relax(fields::Field { name: b"dkim-signature", value: value.as_bytes() }, &mut text);
        let signature = BASE64_STANDARD.encode(signer.key.sign(&text)?);
        all.push_str(&unsigned);
        fold(&mut all, &signature);
        all.push_str("\r\n");
    }
    Ok(all)
}

/// All but the value of `b=`, which comes last.
fn unsigned(signer: &Signer, names: &[&str], body: BodyDigest, at: u64) -> String {
    let Signer { domain, selector, key } = signer;
    let algorithm = key.algorithm().as_str();
    let mut text = format!(
        "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; t={at};\r\n\td={domain}; s={selector};\r\n\th="
    );
    let mut length = "\th=".len();
    for (number, name) in names.iter().enumerate() {
        if number > 0 {
            text.push(':');
            length += 1;
        }
        if length + name.len() > LINE {
            text.push_str("\r\n\t");
            length = 1;
        }
        text.push_str(name);
        length += name.len();
    }
    text.push_str(";\r\n\tbh=");
    text.push_str(&BASE64_STANDARD.encode(body.as_bytes()));
    text.push_str(";\r\n\tb=");
    text
}

fn fold(text: &mut String, signature: &str) {
    let mut rest = signature;
    while rest.len() > LINE {
        let (line, behind) = rest.split_at(LINE);
        text.push_str(line);
        text.push_str("\r\n\t");
        rest = behind;
    }
    text.push_str(rest);
}
