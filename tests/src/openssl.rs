//! The `openssl` command, for what no library here makes.
//! **Owns:** its run. **Never:** what it is asked for.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// What it says; files are those of `folder`.
pub(crate) async fn openssl(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().await;
    let output = output.context("openssl runs")?;
    ensure!(
        output.status.success(),
        "openssl {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
