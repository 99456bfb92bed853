//! The store's own troubles: full, forgetful, restarted, out of reach, behind TLS or a password.

use std::time::Duration;

use postrider_mail::OutcomeKind::{Bounced, Deferred, Delivered};
use postrider_queue::{
    Durability, EnqueueError, NewMessage, Settled, Settlement, Start,
    body::BodyError,
    connection::{Target, Topology},
    error::Unavailable,
};

use super::pod::{Pod, bounce, found, settlement};
use crate::server::Server;

#[tokio::test]
async fn a_full_store_refuses_mail_and_lets_it_out() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let mut claimed = Vec::new();
    for _ in 0..4 {
        claimed.push(pod.enqueue(&["b"]).await.claimed.remove(0));
    }
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = pod.try_enqueue(pod.message(&["b"], Start::Claimed)).await;
    assert!(matches!(refused, Err(EnqueueError::Full)), "{refused:?}");
    let mut writer = pod.partition.body_writer(&pod.partition.new_id());
    assert!(matches!(writer.write(&[b'x'; 300_000]).await, Err(BodyError::Full)));
    // Out, back, and a bounce: all of it adds a little, and none of it is refused.
    let fourth = claimed.pop().expect("four");
    let third = claimed.pop().expect("three");
    let second = claimed.pop().expect("two");
    let first = claimed.pop().expect("one");
    assert_eq!(pod.settle(settlement(first, &[Delivered])).await, Settled::Applied);
    assert_eq!(pod.settle(settlement(second, &[Deferred])).await, Settled::Applied);
    let bounced = Settlement { notices: vec![bounce(&[0])], ..settlement(third, &[Bounced]) };
    assert_eq!(pod.settle(bounced).await, Settled::Applied);
    assert_eq!(pod.partition.release(&[&fourth.claim], Duration::ZERO).await, Ok(1));
    assert_eq!(pod.claim().await.len(), 3);
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    pod.enqueue(&["b"]).await;
}

#[tokio::test]
async fn scripts_that_the_store_forgot_are_loaded_again() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    for _ in 0..3 {
        let _: String = server.command(&["SCRIPT", "FLUSH"]).await;
        let claimed = pod.enqueue(&["b"]).await.claimed.remove(0);
        let _: String = server.command(&["SCRIPT", "FLUSH"]).await;
        assert_eq!(pod.settle(settlement(claimed, &[Deferred])).await, Settled::Applied);
        let _: String = server.command(&["SCRIPT", "FLUSH"]).await;
        let claimed = pod.claim_one().await;
        pod.settle(settlement(claimed, &[Delivered])).await;
    }
}

#[tokio::test]
async fn what_was_accepted_survives_the_death_of_the_store() {
    let mut server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let id = pod.enqueue(&["b"]).await.receipt.id().clone();
    server.kill();
    let why = pod.try_claim(1).await.expect_err("nobody is there");
    assert!(matches!(why, postrider_queue::claim::ClaimError::Unavailable(_)), "{why}");
    let refused = pod.try_enqueue(pod.message(&["b"], Start::Claimed)).await.expect_err("nobody is there");
    assert_eq!(refused.fault(), postrider_queue::Fault::Store);
    server.restart().await;
    // The life, the claim and the mail are all there, and connections come back by themselves.
    let mut left = 100;
    let claims = loop {
        match pod.partition.claims_of(pod.life()).await {
            Ok(claims) => break claims,
            Err(_) if left > 0 => left -= 1,
            Err(why) => panic!("{why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(claims.len(), 1);
    assert!(pod.partition.load_body(&id).await.is_ok());
}

#[tokio::test]
async fn a_count_of_chunks_that_is_no_body_s_takes_no_memory() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let id = pod.enqueue(&["b"]).await.receipt.id().clone();
    let key = pod.partition.keys().message(&id);
    let _: i64 = server.command(&["HSET", &key, "k", &u32::MAX.to_string()]).await;
    let why = pod.partition.load_body(&id).await.expect_err("there is but one chunk");
    assert!(matches!(why, BodyError::Missing { chunk: 1, .. }), "{why}");
}

#[tokio::test]
async fn a_read_only_store_changes_nothing_and_is_left() {
    let server = Server::start().await;
    let main = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let claimed = pod.enqueue(&["b"]).await.claimed.remove(0);
    let _: String = server.command(&["REPLICAOF", "127.0.0.1", &main.port().to_string()]).await;
    let (_, why) =
        pod.partition.settle(vec![settlement(claimed, &[Delivered])]).await.expect_err("read-only");
    assert!(
        matches!(&why, Unavailable::Failed { reply } if reply.contains("READONLY")) || why.may_have_run(),
        "{why}"
    );
}

#[tokio::test]
async fn an_error_shows_no_password() {
    let server = Server::start().await;
    let _: String = server.command(&["CONFIG", "SET", "requirepass", "right"]).await;
    let url = format!("redis://:canary@127.0.0.1:{}/", server.port());
    let pod = Pod::unregistered(&url);
    let why = pod.partition.pods().await.expect_err("refused");
    assert!(matches!(why, Unavailable::NotConnected { .. }), "{why:?}");
    assert!(!format!("{why} {why:?} {:?}", pod.partition).contains("canary"));
}

#[tokio::test]
async fn every_key_has_the_partitions_hash_tag() {
    let server = Server::start().await;
    found(&server).await;
    let pod = Pod::on(&server).await;
    let claimed = pod.enqueue(&["b", "c"]).await.claimed.remove(0);
    pod.settle(Settlement { notices: vec![bounce(&[0])], ..settlement(claimed, &[Bounced, Deferred]) }).await;
    pod.try_enqueue(pod.message(&["d"], Start::Held("x".into()))).await.expect("room");
    pod.partition
        .suspend(&crate::world::lane("x.example"), Duration::from_secs(9), &super::pod::config())
        .await
        .expect("an answer");
    let keys: Vec<String> = server.command(&["KEYS", "*"]).await;
    assert!(keys.len() > 10, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("postrider:{mail/outbound/a}:")), "{keys:?}");
}

#[tokio::test]
async fn scripts_run_in_a_cluster() {
    let server = Server::start_with(&[("cluster-enabled", "yes")]).await;
    let _: String = server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    for _ in 0..100 {
        let info: String = server.command(&["CLUSTER", "INFO"]).await;
        if info.contains("cluster_state:ok") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    found(&server).await;
    let (pod, other) = (Pod::on(&server).await, Pod::on(&server).await);
    let message = NewMessage { ..pod.message(&["b", "c"], Start::Claimed) };
    let claimed = pod.try_enqueue(message).await.expect("room").claimed.remove(0);
    let settled = Settlement { notices: vec![bounce(&[0])], ..settlement(claimed, &[Bounced, Deferred]) };
    assert_eq!(pod.settle(settled).await, Settled::Applied);
    assert_eq!(pod.claim().await.len(), 2);
    other.partition.reap(pod.life(), 0).await.expect("an answer");
    let batch = other.claim().await.into_iter().map(|one| settlement(one, &[Delivered])).collect();
    assert_eq!(other.partition.settle(batch).await.expect("an answer"), [Settled::Applied; 2]);
}

/// Needs a server that has WAITAOF; Redis 7.0 hasn't, and refuses such a partition in preflight.
#[tokio::test]
async fn replicated_mail_is_on_two_disks_before_its_receipt() {
    let (server, replica) = (Server::start().await, Server::start().await);
    let info: Vec<redis::Value> = server.command(&["COMMAND", "INFO", "WAITAOF"]).await;
    if info == [redis::Value::Nil] {
        return;
    }
    found(&server).await;
    let _: String = replica.command(&["REPLICAOF", "127.0.0.1", &server.port().to_string()]).await;
    let pod = Pod::replicated(&server, 1);
    // Until the replica has caught up, and again when it is gone, nobody gets a receipt.
    let mut message = pod.message(&["b"], Start::Claimed);
    let body = postrider_queue::Body::from_chunks(vec!["Subject: x\r\n\r\nhello\r\n".into()]);
    for _ in 0..10 {
        match pod.try_enqueue(message).await {
            Ok(_) => break,
            Err(_) => message = pod.message(&["b"], Start::Claimed),
        }
    }
    let id = pod.partition.new_id();
    let message =
        || NewMessage { body: pod.partition.ready_body(&id, &body), ..pod.message(&["b"], Start::Claimed) };
    pod.try_enqueue(message()).await.expect("two disks");
    let there: u64 = replica.command(&["EXISTS", &pod.partition.keys().message(&id)]).await;
    assert_eq!(there, 1);
    drop(replica);
    let again = pod.partition.enqueue(message(), Duration::from_secs(3)).await;
    assert!(again.is_err(), "that it is there already doesn't mean that it is on two disks");
    assert_eq!(pod.partition.aborts_pending(), 1);
}

#[tokio::test]
async fn a_store_behind_tls_is_known_by_its_ca() {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let ca = certified.cert.pem().into_bytes();
    let folder = std::env::temp_dir().join(format!("postrider-queue-tls-{:08x}", rand::random::<u32>()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, &ca).expect("room");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("room");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a port").port();
    drop(listener);
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let (cert, key, tls_port) = (text(&cert), text(&key), port.to_string());
    let settings = [
        ("tls-port", tls_port.as_str()),
        ("tls-cert-file", &cert),
        ("tls-key-file", &key),
        ("tls-auth-clients", "no"),
    ];
    let server = Server::start_with(&settings).await;
    found(&server).await;
    let at = |host: &str, ca| {
        Pod::with(
            Target { url: format!("rediss://{host}:{port}/"), topology: Topology::Standalone, ca },
            Durability::Synced,
        )
    };
    assert!(at("127.0.0.1", Some(ca.clone())).partition.pods().await.is_ok());
    assert!(at("localhost", Some(ca.clone())).partition.pods().await.is_ok());
    let why = at("127.0.0.1", None).partition.pods().await.expect_err("nobody vouches for it");
    assert!(matches!(why, Unavailable::NotConnected { .. }), "{why:?}");
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let pod = at("127.0.0.1", Some(other.cert.pem().into_bytes()));
    assert!(pod.partition.pods().await.is_err(), "another one vouches");
    let target =
        Target { url: format!("rediss://127.0.0.1:{port}/"), topology: Topology::Standalone, ca: Some(ca) };
    pod.partition.connections().retarget(&target).expect("it can be read");
    assert!(pod.partition.pods().await.is_ok(), "the new one is tried at once");
    let _ = std::fs::remove_dir_all(&folder);
}
