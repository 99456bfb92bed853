//! A real nameserver (BIND) on loopback with zones that tests write and it signs, from a root of the test's own.
//! **Owns:** keys, signatures, delegations, what is broken of them. **Never:** recursion: all zones are its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{ports, process::Process, wait::eventually};

/// How long the server may take to listen.
const START_WITHIN: Duration = Duration::from_secs(20);

/// A zone and how it is signed.
#[derive(Debug, Clone)]
pub struct Zone {
    /// Its name, without the dot at the end.
    pub name: String,
    /// Its records, a line each, in the form of zone files.
    pub records: String,
    /// How it is signed.
    pub signed: Signed,
}

/// How a zone is signed.
#[derive(Debug, Clone)]
pub enum Signed {
    /// As it should be, with a DS record above.
    Well,
    /// Not, and the zone above says so.
    Not,
    /// Well, and then the first text was replaced by the second.
    ThenChanged(String, String),
    /// Well, and the server doesn't have it: it answers SERVFAIL.
    ThenLost,
    /// Well, but the time of its signatures is over.
    LongAgo,
    /// Well, but the DS record above is of another key than its own.
    UnderAnotherKey,
}

/// A running server.
pub struct Bind {
    address: SocketAddr,
    anchors: PathBuf,
    _process: Process,
    _folder: TempDir,
}

impl Bind {
    /// Signs the zones and serves them. Zones that are below another must come before it.
    pub async fn start(zones: &[Zone]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("postrider-bind-").tempdir()?;
        let here = folder.path();
        let mut served = String::new();
        let mut above: Vec<Zone> = zones.to_vec();
        above.push(Zone {
            name: String::new(),
            records: "ns. A 127.0.0.1\n".to_owned(),
            signed: Signed::Well,
        });
        for at in 0..above.len() {
            let zone = above[at].clone();
            let delegation = make(here, &zone).await?;
            let file = format!("{}.zone", label(&zone.name));
            served += &format!("zone \"{}.\" {{ type primary; file \"{file}\"; }};\n", zone.name);
            let is_above =
                |other: &&mut Zone| other.name.is_empty() || zone.name.ends_with(&format!(".{}", other.name));
            if let Some(parent) = above.iter_mut().skip(at + 1).find(is_above) {
                parent.records += &delegation;
            }
        }
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::free()?);
        let process = serve(here, address, &served).await?;
        Ok(Self { address, anchors: here.join("anchors"), _process: process, _folder: folder })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with the key of its root.
    pub fn anchors(&self) -> &Path {
        &self.anchors
    }
}

/// Writes a zone's file. What the zone above has to say of it.
async fn make(here: &Path, zone: &Zone) -> Result<String> {
    let (name, file) = (format!("{}.", zone.name), here.join(format!("{}.zone", label(&zone.name))));
    let text = format!(
        "$TTL 60\n$ORIGIN {name}\n@ SOA ns. hostmaster.ns. 1 3600 600 86400 60\n@ NS ns.\n{}\n",
        zone.records
    );
    std::fs::write(&file, text)?;
    let mut delegation = format!("{name} NS ns.\n");
    if matches!(zone.signed, Signed::Not) {
        return Ok(delegation);
    }
    let key = key_of(here, &name).await?;
    let file = file.to_string_lossy().into_owned();
    // What is over would not pass its own last look.
    let over: &[&str] = if matches!(zone.signed, Signed::LongAgo) {
        &["-P", "-s", "20250101000000", "-e", "20250201000000"]
    } else {
        &[]
    };
    let sign = ["-q", "-z", "-S", "-o", &name, "-f", &file, &file];
    run(here, "dnssec-signzone", &[over, &sign].concat()).await?;
    if zone.name.is_empty() {
        std::fs::rename(here.join(format!("{key}.key")), here.join("anchors"))?;
        return Ok(String::new());
    }
    delegation += &if matches!(zone.signed, Signed::UnderAnotherKey) {
        run(here, "dnssec-dsfromkey", &[&key_of(here, &name).await?]).await?
    } else {
        std::fs::read_to_string(here.join(format!("dsset-{name}")))?
    };
    match &zone.signed {
        Signed::ThenChanged(from, to) => {
            let signed = std::fs::read_to_string(&file)?;
            ensure!(signed.contains(from), "found no {from} in {signed}");
            std::fs::write(&file, signed.replace(from, to))?;
        }
        Signed::ThenLost => std::fs::remove_file(&file)?,
        Signed::Well | Signed::Not | Signed::LongAgo | Signed::UnderAnotherKey => {}
    }
    Ok(delegation)
}

/// Makes a key for a zone; its name.
async fn key_of(here: &Path, zone: &str) -> Result<String> {
    let arguments = ["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", zone];
    Ok(run(here, "dnssec-keygen", &arguments).await?.trim().to_owned())
}

async fn serve(here: &Path, address: SocketAddr, zones: &str) -> Result<Process> {
    let folder = here.display();
    let config = format!(
        "options {{ directory \"{folder}\"; pid-file none; session-keyfile none; recursion no; notify no; \
         dnssec-validation no; minimal-responses yes; listen-on-v6 {{ none; }}; \
         listen-on port {} {{ 127.0.0.1; }}; }};\ncontrols {{}};\n{zones}",
        address.port()
    );
    let file = here.join("named.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new("named");
    command.arg("-g").args(["-X", "none", "-n", "1", "-c"]).arg(&file);
    let process = Process::start(command, &here.join("named.log"))?;
    let is_up = async || process.output().contains("running").then_some(());
    eventually("a running named", START_WITHIN, is_up).await.with_context(|| process.output())?;
    Ok(process)
}

async fn run(here: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).current_dir(here).args(arguments).output().await;
    let output = output.with_context(|| format!("running {program}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
    Ok(text(&output.stdout))
}

/// The name of a zone's file.
fn label(name: &str) -> &str {
    if name.is_empty() { "root" } else { name }
}
