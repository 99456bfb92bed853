//! A private Postfix (Debian's), as far side and as client.
//! **Owns:** its configuration, start and stop. **Never:** the machine's own Postfix or its folders.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::{ports, process::Process, wait::eventually};

const MASTER: &str = "/usr/lib/postfix/sbin/master";

/// One instance.
pub struct Postfix {
    folder: PathBuf,
    address: SocketAddr,
    master: Process,
}

/// What an instance is for.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Where it listens; a free port of 127.0.0.1 if absent.
    pub address: Option<SocketAddr>,
    /// Relays everything to here.
    pub relayhost: Option<SocketAddr>,
    /// Takes all mail for these domains into one maildir.
    pub domains: Vec<String>,
    /// Asks this nameserver, at port 53, in place of the machine's. Takes root: it sees an /etc/resolv.conf of its own.
    pub nameserver: Option<IpAddr>,
    /// More lines of main.cf, in place of those of the same name.
    pub more: Vec<(String, String)>,
}

impl Postfix {
    /// Starts one.
    pub async fn start(folder: &Path, setup: Setup) -> Result<Self> {
        let address = match setup.address {
            Some(address) => address,
            None => SocketAddr::new([127, 0, 0, 1].into(), ports::free()?),
        };
        for part in ["etc", "queue", "data", "mail"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        // Its daemons run as other users: each folder on the way must let them in.
        for part in folder.ancestors().take_while(|part| part.starts_with(std::env::temp_dir())) {
            if part != std::env::temp_dir() {
                std::fs::set_permissions(part, std::fs::Permissions::from_mode(0o755))?;
            }
        }
        for owned in ["data", "mail"] {
            run(Command::new("chown").arg("postfix").arg(folder.join(owned))).await?;
        }
        std::fs::write(folder.join("etc/main.cf"), main_cf(folder, &setup).await?)?;
        std::fs::write(folder.join("etc/master.cf"), master_cf(address))?;
        run(Command::new("postfix").arg("-c").arg(folder.join("etc")).args(["check"])).await?;
        let mut command = match setup.nameserver {
            None => Command::new(MASTER),
            Some(nameserver) => with_nameserver(folder, nameserver)?,
        };
        command.arg("-c").arg(folder.join("etc")).arg("-d");
        let master = Process::start(command, &folder.join("master.log"))?;
        let postfix = Self { folder: folder.to_owned(), address, master };
        eventually("Postfix to answer", Duration::from_secs(20), async || {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await
        .with_context(|| postfix.log())?;
        Ok(postfix)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("mail.log")).unwrap_or_default() + &self.master.output()
    }

    /// The messages in its maildir.
    pub fn messages(&self) -> Result<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        for entry in std::fs::read_dir(self.folder.join("mail/box/new")).into_iter().flatten().flatten() {
            messages.push(std::fs::read(entry.path())?);
        }
        Ok(messages)
    }

    /// CPU time and memory of all its processes.
    pub fn pids(&self) -> Vec<i32> {
        let session = self.master.pid();
        let mut pids = vec![session];
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
            let parent =
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
            if parent == Some(session) {
                pids.push(pid);
            }
        }
        pids
    }

    /// The master process: the time of its children that have ended counts with it.
    pub fn master(&self) -> &Process {
        &self.master
    }

    /// How many messages wait in its queue.
    pub fn queued(&self) -> usize {
        ["incoming", "active", "deferred", "maildrop"]
            .iter()
            .map(|part| count(&self.folder.join("queue").join(part)))
            .sum()
    }

    /// Stops it with its children.
    pub async fn stop(&mut self) -> Result<()> {
        self.master.stop().await.map(drop)
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // SIGTERM lets the master take its children along; the kill on drop alone would leave them.
        drop(self.master.signal(rustix::process::Signal::TERM));
        for _ in 0..100 {
            if self.master.ended().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

async fn main_cf(folder: &Path, setup: &Setup) -> Result<String> {
    let (uid, gid) = (id("-u").await?, id("-g").await?);
    let folder = folder.display();
    let mut lines: Vec<(String, String)> = [
        ("compatibility_level", "3.6".to_owned()),
        ("queue_directory", format!("{folder}/queue")),
        ("data_directory", format!("{folder}/data")),
        ("command_directory", "/usr/sbin".to_owned()),
        ("daemon_directory", "/usr/lib/postfix/sbin".to_owned()),
        ("maillog_file", format!("{folder}/mail.log")),
        ("maillog_file_prefixes", format!("{folder}")),
        ("myhostname", "postfix.example".to_owned()),
        ("mydestination", String::new()),
        ("mynetworks", "127.0.0.0/8".to_owned()),
        ("inet_protocols", "ipv4".to_owned()),
        ("inet_interfaces", "all".to_owned()),
        ("alias_maps", String::new()),
        ("local_recipient_maps", String::new()),
        ("smtpd_recipient_restrictions", "permit_mynetworks, reject".to_owned()),
        ("smtpd_relay_restrictions", "permit_mynetworks, reject".to_owned()),
        ("virtual_mailbox_domains", setup.domains.join(", ")),
        ("virtual_mailbox_base", format!("{folder}/mail")),
        ("virtual_mailbox_maps", "static:box/".to_owned()),
        ("virtual_uid_maps", format!("static:{uid}")),
        ("virtual_gid_maps", format!("static:{gid}")),
        ("virtual_minimum_uid", "1".to_owned()),
        ("message_size_limit", "104857600".to_owned()),
        ("virtual_mailbox_limit", "0".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    if let Some(relayhost) = setup.relayhost {
        lines.push(("relayhost".to_owned(), format!("[{}]:{}", relayhost.ip(), relayhost.port())));
    }
    lines.retain(|(name, _)| !setup.more.iter().any(|(other, _)| other == name));
    lines.extend(setup.more.iter().cloned());
    let mut text = String::new();
    for (name, value) in lines {
        writeln!(text, "{name} = {value}")?;
    }
    Ok(text)
}

fn master_cf(address: SocketAddr) -> String {
    format!(
        "{}:{} inet n - n - - smtpd\n\
         pickup unix n - n 60 1 pickup\n\
         cleanup unix n - n - 0 cleanup\n\
         qmgr unix n - n 300 1 qmgr\n\
         tlsmgr unix - - n 1000? 1 tlsmgr\n\
         tlsproxy unix - - n - 0 tlsproxy\n\
         rewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\n\
         trace unix - - n - 0 bounce\n\
         verify unix - - n - 1 verify\n\
         flush unix n - n 1000? 0 flush\n\
         proxymap unix - - n - - proxymap\n\
         smtp unix - - n - - smtp\n\
         relay unix - - n - - smtp\n\
         error unix - - n - - error\n\
         retry unix - - n - - error\n\
         discard unix - - n - - discard\n\
         virtual unix - n n - - virtual\n\
         anvil unix - - n - 1 anvil\n\
         scache unix - - n - 1 scache\n\
         postlog unix-dgram n - n - 1 postlogd\n",
        address.ip(),
        address.port()
    )
}

/// The master in a mount namespace of its own; the process stays the one that was started.
fn with_nameserver(folder: &Path, nameserver: IpAddr) -> Result<Command> {
    let file = folder.join("resolv.conf");
    std::fs::write(&file, format!("nameserver {nameserver}\n"))?;
    let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(file).arg(MASTER);
    Ok(command)
}

async fn id(flag: &str) -> Result<String> {
    let output = Command::new("id").args([flag, "postfix"]).output().await?;
    ensure!(output.status.success(), "found no user postfix; expected Debian's package postfix; install it");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn run(command: &mut Command) -> Result<()> {
    let output = command.output().await?;
    if !output.status.success() {
        bail!("{:?}: {}", command.as_std(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
