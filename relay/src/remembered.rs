//! What each shard had when it was last seen, in a file of this pod's own: one more witness if a volume is lost.
//! **Owns:** the file. **Never:** judges (the queue does).

use std::{collections::BTreeMap, io, path::Path};

use postrider_mail::PartitionName;
use postrider_queue::shards::{Remembered, Shards};

/// Reads the file; what can't be read is as if it weren't there.
pub fn load(path: &Path) -> BTreeMap<PartitionName, Remembered> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error, "the state file can't be read; going on without it");
            return BTreeMap::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), error = %error, "found no state in the state file; going on without it");
        BTreeMap::new()
    })
}

/// Writes the file whenever something changes, for as long as the process lives. Whole or not at all: by a rename.
pub async fn keep(path: &Path, shards: &Shards) {
    let mut remembered = shards.watch_remembered();
    while remembered.changed().await.is_ok() {
        let now = remembered.borrow_and_update().clone();
        if let Err(error) = write(path, &now).await {
            tracing::warn!(path = %path.display(), error = %error, "the state file can't be written; make its folder writable");
        }
    }
}

async fn write(path: &Path, remembered: &BTreeMap<PartitionName, Remembered>) -> io::Result<()> {
    let text = serde_json::to_vec(remembered)?;
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let next = path.with_extension("next");
    tokio::fs::write(&next, text).await?;
    tokio::fs::rename(&next, path).await
}
