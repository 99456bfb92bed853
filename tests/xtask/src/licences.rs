//! What the crates we use are licensed under, and where they come from.
//! **Owns:** the check that runs where cargo-deny isn't installed. **Never:** a list of its own: `deny.toml` has it.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;

use crate::{steps::cargo, tools};

/// By cargo-deny if it is there, else by the metadata.
pub(crate) fn check() -> Result<()> {
    let has_deny = Command::new("cargo")
        .args(["deny", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if has_deny {
        return cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"], &[]);
    }
    let allowed = allowed()?;
    let metadata = MetadataCommand::new()
        .manifest_path(tools::root().join("Cargo.toml"))
        .exec()
        .context("cargo metadata")?;
    let mut wrong = Vec::new();
    let mut count = 0;
    for package in metadata.packages.iter().filter(|package| package.source.is_some()) {
        count += 1;
        let expression = package.license.clone().unwrap_or_default();
        if !is_allowed(&expression, &allowed) {
            wrong.push(format!("{} {}: found licence {expression:?}", package.name, package.version));
        }
        let source = package.source.as_ref().map(|source| source.repr.clone()).unwrap_or_default();
        if !source.contains("github.com/rust-lang/crates.io-index") && !source.contains("index.crates.io") {
            wrong.push(format!("{}: found source {source}; expected crates.io", package.name));
        }
        if BANNED.contains(&package.name.as_str()) {
            wrong.push(format!("{}: found a banned crate; deny.toml says why", package.name));
        }
    }
    ensure!(wrong.is_empty(), "{}\nexpected one of {allowed:?} (deny.toml)", wrong.join("\n"));
    println!("{count} crates, all under licences of deny.toml (cargo-deny isn't installed)");
    Ok(())
}

/// As `bans` of deny.toml has them.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys"];

/// The lines of `allow = [` in deny.toml.
fn allowed() -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(tools::root().join("deny.toml")).context("deny.toml")?;
    let (_, rest) = text.split_once("allow = [").context("deny.toml has allow")?;
    let (list, _) = rest.split_once(']').context("deny.toml closes allow")?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Whether an SPDX expression can be met: each AND by all of its parts, each OR by one.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut tokens: Vec<String> =
        expression.replace('(', " ( ").replace(')', " ) ").split_whitespace().map(str::to_owned).collect();
    tokens.reverse();
    any(&mut tokens, allowed) && tokens.is_empty()
}

fn any(tokens: &mut Vec<String>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(tokens, allowed);
    while tokens.last().is_some_and(|token| token == "OR") {
        tokens.pop();
        met |= all(tokens, allowed);
    }
    met
}

fn all(tokens: &mut Vec<String>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(tokens, allowed);
    while tokens.last().is_some_and(|token| token == "AND") {
        tokens.pop();
        met &= one(tokens, allowed);
    }
    met
}

fn one(tokens: &mut Vec<String>, allowed: &BTreeSet<String>) -> bool {
    match tokens.pop() {
        Some(open) if open == "(" => {
            let met = any(tokens, allowed);
            tokens.pop();
            met
        }
        Some(mut name) => {
            if tokens.last().is_some_and(|token| token == "WITH") {
                tokens.pop();
                name = format!("{name} WITH {}", tokens.pop().unwrap_or_default());
            }
            allowed.contains(&name)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_by_what_is_allowed() {
        let allowed: BTreeSet<String> =
            ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("MIT/Apache-2.0", true),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed), met, "{expression}");
        }
    }
}
