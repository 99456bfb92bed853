//! What the operator is told, and what `helm test` runs.
//! **Owns:** that the binaries understand it. **Never:** what they do with it.

use postrider_tests::{
    helm::render,
    ledger::Ledger,
    relay,
    sink::{Setup, Sink},
};
use serde_json::Value;

use crate::sets;

fn arguments(container: &Value) -> Vec<&str> {
    container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[test]
fn the_operator_watches_what_the_values_say() {
    let told = |values: &str| {
        let rendered = render(values).unwrap();
        let container = &rendered.only("Deployment").unwrap()["spec"]["template"]["spec"]["containers"][0];
        let all = arguments(container);
        assert_eq!(all[0], "run");
        all.into_iter().filter(|argument| argument.contains("namespace=")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told(""), "");
    assert_eq!(told("watchNamespaces: [mail, shop]"), "--watch-namespace=mail --watch-namespace=shop");
    assert_eq!(told("secrets: {namespaces: [mail]}"), "--secret-namespace=mail");
}

#[test]
fn the_operator_asks_the_nameservers_that_the_values_name() {
    let rendered =
        render(r#"nameservers: [9.9.9.9, "127.0.0.1:5353", "2620:fe::fe", "[2620:fe::fe]:53"]"#).unwrap();
    let container = &rendered.only("Deployment").unwrap()["spec"]["template"]["spec"]["containers"][0];
    let told: Vec<&str> = arguments(container).into_iter().filter(|one| one.starts_with("--dns")).collect();
    let expected = ["--dns=9.9.9.9", "--dns=127.0.0.1:5353", "--dns=2620:fe::fe", "--dns=[2620:fe::fe]:53"];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_command_sends_a_mail() {
    let rendered = render("test: {relay: mail/outbound, port: 2525}").unwrap();
    let pod = rendered.only("Pod").unwrap();
    assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
    let container = &pod["spec"]["containers"][0];
    let ledger = Ledger::default();
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), ledger.clone(), Setup::default()).await.unwrap();
    // The Service's name means nothing here; all else is run as it is.
    let to = format!("--to={}", sink.address());
    let all = arguments(container);
    assert!(all.contains(&"--to=outbound.mail.svc:2525"), "{all:?}");
    let here = all.iter().map(|argument| if argument.starts_with("--to=") { to.as_str() } else { *argument });
    let output = relay::command(here).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let entry = &ledger.entries()[0];
    assert_eq!(
        (entry.sender.as_str(), &entry.recipients[..]),
        ("", &["helm-test@postrider.invalid".to_owned()][..])
    );
}

#[test]
fn nothing_is_tested_where_no_relay_is_named() {
    for (name, rendered) in sets::rendered() {
        let is_named = name == "a test" || name == "everything";
        assert_eq!(rendered.of_kind("Pod").len(), usize::from(is_named), "{name}");
    }
}
