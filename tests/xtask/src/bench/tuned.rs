//! Postfix as an expert would set it for this: each line that differs from Debian's, and why.
//! **Owns:** those lines; they stand in docs/performance.md as they are here. **Never:** one that gives up durability or mail.

use super::workload::Far;

/// A setting, its value and its reason.
pub(crate) type Line = (&'static str, &'static str, &'static str);

/// For every load.
pub(crate) const ALWAYS: &[Line] = &[
    (
        "default_process_limit",
        "600",
        "a server process for each of 500 clients, so that none waits for another",
    ),
    ("max_use", "100000", "no process ends and is started again under load"),
    ("in_flow_delay", "0", "accepting never waits a second for delivering to catch up"),
    ("qmgr_message_active_limit", "100000", "the active queue holds all of a load"),
    ("qmgr_message_recipient_limit", "100000", "the same, in recipients"),
    ("initial_destination_concurrency", "20", "no slow start towards a far side that takes it"),
    (
        "smtp_destination_concurrency_limit",
        "20",
        "as many as the far side takes; fewer or more (3 to 50) were no faster on two cores",
    ),
    ("smtp_connection_cache_on_demand", "yes", "connections out are kept while there is mail for them"),
    ("smtp_connection_reuse_time_limit", "300s", "and used again for as long as that"),
    ("smtpd_peername_lookup", "no", "no look-up of each client's name"),
    (
        "smtpd_client_connection_count_limit",
        "0",
        "no count of each client's connections, and so no question to anvil",
    ),
    ("smtpd_relay_restrictions", "", "one list of restrictions is enough"),
    (
        "receive_override_options",
        "no_address_mappings, no_header_body_checks",
        "no aliases, no header checks",
    ),
    ("disable_mime_input_processing", "yes", "nothing is looked for in MIME parts"),
    ("disable_mime_output_conversion", "yes", "the far side takes 8 bits"),
    ("local_header_rewrite_clients", "", "headers stay as they are"),
    ("smtp_pix_workarounds", "", "nor are they looked at for old firewalls"),
    ("smtp_dns_support_level", "disabled", "no look-ups where the way is an address"),
];

/// On top of those.
pub(crate) fn more(far: Far) -> &'static [Line] {
    match far {
        Far::Smarthost => &[],
        Far::Mx(_) => &[("smtp_dns_support_level", "enabled", "MX hosts are looked up")],
        Far::Tls => &[
            ("smtpd_tls_security_level", "may", "STARTTLS is offered"),
            ("smtp_tls_security_level", "may", "and used, whatever the certificate"),
            ("smtp_tls_connection_reuse", "yes", "connections out are kept with their TLS"),
        ],
        Far::Slow => &[
            (
                "initial_destination_concurrency",
                "200",
                "a far side far away takes as many connections as it allows",
            ),
            ("smtp_destination_concurrency_limit", "200", "as the other has them"),
        ],
        Far::Busy => &[
            ("queue_run_delay", "1s", "what was put off is looked at as often as the other does"),
            ("minimal_backoff_time", "1s", "and tried again as soon"),
            ("maximal_backoff_time", "4s", "and as often"),
        ],
    }
}

/// All of them; the later of two with one name counts.
pub(crate) fn lines(far: Far) -> Vec<(String, String)> {
    let is_later = |name: &str| more(far).iter().any(|(other, ..)| *other == name);
    let always = ALWAYS.iter().filter(|(name, ..)| !is_later(name));
    always.chain(more(far)).map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned())).collect()
}
