//! A Kubernetes for tests and for trying things: built, brought up, taken down.
//! **Owns:** what it needs of this machine, and remembering what is up. **Never:** how it is done: `tests/cluster` does.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use postrider_tests::cluster::{Remembered, scripts};

use crate::tools;

/// What to do with it.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Build its parts into the cache, as far as they aren't there: a quarter of an hour the first time.
    Build {
        /// Only what a control plane needs.
        #[arg(long)]
        control_plane: bool,
    },
    /// Bring it up, and leave it up: a node that runs pods (as root, one per machine).
    Up {
        /// Only the API server, its store and the controller manager, as anybody: no pod runs.
        #[arg(long)]
        control_plane: bool,
    },
    /// Take down what is up, with all that it made on this machine.
    Down,
    /// Print the path of its kubeconfig.
    Kubeconfig,
}

/// Does it.
pub(crate) fn main(action: &Action) -> Result<()> {
    match action {
        Action::Build { control_plane } => build(*control_plane),
        Action::Up { control_plane: true } => up(Remembered::ControlPlane),
        Action::Up { control_plane: false } => up(Remembered::Node),
        Action::Down => down(),
        Action::Kubeconfig => kubeconfig(),
    }
}

/// Builds what isn't in the cache.
pub(crate) fn build(control_plane: bool) -> Result<()> {
    tools::ensure_installed(tools::CLUSTER)?;
    let mut command = Command::new(scripts().join("build.sh"));
    if control_plane {
        command.arg("--control-plane");
    }
    run(&mut command)
}

/// Runs work that needs the node: on the one that is up, or on one that is up for as long as it takes.
pub(crate) fn on_node(work: impl FnOnce() -> Result<()>) -> Result<()> {
    if Remembered::Node.folder().is_some_and(|folder| is_ready(&folder)) {
        return work();
    }
    up(Remembered::Node)?;
    let (done, down) = (work(), down_of(Remembered::Node));
    done.and(down)
}

fn up(which: Remembered) -> Result<()> {
    if let Some(folder) = which.folder() {
        if is_ready(&folder) {
            println!("up since before: export KUBECONFIG={}", admin(&folder));
            return Ok(());
        }
        println!("found one that is half up, or was cut off: taking it down first");
        down_of(which)?;
    }
    let is_node = which == Remembered::Node;
    build(!is_node)?;
    if is_node {
        tools::ensure_installed(tools::NODE)?;
    }
    let folder = tempfile::Builder::new().prefix("postrider-cluster.").tempdir()?.keep();
    which.remember(&folder)?;
    let mut command = Command::new(scripts().join("up.sh"));
    command.env("CLUSTER_STATE", &folder).stdout(Stdio::null());
    if !is_node {
        command.args(["--control-plane", "--controller-manager"]);
    }
    if let Err(failed) = run(&mut command) {
        // The script took down what it had started.
        which.forget()?;
        std::fs::remove_dir_all(&folder).ok();
        return Err(failed);
    }
    println!(
        "up. Use it:          export KUBECONFIG={}\ntests find it by themselves; take it down: cargo xtask cluster down",
        admin(&folder)
    );
    Ok(())
}

fn down() -> Result<()> {
    let mut any = false;
    for which in [Remembered::Node, Remembered::ControlPlane] {
        any |= which.folder().is_some();
        down_of(which)?;
    }
    if !any {
        println!("nothing is up");
    }
    Ok(())
}

fn down_of(which: Remembered) -> Result<()> {
    let Some(folder) = which.folder() else { return Ok(()) };
    if folder.join("pids").exists() {
        run(Command::new(scripts().join("down.sh")).arg(&folder))?;
    }
    which.forget()
}

fn kubeconfig() -> Result<()> {
    let up = [Remembered::Node, Remembered::ControlPlane].into_iter().find_map(Remembered::folder);
    let Some(folder) = up else {
        bail!("found no cluster; expected one that is up; run: cargo xtask cluster up")
    };
    println!("{}", admin(&folder));
    Ok(())
}

fn admin(folder: &Path) -> String {
    folder.join("admin.kubeconfig").display().to_string()
}

fn is_ready(folder: &Path) -> bool {
    let mut command = Command::new("kubectl");
    command.args(["get", "--raw=/readyz", "--request-timeout=10s"]).env("KUBECONFIG", admin(folder));
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn run(command: &mut Command) -> Result<()> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string();
    let status = command.status().with_context(|| format!("running {name}"))?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}
