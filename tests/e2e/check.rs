//! `postrider-relay check` on manifests that are wrong: where, found, expected, do.
//! **Owns:** the walk over `fixtures/manifests`. **Never:** what is wrong with them (each says it beside itself).

use std::path::Path;

use postrider_tests::relay;

#[tokio::test]
async fn each_broken_example_is_told_where_and_why() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/manifests");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display())) {
        let path = entry.unwrap().path();
        let Ok(expected) = std::fs::read_to_string(path.join("expect.txt")) else { continue };
        let output =
            relay::command(["check".as_ref(), "--manifests".as_ref(), path.as_os_str()]).await.unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{} passes:\n{text}", path.display());
        for line in expected.lines().filter(|line| !line.is_empty()) {
            assert!(text.contains(line), "{}: expected {line:?} in\n{text}", path.display());
        }
        count += 1;
    }
    assert!(count >= 20, "only {count} examples");
}

#[tokio::test]
async fn the_examples_are_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for entry in std::fs::read_dir(root.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let is_folder_of_yaml = std::fs::read_dir(&path).is_ok_and(|mut files| {
            files.any(|file| file.is_ok_and(|file| file.path().extension().is_some_and(|ext| ext == "yaml")))
        });
        if is_folder_of_yaml {
            let output =
                relay::command(["check".as_ref(), "--manifests".as_ref(), path.as_os_str()]).await.unwrap();
            assert!(
                output.status.success(),
                "{}: {}{}",
                path.display(),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[tokio::test]
async fn without_arguments_it_says_what_it_needs() {
    let output = relay::command::<&str>([]).await.unwrap();
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(text.contains("run") && text.contains("check"), "{text}");
}
