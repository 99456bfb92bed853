//! Bad clients, and bad days.

use std::time::{Duration, Instant};

use postrider_smtp::timer::Waits;

use crate::{
    peer::Peer,
    rig::{Rig, Setup, listener},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_talks_before_its_greeting_is_turned_away() {
    let mut strict = listener("smtp");
    strict.allowed_clients.clear();
    let rig = Rig::start(Setup { listeners: vec![strict], ..Setup::default() }).await;
    let mut peer = Peer::connect(rig.address("smtp")).await;
    peer.send(b"EHLO client.example\r\n").await;
    let told = peer.rest().await;
    assert!(told.starts_with('5') || told.starts_with("421"), "{told}");
    assert!(!told.contains("220 "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_a_second_is_too_slow() {
    // Waits are 100 times shorter: 3 s for a command, 1.8 s for a block.
    let waits = Waits::shortened_for_tests(100);
    let rig = Rig::start(Setup { waits, ..Setup::default() }).await;
    let mut peer = rig.peer().await;
    let started = Instant::now();
    let mut told = String::new();
    for byte in b"EHLO client.example".iter().cycle() {
        peer.send(&[*byte]).await;
        if let Ok(said) = tokio::time::timeout(Duration::from_millis(500), peer.reply()).await {
            told = said;
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "a slow command is waited for");
    }
    assert!(told.starts_with("421 "), "{told}");

    let mut peer = rig.peer().await;
    peer.up_to_data().await;
    let started = Instant::now();
    loop {
        peer.send(b"a").await;
        if let Ok(said) = tokio::time::timeout(Duration::from_millis(500), peer.reply()).await {
            assert!(said.starts_with("421 "), "{said}");
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(12), "a slow body is waited for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_allowed_is_refused() {
    let mut small = listener("smtp");
    small.limits.message_size = 100_000;
    let rig = Rig::start(Setup { listeners: vec![small], ..Setup::default() }).await;
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.expect("MAIL FROM:<a@app.example> SIZE=100001", "552 5.3.4 ").await;
    let line = format!("{}\r\n", "x".repeat(998));
    let refused = peer.message(line.repeat(101).as_bytes()).await;
    assert!(refused.starts_with("552 5.3.4 "), "{refused}");
    let taken = peer.message(line.repeat(99).as_bytes()).await;
    assert!(taken.starts_with("250 "), "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_has_been_everywhere_is_in_a_loop() {
    let rig = Rig::usual().await;
    let mut peer = rig.peer().await;
    let hops = |count| format!("{}Subject: x\r\n\r\nx\r\n", "Received: from a by b\r\n".repeat(count));
    let refused = peer.message(hops(51).as_bytes()).await;
    assert!(refused.starts_with("554 5.4.6 "), "{refused}");
    let taken = peer.message(hops(50).as_bytes()).await;
    assert!(taken.starts_with("250 "), "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_end_is_refused() {
    let rig = Rig::usual().await;
    let mut peer = rig.peer().await;
    let refused = peer.message("X-Field: yyyyyyyyyyyyyyyy\r\n".repeat(12_000).as_bytes()).await;
    assert!(refused.starts_with("552 5.3.4 "), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_for_bodies_clients_are_told_to_wait() {
    let rig = Rig::start(Setup { budget_bytes: 30_000, ..Setup::default() }).await;
    let mut held = rig.peer().await;
    held.up_to_data().await;
    held.send("x\r\n".repeat(7_000).as_bytes()).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while rig.budget.used() == 0 {
        assert!(Instant::now() < deadline, "nothing is held");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut peer = rig.peer().await;
    peer.expect("EHLO client.example", "250").await;
    peer.expect("MAIL FROM:<a@app.example> SIZE=20000", "452 4.3.1 ").await;
    let refused = peer.message("y\r\n".repeat(7_000).as_bytes()).await;
    assert!(refused.starts_with("452 4.3.1 "), "{refused}");
    held.send(b".\r\n").await;
    assert!(held.reply().await.starts_with("250 "));
    assert_eq!(rig.budget.used(), 0);
    assert!(peer.message(b"y\r\n").await.starts_with("250 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_queue_a_relay_says_later() {
    let mut rig = Rig::usual().await;
    let mut peer = rig.peer().await;
    peer.up_to_data().await;
    rig.kill_queue();
    let started = Instant::now();
    peer.send(b"Subject: x\r\n\r\nx\r\n.\r\n").await;
    let told = loop {
        if let Ok(told) = tokio::time::timeout(Duration::from_secs(14), peer.reply()).await {
            break told;
        }
        assert!(started.elapsed() < Duration::from_secs(70), "no clear answer");
    };
    assert!(told.starts_with("451 4.3.0 "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_headers_are_demanded_from_whom_they_are_trusted() {
    let mut behind = listener("smtp");
    behind.allowed_clients = vec!["192.0.2.0/24".parse().expect("a net")];
    behind.proxies = vec!["127.0.0.0/8".parse().expect("a net")];
    let rig = Rig::start(Setup { listeners: vec![behind], ..Setup::default() }).await;
    let v2 = {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend_from_slice(&[192, 0, 2, 7, 127, 0, 0, 1, 0x30, 0x39, 0, 25]);
        header
    };
    for header in [b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 25\r\n".to_vec(), v2] {
        let mut peer = Peer::connect(rig.address("smtp")).await;
        // In two pieces, as a network may bring it.
        peer.send(&header[..9]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        peer.send(&header[9..]).await;
        assert!(peer.reply().await.starts_with("220 "));
        let reply = peer.message(b"Subject: x\r\n\r\nx\r\n").await;
        let stored = rig.stored(&reply).await;
        assert!(String::from_utf8_lossy(&stored).contains("([192.0.2.7])"));
    }
    // A client that isn't the listener's, by its own address or behind the proxy.
    let mut peer = Peer::connect(rig.address("smtp")).await;
    peer.send(b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\n").await;
    peer.reply().await;
    peer.expect("EHLO client.example", "250").await;
    peer.expect("MAIL FROM:<a@app.example>", "250").await;
    peer.expect("RCPT TO:<b@far.example>", "550 5.7.1 ").await;
    // No header: no session.
    let mut peer = Peer::connect(rig.address("smtp")).await;
    peer.send(b"EHLO client.example\r\n").await;
    assert_eq!(peer.rest().await, "");
    let started = Instant::now();
    let mut silent = Peer::connect(rig.address("smtp")).await;
    assert_eq!(silent.rest().await, "");
    assert!((4..8).contains(&started.elapsed().as_secs()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_ends_lets_transactions_finish() {
    let rig = Rig::usual().await;
    let (mut idle, mut busy) = (rig.peer().await, rig.peer().await);
    idle.expect("EHLO client.example", "250").await;
    busy.up_to_data().await;
    let finish = async {
        assert!(idle.reply().await.starts_with("421 4.3.2 "));
        busy.send(b"Subject: x\r\n\r\nx\r\n.\r\n").await;
        let reply = busy.reply().await;
        assert!(reply.starts_with("250 "), "{reply}");
        assert!(busy.reply().await.starts_with("421 4.3.2 "));
        reply
    };
    let ((), reply) = tokio::join!(rig.stop(), finish);
    assert!(rig.stored(&reply).await.ends_with(b"x\r\n"));
    assert!(tokio::net::TcpStream::connect(rig.address("smtp")).await.is_err(), "it still listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_word_is_no_error() {
    let rig = Rig::usual().await;
    for _ in 0..10 {
        drop(rig.peer().await);
        drop(Peer::connect(rig.address("smtp")).await);
    }
    assert!(rig.peer().await.message(b"x\r\n").await.starts_with("250 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_come_and_go_with_the_configuration() {
    let rig = Rig::usual().await;
    let mut open = rig.peer().await;
    rig.config.send(crate::rig::config(Vec::new(), |_| {})).expect("it is read");
    let deadline = Instant::now() + Duration::from_secs(5);
    while tokio::net::TcpStream::connect(rig.address("smtp")).await.is_ok() {
        assert!(Instant::now() < deadline, "it still listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Sessions that are open go on.
    assert!(open.message(b"x\r\n").await.starts_with("250 "));
}

/// Alone, for it measures this process: `cargo test -p postrider-relay --test inbound -- --ignored --nocapture idle`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures the process's memory; wants 10,100 open files"]
async fn thousands_of_idle_sessions_cost_little() {
    const SESSIONS: usize = 5_000;
    let mut wide = listener("smtp");
    (wide.limits.connections, wide.limits.connections_per_client) = (6_000, 6_000);
    let rig = Rig::start(Setup { listeners: vec![wide], ..Setup::default() }).await;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
    };
    rig.peer().await.message(b"x\r\n").await;
    let before = resident();
    let mut idle = Vec::with_capacity(SESSIONS);
    let mut buffer = [0; 512];
    for _ in 0..SESSIONS {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut tcp = tokio::net::TcpStream::connect(rig.address("smtp")).await.expect("a connection");
        assert!(tcp.read(&mut buffer).await.expect("a greeting") > 0);
        tcp.write_all(b"EHLO client.example\r\n").await.expect("open");
        assert!(tcp.read(&mut buffer).await.expect("an answer") > 0);
        idle.push(tcp);
    }
    let each = (resident() - before) * 1024 / SESSIONS;
    println!("an idle session, both of its ends, takes {each} bytes");
    assert!(each < 16 << 10, "{each} bytes");
    assert!(rig.peer().await.message(b"x\r\n").await.starts_with("250 "));
}
