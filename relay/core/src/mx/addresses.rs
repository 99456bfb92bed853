//! Which of a host's addresses may be tried, and in which order.
//! **Owns:** the special networks, the turn-taking of families. **Never:** which host comes first.
//! RFC 6890 (special-purpose registries); 169.254.169.254 and fd00:ec2::254 serve cloud credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

use super::{Addresses, Answer, Destinations, Families, Unresolved};

/// The addresses to try: allowed ones, families by turns, shuffled within a family.
pub(super) fn usable(found: &Addresses, to: &Destinations, seed: u64) -> Vec<IpAddr> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut pick = |all: Vec<IpAddr>| {
        let mut kept: Vec<_> = all.into_iter().filter(|address| is_allowed(*address, to)).collect();
        kept.shuffle(&mut random);
        kept
    };
    let (v4, v6) = (pick(v4(found)), pick(v6(found)));
    let by_turns = match to.families {
        Families::V4First => interleave(&v4, &v6),
        Families::V6First => interleave(&v6, &v4),
        Families::V4Only => v4,
        Families::V6Only => v6,
    };
    by_turns.into_iter().take(to.limits.addresses_per_host.max(1)).collect()
}

/// Whether one of the addresses is this fleet's. A network that is allowed doesn't excuse a loop, unless it names that
/// very address.
pub(super) fn has_own(found: &Addresses, to: &Destinations) -> bool {
    let is_excused = |address| to.allowed.iter().any(|net| *net == IpNet::from(address));
    v4(found)
        .into_iter()
        .chain(v6(found))
        .map(|address| address.to_canonical())
        .any(|address| to.own_addresses.contains(&address) && !is_excused(address))
}

/// Whether mail may go to an address that a rule names.
///
/// # Errors
/// When it is in a special network that isn't allowed.
pub fn check_address(address: IpAddr, to: &Destinations) -> Result<(), Unresolved> {
    if is_allowed(address, to) { Ok(()) } else { Err(Unresolved::Forbidden(address)) }
}

/// An address that was found and may not be mailed to.
pub(super) fn forbidden(found: &Addresses, to: &Destinations) -> Option<IpAddr> {
    v4(found).into_iter().chain(v6(found)).find(|address| !is_allowed(*address, to))
}

fn is_allowed(address: IpAddr, to: &Destinations) -> bool {
    // A mapped or translated address is judged as what it reaches; a list may name either form.
    !is_special(address)
        || to.allowed.iter().any(|net| net.contains(&address) || net.contains(&reached(address)))
}

/// Whether an address is in a network that no public mail host is in.
pub fn is_special(address: IpAddr) -> bool {
    match reached(address) {
        IpAddr::V4(address) => is_special_v4(address),
        IpAddr::V6(address) => is_special_v6(address),
    }
}

fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)             // this network, private, loopback
            | (100, 64..=127, _)         // carrier-grade NAT
            | (169, 254, _)              // link-local, metadata
            | (172, 16..=31, _)          // private
            | (192, 168, _)              // private
            | (192, 0, 0 | 2)            // IETF assignments, documentation
            | (192, 88, 99)              // 6to4 relays, withdrawn
            | (198, 18..=19, _)          // benchmarks
            | (198, 51, 100)             // documentation
            | (203, 0, 113)              // documentation
            | (224..=255, _, _) // multicast, reserved, broadcast
    )
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Only 2000::/3 is global unicast: this leaves out ::, ::1, fc00::/7 (ULA), fe80::/10, fec0::/10 and ff00::/8.
    segments[0] & 0xe000 != 0x2000
        || segments[..2] == [0x2001, 0x0db8]              // documentation
        || (segments[0] == 0x2001 && segments[1] < 0x0200) // IETF assignments, Teredo
        || segments[0] == 0x3fff && segments[1] < 0x1000 // documentation
}

/// The IPv4 address inside of an IPv6 one: mapped (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96), 6to4 (2002::/16).
fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0, 0, 0, 0, 0, 0] if v6 != Ipv6Addr::UNSPECIFIED && v6 != Ipv6Addr::LOCALHOST => v4(g, h),
        [0x2002, ..] => v4(b, c),
        _ => address,
    }
}

fn interleave(first: &[IpAddr], second: &[IpAddr]) -> Vec<IpAddr> {
    let turns = first.len().max(second.len());
    (0..turns).flat_map(|turn| [first.get(turn), second.get(turn)]).flatten().copied().collect()
}

fn v4(found: &Addresses) -> Vec<IpAddr> {
    records(&found.v4).iter().copied().map(IpAddr::V4).collect()
}

fn v6(found: &Addresses) -> Vec<IpAddr> {
    records(&found.v6).iter().copied().map(IpAddr::V6).collect()
}

fn records<T>(answer: &Answer<T>) -> &[T] {
    match answer {
        Answer::Records(records) => records,
        Answer::NoData | Answer::NxDomain | Answer::Failed(_) => &[],
    }
}
