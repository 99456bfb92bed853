//! `postrider-relay check`: what is wrong with manifests, and what they compile to.
//! **Owns:** reading the folder, the exit status, writing what was compiled. **Never:** what is wrong (core says it, in the words of
//! the status).

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result};
use postrider_core::{compile, config::Config};

use super::CheckArgs;
use crate::config::{from_manifests, read_manifests};

/// Prints everything that is wrong; returns whether nothing is.
///
/// # Errors
/// The folder can't be read, `--relay` names none that is there, or `--write` no place that can be written.
pub fn check(args: &CheckArgs, out: &mut impl Write) -> Result<bool> {
    let (folder, relay) = (&args.manifests.manifests, args.manifests.relay.as_deref());
    let loaded = read_manifests(folder)?;
    let report = compile::report(&loaded);
    write!(out, "{report}")?;
    if report.is_good() && relay.is_some() {
        loaded.resources.select_relay(relay).map_err(anyhow::Error::msg)?;
    }
    if let Some(file) = args.write.as_deref().filter(|_| report.is_good()) {
        let config = from_manifests(folder, relay)?;
        write_compiled(&config, file).with_context(|| {
            format!("--write: found {} can't be written; expected a path that can", file.display())
        })?;
        writeln!(out, "wrote {} (hash {})", file.display(), config.hash())?;
    }
    Ok(report.is_good())
}

/// Whole or not at all, and for this user's eyes only.
fn write_compiled(config: &Config, file: &Path) -> std::io::Result<()> {
    let is_gzip = file.extension().is_some_and(|end| end == "gz");
    let bytes = if is_gzip { config.to_gzip() } else { config.to_json() };
    let draft = file.with_extension("draft");
    let mut to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    to.write_all(&bytes)?;
    fs::rename(draft, file)
}
