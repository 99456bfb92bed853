//! A compiled configuration in a volume, written as the kubelet writes a mounted Secret.
//! **Owns:** the links and their order. **Never:** compiles (the relay's binary does).

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::relay;

const NAME: &str = "config.json";

/// A configuration that is mounted, and can be edited.
#[derive(Debug)]
pub struct Mounted {
    folder: PathBuf,
    writes: u32,
    config: Value,
}

impl Mounted {
    /// Compiles a folder of manifests. Nothing is mounted before the first edit.
    pub async fn new(folder: &Path, manifests: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let compiled = folder.join("compiled.json");
        let arguments = ["check".as_ref(), "--manifests".as_ref(), manifests.as_os_str(), "--write".as_ref()];
        let output = relay::command(arguments.into_iter().chain([compiled.as_os_str()])).await?;
        if !output.status.success() {
            bail!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
        let config = serde_json::from_slice(&fs::read(&compiled)?).context("the configuration is JSON")?;
        let mounted = Self { folder: folder.to_owned(), writes: 0, config };
        symlink(Path::new("..data").join(NAME), mounted.file())?;
        Ok(mounted)
    }

    /// The file that a relay reads.
    pub fn file(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Changes the configuration, and swaps the volume.
    pub fn edit(&mut self, change: impl FnOnce(&mut Value)) -> Result<()> {
        change(&mut self.config);
        let text = serde_json::to_vec(&self.config)?;
        self.swap(&text)
    }

    /// Swaps the volume for one with these bytes: a new folder, a link to it that is renamed over the old one, the old folder removed
    /// (`pkg/volume/util/atomic_writer.go` of Kubernetes).
    pub fn swap(&mut self, bytes: &[u8]) -> Result<()> {
        self.writes += 1;
        let at = |name: &str| self.folder.join(name);
        let (now, before) = (format!("..{}", self.writes), format!("..{}", self.writes - 1));
        fs::create_dir(at(&now))?;
        fs::write(at(&now).join(NAME), bytes)?;
        symlink(&now, at("..data_tmp"))?;
        fs::rename(at("..data_tmp"), at("..data"))?;
        let _ = fs::remove_dir_all(at(&before));
        Ok(())
    }
}

/// A shard of a configuration.
pub fn shard<'a>(config: &'a mut Value, name: &str) -> &'a mut Value {
    let shards = config["queue"]["shards"].as_array_mut().into_iter().flatten();
    let mut found = shards.filter(|shard| shard["name"] == name);
    found.next().unwrap_or_else(|| panic!("the configuration has a shard {name}"))
}

/// Takes a shard out of a configuration.
pub fn take_shard(config: &mut Value, name: &str) -> Value {
    let taken = shard(config, name).clone();
    if let Some(shards) = config["queue"]["shards"].as_array_mut() {
        shards.retain(|shard| shard["name"] != name);
    }
    taken
}

/// Puts a shard into a configuration.
pub fn put_shard(config: &mut Value, shard: Value) {
    if let Some(shards) = config["queue"]["shards"].as_array_mut() {
        shards.push(shard);
    }
}
