//! The chart stays small: a release is kept whole in a Secret, of 1 MiB at most.
//! **Owns:** the archive's budget. **Never:** the release's own (the tests on a cluster), or what takes the room.

use postrider_tests::helm::{both, chart};

/// Gzip of all that a release keeps but its manifest, which repeats most of it.
const ARCHIVE_MAX_BYTES: u64 = 300 << 10;

#[test]
fn an_archive_is_small_and_has_what_is_needed() {
    for helm in both().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let output = helm
            .command()
            .arg("package")
            .arg(chart())
            .arg("--destination")
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = folder.path().join(format!("postrider-{}.tgz", env!("CARGO_PKG_VERSION")));
        let bytes = std::fs::metadata(&path).unwrap().len();
        println!("Helm {}: the archive has {bytes} bytes", helm.major);
        assert!(bytes <= ARCHIVE_MAX_BYTES, "{bytes}");
        let listed = std::process::Command::new("tar").arg("tzf").arg(&path).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        for file in ["values.schema.json", "files/mailrelays.yaml", "templates/NOTES.txt"] {
            assert!(listed.contains(&format!("postrider/{file}\n")), "{listed}");
        }
        assert!(!listed.contains("README"), "{listed}");
    }
}

#[test]
fn lint_finds_nothing() {
    for helm in both().unwrap() {
        let output =
            helm.command().args(["lint", "--strict", "--kube-version=1.33.0"]).arg(chart()).output().unwrap();
        let told =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !told.contains("[WARNING]") && !told.contains("[ERROR]"),
            "{told}"
        );
    }
}
