//! Images of the relay and the operator: a static binary and Mozilla's CA roots, nothing else.
//! **Owns:** what is in an image, its name and its files. **Never:** needs a container engine, or pushes an image.
//!
//! Beside each archive stands its tree of files, from which the `Dockerfile` makes the same image with an engine.

mod archive;
mod binary;
mod roots;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand, Package};
use clap::ValueEnum;

use crate::tools;
use archive::{File, Image};

/// Whose image is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// `postrider-relay`.
    Relay,
    /// `postrider-operator`.
    Operator,
    /// Both.
    All,
}

impl Which {
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Relay => &["postrider-relay"],
            Self::Operator => &["postrider-operator"],
            Self::All => &["postrider-relay", "postrider-operator"],
        }
    }
}

/// User and group of the process: nobody's on any system, and numeric, so that Kubernetes sees that it isn't root.
const USER: &str = "65532:65532";
/// Where programs of all kinds look for CA roots.
const ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";

/// Builds the images and says what they are.
pub(crate) fn main(which: Which, out: Option<PathBuf>, debug: bool) -> Result<()> {
    for built in build(which, out, debug)? {
        println!("\n{} ({})", built.name, built.architecture);
        println!("  archive   {}  {}", built.archive.display(), size(&built.archive)?);
        println!("  files     {}", built.tree.display());
        println!("  binary    {}, static and stripped", size(&built.tree.join(&built.package))?);
        println!("  CA roots  {}", size(&built.tree.join(ROOTS))?);
    }
    Ok(())
}

/// An image as it lies on the disk.
#[derive(Debug)]
pub(crate) struct Built {
    /// The crate and its binary.
    pub(crate) package: String,
    /// The name that pods say: `postrider-relay:0.1.0`.
    pub(crate) name: String,
    /// As the OCI calls it: `amd64`.
    pub(crate) architecture: &'static str,
    /// The OCI archive.
    pub(crate) archive: PathBuf,
    /// Its files, as a folder.
    pub(crate) tree: PathBuf,
}

/// Builds the images.
pub(crate) fn build(which: Which, out: Option<PathBuf>, debug: bool) -> Result<Vec<Built>> {
    let manifest = tools::root().join("Cargo.toml");
    let metadata =
        MetadataCommand::new().manifest_path(manifest).no_deps().exec().context("cargo metadata")?;
    let out = out.unwrap_or_else(|| metadata.target_directory.join("images").into());
    which.packages().iter().map(|package| build_one(find(&metadata, package)?, &out, debug)).collect()
}

fn find<'m>(metadata: &'m Metadata, name: &str) -> Result<&'m Package> {
    let mut packages = metadata.packages.iter();
    packages.find(|package| package.name == name).with_context(|| format!("the workspace has {name}"))
}

fn build_one(package: &Package, out: &Path, debug: bool) -> Result<Built> {
    let (name, version) = (package.name.as_str(), package.version.to_string());
    let architecture = architecture()?;
    let built = binary::build(name, debug)?;
    let binary = fs::read(&built).with_context(|| built.display().to_string())?;
    binary::ensure_static(&binary).with_context(|| built.display().to_string())?;
    let image = Image {
        name: format!("{name}:{version}"),
        architecture,
        user: USER,
        entrypoint: format!("/{name}"),
        labels: labels(package),
        files: vec![
            File { path: ROOTS.to_owned(), mode: 0o644, content: roots::pem().into_bytes() },
            File { path: name.to_owned(), mode: 0o755, content: binary },
        ],
    };
    let tree = out.join(format!("{name}-{version}"));
    write_tree(&tree, &image.files).with_context(|| tree.display().to_string())?;
    let archive = out.join(format!("{name}-{version}.tar"));
    image.write(&archive).with_context(|| archive.display().to_string())?;
    Ok(Built { package: name.to_owned(), name: image.name, architecture, archive, tree })
}

/// What the image says of itself; the `Dockerfile` says the same.
fn labels(package: &Package) -> BTreeMap<String, String> {
    let said = [
        ("title", Some(package.name.to_string())),
        ("description", package.description.clone()),
        ("version", Some(package.version.to_string())),
        ("licenses", package.license.clone()),
        ("source", package.repository.clone()),
    ];
    let key = |key: &str| format!("org.opencontainers.image.{key}");
    said.into_iter().filter_map(|(name, value)| Some((key(name), value?))).collect()
}

fn architecture() -> Result<&'static str> {
    ensure!(
        cfg!(target_os = "linux"),
        "this system: found {}; expected linux, as images hold binaries built here; run it in a Linux machine",
        std::env::consts::OS
    );
    Ok(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    })
}

fn write_tree(tree: &Path, files: &[File]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    for file in files {
        let path = tree.join(&file.path);
        fs::create_dir_all(path.parent().unwrap_or(tree))?;
        fs::write(&path, &file.content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

fn size(path: &Path) -> Result<String> {
    let bytes = fs::metadata(path).with_context(|| path.display().to_string())?.len();
    Ok(format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10))
}
