//! An image as an OCI archive: a layout (image-spec `image-layout.md`) in a tar file.
//! **Owns:** its bytes, which depend on nothing but the image: no time, no user, sorted. **Never:** what is in the image.
//!
//! A `manifest.json` of Docker's stands beside the OCI's index and names the same blobs, for engines that know only that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
};

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// An image of one layer.
#[derive(Debug)]
pub(crate) struct Image {
    /// Short name and tag, as pods say it.
    pub(crate) name: String,
    /// As the OCI calls it.
    pub(crate) architecture: &'static str,
    /// `uid:gid`.
    pub(crate) user: &'static str,
    /// The program that runs.
    pub(crate) entrypoint: String,
    /// What it says of itself.
    pub(crate) labels: BTreeMap<String, String>,
    /// All that is in it, and nothing else.
    pub(crate) files: Vec<File>,
}

/// A file of an image, which root owns.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path, without the first slash.
    pub(crate) path: String,
    /// Its permissions.
    pub(crate) mode: u32,
    /// What is in it.
    pub(crate) content: Vec<u8>,
}

/// The only time that an image knows.
const NEVER: &str = "1970-01-01T00:00:00Z";

impl Image {
    /// Writes the archive, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let bytes = self.bytes()?;
        let unfinished = path.with_extension("tar.unfinished");
        fs::write(&unfinished, bytes)?;
        Ok(fs::rename(unfinished, path)?)
    }

    /// The archive.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>> {
        let plain = tar(&self.files)?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&plain)?;
        let layer = Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", gzip.finish()?);
        let config =
            Blob::of_json("application/vnd.oci.image.config.v1+json", &self.config(&digest(&plain)))?;
        let manifest = Blob::of_json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
                "annotations": self.labels,
            }),
        )?;
        let docker = json!([{"Config": config.path(), "RepoTags": [self.name], "Layers": [layer.path()]}]);
        let mut files = vec![
            file("oci-layout", serde_json::to_vec(&json!({"imageLayoutVersion": "1.0.0"}))?),
            file("index.json", serde_json::to_vec(&self.index(&manifest))?),
            file("manifest.json", serde_json::to_vec(&docker)?),
        ];
        files.extend([layer, config, manifest].map(|blob| file(&blob.path(), blob.content)));
        tar(&files)
    }

    fn config(&self, diff_id: &str) -> Value {
        json!({
            "created": NEVER,
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "User": self.user,
                "Entrypoint": [self.entrypoint],
                "WorkingDir": "/",
                "Labels": self.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": NEVER, "created_by": "cargo xtask image"}],
        })
    }

    /// Names the manifest in full, as Docker and containerd complete the short name that a pod says. containerd
    /// reads its own annotation first; others know the OCI's.
    fn index(&self, manifest: &Blob) -> Value {
        let full_name = format!("docker.io/library/{}", self.name);
        let mut descriptor = manifest.descriptor();
        descriptor["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        descriptor["annotations"] =
            json!({"io.containerd.image.name": full_name, "org.opencontainers.image.ref.name": full_name});
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor],
        })
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Content with its address.
struct Blob {
    media_type: &'static str,
    hash: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, content: Vec<u8>) -> Self {
        Self { media_type, hash: hex::encode(Sha256::digest(&content)), content }
    }

    fn of_json(media_type: &'static str, value: &Value) -> Result<Self> {
        Ok(Self::new(media_type, serde_json::to_vec(value)?))
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.hash)
    }

    fn descriptor(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": format!("sha256:{}", self.hash),
            "size": self.content.len(),
        })
    }
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn file(path: &str, content: Vec<u8>) -> File {
    File { path: path.to_owned(), mode: 0o644, content }
}

/// The files and the folders that they need, by name.
fn tar(files: &[File]) -> Result<Vec<u8>> {
    let folders: BTreeSet<&Path> = files
        .iter()
        .flat_map(|file| Path::new(&file.path).ancestors().skip(1))
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect();
    let mut tar = Builder::new(Vec::new());
    for folder in folders {
        let path = format!("{}/", folder.display());
        tar.append_data(&mut header(EntryType::Directory, 0o755, 0), path, &[][..])?;
    }
    let mut files: Vec<&File> = files.iter().collect();
    files.sort_by_key(|file| &file.path);
    for file in files {
        let size = file.content.len() as u64;
        tar.append_data(&mut header(EntryType::Regular, file.mode, size), &file.path, &file.content[..])?;
    }
    Ok(tar.into_inner()?)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn image(files: Vec<File>) -> Image {
        let labels = [("org.opencontainers.image.title".to_owned(), "thing".to_owned())].into();
        let (name, entrypoint) = ("thing:1".to_owned(), "/thing".to_owned());
        Image { name, architecture: "amd64", user: "1:2", entrypoint, labels, files }
    }

    fn a_thing() -> File {
        File { path: "thing".into(), mode: 0o755, content: b"binary".to_vec() }
    }

    fn roots() -> File {
        file("etc/ssl/roots.pem", b"roots".to_vec())
    }

    /// Path, mode and content of each entry.
    fn entries(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut archive = tar::Archive::new(bytes);
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            (entry.path().unwrap().display().to_string(), header.mode().unwrap(), content)
        });
        read.collect()
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let bytes = image(vec![a_thing(), roots()]).bytes().unwrap();
        assert!(bytes == image(vec![roots(), a_thing()]).bytes().unwrap());
        let other = File { content: b"other".to_vec(), ..a_thing() };
        assert!(bytes != image(vec![other, roots()]).bytes().unwrap());
    }

    #[test]
    fn every_blob_is_where_its_digest_says_and_leads_to_the_files() {
        let entries = entries(&image(vec![a_thing(), roots()]).bytes().unwrap());
        let content = |path: &str| {
            let found = entries.iter().find(|(found, ..)| found == path);
            &found.unwrap_or_else(|| panic!("{path} is in the archive")).2
        };
        let read = |path: &str| serde_json::from_slice::<Value>(content(path)).unwrap();
        let follow = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let path = digest.replace("sha256:", "blobs/sha256/");
            assert_eq!(super::digest(content(&path)), digest);
            assert_eq!(content(&path).len() as u64, descriptor["size"].as_u64().unwrap());
            path
        };
        assert_eq!(read("oci-layout")["imageLayoutVersion"], "1.0.0");
        let descriptor = &read("index.json")["manifests"][0];
        let manifest = read(&follow(descriptor));
        let config = read(&follow(&manifest["config"]));
        let layer = follow(&manifest["layers"][0]);
        assert_eq!(read("manifest.json")[0]["Layers"][0], layer.as_str());
        assert_eq!(config["config"]["User"], "1:2");
        let mut plain = Vec::new();
        GzDecoder::new(content(&layer).as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], super::digest(&plain));
        let names: Vec<(String, u32)> =
            self::entries(&plain).into_iter().map(|(path, mode, _)| (path, mode)).collect();
        let expected = [("etc/", 0o755), ("etc/ssl/", 0o755), ("etc/ssl/roots.pem", 0o644), ("thing", 0o755)];
        assert_eq!(names, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }
}
