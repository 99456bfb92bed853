//! A compiled configuration's file, packed or not.
//! **Owns:** what was read, written again, is the same and has the same hash, packed too. **Never:** what it means.
//! Input: the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_core::config::{Config, ConfigHash};

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = Config::from_bytes(bytes) else { return };
    let json = config.to_json();
    assert_eq!(config.hash(), ConfigHash::of(&json));
    for again in [Config::from_json(&json), Config::from_bytes(&config.to_gzip())] {
        let again = again.expect("what is written can be read");
        assert_eq!(again, config);
        assert_eq!(again.hash(), config.hash());
    }
    assert_eq!(config.hash().to_string().parse(), Ok(config.hash()));
});
