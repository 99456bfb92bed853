//! Images that tests run beside Postrider's own, made here from programs of this machine.
//! **Owns:** which they are, and their names. **Never:** pulls one.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{Node, scripts};

/// How long making an image may take.
const MAKE_WITHIN: Duration = Duration::from_secs(120);
/// A Redis: redis-server, redis-cli and a shell, on the path as in anybody's image.
pub const REDIS: &str = "postrider-test-redis:1";
/// `postrider-test-mail`: a client and a far side.
pub const MAIL: &str = "postrider-test-mail:1";

/// Writes an archive of an image with these programs, each from a file here to a path there, and their libraries. The
/// first is what runs.
pub async fn archive(name: &str, programs: &[(&Path, &str)], archive: &Path) -> Result<()> {
    let out = std::fs::File::create(archive).with_context(|| archive.display().to_string())?;
    let mut command = Command::new(scripts().join("image.sh"));
    command.arg(name).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).kill_on_drop(true);
    for (from, to) in programs {
        command.arg(format!("{}={to}", from.display()));
    }
    let late = || format!("making {name} took more than {MAKE_WITHIN:?}");
    // Not `output()`: it would take what is for the file.
    let made = command.spawn()?.wait_with_output();
    let output = tokio::time::timeout(MAKE_WITHIN, made).await.with_context(late)??;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "making {name}: {}", told.trim());
    Ok(())
}

impl Node {
    /// Makes and imports the relay and the operator as they were built with the tests, by the names that the chart gives them.
    /// What Postrider's own images are made of is for the image's tests.
    pub async fn import_product(&self) -> Result<()> {
        for (name, program) in [
            ("postrider-relay", crate::relay::binary().await?),
            ("postrider-operator", crate::operator::binary().await?),
        ] {
            let image = format!("{name}:{}", env!("CARGO_PKG_VERSION"));
            self.import_programs(&image, &[(&program, &format!("/{name}"))]).await?;
        }
        Ok(())
    }

    /// Makes and imports [`REDIS`].
    pub async fn import_redis(&self) -> Result<&'static str> {
        let (server, client) = (Path::new("/usr/bin/redis-server"), Path::new("/usr/bin/redis-cli"));
        let shell = Path::new("/bin/sh");
        let programs =
            [(server, "/usr/bin/redis-server"), (client, "/usr/bin/redis-cli"), (shell, "/bin/sh")];
        self.import_programs(REDIS, &programs).await.map(|()| REDIS)
    }

    /// Makes and imports [`MAIL`].
    pub async fn import_mail(&self) -> Result<&'static str> {
        self.import_programs(MAIL, &[(&mail_program()?, "/usr/bin/postrider-test-mail")]).await?;
        Ok(MAIL)
    }

    async fn import_programs(&self, name: &str, programs: &[(&Path, &str)]) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("image.tar");
        archive(name, programs, &file).await?;
        self.import_image(&file).await
    }
}

/// Cargo builds it with the tests, into the folder above theirs.
fn mail_program() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let here = test.ancestors().skip(1).take(2).map(|folder| folder.join("postrider-test-mail"));
    let found = here.into_iter().find(|program| program.is_file());
    found.context("found no postrider-test-mail beside this program; expected it there; run: cargo build --package postrider-tests")
}
