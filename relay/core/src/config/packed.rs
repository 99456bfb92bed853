//! A configuration as bytes: gzip, as a Secret carries it, or plain JSON.
//! **Owns:** how the two are told apart, the bound on what is unpacked. **Never:** files, the form of the JSON.
//! RFC 1952 2.3.1 (magic bytes, MTIME).

use std::io::{Read, Write};

use flate2::{Compression, GzBuilder, bufread::GzDecoder, write::GzEncoder};

use super::{Config, UnreadableConfig};

/// The most JSON that is read: 1 MiB of Secret can unpack to a thousand times that.
pub const MAX_BYTES: usize = 64 << 20;
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// RFC 1952: not said.
const NO_SYSTEM: u8 = 255;

impl Config {
    /// The canonical text, compressed. Equal configurations have equal bytes: no time and no system is in them. It holds secrets.
    pub fn to_gzip(&self) -> Vec<u8> {
        let sink =
            GzBuilder::new().mtime(0).operating_system(NO_SYSTEM).write(Vec::new(), Compression::default());
        let pack = |mut sink: GzEncoder<Vec<u8>>| {
            sink.write_all(&self.to_json())?;
            sink.finish()
        };
        pack(sink).expect("memory takes all that is written to it")
    }

    /// Reads a compiled configuration, compressed or not.
    ///
    /// # Errors
    /// It is too large, of a newer format, or no configuration.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UnreadableConfig> {
        if !bytes.starts_with(&MAGIC) {
            return if bytes.len() > MAX_BYTES {
                Err(UnreadableConfig::TooLarge)
            } else {
                Self::from_json(bytes)
            };
        }
        Self::from_json(&unpacked(bytes)?)
    }
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, UnreadableConfig> {
    let mut text = Vec::new();
    let mut limited = GzDecoder::new(bytes).take(MAX_BYTES as u64 + 1);
    limited.read_to_end(&mut text).map_err(UnreadableConfig::BrokenGzip)?;
    if text.len() > MAX_BYTES {
        return Err(UnreadableConfig::TooLarge);
    }
    if !limited.into_inner().into_inner().is_empty() {
        let why = std::io::Error::new(std::io::ErrorKind::InvalidData, "more follows its end");
        return Err(UnreadableConfig::BrokenGzip(why));
    }
    Ok(text)
}
