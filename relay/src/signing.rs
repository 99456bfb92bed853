//! Makes the signatures of a message: at intake while it comes in, before an attempt for what is owed and for reports.
//! **Owns:** where its header ends, and that keys work off the reactor. **Never:** whose mail is signed (core), keeps a body.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::dkim::{self, BodyDigest, BodyHash, Signer};

use crate::intake::scan::Scan;

/// What is signed of a message.
#[derive(Debug, Clone)]
pub struct Signable {
    /// Its header.
    pub header: Arc<[u8]>,
    /// The hash of its body.
    pub body: BodyDigest,
}

/// A message's header, kept, and the hash of its body, while it comes in.
#[derive(Debug, Default)]
pub struct Parts {
    header: Vec<u8>,
    body: Option<BodyHash>,
}

/// The keys did not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message could not be signed")]
pub struct NotSigned;

impl Parts {
    /// Takes the next bytes, which the scan has seen already.
    pub fn feed(&mut self, chunk: &[u8], scan: &Scan) {
        if let Some(body) = &mut self.body {
            return body.feed(chunk);
        }
        self.header.extend_from_slice(chunk);
        if scan.header_is_over() {
            // What seemed to be a field in an earlier chunk may be the body's.
            let end = usize::try_from(scan.header_bytes).unwrap_or(usize::MAX).min(self.header.len());
            let mut body = BodyHash::default();
            body.feed(&self.header[end..]);
            self.header.truncate(end);
            self.body = Some(body);
        }
    }

    /// Whether the header is complete.
    pub fn has_header(&self) -> bool {
        self.body.is_some()
    }

    /// What has come of the header.
    pub fn seen(&self) -> &[u8] {
        &self.header
    }

    /// All has come: a message without an empty line is all header.
    pub fn finish(self) -> (Vec<u8>, BodyDigest) {
        (self.header, self.body.unwrap_or_default().finish())
    }
}

impl Signable {
    /// Of a whole message.
    fn of(chunks: &[Bytes]) -> Self {
        let (mut scan, mut parts) = (Scan::default(), Parts::default());
        for chunk in chunks {
            scan.feed(chunk);
            parts.feed(chunk, &scan);
        }
        let (header, body) = parts.finish();
        Self { header: header.into(), body }
    }

    /// The signatures' fields. `at` is in seconds since 1970.
    ///
    /// # Errors
    /// A key doesn't sign.
    pub async fn sign(self, signers: Vec<Signer>, at: u64) -> Result<Box<str>, NotSigned> {
        off_reactor(move || dkim::sign(&signers, &self.header, self.body, at)).await
    }
}

/// The signatures' fields of a whole message.
///
/// # Errors
/// A key doesn't sign.
pub async fn sign(chunks: Vec<Bytes>, signers: Vec<Signer>, at: u64) -> Result<Box<str>, NotSigned> {
    off_reactor(move || {
        let Signable { header, body } = Signable::of(&chunks);
        dkim::sign(&signers, &header, body, at)
    })
    .await
}

/// RSA takes a millisecond, in which a reactor would serve hundreds.
async fn off_reactor(
    work: impl FnOnce() -> Result<String, dkim::KeyFailed> + Send + 'static,
) -> Result<Box<str>, NotSigned> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(fields)) => Ok(fields.into()),
        Ok(Err(_)) | Err(_) => Err(NotSigned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_same_parts() {
        for text in
            ["From: a\r\nTo: b\r\n\r\nbody \r\n\r\n", "From: a\r\nno field\r\nbody", "From: a\r\n", ""]
        {
            let whole = Signable::of(&[Bytes::copy_from_slice(text.as_bytes())]);
            for size in 1..text.len() {
                let chunks: Vec<Bytes> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
                let split = Signable::of(&chunks);
                assert_eq!(
                    (split.header, split.body),
                    (whole.header.clone(), whole.body),
                    "{text:?} by {size}"
                );
            }
        }
    }
}
