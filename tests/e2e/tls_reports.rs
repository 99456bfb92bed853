//! TLS reports (RFC 8460): two relays count, one of them sends each domain's report, signed.
//! **Owns:** that a report arrives once, with the fleet's counts. **Never:** each word of it (core's tests).

use std::io::Read as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use postrider_tests::{
    dkim,
    ledger::Entry,
    manifests::MailRelay,
    policy_host::{policy, response},
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
    let packed = STANDARD.decode(encoded).expect("base64");
    let mut json = String::new();
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut json).expect("gzip");
    serde_json::from_str(&json).expect("JSON")
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
