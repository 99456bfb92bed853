//! `spec.egress`: addresses that the fleet's mail leaves from.
//! **Owns:** that they are addresses, each once. **Never:** what the DNS says of them (identity).

use std::{collections::BTreeSet, net::IpAddr};

use postrider_crds::Egress;

use super::{Problem, shown};

pub(super) fn check(egress: Option<&Egress>, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for (index, text) in egress.iter().flat_map(|egress| &egress.addresses).enumerate() {
        let field = format!("spec.egress.addresses[{index}]");
        match text.parse::<IpAddr>() {
            Err(_) => {
                problems.push(Problem::invalid(field, shown(text), "an IP address such as 203.0.113.10"))
            }
            Ok(address) if !seen.insert(address.to_canonical()) => {
                problems.push(Problem::invalid(field, shown(text), "an address that stands there once"));
            }
            Ok(_) => {}
        }
    }
}
