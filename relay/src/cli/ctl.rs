//! `postrider-relay ctl`: asks a running relay over its socket, prints what it answers.
//! **Owns:** the words on the screen. **Never:** the queue (the relay that answers has it).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{CtlArgs, CtlCommand, QueueCommand, Target};
use crate::control;

/// Runs one command.
///
/// # Errors
/// There is no relay at the socket, or it refuses.
pub fn ctl(args: &CtlArgs, out: &mut impl Write) -> Result<()> {
    let request = request(&args.command);
    let mut stream = UnixStream::connect(&args.ctl).with_context(|| {
        format!(
            "--ctl: found no relay that listens on {}; expected the socket of a running one",
            args.ctl.display()
        )
    })?;
    writeln!(stream, "{}", serde_json::to_string(&request)?)?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let value: Value =
            serde_json::from_str(&line).context("the relay answered with something else than JSON")?;
        if let Some(error) = value.get("error").and_then(Value::as_str) {
            bail!("{error}");
        }
        if value.get("end").is_some() {
            return Ok(());
        }
        if args.json { writeln!(out, "{value}")? } else { print(&value, 0, out)? }
    }
    bail!("the relay closed the connection before its answer was complete; ask again")
}

fn request(command: &CtlCommand) -> control::Request {
    use control::{Action, Request};
    let act = |action, target: &Target| Request::Act { action, target: which(target) };
    match command {
        CtlCommand::Queue { command: None } => Request::Queue,
        CtlCommand::Queue { command: Some(QueueCommand::Adopt { shard }) } => {
            Request::Adopt { shard: shard.clone() }
        }
        CtlCommand::List { lane, held, limit } => {
            Request::List { lane: lane.clone(), held: *held, limit: *limit }
        }
        CtlCommand::Inspect { id } => Request::Inspect { id: id.clone() },
        CtlCommand::Trace { id } => Request::Trace { id: id.clone() },
        CtlCommand::Retry(target) => act(Action::Retry, target),
        CtlCommand::Hold(target) => act(Action::Hold, target),
        CtlCommand::Release(target) => act(Action::Release, target),
        CtlCommand::Bounce(target) => act(Action::Bounce, target),
        CtlCommand::Delete(target) => act(Action::Delete, target),
        CtlCommand::Suspend { lane } => Request::Suspend { lane: lane.clone() },
        CtlCommand::Resume { lane } => Request::Resume { lane: lane.clone() },
    }
}

fn which(target: &Target) -> control::Target {
    match target {
        Target { id: Some(id), .. } => control::Target::Id(id.clone()),
        Target { lane: Some(lane), .. } => control::Target::Lane(lane.clone()),
        Target { sender: Some(sender), .. } => control::Target::Sender(sender.clone()),
        // The group makes one of the four required.
        Target { rule, .. } => control::Target::Rule(rule.clone().unwrap_or_default()),
    }
}

/// A JSON object as indented lines of `key: value`; absent values are left out.
fn print(value: &Value, depth: usize, out: &mut impl Write) -> std::io::Result<()> {
    let Value::Object(fields) = value else { return writeln!(out, "{:depth$}{}", "", scalar(value)) };
    for (key, value) in fields {
        match value {
            Value::Null => {}
            Value::Array(items) if items.iter().any(Value::is_object) => {
                writeln!(out, "{:depth$}{key}:", "")?;
                for item in items {
                    print(item, depth + 2, out)?;
                }
            }
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(scalar).collect();
                writeln!(out, "{:depth$}{key}: {}", "", items.join(", "))?;
            }
            Value::Object(_) => {
                writeln!(out, "{:depth$}{key}:", "")?;
                print(value, depth + 2, out)?;
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                writeln!(out, "{:depth$}{key}: {}", "", scalar(value))?;
            }
        }
    }
    if depth == 0 { writeln!(out) } else { Ok(()) }
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_as_indented_lines() {
        let value = serde_json::json!({"queue_id": "a-1", "none": null, "recipients": ["a@b", "c@d"],
            "deliveries": [{"state": "held"}]});
        let mut out = Vec::new();
        print(&value, 0, &mut out).expect("a vector takes all");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("recipients: a@b, c@d\n"), "{text}");
        assert!(text.contains("deliveries:\n  state: held\n"), "{text}");
        assert!(!text.contains("none"), "{text}");
    }
}
