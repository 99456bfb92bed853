//! `postrider-relay check`: what is wrong with manifests.
//! **Owns:** reading the folder, the exit status. **Never:** what is wrong (core says it, in the words of the status).

use std::io::Write;

use anyhow::Result;
use postrider_core::compile;

use super::ManifestArgs;
use crate::config::read_manifests;

/// Prints everything that is wrong; returns whether nothing is.
///
/// # Errors
/// The folder can't be read, or `--relay` names none that is there.
pub fn check(args: &ManifestArgs, out: &mut impl Write) -> Result<bool> {
    let loaded = read_manifests(&args.manifests)?;
    let report = compile::report(&loaded);
    write!(out, "{report}")?;
    if report.is_good() && args.relay.is_some() {
        loaded.resources.select_relay(args.relay.as_deref()).map_err(anyhow::Error::msg)?;
    }
    Ok(report.is_good())
}
