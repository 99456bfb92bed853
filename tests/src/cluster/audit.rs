//! The API server's audit log: who asked for what.
//! **Owns:** its format. **Never:** the control plane's own requests: the policy leaves them out.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked, such as `system:serviceaccount:mail:postrider-operator`.
    pub user: String,
    /// Such as `get` or `patch`.
    pub verb: String,
    /// Such as `deployments`.
    pub resource: String,
    /// Such as `status`, or empty.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty for a list.
    pub name: String,
    /// The answer's status.
    pub code: u64,
}

impl Request {
    /// Whether it was meant to change something.
    pub fn is_write(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str())
    }
}

/// Reads all of it.
pub(super) fn read(log: &Path) -> Result<Vec<Request>> {
    let text = std::fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| Ok(request(&serde_json::from_str(line)?))).collect()
}

fn request(event: &Value) -> Request {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Request {
        user: text("/user/username"),
        verb: text("/verb"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0),
    }
}
