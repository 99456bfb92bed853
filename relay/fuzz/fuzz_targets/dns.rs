//! Responses of resolvers, and the hosts that come of them.
//! **Owns:** hosts are ordered, bounded, and never in networks that mail may not go to; only the word of an authority bounces (I6).
//! **Never:** asks.
//! Input: three responses on the wire (to the MX, A and AAAA questions), with the length of each before it in two bytes.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use postrider_core::mx::{
    self, Addresses, Answer, Candidate, Destinations, DnsFailure, MxRecord, MxTarget, Unresolved, is_special,
};
use postrider_fuzz::host;
use postrider_mail::{Domain, OutcomeKind};
use postrider_relay::dns::{Kind, read};

const DOMAIN: &str = "far.example";
const SEED: u64 = 7;

/// A response with its length before it, as over TCP; what is left where that is too long.
fn cut<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return std::mem::take(input) };
    let (response, behind) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    *input = behind;
    response
}

/// What a response says, as a look-up would have it.
fn answer<T: Kind>(response: &[u8], name: &str) -> Answer<T> {
    let answer = read::<T>(response, name).unwrap_or(Answer::Failed(DnsFailure::Malformed));
    if let Answer::Records(records) = &answer {
        assert!((1..=256).contains(&records.len()), "records are never none, and bounded");
    }
    answer
}

fn destinations() -> Destinations {
    Destinations {
        own_names: vec![host("mail.app.example")],
        own_addresses: vec![[198, 41, 0, 4].into()],
        ..Destinations::default()
    }
}

fn check_hosts(found: &[(Candidate, Addresses)], is_complete: bool, to: &Destinations) {
    match mx::order(found, is_complete, to, SEED) {
        Ok(hosts) => {
            assert!((1..=to.limits.hosts).contains(&hosts.len()));
            assert!(hosts.is_sorted_by_key(|host| host.preference), "the best come first");
            for host in hosts {
                assert!((1..=to.limits.addresses_per_host).contains(&host.addresses.len()));
                assert!(!host.addresses.iter().any(|address| is_special(*address)), "{host:?}");
                assert!(!to.own_names.contains(&host.name), "mail would go in a circle");
                assert!(!host.addresses.iter().any(|address| to.own_addresses.contains(address)));
            }
        }
        Err(why) => {
            let is_unsure = |(_, seen): &(Candidate, Addresses)| {
                matches!(seen.v4, Answer::Failed(_)) || matches!(seen.v6, Answer::Failed(_))
            };
            let bounces = why.kind() == OutcomeKind::Bounced && why != Unresolved::Loop;
            assert!(!bounces || !found.iter().any(is_unsure), "{why}: a failure bounces nothing");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let (domain, to) = (Domain::parse(DOMAIN).expect("a domain"), destinations());
    let exchangers = answer::<MxRecord>(cut(&mut input), DOMAIN);
    let (v4, v6) = (cut(&mut input), cut(&mut input));
    let is_failed = matches!(exchangers, Answer::Failed(_));
    let candidates = match mx::candidates(&domain, &exchangers, &to, SEED) {
        Ok(candidates) => candidates,
        Err(why) => return assert!(!is_failed || why.kind() == OutcomeKind::Deferred, "{why}"),
    };
    assert!(!is_failed && (1..=to.limits.lookups).contains(&candidates.list.len()));
    let addresses = |candidate: Candidate| {
        let addresses = match &candidate.target {
            MxTarget::Host(name) => Addresses {
                v4: answer::<Ipv4Addr>(v4, name.as_str()),
                v6: answer::<Ipv6Addr>(v6, name.as_str()),
            },
            MxTarget::Null | MxTarget::Broken(_) => Addresses { v4: Answer::NxDomain, v6: Answer::NxDomain },
        };
        (candidate, addresses)
    };
    let found: Vec<_> = candidates.list.into_iter().map(addresses).collect();
    check_hosts(&found, candidates.is_complete, &to);
});
