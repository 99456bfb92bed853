//! `postrider-test-mail`: a mail client or a far side in a pod, from the harness's own parts.
//! **Owns:** its few words, and what it prints. **Never:** SMTP: `client`, `source` and `sink` speak it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it saw is read from the pod's log")]

use std::{collections::HashSet, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use postrider_tests::{
    Ledger,
    client::Client,
    sink::{Setup, Sink},
    source::{self, Load},
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
postrider-test-mail send HOST:PORT SENDER RECIPIENT [SUBJECT]           one message; prints each reply
postrider-test-mail load HOST:PORT SENDER RECIPIENT MESSAGES SESSIONS   many; prints the book as JSON
postrider-test-mail receive ADDRESS:PORT                                a far side; prints each message as JSON";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> Result<()> {
    match words {
        ["send", to, sender, recipient] => send(to, sender, recipient, "a test").await,
        ["send", to, sender, recipient, subject] => send(to, sender, recipient, subject).await,
        ["load", to, sender, recipient, messages, sessions] => {
            let (messages, sessions) = (messages.parse()?, sessions.parse()?);
            let load = Load {
                sender: (*sender).to_owned(),
                ..Load::new(resolve(to).await?, sessions, messages, recipient)
            };
            let book = source::send(load).await?;
            let ids: Vec<&String> = book.at.keys().collect();
            println!("{}", json!({"accepted": ids, "refused": book.refused, "retries": book.retries}));
            Ok(())
        }
        ["receive", address] => receive(address.parse().context(USAGE)?).await,
        _ => bail!("found {words:?}; expected\n{USAGE}"),
    }
}

async fn resolve(host: &str) -> Result<SocketAddr> {
    let mut found = tokio::net::lookup_host(host).await.with_context(|| format!("looking up {host}"))?;
    found.next().with_context(|| format!("found no address of {host}"))
}

async fn send(to: &str, sender: &str, recipient: &str, subject: &str) -> Result<()> {
    let mut client =
        Client::connect(resolve(to).await?).await.with_context(|| format!("connecting to {to}"))?;
    let banner = client.reply().await?;
    println!("{}", banner.text);
    let message = format!("From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\n\r\nHello.\r\n.");
    let dialogue = [
        ("EHLO test-mail.example".to_owned(), 250),
        (format!("MAIL FROM:<{sender}>"), 250),
        (format!("RCPT TO:<{recipient}>"), 250),
        ("DATA".to_owned(), 354),
        (message, 250),
        ("QUIT".to_owned(), 221),
    ];
    for (line, code) in dialogue {
        client.send(format!("{line}\r\n").as_bytes()).await?;
        let reply = client.reply().await?;
        println!("{}", reply.text);
        if reply.code != code {
            bail!("expected {code}");
        }
    }
    Ok(())
}

async fn receive(address: SocketAddr) -> Result<()> {
    let sink = Sink::start(address, Ledger::with_bodies(), Setup::default()).await?;
    println!("{}", json!({"listening": sink.address().to_string()}));
    let mut term = signal(SignalKind::terminate())?;
    let mut printed = HashSet::new();
    loop {
        let mut beat = std::pin::pin!(tokio::time::sleep(Duration::from_millis(50)));
        tokio::select! {
            _ = term.recv() => return Ok(()),
            () = &mut beat => {}
        }
        for (number, entry) in sink.ledger().entries().iter().enumerate() {
            if printed.insert(number) {
                let said = json!({
                    "id": entry.id, "sender": entry.sender, "recipients": entry.recipients, "text": entry.text(),
                });
                println!("{said}");
            }
        }
    }
}
