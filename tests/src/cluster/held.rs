//! A cluster that lives as long as somebody here holds it.
//! **Owns:** the pipe whose end takes it down, even if this process is killed. **Never:** waits for that end.

use std::{
    io::{BufRead, BufReader, Read, Seek},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Cluster, scripts};

/// The other end of the pipe; dropped, the cluster goes down.
#[derive(Debug)]
pub(super) struct Held {
    _up: Child,
}

/// Brings one up with these options of `up.sh`.
pub(super) async fn bring_up(options: &'static [&'static str]) -> Result<(Cluster, Held)> {
    tokio::task::spawn_blocking(move || bring_up_here(options)).await?
}

fn bring_up_here(options: &[&str]) -> Result<(Cluster, Held)> {
    let folder: PathBuf = tempfile::Builder::new().prefix("postrider-cluster.").tempdir()?.keep();
    let mut told = tempfile::tempfile()?;
    let mut command = Command::new(scripts().join("up.sh"));
    command.args(options).arg("--hold").env("CLUSTER_STATE", &folder);
    // A group of its own: Ctrl-C must reach this process alone, whose end the script then sees.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(told.try_clone()?).process_group(0);
    let mut up = command.spawn().context("running up.sh")?;
    let mut line = String::new();
    BufReader::new(up.stdout.take().context("its output is piped")?).read_line(&mut line)?;
    if line.starts_with("up in") {
        return Ok((Cluster { folder }, Held { _up: up }));
    }
    up.wait()?;
    let mut text = String::new();
    told.rewind()?;
    told.read_to_string(&mut text)?;
    std::fs::remove_dir_all(&folder).ok();
    bail!("the cluster didn't come up: {line}{}", text.trim())
}
