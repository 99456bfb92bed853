//! The images under test.
//! **Owns:** where they are. **Never:** how they are made (`cargo xtask image`).

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tokio::{process::Command, sync::OnceCell};

/// An image of a version, as the task leaves it.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// The crate, the binary, and the image's name.
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) archive: PathBuf,
    /// Its files as a folder.
    pub(crate) files: PathBuf,
}

/// Both images: those in the folder `POSTRIDER_IMAGES`, or such as are built for it now.
pub(crate) async fn all() -> Result<Vec<Built>> {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    let folder = FOLDER.get_or_try_init(folder).await?;
    let version = env!("CARGO_PKG_VERSION");
    let built = |name| {
        let files = folder.join(format!("{name}-{version}"));
        let archive = folder.join(format!("{name}-{version}.tar"));
        ensure!(archive.is_file(), "found no {}; run: cargo xtask image --debug", archive.display());
        Ok(Built { name, version: version.to_owned(), archive, files })
    };
    ["postrider-relay", "postrider-operator"].into_iter().map(built).collect()
}

async fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("POSTRIDER_IMAGES") {
        return Ok(folder.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("images");
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--package", "xtask", "--", "image", "--debug", "--out"]).arg(&folder);
    let output = command.output().await.context("running cargo")?;
    ensure!(output.status.success(), "building the images: {}", String::from_utf8_lossy(&output.stderr));
    Ok(folder)
}
