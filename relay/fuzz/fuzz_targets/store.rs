//! A queue server: its URL as people write it, and what it says about itself.
//! **Owns:** no password is in an error; answers of any kind leave facts unknown, at the worst. **Never:** connects.
//! Input: what follows a URL's password; INFO; an answer to ACL GETUSER in RESP; two numbers for TIME. Each ends with a separator.
#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use postrider_fuzz::{parts, text};
use postrider_queue::{
    connection::{Target, Topology},
    preflight::Facts,
};

const CANARY: &str = "canary-in-a-url";

fn check_url(rest: &str) {
    for topology in [Topology::Standalone, Topology::Sentinel, Topology::Cluster] {
        for url in [
            format!("redis://:{CANARY}@{rest}"),
            format!("{rest}://ann:{CANARY}@a,b/?master=m"),
            rest.to_owned(),
        ] {
            let target = Target { url, topology, ca: None };
            if let Err(why) = target.check() {
                assert!(rest.contains(CANARY) || !why.to_string().contains(CANARY), "{why}");
            }
            assert!(!format!("{target:?}").contains(CANARY));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [url, info, user, seconds, micros] = parts(input);
    check_url(&text(url));
    let number = |part: &[u8]| text(part).parse().unwrap_or(0);
    let answer = redis::parse_redis_value(user).ok();
    let time = (number(seconds), number(micros));
    let facts = Facts::parse(&text(info), time, HashMap::new(), answer.as_ref());
    assert!(facts.memory.limit > 0 || !facts.memory.is_tight(), "without a limit nothing is full");
    assert_eq!(facts.memory.percent().is_some(), facts.memory.limit > 0);
    let _ = (facts.clock.distance(), facts.version.has_torn_tail_bug());
});
