//! A container engine that needs no service: buildah with a store of a test's own.
//! **Owns:** its store, and what images hold by its account. **Never:** pulls from a registry.

use std::{
    collections::BTreeMap,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::built::Built;

/// The engine; its store is gone when it is dropped.
pub(crate) struct Engine {
    folder: TempDir,
}

/// What an image is.
#[derive(Debug, PartialEq)]
pub(crate) struct Image {
    /// What a container of it starts with.
    pub(crate) config: BTreeMap<String, Value>,
    /// Its files and folders.
    pub(crate) files: BTreeMap<PathBuf, File>,
}

/// What a file is, but for its time.
#[derive(Debug, PartialEq)]
pub(crate) struct File {
    /// Its kind and permissions.
    pub(crate) mode: u32,
    /// User and group.
    pub(crate) owner: (u32, u32),
    /// What is in it; nothing in a folder.
    content: Vec<u8>,
}

impl Engine {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("postrider-engine-").tempdir()?;
        // Any image may be taken: those of these tests aren't signed.
        std::fs::write(
            folder.path().join("policy.json"),
            r#"{"default": [{"type": "insecureAcceptAnything"}]}"#,
        )?;
        // No registry may be asked.
        std::fs::write(folder.path().join("registries.conf"), "unqualified-search-registries = []\n")?;
        Ok(Self { folder })
    }

    /// Takes an archive of a kind; the image's id.
    pub(crate) async fn load(&self, kind: &str, archive: &Path) -> Result<String> {
        let source = format!("{kind}:{}", archive.display());
        self.run(&["pull", "--quiet", "--signature-policy", &self.path("policy.json"), &source]).await
    }

    /// Builds an image as the `Dockerfile` says; its id.
    pub(crate) async fn build(&self, built: &Built) -> Result<String> {
        let dockerfile = format!("{}/../Dockerfile", env!("CARGO_MANIFEST_DIR"));
        let (version, context) = (format!("VERSION={}", built.version), built.files.display().to_string());
        let policy = self.path("policy.json");
        let arguments = [
            &["build", "--quiet", "--pull=never", "--isolation=chroot", "--signature-policy", &policy],
            &["--file", &dockerfile, "--target", built.name, "--build-arg", &version, &context][..],
        ];
        self.run(&arguments.concat()).await
    }

    /// The names that an image has.
    pub(crate) async fn names(&self, id: &str) -> Result<Vec<String>> {
        let images: Value = serde_json::from_str(&self.run(&["images", "--json", "--no-trunc"]).await?)?;
        let images = images.as_array().context("a list of images")?;
        let is_it = |image: &&Value| image["id"].as_str().is_some_and(|found| found.contains(id));
        let names =
            images.iter().find(is_it).map(|image| image["names"].clone()).context("the image is there")?;
        Ok(serde_json::from_value(names)?)
    }

    /// What an image is.
    pub(crate) async fn look(&self, id: &str) -> Result<Image> {
        let told: Value = serde_json::from_str(&self.run(&["inspect", "--type", "image", id]).await?)?;
        let config = told["OCIv1"]["config"].as_object().context("the image has a config")?;
        let root = self.mount(id).await?;
        let mut files = BTreeMap::new();
        list(&root, &root, &mut files)?;
        Ok(Image { config: config.clone().into_iter().collect(), files })
    }

    /// Where the files of a new container of an image are.
    pub(crate) async fn mount(&self, id: &str) -> Result<PathBuf> {
        let policy = self.path("policy.json");
        let container = self.run(&["from", "--pull=never", "--signature-policy", &policy, id]).await?;
        Ok(self.run(&["mount", &container]).await?.into())
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("buildah");
        command.args(["--root", &self.path("store"), "--runroot", &self.path("state")]);
        command.args(["--storage-driver", "vfs", "--registries-conf", &self.path("registries.conf")]);
        let output = command.args(arguments).output().await.context("running buildah")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "buildah {}: {error}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

fn list(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, File>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let told = std::fs::symlink_metadata(&path)?;
        let content = if told.is_file() { std::fs::read(&path)? } else { Vec::new() };
        let file = File { mode: told.permissions().mode(), owner: (told.uid(), told.gid()), content };
        files.insert(path.strip_prefix(root)?.to_owned(), file);
        if told.is_dir() {
            list(root, &path, files)?;
        }
    }
    Ok(())
}
