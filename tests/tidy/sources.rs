//! Every Rust file of the workspace, read and parsed.
//! **Owns:** finding and parsing them, and which of them are tests. **Never:** judges them.

use std::path::{Path, PathBuf};

/// One file.
pub(crate) struct Source {
    /// Relative to the workspace, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) file: syn::File,
}

impl Source {
    pub(crate) fn from_text(path: &str, text: &str) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|err| panic!("{path}: {err}"));
        Self { path: path.to_owned(), text: text.to_owned(), file }
    }

    /// Code that only tests run: whole files of it.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/") || self.is_harness()
    }

    /// The harness, the test binaries, xtask and the fuzz targets.
    pub(crate) fn is_harness(&self) -> bool {
        self.path.starts_with("tests/") || self.path.starts_with("relay/fuzz/")
    }

    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Every file of ours.
pub(crate) fn all() -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for folder in ["crds", "relay", "operator", "tests"] {
        walk(&root.join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let relative = path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
        Source::from_text(&relative, &text)
    };
    paths.iter().map(read).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            walk(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// Whether an item is there for tests only.
pub(crate) fn is_test_only(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| {
        if attr.path().is_ident("test") {
            return true;
        }
        let syn::Meta::List(list) = &attr.meta else { return false };
        attr.path().is_ident("cfg") && list.tokens.to_string().contains("test")
    })
}
