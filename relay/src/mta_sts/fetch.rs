//! Fetches a domain's policy over HTTPS.
//! **Owns:** one GET, its bounds: a certificate of a known authority, text only, size. **Never:** what the file says; the way there
//! (https.rs).
//! RFC 8461 3.3.

use http_body_util::{BodyExt as _, Limited};
use hyper::{Response, body::Incoming, header};
use postrider_core::{
    mta_sts::{InvalidPolicy, MAX_BYTES, Policy},
    mx::Destinations,
};
use postrider_mail::{Domain, HostName};

use crate::{
    https::{Ask, Https, HttpsError},
    tls::connect::Trust,
};

/// Fetches policies. Cloning shares.
#[derive(Clone)]
pub struct Fetcher {
    https: Https,
}

/// Why a policy couldn't be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The domain is too long for a host below it.
    #[error("the domain is too long for a host mta-sts below it")]
    Name,
    /// Its host doesn't answer.
    #[error("{0}")]
    Https(#[from] HttpsError),
    /// The answer isn't a file.
    #[error("found HTTP status {0}; expected 200: redirects are not followed")]
    Status(u16),
    /// The answer is a file of another type.
    #[error("found content type {0:?}; expected text/plain")]
    Type(String),
    /// It broke off, or is too long.
    #[error("the file: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It isn't a policy.
    #[error("the file: {0}")]
    Invalid(#[from] InvalidPolicy),
}

impl Fetcher {
    /// Asks by this.
    pub fn new(https: Https) -> Self {
        Self { https }
    }

    /// Fetches the policy of a domain. Mail waits for it once.
    ///
    /// # Errors
    /// There is none that could be used.
    pub async fn fetch(&self, domain: &Domain, to: &Destinations) -> Result<Policy, FetchError> {
        let host = HostName::parse(&format!("mta-sts.{}", domain.as_str())).map_err(|_| FetchError::Name)?;
        let path = "/.well-known/mta-sts.txt";
        let ask = Ask { host: &host, path, trust: Trust::Verified, content: None };
        Ok(Policy::parse(&self.https.exchange(&ask, to, read).await?)?)
    }
}

async fn read(response: Response<Incoming>) -> Result<Vec<u8>, FetchError> {
    if response.status() != hyper::StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let type_ =
        response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes).unwrap_or_default();
    let type_ = String::from_utf8_lossy(type_).into_owned();
    if !is_plain_text(&type_) {
        return Err(FetchError::Type(type_.chars().take(80).collect()));
    }
    let body = Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(FetchError::Body)?;
    Ok(body.to_bytes().to_vec())
}

/// `text/plain`, with any parameters (RFC 8461 3.2).
fn is_plain_text(type_: &str) -> bool {
    type_.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/plain"))
}
