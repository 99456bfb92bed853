//! The content that leaves: with the signatures that the message has, or with those that it is owed.
//! **Owns:** that nothing leaves without a signature that it must have. **Never:** whose key signs (core), when to try again.

use postrider_core::config::{Config, Signing};
use postrider_queue::{Claimed, Dkim, Kind};

use super::{content::Content, plan};
use crate::signing::{self, NotSigned};

/// Signs content, if it needs that.
///
/// # Errors
/// It must be signed and can't be.
pub async fn signed(content: Content, claimed: &Claimed, config: &Config) -> Result<Content, NotSigned> {
    let delivery = &claimed.delivery;
    if let (Kind::Message, Dkim::Signed(fields)) = (delivery.kind, &delivery.message.dkim) {
        return Ok(content.below(fields));
    }
    match config.signing(plan::owed(delivery, config).as_ref()) {
        Signing::None => Ok(content),
        Signing::Owed => Err(NotSigned),
        Signing::By(signers) => {
            let at = claimed.store_now().unix_millis() / 1_000;
            let fields = signing::sign(content.body.chunks().to_vec(), signers, at).await?;
            Ok(content.below(&fields))
        }
    }
}
