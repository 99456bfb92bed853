//! A container as a strict cluster makes it, without a cluster: an image's files as a read-only root, a user who is nobody.
//! **Owns:** the mounts and the user. **Never:** a network of its own: loopback is that of the tests.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tokio::process::Command;

/// The user and group that images say.
pub(crate) const NOBODY: u32 = 65_532;

/// What every container has of `/dev` (OCI runtime spec, default devices) that a program may open.
const DEVICES: [&str; 4] = ["null", "zero", "random", "urandom"];

/// In a mount namespace of its own: the root read-only, one folder below it writable, and into it as nobody.
const ENTER: &str = r#"
set -e
root=$1 writable=$2; shift 2
mount --bind -o ro "$root" "$root"
mount --bind "$writable" "$root$writable"
mount --rbind /proc "$root/proc"
for device in "$root"/dev/*; do mount --bind "/dev/${device##*/}" "$device"; done
exec chroot --userspec=65532:65532 "$root" "$@""#;

/// The root of a container.
pub(crate) struct Sealed {
    root: PathBuf,
    writable: PathBuf,
}

impl Sealed {
    /// Over an image's files, with what a container runtime adds to them: files about names, devices, places for mounts.
    pub(crate) fn new(root: PathBuf, writable: &Path, hosts: &str, resolv_conf: &str) -> Result<Self> {
        fs::write(root.join("etc/hosts"), hosts)?;
        fs::write(root.join("etc/resolv.conf"), resolv_conf)?;
        let inside = writable.strip_prefix("/").context("the writable folder's path is absolute")?;
        fs::create_dir_all(root.join(inside))?;
        fs::create_dir_all(root.join("proc"))?;
        fs::create_dir_all(root.join("dev"))?;
        for device in DEVICES {
            fs::write(root.join("dev").join(device), "")?;
        }
        chown(writable, Some(NOBODY), Some(NOBODY))?;
        Ok(Self { root, writable: writable.to_owned() })
    }

    /// A program of the image's, to be started in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]);
        command.arg(&self.root).arg(&self.writable).arg(format!("/{program}"));
        command
    }
}
