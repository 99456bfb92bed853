//! Manifests as people write them, compiled for each MailRelay among them.
//! **Owns:** the same text gives the same configuration and the same words; what was compiled can be read back; a secret is in no word
//! of ours. **Never:** what a rule means (the crate's tests).
//! Input: a file of YAML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_core::{
    compile::{Compiled, check, compile},
    config::Config,
    manifests::load,
};

/// A Secret's value; inputs have it in their Secrets.
const CANARY: &str = "canary-in-a-secret";

fn words(compiled: &Compiled) -> Vec<String> {
    let problems = compiled.verdicts().flat_map(|verdict| &verdict.problems);
    problems.map(ToString::to_string).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let loaded = load([("a.yaml", text)]);
    let is_secret = loaded.resources.secrets.values().any(|secret| {
        secret.data.values().any(|value| value.expose().windows(CANARY.len()).any(|w| w == CANARY.as_bytes()))
    });
    // Where it stands outside of Secrets too, it may be shown.
    let is_hidden = is_secret && text.matches(CANARY).count() == 1;
    let told: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert!(!is_hidden || !told.iter().any(|word| word.contains(CANARY)), "{told:?}");
    for relay in &loaded.resources.relays {
        let compiled = compile(&loaded.resources, relay);
        let told = words(&compiled);
        assert!(!is_hidden || !told.iter().any(|word| word.contains(CANARY)), "{told:?}");
        let again = compile(&loaded.resources, relay);
        assert_eq!(words(&again), told);
        assert_eq!(again.config, compiled.config);
        if let Some(config) = compiled.config {
            let read = Config::from_bytes(&config.to_gzip()).expect("what is compiled can be read");
            assert_eq!(read, config);
            assert_eq!(read.hash(), config.hash());
            assert!(!is_hidden || !format!("{config:?}").contains(CANARY), "a Debug that shows a secret");
        }
    }
    let verdicts = check(&loaded.resources);
    assert!(verdicts.len() >= loaded.resources.relays.len());
});
