//! Servers that can keep the promise, and those that can't.

use postrider_queue::{
    Durability,
    preflight::{Product, Version},
    shards::{NoPartition, Shards, Standing},
};

use crate::{server::Server, world};

/// A shard on a server with these settings: what is told of it.
async fn told_of(settings: &[(&str, &str)]) -> (Shards, Server, String) {
    let server = Server::start_with(settings).await;
    let shards = world::open(&[&server]).await;
    let told = world::told(&shards, "a");
    (shards, server, told)
}

#[tokio::test]
async fn a_server_that_syncs_before_it_answers_takes_mail() {
    let (shards, _server, told) = told_of(&[]).await;
    assert!(shards.is_ready(), "{told}");
    assert!(shards.problems().is_empty());
    let partition = shards.choose().expect("it takes mail");
    world::enqueue(&partition).await.expect("a receipt");
    assert_eq!(partition.figures().await.expect("an answer").deliveries(), 1);
}

#[tokio::test]
async fn a_server_that_syncs_each_second_takes_none_and_says_what_to_set() {
    let (shards, _server, told) = told_of(&[("appendfsync", "everysec")]).await;
    let expected = "shard a: appendfsync: found everysec; expected always; set `CONFIG SET appendfsync always` and in redis.conf";
    assert_eq!(told, expected);
    assert_eq!(shards.problems(), [expected]);
    assert_eq!(shards.choose().map(drop), Err(NoPartition::Unusable));
    // Nor does a connection that somebody still has a handle for.
    let partition = shards.partitions().remove(0);
    let refused = world::enqueue(&partition).await.expect_err("no receipt").to_string();
    assert!(refused.contains("appendfsync: found everysec; expected always"), "{refused}");
}

#[tokio::test]
async fn a_server_without_an_append_only_file_takes_none() {
    let (shards, _server, told) = told_of(&[("appendonly", "no")]).await;
    assert!(
        told.contains(
            "appendonly: found no; expected yes; set `CONFIG SET appendonly yes` and in redis.conf"
        ),
        "{told}"
    );
    assert_eq!(shards.choose().map(drop), Err(NoPartition::Unusable));
}

#[tokio::test]
async fn a_server_that_evicts_takes_none_whatever_was_promised() {
    let (shards, server, told) =
        told_of(&[("maxmemory-policy", "allkeys-lru"), ("maxmemory", "100mb")]).await;
    assert!(told.contains("maxmemory-policy: found allkeys-lru; expected noeviction"), "{told}");
    assert!(!shards.is_ready());
    let unchecked = world::options(&[&server]);
    let shards = Shards::new(postrider_queue::shards::ShardsOptions {
        durability: Durability::Unchecked,
        ..unchecked
    });
    let shards = shards.expect("options");
    shards.look().await;
    assert!(!shards.is_ready());
}

#[tokio::test]
async fn settings_that_are_mended_are_seen_at_the_next_look_and_spoilt_ones_within_the_minute() {
    let (shards, server, _) = told_of(&[("no-appendfsync-on-rewrite", "yes")]).await;
    assert!(!shards.is_ready());
    server.command::<String>(&["CONFIG", "SET", "no-appendfsync-on-rewrite", "no"]).await;
    shards.look().await;
    assert!(shards.is_ready(), "{}", world::told(&shards, "a"));
}

#[tokio::test]
async fn a_default_user_without_rights_would_lose_scripts_at_a_restart() {
    let server = Server::start().await;
    server.command::<String>(&["ACL", "SETUSER", "relay", "on", ">secret", "~*", "&*", "+@all"]).await;
    server.command::<String>(&["ACL", "SETUSER", "default", "-@all", "+ping"]).await;
    let mut options = world::options(&[&server]);
    options.shards[0].target.url = server.url().replace("redis://", "redis://relay:secret@");
    let shards = Shards::new(options).expect("options");
    shards.look().await;
    let told = world::told(&shards, "a");
    assert!(told.starts_with("shard a: user default: found off or restricted; expected on"), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

#[tokio::test]
async fn replicated_needs_a_server_that_can_wait_for_disks() {
    let server = Server::start().await;
    let mut options = world::options(&[&server]);
    options.durability = Durability::Replicated(1);
    let shards = Shards::new(options).expect("options");
    shards.look().await;
    let told = world::told(&shards, "a");
    if told.contains("Redis 7.0") {
        assert!(told.contains("expected Redis 7.2 or later; upgrade the server"), "{told}");
    }
    assert!(told.contains("connected_slaves: found 0; expected 1 or more"), "{told}");
}

#[tokio::test]
async fn a_full_server_takes_no_mail_and_what_is_in_it_can_leave() {
    let (shards, server, _) = told_of(&[("maxmemory", "100mb")]).await;
    assert!(shards.is_ready());
    let used: String = server.command(&["INFO", "memory"]).await;
    let used = used.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a figure");
    let used: u64 = used.trim().parse().expect("a number");
    server.command::<String>(&["CONFIG", "SET", "maxmemory", &(used * 100 / 90).to_string()]).await;
    shards.look().await;
    assert_eq!(shards.choose().map(drop), Err(NoPartition::Full));
    // It keeps its promises all the same: the relay stays ready, and answers 452.
    assert!(shards.is_ready());
    assert!(matches!(world::standing(&shards, "a"), Standing::InUse(_)));
    assert!(
        world::told(&shards, "a").contains("% full; expected less than 85 %"),
        "{}",
        world::told(&shards, "a")
    );
}

#[tokio::test]
async fn a_torn_tail_is_cleared_once_in_each_life_of_the_server() {
    let (shards, mut server, _) = told_of(&[]).await;
    let cleared = async |server: &Server| -> (String, String) {
        let key = "postrider:{mail/outbound/a}:server";
        let cleared = server.command::<Option<String>>(&["HGET", key, "cleared"]).await.unwrap_or_default();
        let info: String = server.command(&["INFO", "server"]).await;
        let run_id =
            info.lines().find_map(|line| line.strip_prefix("run_id:")).expect("a run_id").trim().to_owned();
        (cleared, run_id)
    };
    let partition = shards.choose().expect("it takes mail");
    world::enqueue(&partition).await.expect("a receipt");
    let (first, run_id) = cleared(&server).await;
    let info: String = server.command(&["INFO", "server"]).await;
    if let Some(version) = info.lines().find_map(|line| line.strip_prefix("valkey_version:"))
        && !Version::parse(Product::Valkey, version.trim()).has_torn_tail_bug()
    {
        assert_eq!(first, "", "nothing is to be cleared");
        return;
    }
    assert_eq!(first, run_id);
    server.restart().await;
    world::enqueue(&partition).await.expect("a receipt");
    let (second, run_id) = cleared(&server).await;
    assert_eq!(second, run_id);
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_script_written_before_a_crash_is_there_after_two_restarts() {
    let (shards, mut server, _) = told_of(&[]).await;
    let partition = shards.choose().expect("it takes mail");
    for _ in 0..3 {
        world::enqueue(&partition).await.expect("a receipt");
        server.restart().await;
    }
    shards.look().await;
    assert_eq!(partition.figures().await.expect("an answer").deliveries(), 3);
}
