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
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let alone = tempfile::tempdir().unwrap();
        std::fs::copy(&path, alone.path().join(path.file_name().unwrap())).unwrap();
        let output = relay::command(["check".as_ref(), "--manifests".as_ref(), alone.path().as_os_str()])
            .await
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let expected = std::fs::read_to_string(path.with_extension("expected")).unwrap();
        assert_eq!(told, expected, "{}", path.display());
        assert_eq!(output.status.success(), !expected.contains("not good:"), "{}", path.display());
        count += usize::from(!output.status.success());
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
