//! `spec.egress`: what of a fleet's way out can't be seen from inside a cluster.
//! **Owns:** its fields and bounds. **Never:** looks anything up.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{cel, text};

/// Who the fleet is to far sides. Nothing here changes how mail is sent: it is what the DNS is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// The addresses that mail leaves from, as far sides see them: those of nodes, or of a NAT gateway. Each needs a PTR record whose
    /// name leads back, and SPF. If absent, only names are looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 2, max = 45), regex(pattern = text::IP_ADDRESS)))]
    #[x_kube(validation = Rule::new(cel::ADDRESSES).message("each must be an IP address such as 203.0.113.10"))]
    pub addresses: Vec<String>,
    /// Checked: the condition EgressIdentity says whether the DNS fits. Unchecked: nobody looks, for fleets whose smarthost is their face.
    #[serde(default)]
    pub identity: IdentityCheck,
}

/// Whether somebody looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum IdentityCheck {
    /// The operator does.
    #[default]
    Checked,
    /// Nobody.
    Unchecked,
}
