//! A day's report about a domain, as JSON.
//! **Owns:** its form. RFC 8460 4.4. **Never:** how it travels (mail.rs).

use postrider_mail::{Domain, HostName, Mailbox};
use serde::Serialize;

use super::{Counts, Detail, PolicyKey, PolicyType, ResultType, counts::Sums, schedule::range};
use crate::day::Day;

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitter {
    /// The organization's name.
    pub organization: Box<str>,
    /// How to reach a person there: an address or a URL.
    pub contact: Box<str>,
    /// Where reports come from; its domain is the submitter.
    pub from: Mailbox,
    /// The fleet's name, which sets its reports apart from another fleet's of the same organization.
    pub hostname: HostName,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    organization_name: Box<str>,
    date_range: DateRange,
    contact_info: Box<str>,
    report_id: Box<str>,
    policies: Vec<Policy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct DateRange {
    start_datetime: String,
    end_datetime: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Policy {
    policy: Applied,
    summary: Summary,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failure_details: Vec<FailureDetail>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Applied {
    policy_type: PolicyType,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policy_string: Vec<Box<str>>,
    policy_domain: Domain,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mx_host: Vec<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    total_successful_session_count: u64,
    total_failure_session_count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct FailureDetail {
    result_type: ResultType,
    #[serde(skip_serializing_if = "Option::is_none")]
    sending_mta_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_mx_hostname: Option<HostName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_ip: Option<String>,
    failed_session_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason_code: Option<Box<str>>,
}

impl Report {
    /// The report of what was counted; none, if nothing was. The same day and domain give the same name, whoever makes it.
    pub fn of(counts: &Counts, day: Day, domain: &Domain, submitter: &Submitter) -> Option<Self> {
        if counts.is_empty() {
            return None;
        }
        let (start_datetime, end_datetime) = range(day);
        Some(Self {
            organization_name: submitter.organization.clone(),
            date_range: DateRange { start_datetime, end_datetime },
            contact_info: submitter.contact.clone(),
            report_id: report_id(day, domain, submitter).into(),
            policies: counts.policies().map(|(key, sums)| Policy::of(key, sums)).collect(),
        })
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.report_id
    }

    /// The document.
    pub fn json(&self) -> String {
        // Texts and numbers only.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Policy {
    fn of(key: &PolicyKey, sums: &Sums) -> Self {
        Self {
            policy: Applied {
                policy_type: key.kind,
                policy_string: key.strings.clone(),
                policy_domain: key.domain.clone(),
                mx_host: key.hosts.clone(),
            },
            summary: Summary {
                total_successful_session_count: sums.good,
                total_failure_session_count: sums.bad,
            },
            failure_details: sums
                .details
                .iter()
                .map(|(detail, count)| FailureDetail::of(detail, *count))
                .collect(),
        }
    }
}

impl FailureDetail {
    fn of(detail: &Detail, count: u64) -> Self {
        Self {
            result_type: detail.result,
            sending_mta_ip: detail.sending_ip.map(|address| address.to_string()),
            receiving_mx_hostname: detail.host.clone(),
            receiving_ip: detail.receiving_ip.map(|address| address.to_string()),
            failed_session_count: count,
            failure_reason_code: detail.reason.clone(),
        }
    }
}

/// A message-id without its brackets: it stands in the subject, too (RFC 8460 5.3).
fn report_id(day: Day, domain: &Domain, submitter: &Submitter) -> String {
    format!("{day}.{}@{}", domain.as_str(), submitter.hostname.as_str())
}
