//! Programs of others, run to their end.
//! **Owns:** their input, output and deadline. **Never:** which options they are given.

use std::{ffi::OsStr, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use postrider_tests::process::is_installed;
use tokio::{io::AsyncWriteExt, process::Command};

/// How long a program may take.
const END_WITHIN: Duration = Duration::from_secs(60);

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: Option<i32>,
    /// What it wrote to stdout.
    pub(crate) out: String,
    /// What it wrote to stderr.
    pub(crate) err: String,
}

impl Ran {
    /// Both outputs, for a test that failed.
    pub(crate) fn text(&self) -> String {
        format!("exit {:?}\n{}\n{}", self.code, self.out, self.err)
    }

    /// That it ended well.
    pub(crate) fn is_good(&self) -> Result<()> {
        ensure!(self.code == Some(0), "expected exit 0, found {}", self.text());
        Ok(())
    }
}

/// Runs a program with an input to its end.
pub(crate) async fn run<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
    input: &[u8],
) -> Result<Ran> {
    ensure!(is_installed(program), "found no {program}; expected it in the path; install its Debian package");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    let feed = async move {
        // A program that doesn't read its input closes it.
        drop(stdin.write_all(input).await);
    };
    let both = async { tokio::join!(feed, child.wait_with_output()) };
    let ((), output) = tokio::time::timeout(END_WITHIN, both).await.with_context(|| program.to_owned())?;
    let output = output?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
}

/// Runs one of the scripts beside this file with a JSON value; the JSON value that it prints.
pub(crate) async fn python(script: &str, input: &serde_json::Value) -> Result<serde_json::Value> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "interop", "python", script].iter().collect();
    let ran = run("/usr/bin/python3", [path], &serde_json::to_vec(input)?).await?;
    ran.is_good()?;
    serde_json::from_str(&ran.out).with_context(|| ran.text())
}
