//! The CRDs' YAML is what the types say.
//! **Owns:** writing and comparing the files. **Never:** how they are rendered (postrider-crds).

use anyhow::{Context, Result, bail};

use crate::tools;

/// Writes them.
pub(crate) fn write() -> Result<()> {
    for (file, text) in postrider_crds::rendered() {
        let path = tools::root().join("crds").join(file);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Compares them.
pub(crate) fn check() -> Result<()> {
    for (file, text) in postrider_crds::rendered() {
        let path = tools::root().join("crds").join(file);
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        if found != text {
            bail!("{}: found other text than the types say; run: cargo xtask crds", path.display());
        }
    }
    Ok(())
}
