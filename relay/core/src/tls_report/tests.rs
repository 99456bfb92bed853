//! What is counted, what is bounded, and what a report looks like.

use std::collections::BTreeMap;

use postrider_mail::{Domain, Due, HostName, Mailbox};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{
    dane::{Demand, Tlsa},
    day::Day,
    mta_sts,
    mx::{DnsFailure, Unresolved},
    tls_policy::{Protection, TlsFailure},
};

/// RFC 8460 4.4, so strict that another member, type or word is an error.
#[allow(dead_code, reason = "what is read is checked by its type")]
mod schema {
    use super::{Deserialize, ResultType};

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    pub(super) struct Report {
        pub(super) organization_name: String,
        pub(super) date_range: DateRange,
        pub(super) contact_info: String,
        pub(super) report_id: String,
        pub(super) policies: Vec<Policy>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    pub(super) struct DateRange {
        pub(super) start_datetime: jiff::Timestamp,
        pub(super) end_datetime: jiff::Timestamp,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    pub(super) struct Policy {
        pub(super) policy: Applied,
        pub(super) summary: Summary,
        #[serde(default)]
        pub(super) failure_details: Vec<Detail>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    pub(super) struct Applied {
        pub(super) policy_type: Type,
        #[serde(default)]
        pub(super) policy_string: Vec<String>,
        pub(super) policy_domain: String,
        #[serde(default)]
        pub(super) mx_host: Vec<String>,
    }

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    pub(super) enum Type {
        Tlsa,
        Sts,
        NoPolicyFound,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    pub(super) struct Summary {
        pub(super) total_successful_session_count: u64,
        pub(super) total_failure_session_count: u64,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    pub(super) struct Detail {
        pub(super) result_type: ResultType,
        pub(super) sending_mta_ip: Option<std::net::IpAddr>,
        pub(super) receiving_mx_hostname: Option<String>,
        pub(super) receiving_ip: Option<std::net::IpAddr>,
        pub(super) failed_session_count: u64,
        pub(super) failure_reason_code: Option<String>,
    }

    /// Reads a report, and checks what types don't say.
    pub(super) fn valid(json: &str) -> Report {
        let report: Report = serde_json::from_str(json).expect("a report by RFC 8460 4.4");
        assert!(!report.organization_name.is_empty() && !report.contact_info.is_empty());
        assert!(!report.report_id.is_empty() && !report.policies.is_empty());
        assert!(report.date_range.start_datetime < report.date_range.end_datetime);
        for Policy { policy, summary, failure_details } in &report.policies {
            assert!(!policy.policy_domain.is_empty());
            if policy.policy_type == Type::NoPolicyFound {
                assert!(policy.policy_string.is_empty() && policy.mx_host.is_empty());
            }
            let detailed: u64 = failure_details.iter().map(|detail| detail.failed_session_count).sum();
            assert!(detailed <= summary.total_failure_session_count);
            assert!(failure_details.iter().all(|detail| detail.failed_session_count > 0));
        }
        report
    }
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("a domain")
}

fn host(name: &str) -> HostName {
    HostName::parse(name).expect("a name")
}

/// That of RFC 8460 appendix B.
fn sts() -> PolicyKey {
    let file = "version: STSv1\nmode: testing\nmx: *.mail.company-y.example\nmax_age: 86400\n";
    let policy = mta_sts::Policy::parse(file.as_bytes()).expect("a policy");
    PolicyKey::of(domain("company-y.example"), &Protection::Opportunistic, Some(&policy))
}

fn bad(result: ResultType, name: Option<&str>) -> Session {
    let detail = Detail {
        sending_ip: Some("2001:db8:abcd:12::1".parse().expect("an address")),
        host: name.map(host),
        receiving_ip: name.map(|_| "203.0.113.56".parse().expect("an address")),
        ..Detail::of(result)
    };
    Session { policy: sts(), observed: Observed::Bad(detail) }
}

fn good() -> Session {
    Session { policy: sts(), observed: Observed::Good }
}

fn submitter() -> Submitter {
    Submitter {
        organization: "Company-X".into(),
        contact: "sts-reporting@company-x.example".into(),
        from: "tlsrpt@mail.sender.example.com".parse().expect("an address"),
        hostname: host("out.company-x.example"),
    }
}

/// The day of RFC 8460 appendix B: 2016-04-01.
fn day() -> Day {
    Day::of(Due::from_unix_millis(1_459_500_000_000))
}

fn of_the_appendix() -> Counts {
    let mut counts = Counts::default();
    (0..5_326).for_each(|_| counts.add(good()));
    let one = || bad(ResultType::CertificateExpired, Some("mx1.mail.company-y.example"));
    let two = || bad(ResultType::StarttlsNotSupported, Some("mx2.mail.company-y.example"));
    (0..100).for_each(|_| counts.add(one()));
    (0..200).for_each(|_| counts.add(two()));
    counts
}

#[test]
fn the_report_of_the_rfc_comes_out() {
    let report = Report::of(&of_the_appendix(), day(), &domain("company-y.example"), &submitter());
    let json = report.expect("a report").json();
    let expected = serde_json::json!({
        "organization-name": "Company-X",
        "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
        "contact-info": "sts-reporting@company-x.example",
        "report-id": "2016-04-01.company-y.example@out.company-x.example",
        "policies": [{
            "policy": {
                "policy-type": "sts",
                "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
                "policy-domain": "company-y.example",
                "mx-host": ["*.mail.company-y.example"]
            },
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 300},
            "failure-details": [{
                "result-type": "starttls-not-supported",
                "sending-mta-ip": "2001:db8:abcd:12::1",
                "receiving-mx-hostname": "mx2.mail.company-y.example",
                "receiving-ip": "203.0.113.56",
                "failed-session-count": 200
            }, {
                "result-type": "certificate-expired",
                "sending-mta-ip": "2001:db8:abcd:12::1",
                "receiving-mx-hostname": "mx1.mail.company-y.example",
                "receiving-ip": "203.0.113.56",
                "failed-session-count": 100
            }]
        }]
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON"), expected);
    schema::valid(&json);
}

#[test]
fn a_day_without_sessions_has_no_report() {
    assert_eq!(Report::of(&Counts::default(), day(), &domain("company-y.example"), &submitter()), None);
}

#[test]
fn the_mail_is_as_the_rfc_has_it() {
    let about = domain("company-y.example");
    let report = Report::of(&of_the_appendix(), day(), &about, &submitter()).expect("a report");
    let to: Vec<Mailbox> = vec!["mta-sts-tlsrpt@company-y.example".parse().expect("an address")];
    let (submitter, date) = (submitter(), day().end());
    let from = Letter { report: &report, day: day(), domain: &about, submitter: &submitter, to: &to, date };
    let gzip = pack(&report).expect("a file");
    assert_eq!(pack(&report).expect("a file"), gzip, "the same bytes each time");
    let text = String::from_utf8(render(&from, &gzip)).expect("ASCII");
    assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 120), "{text}");
    let unfolded = text.replace("\r\n    ", " ").replace("\r\n ", " ");
    for line in [
        "From: <tlsrpt@mail.sender.example.com>",
        "To: <mta-sts-tlsrpt@company-y.example>",
        "Subject: Report Domain: company-y.example Submitter: mail.sender.example.com Report-ID: \
         <2016-04-01.company-y.example@out.company-x.example>",
        "Date: Sat, 2 Apr 2016 00:00:00 +0000",
        "TLS-Report-Domain: company-y.example",
        "TLS-Report-Submitter: mail.sender.example.com",
        "TLS-Required: No",
        "Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary=\"_=tlsrpt.2016-04-01\"",
        "Content-Type: application/tlsrpt+gzip",
        "Content-Disposition: attachment; filename=\"mail.sender.example.com!company-y.example!1459468800!\
         1459555199!outcompanyxexample.json.gz\"",
    ] {
        assert!(unfolded.contains(&format!("{line}\r\n")), "{line}\n{unfolded}");
    }
    let mut json = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*gzip), &mut json).expect("gzip");
    assert_eq!(json, report.json());
}

#[test]
fn each_failure_has_its_word() {
    let text = || postrider_mail::FarText::new("why");
    let dane = Protection::Dane { base: host("mx.example"), demand: Demand::Encrypted };
    let certificate = TlsFailure::Certificate(text());
    let of = |failure: &TlsFailure, flaw, protection: &Protection| ResultType::of(failure, flaw, protection);
    assert_eq!(of(&TlsFailure::NotOffered, None, &dane), ResultType::StarttlsNotSupported);
    assert_eq!(of(&TlsFailure::Handshake(text()), None, &dane), ResultType::ValidationFailure);
    assert_eq!(of(&certificate, None, &dane), ResultType::TlsaInvalid);
    let sts = Protection::MtaSts;
    for (flaw, word) in [
        (Flaw::OtherHost, ResultType::CertificateHostMismatch),
        (Flaw::Expired, ResultType::CertificateExpired),
        (Flaw::NotTrusted, ResultType::CertificateNotTrusted),
        (Flaw::Other, ResultType::ValidationFailure),
    ] {
        assert_eq!(of(&certificate, Some(flaw), &sts), word);
        assert_eq!(ResultType::of_flaw(flaw), word);
    }
    let unproven = Unresolved::Unproven { name: "mx.example".into(), failure: DnsFailure::Bogus };
    assert_eq!(of_unresolved(&unproven), Some((ResultType::DnssecInvalid, "bogus")));
    let outside = Unresolved::NotInPolicy("mx.example".into());
    assert_eq!(of_unresolved(&outside), Some((ResultType::ValidationFailure, "mx-not-in-policy")));
    assert_eq!(of_unresolved(&Unresolved::NullMx), None);
}

#[test]
fn a_policy_is_named_by_what_applied() {
    let records = [Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0xab; 32] }];
    let demand = Demand::of(&records).expect("a record");
    let dane = Protection::Dane { base: host("mx.example"), demand };
    let file = b"version: STSv1\nmode: none\nmax_age: 86400\n";
    let none = mta_sts::Policy::parse(file).expect("a policy");
    let key = PolicyKey::of(domain("a.example"), &dane, Some(&none));
    assert_eq!(
        (key.kind, &*key.strings[0]),
        (PolicyType::Tlsa, format!("3 1 1 {}", "ab".repeat(32)).as_str())
    );
    let of = |protection: &Protection| PolicyKey::of(domain("a.example"), protection, Some(&none)).kind;
    assert_eq!(of(&Protection::Opportunistic), PolicyType::NoPolicyFound, "mode none is none");
    assert_eq!(sts().kind, PolicyType::Sts, "testing is one");
}

#[test]
fn reasons_do_not_differ_from_session_to_session() {
    let reason = |text: &str| Detail::of(ResultType::ValidationFailure).because(text).reason;
    assert_eq!(
        reason("certificate expired: verification time 1785000000").as_deref(),
        Some("certificate expired: verification time")
    );
    assert_eq!(reason("received\r\n alert").as_deref(), Some("received alert"));
    assert_eq!(reason("4.7.0"), None);
}

fn any_session() -> impl Strategy<Value = Session> {
    (0_u8..20, 0_u8..120, any::<bool>()).prop_map(|(policy, detail, is_good)| {
        let policy = PolicyKey::none(domain(&format!("d{policy}.example")));
        let bad =
            Detail { host: Some(host(&format!("h{detail}.example"))), ..Detail::of(ResultType::TlsaInvalid) };
        Session { policy, observed: if is_good { Observed::Good } else { Observed::Bad(bad) } }
    })
}

fn any_counts() -> impl Strategy<Value = Counts> {
    proptest::collection::vec(any_session(), 0..200).prop_map(|sessions| {
        let mut counts = Counts::default();
        sessions.into_iter().for_each(|session| counts.add(session));
        counts
    })
}

fn merged(mut one: Counts, other: &Counts) -> Counts {
    one.merge(other.clone());
    one
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_is_the_same_in_any_order(a in any_counts(), b in any_counts(), c in any_counts()) {
        prop_assert_eq!(merged(a.clone(), &b), merged(b.clone(), &a));
        prop_assert_eq!(merged(merged(a.clone(), &b), &c), merged(a, &merged(b, &c)));
    }

    #[test]
    fn counts_stay_within_their_bounds_and_sums_are_whole(sessions in proptest::collection::vec(any_session(), 0..800)) {
        let mut counts = Counts::default();
        let mut sums: BTreeMap<PolicyKey, (u64, u64)> = BTreeMap::new();
        for session in sessions {
            let sum = sums.entry(session.policy.clone()).or_default();
            match session.observed {
                Observed::Good => sum.0 += 1,
                Observed::Bad(_) => sum.1 += 1,
            }
            counts.add(session);
        }
        prop_assert!(counts.policies().count() <= MAX_POLICIES);
        for (key, counted) in counts.policies() {
            prop_assert!(counted.details.len() <= MAX_DETAILS);
            prop_assert_eq!(sums.get(key), Some(&(counted.good, counted.bad)));
        }
    }

    #[test]
    fn what_the_store_gives_back_is_what_it_was_given(counts in any_counts()) {
        let fields = counts.increments();
        prop_assert!(fields.iter().all(|one| one.by > 0));
        let read = Counts::read(fields.iter().map(|one| (one.field.as_str(), one.by)));
        prop_assert_eq!(read, counts);
    }

    #[test]
    fn every_report_is_valid(counts in any_counts()) {
        let about = domain("company-y.example");
        match Report::of(&counts, day(), &about, &submitter()) {
            Some(report) => drop(schema::valid(&report.json())),
            None => prop_assert!(counts.is_empty()),
        }
    }

    #[test]
    fn any_field_of_the_store_is_read_without_a_panic(field in ".{0,60}", count: u64) {
        let _ = Counts::read([(field.as_str(), count), (&format!("s{field}"), count), (&format!("dé{field}"), count)]);
    }
}
