//! A file that is swapped as the kubelet swaps a mounted Secret's, while it is followed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use postrider_core::config::{ConfigParts, DeliveryMode, Secret};
use postrider_mail::HostName;
use tempfile::TempDir;

use super::*;
use crate::metrics::Metrics;

/// How long a swap may take to be seen on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(10);

/// A volume as the kubelet writes it: `config.json.gz -> ..data/config.json.gz`, `..data -> ..TIME`, and `..data` is renamed over.
struct Volume {
    folder: TempDir,
    writes: u32,
}

impl Volume {
    fn new() -> Self {
        let volume = Self { folder: tempfile::tempdir().expect("a folder"), writes: 0 };
        symlink("..data/config.json.gz", volume.file()).expect("a link");
        volume
    }

    fn file(&self) -> PathBuf {
        self.at("config.json.gz")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `pkg/volume/util/atomic_writer.go`: a new folder, a link to it, the link renamed over the old one, the old folder removed.
    fn swap(&mut self, bytes: &[u8]) {
        self.writes += 1;
        let (now, before) = (format!("..{}", self.writes), format!("..{}", self.writes - 1));
        fs::create_dir(self.at(&now)).expect("a folder");
        fs::write(self.at(&now).join("config.json.gz"), bytes).expect("a file");
        symlink(&now, self.at("..data_tmp")).expect("a link");
        fs::rename(self.at("..data_tmp"), self.at("..data")).expect("over the old one");
        let _ = fs::remove_dir_all(self.at(&before));
    }
}

fn config(change: impl FnOnce(&mut ConfigParts)) -> Config {
    let fleet = Fleet { namespace: "mail".into(), name: "outbound".into(), uid: None };
    let mut parts = ConfigParts::minimal(fleet, HostName::parse("mail.example.com").expect("a name"));
    parts.queue.shards[0].url = Some(Secret::new("redis://127.0.0.1/".to_owned()));
    change(&mut parts);
    Config::from(parts)
}

/// Follows a file.
fn follow(file: &Path) -> (ConfigSource, LastLoad, Metrics, CancellationToken) {
    let origin = Origin::compiled(file.to_owned(), Vec::new());
    let seen = origin.stamp();
    let (sender, source) = ConfigSource::new(Arc::new(origin.load().expect("a configuration")));
    let (last, metrics) = (LastLoad::default(), Metrics::new().expect("names are unique"));
    let stopped = CancellationToken::new();
    let follow = Follow { origin, seen, sender, last: last.clone(), metrics: metrics.clone() };
    tokio::spawn(follow.run(stopped.clone()));
    (source, last, metrics, stopped)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_volume_is_loaded_and_what_cant_be_loaded_is_told() {
    let (active, paused) = (config(|_| ()), config(|parts| parts.delivery = DeliveryMode::Paused));
    let mut volume = Volume::new();
    volume.swap(&active.to_gzip());
    let (source, last, metrics, stopped) = follow(&volume.file());
    volume.swap(&paused.to_gzip());
    until("the new one", || source.current().hash() == paused.hash()).await;
    assert_eq!(last.error(), None);
    // What is broken changes nothing, and says why; what comes back is loaded.
    volume.swap(b"{\"format\": 1, \"fleet\": \"canary\"}");
    until("it is told", || last.error().is_some()).await;
    let error = last.error().expect("told");
    assert!(error.contains("fleet") && !error.contains("canary"), "{error}");
    assert_eq!((source.current().hash(), metrics.config.load_errors.get()), (paused.hash(), 1));
    volume.swap(&paused.to_gzip());
    until("it is good again", || last.error().is_none()).await;
    // The same length in the same instant is another file all the same.
    volume.swap(&active.to_gzip());
    until("the first one again", || source.current().hash() == active.hash()).await;
    assert!(metrics.config.loaded_at.get() > 1.0);
    stopped.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_goes_and_comes_back_leaves_the_last_good_one() {
    let mut volume = Volume::new();
    volume.swap(&config(|_| ()).to_json());
    let (source, last, _metrics, stopped) = follow(&volume.file());
    let before = source.current().hash();
    fs::remove_file(volume.at("..data")).expect("a link");
    until("it is told", || last.error().is_some()).await;
    assert_eq!(source.current().hash(), before);
    volume.swap(&config(|parts| parts.delivery = DeliveryMode::Paused).to_json());
    until("it is loaded", || source.current().hash() != before).await;
    assert_eq!(last.error(), None);
    stopped.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_of_another_mail_relay_is_refused() {
    let mut volume = Volume::new();
    volume.swap(&config(|_| ()).to_gzip());
    let (source, last, _metrics, stopped) = follow(&volume.file());
    let before = source.current().hash();
    volume.swap(&config(|parts| parts.fleet.uid = Some("other".into())).to_gzip());
    until("it is told", || last.error().is_some()).await;
    let error = last.error().expect("told");
    assert!(error.contains("found mail/outbound (uid other); expected mail/outbound;"), "{error}");
    assert_eq!(source.current().hash(), before);
    stopped.cancel();
}
