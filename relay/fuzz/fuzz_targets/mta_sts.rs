//! What domains publish by MTA-STS: the policy file, and the TXT record that names it.
//! **Owns:** a policy names hosts unless it is none, its age is bounded, what is kept reads back; a record has one short name or is
//! none. **Never:** a look-up or a fetch.
//! Input: a file, and the same bytes as a record's text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_core::mta_sts::{Mode, Policy, Record};
use postrider_mail::HostName;

fuzz_target!(|file: &[u8]| {
    if let Ok(policy) = Policy::parse(file) {
        assert!(policy.mode == Mode::None || !policy.hosts.is_empty());
        assert!(policy.max_age_seconds <= 31_557_600);
        let kept = serde_json::to_vec(&policy).expect("it can be kept");
        assert_eq!(serde_json::from_slice::<Policy>(&kept).expect("it reads back"), policy);
        let deep = HostName::parse("one.two.three.four.example").expect("a name");
        let names_it =
            std::str::from_utf8(file).expect("a policy is text").to_ascii_lowercase().contains("three");
        assert!(names_it || !policy.allows(&deep), "a wildcard stands for one label");
    }
    let text = String::from_utf8_lossy(file);
    if let Record::Id(id) = Record::of([&*text]) {
        let id = id.to_string();
        assert!((1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(Record::of([&*text, &*text]), Record::Absent, "two are none");
    }
});
