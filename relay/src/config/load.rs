//! Where a configuration comes from: a folder of manifests, or a compiled file.
//! **Owns:** reading files, within bounds. **Never:** what the files mean.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use postrider_core::{
    compile::{self, Verdict},
    config::{Config, MAX_BYTES},
    manifests::{self, Loaded},
};

use crate::{
    cli::RedisArg,
    shards::{self, BadQueue},
};

/// The largest manifest that is read, in bytes.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// How often a compiled file is looked at. A look is one `stat`: about 0.05 % of a core.
const LOOK_AT_FILE_EVERY: Duration = Duration::from_millis(50);
/// How often a folder is: a `stat` of each file.
const LOOK_AT_FOLDER_EVERY: Duration = Duration::from_millis(500);
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
pub struct Stamp(Vec<(PathBuf, Option<Look>)>);

/// A file that was written anew in its place, or that another one took the place of, differs in one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    inode: u64,
    modified: Option<SystemTime>,
    length: u64,
}

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
    /// It is of another MailRelay than the one that runs.
    #[error("fleet: found {found}; expected {expected}; start another relay for another MailRelay")]
    AnotherFleet {
        /// Whose it is.
        found: String,
        /// Whose relay this is.
        expected: String,
    },
    /// A shard can't be used.
    #[error(transparent)]
    Queue(#[from] BadQueue),
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
        let look = |seen: fs::Metadata| Look {
            inode: seen.ino(),
            modified: seen.modified().ok(),
            length: seen.len(),
        };
        let looks = files.into_iter().map(|path| {
            let seen = fs::metadata(&path).ok().map(look);
            (path, seen)
        });
        Stamp(looks.collect())
    }

    /// How often to look.
    pub fn look_every(&self) -> Duration {
        match &self.source {
            Source::Manifests { .. } => LOOK_AT_FOLDER_EVERY,
            Source::Compiled { .. } => LOOK_AT_FILE_EVERY,
        }
    }

    /// Reads and, for manifests, compiles.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn load(&self) -> Result<Config, NotLoaded> {
        let mut config = match &self.source {
            Source::Manifests { folder, relay } => from_manifests(folder, relay.as_deref())?,
            Source::Compiled { file } => Config::from_bytes(&read_bytes(file, MAX_BYTES as u64)?)
                .map_err(|error| NotLoaded::Compiled { path: file.display().to_string(), error })?,
        };
        place(&mut config, &self.redis)?;
        shards::check(&config)?;
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
    let bytes = read_bytes(path, MAX_FILE_BYTES)?;
    let no_text = |error| NotLoaded::Unreadable {
        path: path.display().to_string(),
        error: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    };
    String::from_utf8(bytes).map_err(no_text)
}

fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>, NotLoaded> {
    use std::io::Read;
    let unreadable = |error| NotLoaded::Unreadable { path: path.display().to_string(), error };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    let length = file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if length as u64 > most {
        return Err(NotLoaded::TooLarge {
            path: path.display().to_string(),
            found: format!("more than {most} bytes"),
            most: format!("{most}"),
        });
    }
    Ok(bytes)
}
