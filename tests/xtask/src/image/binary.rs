//! The binaries that images hold.
//! **Owns:** how they are built, and the proof that they need no other file. **Never:** what else is in an image.
//!
//! The flags reach our own binary alone, by `static-binary.sh`: rustc looks at `crt-static` when it links, so libraries are
//! as in any other build, and proc macros, which can't be static, never see it.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{steps::cargo_command, tools};

/// Builds the binary of this name in the package of this name; where it is.
///
/// For tests with the whole workspace's choice of features, as then nearly all of it is built already. What ships has
/// only its own.
pub(crate) fn build(package: &str, debug: bool) -> Result<PathBuf> {
    let (profile, of) =
        if debug { ("dev", vec!["--workspace"]) } else { ("release", vec!["--package", package]) };
    println!("building {package}, static, profile {profile}");
    let wrapper = tools::root().join("tests/xtask/static-binary.sh");
    let format = "json-render-diagnostics";
    let mut cargo = cargo_command(&["build", "--quiet", "--message-format", format, "--profile", profile]);
    cargo.args(of).args(["--bin", package]).env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    let output = cargo.stderr(Stdio::inherit()).output().context("running cargo")?;
    ensure!(output.status.success(), "building {package} ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let executable = |line: &str| {
        let built: serde_json::Value = serde_json::from_str(line).ok()?;
        built["executable"].as_str().filter(|_| built["target"]["name"] == package).map(PathBuf::from)
    };
    text.lines().find_map(executable).context("cargo names the binary among what it built")
}

/// Fails unless the binary runs where there is no other file.
pub(crate) fn ensure_static(binary: &[u8]) -> Result<()> {
    match interpreter(binary)? {
        None => Ok(()),
        Some(loader) => bail!(
            "found a binary that the loader {loader} must start; expected a static one; install the C library's static \
             part (Debian: libc6-dev)"
        ),
    }
}

/// The loader that a 64-bit little-endian ELF file names, which a static one doesn't (elf(5), `PT_INTERP`).
fn interpreter(binary: &[u8]) -> Result<Option<String>> {
    ensure!(binary.starts_with(b"\x7fELF\x02\x01"), "found no 64-bit little-endian ELF file");
    let (table, size, count) = (number(binary, 32, 8)?, number(binary, 54, 2)?, number(binary, 56, 2)?);
    for index in 0..count {
        let header = table + index * size;
        if number(binary, header, 4)? == 3 {
            let (start, length) = (number(binary, header + 8, 8)?, number(binary, header + 32, 8)?);
            let name = binary.get(start..start + length).context("the loader's name lies in the file")?;
            return Ok(Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()));
        }
    }
    Ok(None)
}

fn number(binary: &[u8], at: usize, bytes: usize) -> Result<usize> {
    let field = binary.get(at..at + bytes).context("the ELF headers lie in the file")?;
    Ok(field.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_needs_a_loader_is_told() {
        let this = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let told = ensure_static(&this).unwrap_err().to_string();
        assert!(told.contains("/ld-linux"), "{told}");
    }

    #[test]
    fn what_is_cut_short_or_no_binary_is_told() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01\x01"] {
            assert!(ensure_static(bytes).is_err());
        }
    }
}
