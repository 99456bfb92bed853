//! What is published at a DKIM selector, against the key that signs.
//! **Owns:** reading the record. RFC 6376 3.6.1, RFC 8463. **Never:** a private key.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::dkim::{Algorithm, PublicKey};

/// How a published key fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// It verifies what the key signs; said is what isn't as it should be all the same.
    Good(Option<&'static str>),
    /// `p=` is empty: the key is withdrawn.
    Revoked,
    /// `p=` is another key; shown is a part of it.
    Other(String),
    /// Another tag stands in the way, or the record can't be read.
    Unfit(String),
}

/// How much of a key is shown.
const SHOWN: usize = 12;

/// Whether the key at a selector is this one.
pub(super) fn fit(text: &str, key: &PublicKey) -> Fit {
    let tags: Vec<(&str, &str)> = text
        .split(';')
        .map(|tag| tag.split_once('=').unwrap_or((tag, "")))
        .map(|(name, value)| (name.trim(), value.trim()))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let value = |wanted: &str| tags.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let first = tags.first().map(|(name, _)| *name);
    if let Some(version) = value("v").filter(|version| *version != "DKIM1" || first != Some("v")) {
        return Fit::Unfit(format!("v={version} where v=DKIM1 is to be the first tag"));
    }
    let Some(published) = value("p") else { return Fit::Unfit("no p=".to_owned()) };
    let published: String = published.split_ascii_whitespace().collect();
    if published.is_empty() {
        return Fit::Revoked;
    }
    let kind = value("k").unwrap_or("rsa");
    if kind != kind_of(key) {
        return Fit::Unfit(format!("k={kind}"));
    }
    let lists = |tag: &str, wanted: &[&str]| {
        value(tag).is_none_or(|list| list.split(':').any(|one| wanted.contains(&one.trim())))
    };
    if !lists("h", &["sha256"]) {
        return Fit::Unfit(format!("h={}", value("h").unwrap_or_default()));
    }
    if !lists("s", &["*", "email"]) {
        return Fit::Unfit(format!("s={}", value("s").unwrap_or_default()));
    }
    match STANDARD.decode(&published) {
        Ok(bytes) if key.is(&bytes) => {
            let is_test = value("t").is_some_and(|flags| flags.split(':').any(|flag| flag.trim() == "y"));
            Fit::Good(is_test.then_some("t=y: receivers treat its mail as if it weren't signed"))
        }
        Ok(_) => Fit::Other(shown(&published)),
        Err(_) => Fit::Unfit("a p= that isn't base64".to_owned()),
    }
}

/// The record that is to be published.
pub(super) fn expected(key: &PublicKey) -> String {
    format!("v=DKIM1; k={}; p={}", kind_of(key), STANDARD.encode(key.published()))
}

/// `k=`.
fn kind_of(key: &PublicKey) -> &'static str {
    match key.algorithm() {
        Algorithm::RsaSha256 => "rsa",
        Algorithm::Ed25519Sha256 => "ed25519",
    }
}

/// The part of a key in which two differ: they begin and end alike.
fn shown(published: &str) -> String {
    let middle: String = published.chars().skip(published.len() / 2).take(SHOWN).collect();
    format!("p=…{middle}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::SigningKey;

    fn key(pem: &str) -> PublicKey {
        SigningKey::parse(pem).expect("a key").public()
    }

    #[test]
    fn the_record_that_is_expected_fits() {
        for pem in [
            include_str!("../dkim/fixtures/rsa.pem"),
            include_str!("../dkim/fixtures/rsa-pkcs1.pem"),
            include_str!("../dkim/fixtures/ed25519.pem"),
        ] {
            let key = key(pem);
            let record = expected(&key);
            assert_eq!(fit(&record, &key), Fit::Good(None));
            assert_eq!(fit(&record.replace("; p=", ";\tp= "), &key), Fit::Good(None));
            let spaced = record.replace("A", "A \t");
            assert_eq!(fit(&spaced.replace("DKA \tIM", "DKIM"), &key), Fit::Good(None));
            let short = record.replace("v=DKIM1; ", "");
            assert_eq!(fit(&short, &key), Fit::Good(None), "v= may be left out");
            assert!(matches!(fit(&format!("{record}; t=y:s"), &key), Fit::Good(Some(_))));
            assert_eq!(fit(&format!("{record}; t=s; s=email; h=sha1:sha256"), &key), Fit::Good(None));
        }
    }

    /// RFC 8463 A.2: the public half of its example's key.
    #[test]
    fn a_key_that_others_have_made_fits() {
        let spki = STANDARD.encode(key(include_str!("../dkim/fixtures/rsa.pem")).published());
        assert!(spki.starts_with("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"), "{spki}");
    }

    #[test]
    fn other_records_do_not() {
        let (rsa, ed) = (
            key(include_str!("../dkim/fixtures/rsa.pem")),
            key(include_str!("../dkim/fixtures/ed25519.pem")),
        );
        let record = expected(&rsa);
        assert_eq!(fit("v=DKIM1; p=", &rsa), Fit::Revoked);
        assert!(matches!(fit(&expected(&ed).replace("ed25519", "rsa"), &rsa), Fit::Other(_)));
        assert_eq!(fit(&record, &ed), Fit::Unfit("k=rsa".into()));
        for broken in [
            String::new(),
            "text".into(),
            "v=DKIM1".into(),
            "v=DKIM1; p=%%%".into(),
            record.replace("DKIM1", "DKIM2"),
            format!("{}; v=DKIM1", record.replace("v=DKIM1; ", "")),
            format!("{record}; h=sha1"),
            format!("{record}; s=tlsrpt"),
        ] {
            assert!(matches!(fit(&broken, &rsa), Fit::Unfit(_)), "{broken}");
        }
    }
}
