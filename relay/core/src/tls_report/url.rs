//! An `https:` destination of reports.
//! **Owns:** which URLs are gone to: RFC 8460 3 takes any, this relay those with a host by name at port 443. **Never:** the request.
//! Whoever publishes a record chooses where a relay connects to: the less the better.

use std::fmt;

use postrider_mail::HostName;

const SCHEME: &str = "https://";

/// A URL that reports are posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportUrl {
    host: HostName,
    path: Box<str>,
}

impl ReportUrl {
    /// Reads one. None: it is no URL, or one with a user, a port other than 443, an address in place of a name.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let rest = rest.split('#').next()?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.strip_suffix(":443").unwrap_or(authority);
        let host = HostName::parse(host).ok().filter(|host| !is_address(host))?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(Self { host, path: format!("{slash}{path}").into() })
    }

    /// The server.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Path and query, from the slash on.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ReportUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.host.as_str(), self.path)
    }
}

/// No top-level domain is a number; those who read addresses leniently take such a name for one.
fn is_address(host: &HostName) -> bool {
    let last = host.as_str().rsplit('.').next().unwrap_or_default();
    last.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::ReportUrl;

    fn read(text: &str) -> Option<String> {
        ReportUrl::parse(text).map(|url| url.to_string())
    }

    #[test]
    fn a_host_by_name_and_a_path_are_kept_as_they_stand() {
        for (text, is) in [
            ("https://reporting.example.com/v1/tlsrpt", "https://reporting.example.com/v1/tlsrpt"),
            ("HTTPS://Reporting.Example.com", "https://reporting.example.com/"),
            ("https://r.example:443?d=x%2Cy#part", "https://r.example/?d=x%2Cy"),
            ("https://r.example./a//b/../c", "https://r.example/a//b/../c"),
        ] {
            assert_eq!(read(text).as_deref(), Some(is), "{text}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_none() {
        for text in [
            "http://r.example/",
            "https:r.example",
            "https:///path",
            "https://",
            "https://user@r.example/",
            "https://r.example:8443/",
            "https://r.example:/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f.0x1/",
            "https://[::1]/",
            "https://r.example\\@evil.example/",
            "https://r.example/a b",
            "https://r.example/a\r\nHost: x",
            "https://r.example/ü",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic_and_its_result_reads_the_same(text in ".{0,60}") {
            for text in [text.clone(), format!("https://{text}"), format!("https://r.example/{text}")] {
                if let Some(url) = ReportUrl::parse(&text) {
                    proptest::prop_assert!(url.path().starts_with('/'));
                    proptest::prop_assert_eq!(ReportUrl::parse(&url.to_string()), Some(url));
                }
            }
        }
    }
}
