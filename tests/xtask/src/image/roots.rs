//! Mozilla's CA roots as one file.
//! **Owns:** its form. **Never:** which roots: the crate says, so that an image doesn't depend on where it was built.
//!
//! The relay believes the same roots, by a crate of the same source that is compiled in. The file is for the operator and
//! whatever else looks for it.

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// All of them, as PEM (RFC 7468).
pub(crate) fn pem() -> String {
    let mut text = String::new();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for (index, character) in BASE64_STANDARD.encode(root).chars().enumerate() {
            if index > 0 && index % 64 == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text.push_str("\n-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_root_reads_back() {
        let text = pem();
        let read: Vec<Vec<u8>> = text
            .split("-----BEGIN CERTIFICATE-----\n")
            .skip(1)
            .map(|rest| rest.split_once("-----END").unwrap().0.replace('\n', ""))
            .map(|coded| BASE64_STANDARD.decode(coded).unwrap())
            .collect();
        assert!(read.len() > 100, "found {} roots; expected Mozilla's", read.len());
        assert!(read.iter().eq(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|root| root.as_ref())));
        assert!(text.lines().all(|line| line.len() <= 64));
    }
}
