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
                problems.push(Problem::invalid(field, shown(text), "an IP address such as 203.0.113.10"));
            }
            Ok(address) if !seen.insert(address.to_canonical()) => {
                problems.push(Problem::invalid(field, shown(text), "an address that stands there once"));
            }
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(addresses: &[&str]) -> Vec<String> {
        let addresses = addresses.iter().map(|&text| text.to_owned()).collect();
        let mut problems = Vec::new();
        check(Some(&Egress { addresses, ..Egress::default() }), &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_no_address_or_stands_there_twice_is_told() {
        assert!(told(&["203.0.113.10", "2001:db8::25"]).is_empty());
        let found = told(&["203.0.113.10", "203.0.113.0/24", "::ffff:203.0.113.10"]);
        assert!(
            found[0]
                .starts_with("spec.egress.addresses[1]: found \"203.0.113.0/24\"; expected an IP address")
        );
        assert!(found[1].contains("addresses[2]") && found[1].contains("once"), "{found:?}");
    }
}
