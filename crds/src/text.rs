//! The forms of texts in the schema, each with words for people.
//! **Owns:** patterns and lengths. **Never:** the exact syntax of mail's names (core reads those, and says what is wrong).
//! A pattern here refuses what can't be meant; it is what the API server checks, so it is kept simple (RE2, no look-around).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of a listener: a DNS label.
pub const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// The name of an object: a DNS subdomain.
pub const OBJECT_NAME: &str = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$";
/// The name of a shard.
pub const SHARD: &str = "^[a-z0-9]+$";
/// A key of a Secret.
pub const SECRET_KEY: &str = "^[-._a-zA-Z0-9]+$";
/// A machine's name.
pub const HOST_NAME: &str = r"^[-_a-zA-Z0-9]+(\.[-_a-zA-Z0-9]+)*$";
/// A machine's name or address.
pub const HOST: &str = r"^([-_a-zA-Z0-9]+(\.[-_a-zA-Z0-9]+)*|[0-9a-fA-F:.]+)$";
/// A domain, or all below one.
pub const DOMAIN_PATTERN: &str = r"^(\*\.)?[^@*\s]+$";
/// A domain.
pub const DOMAIN: &str = r"^[^@*\s]+$";
/// A DKIM selector.
pub const SELECTOR: &str = r"^[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$";
/// An address.
pub const ADDRESS: &str = r"^.+@[^@\s]+$";
/// An address, or the null sender.
pub const SENDER: &str = r"^(<>|.+@[^@\s]+)$";
/// An IP address.
pub const IP_ADDRESS: &str = "^[0-9a-fA-F.:]+$";
/// A day.
pub const DAY: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";
/// A network.
pub const CIDR: &str = "^[0-9a-fA-F.:]+/[0-9]{1,3}$";
/// GEP-2257.
pub const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// A size in bytes.
pub const SIZE: &str = "^[0-9]{1,12}(Ki|Mi|Gi|Ti|k|M|G|T)?$";
/// An enhanced status code that says never.
pub const PERMANENT_CODE: &str = r"^5\.[0-9]{1,3}\.[0-9]{1,3}$";
/// One line of printable ASCII.
pub const LINE: &str = "^[ -~]+$";
/// A user's name.
pub const USER: &str = r"^[^\s:]+$";

/// What a pattern of ours means, as errors put it.
pub fn meaning(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        LABEL => "lower-case letters, digits and hyphens, such as submission",
        OBJECT_NAME => "the name of an object: lower-case letters, digits, hyphens and dots",
        SHARD => "lower-case letters and digits",
        SECRET_KEY => "a key of a Secret: letters, digits, -, _ and .",
        HOST_NAME => "a host name such as mail.example.com",
        HOST => "a host name such as gw.example.com, or an IP address",
        DOMAIN_PATTERN => "a domain such as example.com, or *.example.com for all below it",
        DOMAIN => "a domain such as example.com",
        SELECTOR => "a DKIM selector such as s2026a",
        ADDRESS => "an address such as user@example.com",
        SENDER => "an address such as user@example.com, or <> for the null sender",
        IP_ADDRESS => "an IP address such as 203.0.113.10 or 2001:db8::25",
        DAY => "a day such as 2026-12-01",
        CIDR => "a network such as 10.0.0.0/8 or 2001:db8::/32",
        DURATION => "a duration such as 90s, 5m or 1h30m (units h, m, s, ms; five days are 120h)",
        SIZE => "a size such as 25Mi",
        PERMANENT_CODE => "an enhanced status code that begins with 5, such as 5.7.1",
        LINE => "one line of printable ASCII",
        USER => "a user name without spaces and colons",
        _ => return None,
    })
}

/// A Secret in the namespace of the resource that names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// One key of a Secret in the namespace of the resource that names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_KEY))]
    pub key: String,
}
