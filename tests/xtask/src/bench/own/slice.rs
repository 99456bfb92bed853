//! Holds a process to a part of a core, by a control group of its own.
//! **Owns:** that group, gone when dropped. **Never:** a process that the bench didn't start.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Short, so that a process that has had its share waits for milliseconds only.
const PERIOD_MICROS: u64 = 10_000;

/// A process is held for as long as this lives.
pub(crate) struct Slice {
    folder: PathBuf,
    pid: i32,
}

impl Slice {
    /// From now on it gets this part of a core.
    pub(crate) fn hold(pid: i32, part: f64) -> Result<Self> {
        let quota = (PERIOD_MICROS as f64 * part) as u64;
        let v1 = Path::new("/sys/fs/cgroup/cpu");
        let v2 = Path::new("/sys/fs/cgroup");
        let name = format!("postrider-bench-{pid}");
        let (folder, settings) = if v1.join("cpu.cfs_quota_us").is_file() || v1.join("tasks").is_file() {
            let settings = vec![
                ("cpu.cfs_period_us", PERIOD_MICROS.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ];
            (v1.join(name), settings)
        } else if v2.join("cgroup.subtree_control").is_file() {
            // May be there already, or not be ours to give: then cpu.max is missing below.
            drop(std::fs::write(v2.join("cgroup.subtree_control"), "+cpu"));
            (v2.join(name), vec![("cpu.max", format!("{quota} {PERIOD_MICROS}"))])
        } else {
            bail!("found no control groups");
        };
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let slice = Self { folder, pid };
        for (file, value) in settings {
            std::fs::write(slice.folder.join(file), value).with_context(|| file.to_owned())?;
        }
        std::fs::write(slice.folder.join("cgroup.procs"), pid.to_string()).context("cgroup.procs")?;
        Ok(slice)
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        // Back to the group above; one whose processes have ended is removed all the same.
        if let Some(above) = self.folder.parent() {
            drop(std::fs::write(above.join("cgroup.procs"), self.pid.to_string()));
        }
        drop(std::fs::remove_dir(&self.folder));
    }
}
