//! Where a configuration comes from: a folder of manifests, or a compiled file.
//! **Owns:** reading files, within bounds. **Never:** what the files mean.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use postrider_core::{
    compile::{self, Verdict},
    config::Config,
    manifests::{self, Loaded},
};

use crate::cli::RedisArg;

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// How many files a folder of manifests may have.
const MAX_FILES: usize = 2_000;

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    source: Source,
    redis: Vec<RedisArg>,
}

#[derive(Debug, Clone)]
enum Source {
    Manifests { folder: PathBuf, relay: Option<String> },
    Compiled { file: PathBuf },
}

/// What files look like from outside: another look, another content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp(Vec<(PathBuf, Option<SystemTime>, u64)>);

/// Why there is no configuration. For people: where; found; expected; do.
#[derive(Debug, thiserror::Error)]
pub enum NotLoaded {
    /// A file or folder can't be read.
    #[error("{path}: found {error}; expected a file that can be read")]
    Unreadable {
        /// Which.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// Too much of it.
    #[error("{path}: found {found}; expected at most {most}")]
    TooLarge {
        /// Which.
        path: String,
        /// How much there is.
        found: String,
        /// How much is read.
        most: String,
    },
    /// The manifests are wrong.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
    /// No MailRelay, another one, or several.
    #[error("{path}: {problem}")]
    NoRelay {
        /// The folder.
        path: String,
        /// Found, expected.
        problem: String,
    },
    /// The compiled file is wrong.
    #[error("{path}: {error}")]
    Compiled {
        /// Which.
        path: String,
        /// What is wrong with it.
        error: postrider_core::config::UnreadableConfig,
    },
    /// `--redis` doesn't fit the shards.
    #[error("--redis: {0}")]
    Redis(String),
}

impl Origin {
    /// A folder of manifests, and the MailRelay in it.
    pub fn manifests(folder: PathBuf, relay: Option<String>, redis: Vec<RedisArg>) -> Self {
        Self { source: Source::Manifests { folder, relay }, redis }
    }

    /// A compiled file.
    pub fn compiled(file: PathBuf, redis: Vec<RedisArg>) -> Self {
        Self { source: Source::Compiled { file }, redis }
    }

    /// What the files look like now.
    pub fn stamp(&self) -> Stamp {
        let files = match &self.source {
            Source::Manifests { folder, .. } => yaml_files(folder).unwrap_or_default(),
            Source::Compiled { file } => vec![file.clone()],
        };
        // Links are followed: a mounted Secret changes by its link.
        let looks = files.into_iter().map(|path| {
            let seen = fs::metadata(&path).ok();
            let length = seen.as_ref().map_or(0, fs::Metadata::len);
            (path, seen.and_then(|seen| seen.modified().ok()), length)
        });
        Stamp(looks.collect())
    }

    /// Reads and, for manifests, compiles.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn load(&self) -> Result<Config, NotLoaded> {
        let mut config = match &self.source {
            Source::Manifests { folder, relay } => from_manifests(folder, relay.as_deref())?,
            Source::Compiled { file } => Config::from_json(read(file)?.as_bytes())
                .map_err(|error| NotLoaded::Compiled { path: file.display().to_string(), error })?,
        };
        place(&mut config, &self.redis)?;
        Ok(config)
    }
}

/// Reads a folder of manifests.
///
/// # Errors
/// The folder or a file can't be read, or there is too much of it.
pub fn read_manifests(folder: &Path) -> Result<Loaded, NotLoaded> {
    let mut files = Vec::new();
    for path in yaml_files(folder)? {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        files.push((name, read(&path)?));
    }
    Ok(manifests::load(files.iter().map(|(name, text)| (name.as_str(), text.as_str()))))
}

/// Compiles a folder of manifests for one MailRelay. What is wrong without stopping it is told in the log.
///
/// # Errors
/// A file can't be read or has errors, or the MailRelay can't be used.
pub fn from_manifests(folder: &Path, relay: Option<&str>) -> Result<Config, NotLoaded> {
    let loaded = read_manifests(folder)?;
    // Of files with errors nothing is used: a rule that is missing would let mail leave by another door.
    if !loaded.problems.is_empty() {
        return Err(NotLoaded::Wrong(loaded.problems.iter().map(ToString::to_string).collect()));
    }
    let no_relay = |problem| NotLoaded::NoRelay { path: folder.display().to_string(), problem };
    let relay = loaded.resources.select_relay(relay).map_err(no_relay)?;
    let compiled = compile::compile(&loaded.resources, relay);
    let told = |verdict: &Verdict| -> Vec<String> {
        verdict.problems.iter().map(|problem| format!("{}: {problem}", verdict.subject)).collect()
    };
    let problems: Vec<String> = compiled.verdicts().flat_map(told).collect();
    let Some(config) = compiled.config else { return Err(NotLoaded::Wrong(problems)) };
    for problem in problems {
        tracing::warn!(problem, "the manifests have a problem");
    }
    Ok(config)
}

/// Says where the managed shards are.
fn place(config: &mut Config, redis: &[RedisArg]) -> Result<(), NotLoaded> {
    for arg in redis {
        let name = match (&arg.name, config.queue.shards.as_slice()) {
            (Some(name), _) => name.clone(),
            (None, [only]) => only.name.clone(),
            (None, shards) => {
                let names: Vec<_> = shards.iter().map(|shard| shard.name.to_string()).collect();
                return Err(NotLoaded::Redis(format!(
                    "found a URL without a name; expected NAME=URL for each of the shards {}",
                    names.join(", ")
                )));
            }
        };
        if !config.queue.place(&name, arg.url.clone()) {
            return Err(NotLoaded::Redis(format!("found shard {name}; expected one that the MailRelay has")));
        }
    }
    match config.queue.shards.iter().find(|shard| shard.url.is_none()) {
        None => Ok(()),
        Some(shard) => Err(NotLoaded::Redis(format!(
            "found no URL for shard {}; expected --redis {}=redis://HOST:PORT, since the MailRelay says queue.managed",
            shard.name, shard.name
        ))),
    }
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, NotLoaded> {
    let unreadable = |error| NotLoaded::Unreadable { path: folder.display().to_string(), error };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            files.push(path);
        }
    }
    if files.len() > MAX_FILES {
        return Err(NotLoaded::TooLarge {
            path: folder.display().to_string(),
            found: format!("{} files", files.len()),
            most: format!("{MAX_FILES}"),
        });
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, NotLoaded> {
    use std::io::Read;
    let unreadable = |error| NotLoaded::Unreadable { path: path.display().to_string(), error };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    let length = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > MAX_FILE_BYTES {
        return Err(NotLoaded::TooLarge {
            path: path.display().to_string(),
            found: format!("more than {MAX_FILE_BYTES} bytes"),
            most: format!("{MAX_FILE_BYTES}"),
        });
    }
    Ok(text)
}
