//! `route` of a rule and `defaultRoute` of a MailRelay: where mail goes.
//! **Owns:** its types and their fields. **Never:** a way that mail can't go yet. A `type` with optional members, since the schema of a tagged union isn't structural.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, listener::Protocol, policy::Tls, text, text::SecretRef};

/// Where mail goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(cel::SMARTHOST).message("type Smarthost needs smarthost, other types must not have it"),
    validation = Rule::new(cel::REDIRECT).message("type Redirect needs redirect, other types must not have it"),
    validation = Rule::new(cel::REJECT).message("reject is for type Reject"),
    validation = Rule::new(cel::HOLD).message("hold is for type Hold"),
    validation = Rule::new(cel::DEFER).message("defer is for type Defer")
)]
pub struct Route {
    /// MX (the recipient domain's exchangers), Smarthost (given hosts), Redirect (one address, whoever it was for), Reject
    /// (refused at RCPT), Discard (accepted and dropped), Hold (kept until a person lets it go), or Defer (kept and looked at
    /// again).
    #[serde(rename = "type")]
    pub type_: RouteType,
    /// For type Smarthost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smarthost: Option<Smarthost>,
    /// For type Redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// For type Reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<Reject>,
    /// For type Hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// For type Defer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defer: Option<Defer>,
}

impl Route {
    /// A route of this type without any member.
    pub const fn of(type_: RouteType) -> Self {
        Self { type_, smarthost: None, redirect: None, reject: None, hold: None, defer: None }
    }
}

impl Default for Route {
    fn default() -> Self {
        Self::of(RouteType::Mx)
    }
}

/// The ways that mail can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RouteType {
    /// The recipient domain's exchangers.
    #[serde(rename = "MX")]
    Mx,
    /// Given hosts.
    Smarthost,
    /// One address.
    Redirect,
    /// Refused.
    Reject,
    /// Dropped.
    Discard,
    /// Kept for a person.
    Hold,
    /// Kept.
    Defer,
}

/// Hosts that take all of the rule's mail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(cel::CREDENTIALS_NEED_TLS).message("with auth, tls.mode must be Require or Verify"))]
pub struct Smarthost {
    /// Tried in this order.
    #[schemars(length(min = 1, max = 16))]
    pub hosts: Vec<SmarthostHost>,
    /// Goes before the policy's tls. Verify, if absent while auth is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who we are to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<SmarthostAuth>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmarthostHost {
    /// Its name (its addresses are used, not its MX) or address.
    #[schemars(length(min = 1, max = 253), regex(pattern = text::HOST))]
    pub host: String,
    /// Its port.
    #[serde(default = "smtp_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// SMTP, or SMTPS where TLS begins with the connection (port 465).
    #[serde(default)]
    pub protocol: Protocol,
}

fn smtp_port() -> i32 {
    25
}

/// Who we are to a smarthost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SmarthostAuth {
    /// A Secret of type kubernetes.io/basic-auth (keys username and password) in the resource's own namespace. While it is
    /// missing the mail waits.
    pub credentials_ref: SecretRef,
}

/// One address that gets all of the rule's mail: for staging.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// The address. Its domain's exchangers get the mail.
    #[schemars(length(min = 3, max = 320), regex(pattern = text::ADDRESS))]
    pub to: String,
}

/// What a rejected recipient is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Reject {
    /// The reply code.
    #[schemars(range(min = 500, max = 599))]
    pub code: i32,
    /// The enhanced status code.
    #[schemars(length(min = 5, max = 9), regex(pattern = text::PERMANENT_CODE))]
    pub enhanced: String,
    /// The words behind the codes.
    #[schemars(length(min = 1, max = 200), regex(pattern = text::LINE))]
    pub text: String,
}

impl Default for Reject {
    fn default() -> Self {
        Self { code: 550, enhanced: "5.7.1".to_owned(), text: "Delivery not authorized".to_owned() }
    }
}

/// Mail that is kept for a person.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// What that person reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = text::LINE))]
    pub reason: Option<String>,
}

/// Mail that is kept and looked at again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Defer {
    /// What its sender reads when it has expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = text::LINE))]
    pub reason: Option<String>,
}
