//! What is found wrong with a server, word for word.

use std::collections::HashMap;

use redis::Value;

use super::*;

const GOOD_INFO: &str = "redis_version:7.0.15\r\nrun_id:abc\r\nrole:master\r\nloading:0\r\naof_enabled:1\r\n\
    aof_last_write_status:ok\r\nmaxmemory_policy:noeviction\r\nused_memory:10\r\nmaxmemory:0\r\nconnected_slaves:0\r\n";

fn settings(changed: &[(&str, &str)]) -> HashMap<String, String> {
    [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("no-appendfsync-on-rewrite", "no"),
        ("aof-load-truncated", "yes"),
    ]
    .iter()
    .chain(changed)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect()
}

fn user(flags: &str, commands: &str) -> Value {
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let flags = flags.split(' ').map(text).collect();
    Value::Array(vec![
        text("flags"),
        Value::Array(flags),
        text("commands"),
        text(commands),
        text("keys"),
        text("~*"),
    ])
}

fn facts(info: &str, changed: &[(&str, &str)]) -> Facts {
    Facts::parse(info, (0, 0), settings(changed), Some(&user("on", "+@all")))
}

fn words(facts: &Facts, durability: Durability) -> Vec<String> {
    judge(facts, durability, Topology::Standalone).iter().map(ToString::to_string).collect()
}

#[test]
fn a_good_server_has_no_finding() {
    assert_eq!(words(&facts(GOOD_INFO, &[]), Durability::Synced), [""; 0]);
}

#[test]
fn each_setting_is_found_expected_and_mended() {
    for (setting, found, expected) in [
        ("appendonly", "no", "yes"),
        ("appendfsync", "everysec", "always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
        ("aof-load-truncated", "no", "yes"),
    ] {
        assert_eq!(
            words(&facts(GOOD_INFO, &[(setting, found)]), Durability::Synced),
            [format!(
                "{setting}: found {found}; expected {expected}; set `CONFIG SET {setting} {expected}` and in redis.conf"
            )]
        );
    }
}

#[test]
fn a_state_that_passes_is_told_from_one_that_does_not() {
    for (from, to, setting, is_passing) in [
        ("loading:0", "loading:1", "loading", true),
        ("role:master", "role:slave", "role", false),
        ("aof_last_write_status:ok", "aof_last_write_status:err", "aof_last_write_status", false),
        ("redis_version:7.0.15", "redis_version:6.2.1", "version", false),
    ] {
        let findings =
            judge(&facts(&GOOD_INFO.replace(from, to), &[]), Durability::Synced, Topology::Standalone);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].setting, findings[0].is_passing), (setting, is_passing));
    }
}

#[test]
fn a_server_that_hides_its_settings_is_no_synced_one() {
    let hidden = Facts::parse(GOOD_INFO, (0, 0), HashMap::new(), None);
    assert_eq!(judge(&hidden, Durability::Synced, Topology::Standalone).len(), 5);
    assert_eq!(words(&hidden, Durability::Unchecked), [""; 0]);
}

#[test]
fn the_default_user_must_be_able_to_replay_scripts() {
    for (flags, commands, is_full) in
        [("on", "+@all", true), ("off", "+@all", false), ("on", "-@all +get", false)]
    {
        let found = Facts::parse(GOOD_INFO, (0, 0), settings(&[]), Some(&user(flags, commands)));
        assert_eq!(found.default_user == DefaultUser::Full, is_full, "{flags} {commands}");
    }
}

#[test]
fn versions_with_a_torn_tail_are_known() {
    let valkey = |text| Version::parse(Product::Valkey, text).has_torn_tail_bug();
    for affected in ["7.2.5", "8.0.10", "8.1.9", "9.0.5", "9.1.1", "nonsense"] {
        assert!(valkey(affected), "{affected}");
    }
    for sound in ["8.0.11", "8.1.10", "9.0.6", "9.1.2", "9.2.0", "10.0.0"] {
        assert!(!valkey(sound), "{sound}");
    }
    assert!(Version::parse(Product::Redis, "8.4.0").has_torn_tail_bug());
}

#[test]
fn what_fails_over_needs_replicas_that_count() {
    let told = |settings: &[(&str, &str)], durability, topology| -> Vec<String> {
        let info = GOOD_INFO.replace("7.0.15", "7.2.4");
        judge(&facts(&info, settings), durability, topology).iter().map(ToString::to_string).collect()
    };
    let kept = [("min-replicas-to-write", "1")];
    assert_eq!(told(&kept, Durability::Replicated(0), Topology::Sentinel), [""; 0]);
    let told_synced = told(&kept, Durability::Synced, Topology::Sentinel);
    assert!(
        told_synced[0].starts_with(
            "durability: found Synced in mode Sentinel; expected mode Standalone, or Replicated; "
        ),
        "{told_synced:?}"
    );
    assert_eq!(
        told(&[("min-replicas-to-write", "0")], Durability::Replicated(0), Topology::Sentinel),
        [
            "min-replicas-to-write: found 0; expected 1 or more in mode Sentinel; set `CONFIG SET min-replicas-to-write 1` and in redis.conf"
        ]
    );
    assert_eq!(told(&[], Durability::Replicated(0), Topology::Sentinel).len(), 1, "it isn't told");
    assert_eq!(told(&[], Durability::Unchecked, Topology::Sentinel), [""; 0]);
    assert_eq!(told(&[], Durability::Synced, Topology::Standalone), [""; 0]);
}

#[test]
fn a_node_of_a_cluster_isnt_taken_for_a_lone_server_nor_the_other_way_round() {
    let node = format!("{GOOD_INFO}cluster_enabled:1\r\n");
    let told = |info: &str, topology| -> Vec<String> {
        let found = judge(&facts(info, &[]), Durability::Unchecked, topology);
        found.iter().map(ToString::to_string).collect()
    };
    assert_eq!(told(&node, Topology::Cluster), [""; 0]);
    assert_eq!(
        told(&node, Topology::Standalone),
        ["cluster_enabled: found 1; expected 0 in mode Standalone; say `mode: Cluster`"]
    );
    assert_eq!(told(GOOD_INFO, Topology::Cluster).len(), 1);
}

#[test]
fn numbers_beyond_all_bounds_are_read_as_they_are() {
    let most = u64::MAX;
    let read = Facts::parse(GOOD_INFO, (most, most), settings(&[]), None);
    assert!(matches!(read.clock, ClockOffset::Ahead(by) if by.as_secs() > most / 2));
    let rewrite = format!("aof_rewrite_in_progress:{most}\r\naof_rewrite_scheduled:{most}\r\n");
    assert!(facts::Rewrite::parse(&rewrite).is_running);
}

#[test]
fn memory_is_tight_from_85_percent_of_a_limit() {
    let memory = |used, limit| Memory { used, limit };
    assert!(!memory(84, 100).is_tight() && memory(1 << 40, 0).percent().is_none());
    assert!(memory(8_500_000, 10_000_000).is_tight());
    assert!(!memory(8_499_000, 10_000_000).is_tight());
    assert!(!memory(1 << 40, 0).is_tight());
}

#[test]
fn a_server_s_words_are_cut_and_printable() {
    let found = facts(GOOD_INFO, &[("appendfsync", &format!("a\nb{}", "x".repeat(500)))]);
    let words = words(&found, Durability::Synced);
    assert!(words[0].len() < 250 && !words[0].contains('\n'), "{words:?}");
}
