//! What is made of the types: the CRDs' YAML and their reference.
//! **Owns:** writing and comparing the files. **Never:** how they are rendered (postrider-crds, reference).

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{reference, tools};

/// Where the YAML stands: for people, and in the chart, which can only hold what lies in it.
const FOLDERS: &[&str] = &["crds", "charts/postrider/files"];

/// Writes them.
pub(crate) fn write() -> Result<()> {
    for (path, text) in files() {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Compares them.
pub(crate) fn check() -> Result<()> {
    for (path, text) in files() {
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        if found != text {
            bail!("{}: found other text than the types say; run: cargo xtask crds", path.display());
        }
    }
    Ok(())
}

fn files() -> Vec<(PathBuf, String)> {
    let place = |folder: &str, file: &str| tools::root().join(folder).join(file);
    let rendered = postrider_crds::rendered();
    let crds = rendered
        .into_iter()
        .flat_map(|(file, text)| FOLDERS.iter().map(move |folder| (place(folder, file), text.clone())));
    let pages = reference::pages().into_iter();
    crds.chain(pages.map(|(file, text)| (place("docs/reference", file), text))).collect()
}
