//! `cargo xtask chart`: the chart's archive.
//! **Owns:** packing it. **Never:** what the chart holds, or a test of it (`tests/chart`).

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use postrider_tests::helm::{self, both};

use crate::tools;

/// Lints the chart and packs it for those who install it.
pub(crate) fn main(out: Option<PathBuf>) -> Result<()> {
    helm::build()?;
    let out = out.unwrap_or_else(|| tools::root().join("target/chart"));
    for helm in both()? {
        let mut lint = helm.command();
        run(lint.args(["lint", "--strict", "--kube-version", "1.33.0"]).arg(helm::chart()))?;
        let mut pack = helm.command();
        run(pack.arg("package").arg(helm::chart()).arg("--destination").arg(&out))?;
    }
    let path = out.join(format!("postrider-{}.tgz", env!("CARGO_PKG_VERSION")));
    let bytes = std::fs::metadata(&path).with_context(|| path.display().to_string())?.len();
    println!("{}: {} KiB; fine by Helm 3 and Helm 4", path.display(), bytes.div_ceil(1_024));
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let told =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {told}");
    Ok(())
}
