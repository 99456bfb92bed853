//! Pools in, sources and problems out.

use super::*;
use crate::{
    compile::{Compiled, Effect, compile as compile_all},
    manifests::{Resources, load},
    matcher::Facts,
    route::{Action, decide},
};

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: proxy, namespace: mail}
type: kubernetes.io/basic-auth
stringData: {username: mail, password: canary-7391}
";

fn resources(relay: &str, rule: &str) -> Resources {
    let relay = format!(
        "
apiVersion: postrider.dev/v1alpha1
kind: MailRelay
metadata: {{name: outbound, namespace: mail}}
spec:
  hostname: mail.example.com
  listeners: [{{name: smtp, port: 25, allowedClients: {{cidrs: [10.0.0.0/8]}}}}]
{relay}"
    );
    let rule = format!(
        "
apiVersion: postrider.dev/v1alpha1
kind: RoutingRule
metadata: {{name: news, namespace: mail}}
spec:
  parentRefs: [{{name: outbound}}]
  policy: {rule}
"
    );
    let loaded = load([("relay.yaml", relay.as_str()), ("rule.yaml", &rule), ("secret.yaml", SECRET)]);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.resources
}

fn compiled(resources: &Resources) -> Compiled {
    compile_all(resources, resources.select_relay(None).expect("one"))
}

fn told(relay: &str) -> String {
    let compiled = compiled(&resources(relay, "{class: Bulk}"));
    compiled.relay.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

const MAIN: &str = "
  egressPools:
  - name: main
    sources:
    - {name: own}
    - {name: a, weight: 3, hostname: a.mail.example.com, address: 198.51.100.7}
    - {name: b, ipFamily: IPv4, socks5: {host: socks.mail, credentialsRef: {name: proxy}}}
    - {name: c, proxy: {host: 10.0.0.9, port: 2525, address: '2001:db8::25'}}
";

#[test]
fn sources_are_compiled_with_what_they_need() {
    let compiled = compiled(&resources(MAIN, "{egress: {pool: main}}"));
    assert_eq!(compiled.relay.problems, []);
    let config = compiled.config.expect("a configuration");
    let pool = &config.egress_pools[0];
    let told: Vec<String> = pool
        .sources
        .iter()
        .map(|one| format!("{} {} {} {:?} {}", one.name, one.weight, one.hostname, one.family, one.way))
        .collect();
    assert_eq!(
        told,
        [
            "own 1 mail.example.com None as pods send anyway",
            "a 3 a.mail.example.com Some(IPv4) from 198.51.100.7",
            "b 1 mail.example.com Some(IPv4) by SOCKS5 proxy socks.mail:1080, with user and password",
            "c 1 mail.example.com Some(IPv6) from 2001:db8::25, by proxy 10.0.0.9:2525",
        ]
    );
    let rule = config.rules.named("news").expect("it");
    assert_eq!(rule.policy.pool.and_then(|number| config.pool(number)), Some(pool));
    let read = crate::config::Config::from_json(&config.to_json()).expect("what was written");
    assert_eq!(read, config);
    assert!(!format!("{config:?}").contains("canary-7391"));
}

#[test]
fn a_warm_up_begins_on_a_day_and_has_a_number_for_each() {
    let with = |plan: &str| {
        format!(
            "  egressPools: [{{name: main, sources: [{{name: a, warmUp: {plan}}}]}}]\n  defaults: {{egress: {{pool: main}}}}\n"
        )
    };
    let resources = resources(&with("{startDate: '2026-12-01', messagesPerDay: [50, 100]}"), "{class: Bulk}");
    let config = compiled(&resources).config.expect("a configuration");
    let plan = config.egress_pools[0].sources[0].warm_up.clone().expect("a plan");
    assert_eq!((plan.start.to_string().as_str(), plan.messages.as_slice()), ("2026-12-01", &[50, 100][..]));
    assert_eq!(crate::config::Config::from_json(&config.to_json()).expect("what was written"), config);
    let recipient = "a@b.example".parse().expect("an address");
    let sender = postrider_mail::ReversePath::Null;
    let facts = Facts { sender: &sender, recipient: &recipient, listener: None, client: None, user: None };
    let explained = crate::explain::explain(&config, &facts).to_string();
    let line = "warm-up: 50 messages to each far side on 2026-12-01, then 100 on 2026-12-02";
    assert!(explained.contains(line), "{explained}");
    let told = told(&with("{startDate: '2026-13-01', messagesPerDay: [50]}"));
    let expected = "warmUp.startDate: found \"2026-13-01\"; expected a day such as 2026-12-01";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_configuration_with_pools_is_not_for_relays_that_know_none() {
    let with = compiled(&resources(MAIN, "{class: Bulk}")).config.expect("a configuration");
    let without = compiled(&resources("", "{class: Bulk}")).config.expect("a configuration");
    assert_eq!((with.format, without.format), (2, 1));
}

#[test]
fn a_rule_with_a_pool_that_is_not_there_keeps_its_mail() {
    let compiled = compiled(&resources(MAIN, "{egress: {pool: mian}}"));
    let verdict = &compiled.rules[0];
    assert_eq!(verdict.effect, Effect::Defers);
    assert_eq!(verdict.problems[0].reason, reasons::POOL_NOT_FOUND);
    assert_eq!(
        verdict.problems[0].to_string(),
        "spec.policy.egress.pool: found no egress pool \"mian\" of MailRelay mail/outbound; expected main; did you mean \"main\"?"
    );
    let config = compiled.config.expect("a configuration");
    let recipient = "a@b.example".parse().expect("an address");
    let sender = postrider_mail::ReversePath::Null;
    let facts = Facts { sender: &sender, recipient: &recipient, listener: None, client: None, user: None };
    assert!(matches!(decide(&config, &facts).action, Action::Defer { .. }));
}

#[test]
fn defaults_with_a_pool_that_is_not_there_are_not_accepted() {
    let resources = resources("  defaults: {egress: {pool: main}}\n", "{class: Bulk}");
    let compiled = compiled(&resources);
    assert!(compiled.config.is_none());
    assert_eq!(
        compiled.relay.problems[0].to_string(),
        "spec.defaults.egress.pool: found no egress pool \"main\" of MailRelay mail/outbound; expected one; its spec.egressPools has none"
    );
}

#[test]
fn the_first_rule_that_names_a_pool_wins_and_the_defaults_come_last() {
    let pools = "
  egressPools: [{name: one, sources: [{name: a}]}, {name: two, sources: [{name: a}]}]
  defaults: {egress: {pool: two}}
";
    for (rule, expected) in [("{egress: {pool: one}}", "one"), ("{class: Bulk}", "two")] {
        let config = compiled(&resources(pools, rule)).config.expect("a configuration");
        let recipient = "a@b.example".parse().expect("an address");
        let sender = postrider_mail::ReversePath::Null;
        let facts =
            Facts { sender: &sender, recipient: &recipient, listener: None, client: None, user: None };
        let pool = decide(&config, &facts).policy.pool.and_then(|number| config.pool(number));
        assert_eq!(&*pool.expect("a pool").name, expected);
        let told = crate::explain::explain(&config, &facts).to_string();
        assert!(told.contains(&format!("sources of pool {expected}")) && told.contains("100.0 %"), "{told}");
    }
}

#[test]
fn a_source_without_its_secret_is_left_out_and_a_pool_without_sources_stays() {
    let mut resources = resources(MAIN, "{egress: {pool: main}}");
    resources.secrets.clear();
    let compiled = compiled(&resources);
    assert_eq!(compiled.relay.problems[0].reason, reasons::SECRET_NOT_FOUND);
    assert!(compiled.relay.problems[0].field.ends_with("sources[2].socks5.credentialsRef"));
    let config = compiled.config.expect("a configuration");
    let names: Vec<&str> = config.egress_pools[0].sources.iter().map(|source| &*source.name).collect();
    assert_eq!(names, ["own", "a", "c"]);
    let mut resources = self::resources(
        "  egressPools: [{name: main, sources: [{name: b, socks5: {host: s, credentialsRef: {name: x}}}]}]\n",
        "{egress: {pool: main}}",
    );
    resources.secrets.clear();
    let config = compile_all(&resources, resources.select_relay(None).expect("one")).config.expect("one");
    let number = config.rules.named("news").expect("it").policy.pool.expect("a pool");
    assert_eq!(config.pool(number).expect("it stays").sources, []);
}

#[test]
fn what_can_not_be_a_source_is_told() {
    let told = told(
        "
  egressPools:
  - name: main
    sources:
    - {name: a, address: 198.51.100.7, socks5: {host: s}}
    - {name: b, address: 'fe80::1::2'}
    - {name: c, address: 198.51.100.7, ipFamily: IPv6}
",
    );
    for expected in [
        "spec.egressPools[0].sources[0]: found more than one of address, socks5 and proxy; expected one of",
        "spec.egressPools[0].sources[1].address: found \"fe80::1::2\"; expected an IP address",
        "spec.egressPools[0].sources[2].ipFamily: found IPv6 beside an address of IPv4; expected IPv4, or nothing",
    ] {
        assert!(told.contains(expected), "{expected}\nnot in\n{told}");
    }
}

#[test]
fn credentials_that_socks_has_no_room_for_are_told_and_not_shown() {
    let mut resources = resources(MAIN, "{class: Bulk}");
    let secret = resources.secrets.get_mut(&("mail".into(), "proxy".into())).expect("it");
    secret.data.insert("password".into(), crate::config::Secret::new(vec![b'x'; 300]));
    let compiled = compiled(&resources);
    assert_eq!(compiled.relay.problems[0].reason, reasons::SECRET_INVALID);
    assert!(compiled.relay.problems[0].to_string().contains("300 bytes under key \"password\""));
}
