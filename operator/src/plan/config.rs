//! The config Secret: all that the relays run by, compressed.
//! **Owns:** its form, its limit. **Never:** what is in the configuration (core compiles), when it is written.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use postrider_core::config::Config;
use postrider_crds::MailRelay;
use sha2::{Digest, Sha256};

use super::{Kind, Object, metadata, name_of, object};
use crate::names;

/// A Secret may have 1 MiB with all that it says of itself.
const MOST_BYTES: usize = 900 * 1024;

/// A configuration that doesn't fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "found a configuration of {found} bytes, compressed; expected at most {MOST_BYTES}, what fits into a Secret; use fewer rules, or spread them over several MailRelays"
)]
pub struct TooLarge {
    /// Its size.
    pub found: usize,
}

/// A configuration as the relays get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedConfig {
    /// What `/v1/config` answers when it is loaded.
    pub hash: String,
    /// The file.
    pub file: Vec<u8>,
}

pub(super) fn publish(config: &Config) -> Result<PublishedConfig, TooLarge> {
    let file = config.to_gzip();
    if file.len() > MOST_BYTES {
        return Err(TooLarge { found: file.len() });
    }
    Ok(PublishedConfig { hash: config.hash().to_string(), file })
}

pub(super) fn secret(relay: &MailRelay, published: &PublishedConfig) -> Object {
    let mut metadata = metadata(relay, &names::config_secret(name_of(relay)), names::RELAY);
    metadata.annotations = Some(BTreeMap::from([(names::CONFIG_HASH.to_owned(), published.hash.clone())]));
    let data = BTreeMap::from([(names::CONFIG_FILE.to_owned(), ByteString(published.file.clone()))]);
    let secret = Secret {
        metadata: metadata.clone(),
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    };
    object(Kind::Secret, &metadata, &secret)
}

/// What stands for a value of a Secret where two are compared: nobody needs to keep the value for that.
pub fn digest_of(base64: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(base64)))
}
