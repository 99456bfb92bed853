//! Fields merged: the first that says one wins.

use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_nobody_says_has_its_built_in_default() {
    let policy = PolicyFields::default().complete();
    assert_eq!(policy, Policy::default());
    assert_eq!(policy.retry.initial, seconds(180));
}

#[test]
fn a_notice_after_zero_seconds_is_none() {
    let fields = PolicyFields { retry_delay_notice: Some(Duration::ZERO), ..Default::default() };
    assert_eq!(fields.complete().retry.delay_notice, None);
}

#[test]
fn fields_of_several_rules_that_contradict_each_other_still_make_a_schedule() {
    let fields = PolicyFields {
        retry_initial: Some(seconds(600)),
        retry_max: Some(seconds(60)),
        retry_max_age: Some(seconds(300)),
        ..Default::default()
    };
    let retry = fields.complete().retry;
    assert_eq!((retry.initial, retry.max, retry.max_age), (seconds(300), seconds(300), seconds(300)));
    assert_eq!(retry.delay_notice, None);
}

fn fields() -> impl Strategy<Value = PolicyFields> {
    let option = |values: std::ops::Range<u64>| proptest::option::of(values);
    (
        option(0..3),
        option(1..9000),
        option(1..9000),
        option(1..9000),
        option(0..9000),
        option(0..4),
        option(1..50),
    )
        .prop_map(|(class, initial, max, age, notice, tls, connections)| PolicyFields {
            class: class.map(|index| Class::ALL[usize::try_from(index).expect("small")]),
            retry_initial: initial.map(seconds),
            retry_max: max.map(seconds),
            retry_max_age: age.map(seconds),
            retry_delay_notice: notice.map(seconds),
            tls: tls.map(|index| {
                [
                    TlsMode::Clear,
                    TlsMode::Opportunistic,
                    TlsMode::Published,
                    TlsMode::Require,
                    TlsMode::Verify,
                ][usize::try_from(index).expect("small")]
            }),
            connections: connections.map(|count| u32::try_from(count).expect("small")),
            ..Default::default()
        })
}

proptest! {
    #[test]
    fn the_first_that_says_a_field_wins(places in proptest::collection::vec(fields(), 0..6)) {
        let merged = places.iter().fold(PolicyFields::default(), |said, place| said.or(place));
        prop_assert_eq!(merged.class, places.iter().find_map(|place| place.class));
        prop_assert_eq!(merged.retry_initial, places.iter().find_map(|place| place.retry_initial));
        prop_assert_eq!(merged.tls, places.iter().find_map(|place| place.tls));
        prop_assert_eq!(merged.connections, places.iter().find_map(|place| place.connections));
    }

    #[test]
    fn grouping_does_not_matter(a in fields(), b in fields(), c in fields()) {
        prop_assert_eq!(a.or(&b).or(&c), a.or(&b.or(&c)));
    }

    #[test]
    fn a_complete_schedule_never_falls(fields in fields()) {
        let retry = fields.complete().retry;
        prop_assert!(retry.initial <= retry.max && retry.initial <= retry.max_age);
        prop_assert!(retry.delay_notice.is_none_or(|after| after < retry.max_age && !after.is_zero()));
    }

    #[test]
    fn fields_are_read_back_as_written(fields in fields()) {
        let text = serde_json::to_string(&fields).expect("writes");
        prop_assert_eq!(serde_json::from_str::<PolicyFields>(&text).expect("reads"), fields);
    }
}
