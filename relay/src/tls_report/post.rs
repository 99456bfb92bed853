//! A report by HTTPS: a POST to each URL that the domain names, tried again some times.
//! **Owns:** how often, how long, which answer is a yes. RFC 8460 3, 5.4, 5.5. **Never:** the report; the way there (https.rs).
//! The certificate isn't looked at, as RFC 8460 3 allows: who reports that TLS is broken should be heard where it is broken.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use hyper::{Response, body::Incoming};
use postrider_core::{mx::Destinations, tls_report::ReportUrl};

use super::Reporter;
use crate::{
    https::{Ask, DEADLINE, Https, HttpsError},
    tls::connect::Trust,
};

/// RFC 8460 6.4.
const TYPE: &str = "application/tlsrpt+gzip";
/// Waits before a URL is tried again: RFC 8460 5.5 wants them to grow. Then the report waits for another turn.
const WAITS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(25)];
/// The same in tests.
const HASTY_WAITS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// How long posting may take at most; all URLs are tried at once.
pub(super) const POSTED_WITHIN: Duration =
    DEADLINE.saturating_mul(WAITS.len() as u32 + 1).saturating_add(WAITS[0]).saturating_add(WAITS[1]);

/// Why a URL hasn't taken a report.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("{0}")]
    Https(#[from] HttpsError),
    #[error("found HTTP status {0}; expected 200, 201 or another of 2xx: redirects are not followed")]
    Status(u16),
}

impl Reporter {
    /// Posts a packed report to each URL; whether one has taken it.
    pub(super) async fn post(&self, urls: &[ReportUrl], gzip: &Bytes, to: &Destinations) -> bool {
        let waits = if self.is_hasty { HASTY_WAITS } else { WAITS };
        let each = urls.iter().map(|url| post_to(&self.https, url, gzip, to, waits));
        join_all(each).await.contains(&true)
    }
}

async fn post_to(
    https: &Https,
    url: &ReportUrl,
    gzip: &Bytes,
    to: &Destinations,
    waits: [Duration; 2],
) -> bool {
    let mut waits = waits.into_iter();
    loop {
        let content = Some((TYPE, gzip.clone()));
        let ask = Ask { host: url.host(), path: url.path(), trust: Trust::Anyone, content };
        match https.exchange(&ask, to, answered).await {
            Ok(()) => {
                tracing::info!(%url, "a TLS report was posted");
                return true;
            }
            Err(why) => {
                let Some(wait) = waits.next() else {
                    tracing::warn!(%url, %why, "a TLS report could not be posted");
                    return false;
                };
                tracing::debug!(%url, %why, "a TLS report could not be posted; it is tried again soon");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// What the body says doesn't matter.
async fn answered(response: Response<Incoming>) -> Result<(), PostError> {
    let status = response.status();
    if status.is_success() { Ok(()) } else { Err(PostError::Status(status.as_u16())) }
}
