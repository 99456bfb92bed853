//! What the DNS says of a fleet, as conditions. Pure.
//! **Owns:** `EgressIdentity` and `DKIMPublished`. **Never:** what fits (core::identity). Neither makes `Ready` false: mail flows, if badly.

use postrider_core::identity::{Finding, FindingKind, Judgement, Unknown};
use postrider_crds::{
    IdentityCheck,
    status::{conditions as types, reasons},
};

use super::{Facts, conditions::Say};

/// The most findings and failures that a message shows.
const SHOWN: usize = 5;

/// Whether addresses, names and policies fit.
pub(super) fn egress_identity(facts: &Facts<'_>) -> Say {
    let type_ = types::EGRESS_IDENTITY;
    let egress = facts.snapshot.relay.spec.egress.as_ref();
    if egress.is_some_and(|egress| egress.identity == IdentityCheck::Unchecked) {
        let message = "spec.egress.identity is Unchecked: the DNS is not looked at";
        return Say::yes(type_, reasons::UNCHECKED, message.to_owned());
    }
    let Some(judgement) = facts.identity else { return as_before(facts, type_) };
    said(type_, &judgement.egress, &judgement.egress_unknown).unwrap_or_else(|| {
        let has_addresses = egress.is_some_and(|egress| !egress.addresses.is_empty());
        let note = "spec.egress.addresses is empty: only names were looked at";
        Say::yes(type_, reasons::NAMES_FIT, if has_addresses { String::new() } else { note.to_owned() })
    })
}

/// Whether the public half of every key is published.
pub(super) fn dkim_published(facts: &Facts<'_>) -> Say {
    let type_ = types::DKIM_PUBLISHED;
    if facts.snapshot.relay.spec.dkim.is_empty() {
        return Say::yes(type_, reasons::NO_KEYS, String::new());
    }
    let Some(judgement) = facts.identity else { return as_before(facts, type_) };
    let config = facts.judged.valid.as_ref().map(|valid| &valid.config);
    let keys = config.into_iter().flat_map(|config| config.dkim.iter().flat_map(|entry| &entry.keys));
    if keys.filter(|key| key.key.is_some()).count() == 0 {
        return Say::unknown(
            type_,
            reasons::SECRET_NOT_FOUND,
            "there is no key to compare with: see ResolvedRefs",
        );
    }
    said(type_, &judgement.keys, &judgement.keys_unknown)
        .unwrap_or_else(|| Say::yes(type_, reasons::KEYS_PUBLISHED, judgement.notes.join("\n")))
}

/// None, if all fits and is known.
fn said(type_: &'static str, findings: &[Finding], unknown: &[Unknown]) -> Option<Say> {
    if let Some(first) = findings.first() {
        return Some(Say::no(type_, first.kind.as_str(), lines(findings)));
    }
    (!unknown.is_empty()).then(|| Say::unknown(type_, reasons::DNS_UNAVAILABLE, &lines(unknown)))
}

fn lines(all: &[impl ToString]) -> String {
    let mut lines: Vec<String> = all.iter().take(SHOWN).map(ToString::to_string).collect();
    if all.len() > SHOWN {
        lines.push(format!("and {} more", all.len() - SHOWN));
    }
    lines.join("\n")
}

/// While nobody has looked (again): what was said of this very generation, else that nobody knows.
fn as_before(facts: &Facts<'_>, type_: &'static str) -> Say {
    let relay = &facts.snapshot.relay;
    let before = relay.status.iter().flat_map(|status| &status.conditions).find(|known| known.type_ == type_);
    let before = before.filter(|known| known.observed_generation == relay.metadata.generation);
    let said = before.and_then(|known| {
        let (status, reason) = (status_word(&known.status)?, reason_word(&known.reason)?);
        Some(Say { type_, status, reason, message: known.message.clone() })
    });
    said.unwrap_or_else(|| Say::unknown(type_, reasons::PENDING, "the DNS has not been looked at yet"))
}

fn status_word(word: &str) -> Option<&'static str> {
    ["True", "False", "Unknown"].into_iter().find(|known| *known == word)
}

fn reason_word(word: &str) -> Option<&'static str> {
    let ours =
        [reasons::NAMES_FIT, reasons::KEYS_PUBLISHED, reasons::DNS_UNAVAILABLE, reasons::SECRET_NOT_FOUND];
    ours.into_iter().chain(FindingKind::ALL.map(FindingKind::as_str)).find(|known| *known == word)
}

/// How many findings there are of each kind, for metrics.
pub fn counts(judgement: &Judgement) -> impl Iterator<Item = (FindingKind, usize)> {
    FindingKind::ALL.into_iter().map(|kind| {
        let all = judgement.egress.iter().chain(&judgement.keys);
        (kind, all.filter(|finding| finding.kind == kind).count())
    })
}
