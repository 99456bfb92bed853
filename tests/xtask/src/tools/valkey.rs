//! A server with WAITAOF (Valkey, or Redis of 7.2), which Debian 12 has among its backports only.
//! **Owns:** finding one, or unpacking one into a cache beside cargo's. **Never:** installs one, or an apt source, into the system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The first release of either with WAITAOF.
const FLOOR: (u32, u32) = (7, 2);
/// The server's program is a link into the other one.
const PACKAGES: [&str; 2] = ["valkey-server", "valkey-tools"];

/// The path of one.
pub(crate) fn server() -> Result<PathBuf> {
    let folder = cache()?;
    let unpacked = folder.join("root/usr/bin/valkey-server");
    let known = ["valkey-server".into(), "redis-server".into(), unpacked.clone()];
    if let Some(found) = known.into_iter().find(|program: &PathBuf| has_waitaof(program)) {
        return Ok(found);
    }
    println!("unpacking valkey-server from Debian's backports");
    let _ = fs::remove_dir_all(&folder);
    unpack(&folder).context("found no Valkey or Redis of 7.2 or later; install one")?;
    ensure!(has_waitaof(&unpacked), "{} doesn't run here", unpacked.display());
    Ok(unpacked)
}

fn cache() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    Ok(caches.context("there is a HOME")?.join("postrider/valkey"))
}

/// `… v=8.0.1 …`
fn has_waitaof(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("--version").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or_default();
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|version| version >= FLOOR)
}

/// By apt with folders of its own, from where the system's own packages come.
fn unpack(folder: &Path) -> Result<()> {
    let sources = folder.join("sources");
    for one in [&sources, &folder.join("lists/partial"), &folder.join("archives/partial")] {
        fs::create_dir_all(one)?;
    }
    let codename = codename()?;
    let suite = format!("{codename}-backports");
    let mirror = mirror(&codename)?;
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let text =
        format!("Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\nSigned-By: {keyring}\n");
    fs::write(sources.join("backports.sources"), text)?;
    let options = [
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        format!("Dir::Etc::sourceparts={}", sources.display()),
        format!("Dir::State::lists={}", folder.join("lists").display()),
        format!("Dir::Cache={}", folder.display()),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let apt = |arguments: &[&str]| {
        let options = options.iter().flat_map(|option| ["-o", option]);
        run(Command::new("apt-get").arg("-qq").args(options).args(arguments).current_dir(folder))
    };
    apt(&["update"])?;
    let packages = PACKAGES.map(|package| format!("{package}/{suite}"));
    apt(&["download", &packages[0], &packages[1]])?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(folder.join("root")))?;
        }
    }
    Ok(())
}

fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("os-release has a VERSION_CODENAME")?.trim_matches('"').to_owned())
}

/// Where apt's own lists have the suite of this release from.
fn mirror(codename: &str) -> Result<String> {
    let mut files: Vec<PathBuf> = vec!["/etc/apt/sources.list".into()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    let text: Vec<String> = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let found = text.iter().flat_map(|text| text.split("\n\n").chain(text.lines())).find_map(|part| {
        let part = part.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        // An address and a suite stand in one paragraph, or in one line.
        let mut words = part.split_whitespace();
        let address = words.find(|word| word.contains("://"))?;
        words.any(|word| word == codename).then(|| address.to_owned())
    });
    found.with_context(|| format!("found no address with the suite {codename} in apt's lists"))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
