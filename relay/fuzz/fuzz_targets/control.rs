//! What `ctl` and people name: requests, queue IDs, deliveries, lanes, cursors.
//! **Owns:** what is printed reads back as the same. **Never:** acts on it.
//! Input: one request's line, or one name.
#![no_main]

use std::{fmt::Display, str::FromStr};

use libfuzzer_sys::fuzz_target;
use postrider_mail::PartitionName;
use postrider_queue::{
    DeliveryId, Lane, RouteName,
    incarnation::Incarnation,
    inspect::Cursor,
    keys::{FleetName, Keys},
};
use postrider_relay::control::Request;

fn check<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let read = text.parse::<T>().ok()?;
    assert_eq!(read.to_string().parse::<T>().ok().as_ref(), Some(&read), "{text:?}");
    Some(read)
}

fuzz_target!(|line: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let text = serde_json::to_string(&request).expect("a request has string keys");
        assert!(!text.contains('\n'), "a request is one line");
        assert_eq!(serde_json::from_str::<Request>(&text).ok(), Some(request));
    }
    let Ok(text) = std::str::from_utf8(line) else { return };
    check::<Cursor>(text);
    check::<DeliveryId>(text);
    check::<Incarnation>(text);
    if let Ok(route) = RouteName::parse(text) {
        assert_eq!(RouteName::parse(route.as_str()), Ok(route));
    }
    if let (Ok(fleet), Ok(name)) = (FleetName::parse(text), PartitionName::parse("a")) {
        // A brace of its own would end the hash tag that holds a partition's keys together.
        let keys = Keys::new(&fleet, &name);
        assert_eq!(keys.prefix().matches(['{', '}']).count(), 2);
        if let Some(lane) = check::<Lane>(text) {
            assert!(keys.lane(&lane).starts_with(keys.prefix()));
        }
    }
    check::<Lane>(text);
});
