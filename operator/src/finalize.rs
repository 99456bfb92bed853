//! The finalizer of MailRelays with a managed queue: none goes while mail is in it.
//! **Owns:** putting it on and taking it off. **Never:** decides when (validate::ending).

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use postrider_crds::MailRelay;
use serde_json::json;

use crate::{apply::REQUEST_WITHIN, leader::Leadership, names, names::Key, write_status::NotWritten};

/// Writes the finalizers of a MailRelay.
///
/// # Errors
/// It couldn't be written.
pub async fn write(
    client: &Client,
    leadership: &Leadership,
    relay: &MailRelay,
    finalizers: &[String],
) -> Result<(), NotWritten> {
    if !leadership.is_held() {
        return Err(NotWritten::NotLeading);
    }
    let key = Key::of(&relay.metadata);
    let api: Api<MailRelay> = Api::namespaced(client.clone(), &key.namespace);
    // With the version: others have finalizers, too.
    let patch = json!({ "metadata": {
        "resourceVersion": relay.metadata.resource_version,
        "finalizers": finalizers,
    } });
    let params = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(&patch);
    let sent = api.patch_metadata(&key.name, &params, &patch);
    match tokio::time::timeout(REQUEST_WITHIN, sent).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Err(NotWritten::Changed),
        Ok(Err(error)) => Err(NotWritten::Failed(error.to_string())),
        Err(_) => Err(NotWritten::Failed("no answer in time".to_owned())),
    }
}
