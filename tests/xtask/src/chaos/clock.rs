//! A wall clock for one process, which can be set.
//! **Owns:** the file that clock.c reads. **Never:** a monotonic clock.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::tools;

/// A process's wall clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock(PathBuf);

impl Clock {
    /// One that is right, for now.
    pub(crate) fn right(file: PathBuf) -> Result<Self> {
        std::fs::write(&file, 0_i64.to_ne_bytes())?;
        Ok(Self(file))
    }

    /// From now on it is so many seconds ahead.
    pub(crate) fn set(&self, ahead: i64) -> Result<()> {
        // In place: the process has the file mapped.
        let file = OpenOptions::new().write(true).open(&self.0)?;
        file.write_all_at(&ahead.to_ne_bytes(), 0).context("setting a clock")
    }

    /// Runs a program by it.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let library = library();
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("POSTRIDER_CLOCK={}", self.0.display()),
        ]
    }
}

fn library() -> PathBuf {
    tools::target().join("chaos/clock.so")
}

/// Builds the library.
pub(crate) fn build() -> Result<()> {
    let (library, source) = (library(), tools::root().join("tests/xtask/src/chaos/clock.c"));
    std::fs::create_dir_all(library.parent().unwrap_or(Path::new("/")))?;
    let built =
        Command::new("gcc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status()?;
    ensure!(built.success(), "gcc ended with {built}");
    Ok(())
}
