//! A container engine takes the archives, and makes the same image from the `Dockerfile`.
//! **Owns:** what an image must be. **Never:** runs one.

use anyhow::Result;

use crate::{
    built,
    engine::{Engine, Image},
};

#[tokio::test]
async fn an_archive_is_taken_in_the_form_of_the_oci_and_of_docker() -> Result<()> {
    for built in built::all().await? {
        let engine = Engine::new()?;
        let mut ids = Vec::new();
        for kind in ["oci-archive", "docker-archive"] {
            let id = engine.load(kind, &built.archive).await?;
            let name = format!("docker.io/library/{}:{}", built.name, built.version);
            assert!(engine.names(&id).await?.contains(&name), "{kind}: {:?}", engine.names(&id).await?);
            ids.push(id);
        }
        assert_eq!(ids[0], ids[1], "both lead to one config");
    }
    Ok(())
}

#[tokio::test]
async fn an_image_holds_a_binary_and_roots_and_runs_as_nobody() -> Result<()> {
    for built in built::all().await? {
        let engine = Engine::new()?;
        let image = engine.look(&engine.load("oci-archive", &built.archive).await?).await?;
        let files: Vec<(String, u32)> =
            image.files.iter().map(|(path, file)| (path.display().to_string(), file.mode)).collect();
        let expected = [
            ("etc", 0o40_755),
            ("etc/ssl", 0o40_755),
            ("etc/ssl/certs", 0o40_755),
            ("etc/ssl/certs/ca-certificates.crt", 0o100_644),
            (built.name, 0o100_755),
        ];
        assert_eq!(files, expected.map(|(path, mode)| (path.to_owned(), mode)));
        assert!(image.files.values().all(|file| file.owner == (0, 0)));
        assert_eq!(image.config["User"], "65532:65532");
        assert_eq!(image.config["Entrypoint"][0], format!("/{}", built.name));
    }
    Ok(())
}

#[tokio::test]
async fn the_dockerfile_makes_the_same_image() -> Result<()> {
    for built in built::all().await? {
        let engine = Engine::new()?;
        let ours = engine.look(&engine.load("oci-archive", &built.archive).await?).await?;
        let mut theirs = engine.look(&engine.build(&built).await?).await?;
        // What the engine adds to every image that it builds.
        theirs.config.remove("Env");
        if let Some(labels) = theirs.config.get_mut("Labels").and_then(|labels| labels.as_object_mut()) {
            labels.remove("io.buildah.version");
        }
        assert_eq!(theirs.config, ours.config);
        let names = |image: &Image| image.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&theirs), names(&ours));
        for (path, file) in &ours.files {
            assert!(theirs.files[path] == *file, "{} is the same", path.display());
        }
    }
    Ok(())
}
