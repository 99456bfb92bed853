//! TLS reports (RFC 8460): two relays count, one of them sends each domain's report, signed.
//! **Owns:** that a report arrives once, by mail and at web servers, with the fleet's counts, in the RFC's form. **Never:** each word
//! of it (core's tests).

use std::{io::Read as _, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use postrider_tests::{
    certs, dkim,
    ledger::Entry,
    manifests::MailRelay,
    policy_host::{policy, response},
    report_host::ReportHost,
    schemas,
    wait::eventually,
};
use serde_json::Value;

use crate::{LATER, SOON, mta_sts::Bed};

const REPORTS: &str =
    "tlsReports: {from: tlsrpt@app.example, organizationName: App, contact: postmaster@app.example}";

/// The JSON in a report's attachment.
fn json(report: &Entry) -> Value {
    let text = report.text().replace("\r\n", "\n");
    let part = text.split("Content-Type: application/tlsrpt+gzip").nth(1).expect("an attachment");
    let content = part.split_once("\n\n").expect("a body").1;
    let encoded: String = content.lines().take_while(|line| !line.starts_with("--")).collect();
    unpacked(&STANDARD.decode(encoded).expect("base64"))
}

/// A report out of its file, after a look whether all of it is in the RFC's form.
fn unpacked(gzip: &[u8]) -> Value {
    let mut json = String::new();
    flate2::read::GzDecoder::new(gzip).read_to_string(&mut json).expect("gzip");
    let report = serde_json::from_str(&json).expect("JSON");
    let schema = serde_json::from_str(include_str!("../fixtures/tlsrpt.schema.json")).expect("JSON");
    assert_eq!(schemas::wrong(&schema, &report), Vec::<String>::new(), "{json}");
    assert!(!json.contains(":null"), "{json}");
    report
}

fn count(report: &Value, kind: &str) -> u64 {
    report["policies"][0]["summary"][format!("total-{kind}-session-count")].as_u64().expect("a count")
}

async fn bed() -> Bed {
    let mut bed = Bed::new().await;
    let tls = bed.good("good.example");
    bed.enforcing("good.example", Some(tls)).await;
    let tls = bed.authority.issue_expired(&["mx.expired.example"]).unwrap().server;
    bed.enforcing("expired.example", Some(tls)).await;
    let tls = bed.authority.issue(&["mx.another.example"]).unwrap().server;
    bed.domain("tested.example", Some(tls), response(&policy("testing", "mx.tested.example"))).await;
    let tls = bed.good("silent.example");
    bed.enforcing("silent.example", Some(tls)).await;
    bed.world.domain("reports.example").await.unwrap();
    for domain in ["good.example", "expired.example", "tested.example"] {
        let name = format!("_smtp._tls.{domain}");
        let record = format!("v=TLSRPTv1; rua=mailto:{domain}@reports.example");
        bed.world.dns.txt(&name, &record).await.unwrap();
    }
    let more = format!("{}{REPORTS}", dkim::spec(&["app.example"]));
    let relay = MailRelay { more, ..MailRelay::default() };
    bed.world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    bed.world.manifests.write("dkim.yaml", &dkim::secret()).unwrap();
    bed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_tells_each_domain_that_asks_once_how_its_day_was() {
    let mut bed = bed().await;
    for _ in 0..2 {
        bed.relay_with(&["--tls-report-midnight", "20s"]).await;
    }
    for relay in 0..2 {
        for domain in ["good.example", "expired.example", "tested.example", "silent.example"] {
            bed.send_by(relay, domain).await;
        }
    }
    eventually("the mail of both relays", SOON, async || {
        (bed.world.ledger.to("b@good.example").len() == 2).then_some(())
    })
    .await
    .unwrap();
    let mut reports = Vec::new();
    for domain in ["good.example", "expired.example", "tested.example"] {
        let report = bed.world.arrival(&format!("{domain}@reports.example"), LATER).await.unwrap();
        assert!(report.text().starts_with("DKIM-Signature: "), "{}", report.text());
        assert!(report.text().contains(&format!("TLS-Report-Domain: {domain}\r\n")), "{}", report.text());
        reports.push(json(&report));
    }
    let [good, expired, tested] = reports.as_slice() else { panic!("three") };
    assert_eq!(good["policies"][0]["policy"]["policy-type"], "sts", "{good}");
    assert_eq!((count(good, "successful"), count(good, "failure")), (2, 0), "{good}");
    assert_eq!(count(expired, "successful"), 0, "{expired}");
    assert!(count(expired, "failure") >= 2, "{expired}");
    let detail = &expired["policies"][0]["failure-details"][0];
    assert_eq!(detail["result-type"], "certificate-expired", "{expired}");
    assert_eq!(detail["receiving-mx-hostname"], "mx.expired.example");
    assert_eq!(detail["failed-session-count"], count(expired, "failure"));
    // It was delivered, and would not have been under another mode.
    assert_eq!((count(tested, "successful"), count(tested, "failure")), (0, 2), "{tested}");
    assert_eq!(tested["policies"][0]["failure-details"][0]["result-type"], "certificate-host-mismatch");
    let mut sent = 0.0;
    for relay in &bed.world.relays {
        sent += relay.metrics().await.unwrap().sum("postrider_tls_reports_total", &["result=\"sent\""]);
    }
    assert!((sent - 3.0).abs() < 0.5, "{sent}");
    assert_eq!(bed.world.ledger.matching(|mail| mail.sender.contains("tlsrpt@")).len(), 3);
}

#[test]
fn the_schema_knows_a_report_that_is_wrong() {
    let schema = serde_json::from_str(include_str!("../fixtures/tlsrpt.schema.json")).expect("JSON");
    let right = serde_json::json!({
        "organization-name": "App", "contact-info": "a@app.example", "report-id": "1@app.example",
        "date-range": {"start-datetime": "2026-09-01T00:00:00Z", "end-datetime": "2026-09-01T23:59:59Z"},
        "policies": [{
            "policy": {"policy-type": "sts", "policy-domain": "far.example", "mx-host": ["mx.far.example"]},
            "summary": {"total-successful-session-count": 0, "total-failure-session-count": 1},
            "failure-details": [{"result-type": "tlsa-invalid", "receiving-ip": "::1", "failed-session-count": 1}],
        }],
    });
    assert_eq!(schemas::wrong(&schema, &right), Vec::<String>::new());
    for (at, wrong) in [
        ("/organization-name", Value::Null),
        ("/date-range/start-datetime", "1 September 2026".into()),
        ("/policies", Value::Array(Vec::new())),
        ("/policies/0/policy/policy-type", "dane".into()),
        ("/policies/0/summary/total-successful-session-count", "0".into()),
        ("/policies/0/summary/total-failure-session-count", (-1).into()),
        ("/policies/0/failure-details/0/result-type", "expired".into()),
        ("/policies/0/failure-details/0/receiving-ip", "mx".into()),
        ("/policies/0/failure-details/0", serde_json::json!({"more": 1})),
    ] {
        let mut report = right.clone();
        *report.pointer_mut(at).expect("it is there") = wrong;
        assert!(!schemas::wrong(&schema, &report).is_empty(), "{at}");
    }
}

/// A domain that wants its reports there; nobody vouches for the web server's certificate.
async fn reported(bed: &mut Bed, domain: &str, rua: &str, last: u8, statuses: &'static [u16]) -> ReportHost {
    let tls = bed.good(domain);
    bed.enforcing(domain, Some(tls)).await;
    let host = format!("web.{domain}");
    let record = format!("v=TLSRPTv1; rua={rua}https://{host}/v1/tlsrpt?of={domain}");
    bed.world.dns.txt(&format!("_smtp._tls.{domain}"), &record).await.unwrap();
    let address = bed.world.subnet.address(last);
    bed.world.dns.a(&host, address).await.unwrap();
    let tls = certs::self_signed("another.example").unwrap().server;
    ReportHost::start(SocketAddr::new(address.into(), bed.port), tls, statuses).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn web_servers_get_what_goes_by_mail_and_are_asked_again() {
    let mut bed = Bed::new().await;
    bed.world.domain("reports.example").await.unwrap();
    let busy = reported(&mut bed, "busy.example", "mailto:busy@reports.example,", 200, &[503, 201]).await;
    let alone = reported(&mut bed, "alone.example", "", 201, &[200]).await;
    let moved = reported(&mut bed, "moved.example", "", 202, &[302]).await;
    let relay =
        MailRelay { more: format!("drain: {{delay: 0s, timeout: 10s}}\n{REPORTS}"), ..MailRelay::default() };
    bed.world.manifests.write("relay.yaml", &relay.yaml()).unwrap();
    bed.relay_with(&["--tls-report-midnight", "20s"]).await;
    for domain in ["busy.example", "alone.example", "moved.example"] {
        bed.send_by(0, domain).await;
    }
    let mailed = json(&bed.world.arrival("busy@reports.example", LATER).await.unwrap());
    let results = async |result: &str| {
        let label = format!("result=\"{result}\"");
        bed.world.relays[0].metrics().await.unwrap().sum("postrider_tls_reports_total", &[&label])
    };
    eventually("two reports to be sent and one to be given up", LATER, async || {
        (results("sent").await >= 2.0 && results("failed").await >= 1.0).then_some(())
    })
    .await
    .unwrap();
    let [refused, taken] = <[_; 2]>::try_from(busy.posted()).expect("one refused, one taken");
    assert!(taken.head.starts_with("post /v1/tlsrpt?of=busy.example http/1.1\r\n"), "{}", taken.head);
    assert!(taken.head.contains("\r\ncontent-type: application/tlsrpt+gzip\r\n"), "{}", taken.head);
    assert!(taken.head.contains("\r\nhost: web.busy.example\r\n"), "{}", taken.head);
    assert_eq!(refused.body, taken.body);
    assert_eq!(unpacked(&taken.body), mailed);
    let [of_alone] = <[_; 1]>::try_from(alone.posted()).expect("one");
    assert_eq!(count(&unpacked(&of_alone.body), "successful"), 1);
    // Nobody follows it, and each time is the same.
    let of_moved = moved.posted();
    assert_eq!(of_moved.len(), 3);
    assert!(of_moved.iter().all(|one| one.head.starts_with("post /v1/tlsrpt?of=moved.example ")));
    assert_eq!(bed.world.ledger.matching(|mail| mail.sender.contains("tlsrpt@")).len(), 1);
}
