//! What a server offers in its answer to EHLO.
//! **Owns:** the keywords, both ways. **Never:** decides what is offered (the server's settings) or used (the client).
//! RFC 5321 4.1.1.1; RFC 1870 SIZE, 2034 ENHANCEDSTATUSCODES, 2920 PIPELINING, 3030 CHUNKING, 3207 STARTTLS, 3461 DSN,
//! 4954 AUTH, 6152 8BITMIME, 6531 SMTPUTF8, 8689 REQUIRETLS, 9422 LIMITS.

use std::fmt::Write;

/// The extensions that a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    /// PIPELINING.
    pub pipelining: bool,
    /// 8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// CHUNKING.
    pub chunking: bool,
    /// DSN.
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// REQUIRETLS.
    pub requiretls: bool,
    /// SIZE, and the largest message in bytes; 0 means that it isn't said.
    pub size: Option<u64>,
    /// AUTH PLAIN.
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
    /// LIMITS RCPTMAX: recipients in a transaction.
    pub recipients_max: Option<u32>,
    /// LIMITS MAILMAX: transactions on a connection.
    pub messages_max: Option<u32>,
}

impl Extensions {
    /// The lines behind the server's name, a keyword each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::with_capacity(12);
        for (is_offered, keyword) in [
            (self.pipelining, "PIPELINING"),
            (self.eight_bit_mime, "8BITMIME"),
            (self.smtputf8, "SMTPUTF8"),
            (self.chunking, "CHUNKING"),
            (self.dsn, "DSN"),
            (self.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
            (self.starttls, "STARTTLS"),
            (self.requiretls, "REQUIRETLS"),
        ] {
            if is_offered {
                lines.push(keyword.to_owned());
            }
        }
        lines.extend(self.size.map(|size| format!("SIZE {size}")));
        lines.extend(self.auth_line());
        lines.extend(self.limits_line());
        lines
    }

    fn auth_line(&self) -> Option<String> {
        let mechanisms = match (self.auth_plain, self.auth_login) {
            (true, true) => "PLAIN LOGIN",
            (true, false) => "PLAIN",
            (false, true) => "LOGIN",
            (false, false) => return None,
        };
        Some(format!("AUTH {mechanisms}"))
    }

    fn limits_line(&self) -> Option<String> {
        if self.recipients_max.is_none() && self.messages_max.is_none() {
            return None;
        }
        let mut line = "LIMITS".to_owned();
        for (name, limit) in [("RCPTMAX", self.recipients_max), ("MAILMAX", self.messages_max)] {
            if let Some(limit) = limit {
                // Writing to a String can't fail.
                let _ = write!(line, " {name}={limit}");
            }
        }
        Some(line)
    }

    /// Reads the lines of an answer to EHLO; the first is the server's name. Keywords that aren't known are passed over.
    pub fn from_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut offers = Self::default();
        for line in lines.into_iter().skip(1) {
            offers.read_line(line);
        }
        offers
    }

    fn read_line(&mut self, line: &str) {
        // Old servers write AUTH=PLAIN.
        let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        let Some(keyword) = words.next() else { return };
        match keyword.to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "DSN" => self.dsn = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "REQUIRETLS" => self.requiretls = true,
            "SIZE" => self.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0)),
            "AUTH" => words.for_each(|mechanism| {
                self.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                self.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
            }),
            "LIMITS" => self.read_limits(line),
            _ => {}
        }
    }

    fn read_limits(&mut self, line: &str) {
        for word in line.split([' ', '\t']).skip(1) {
            let Some((name, limit)) = word.split_once('=') else { continue };
            // RFC 9422 3: limits are 1 to 6 digits, none is 0.
            let Some(limit) = limit.parse().ok().filter(|limit| *limit > 0) else { continue };
            match name.to_ascii_uppercase().as_str() {
                "RCPTMAX" => self.recipients_max = Some(limit),
                "MAILMAX" => self.messages_max = Some(limit),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_real_servers_offer_is_read() {
        let lines = [
            "mx.example greets you",
            "size 35882577",
            "8BITMIME",
            "AUTH=LOGIN PLAIN XOAUTH2",
            "LIMITS RCPTMAX=20 MAILMAX=0 X=1",
            "X-UNKNOWN a b",
            "",
            "PIPELINING",
        ];
        let offers = Extensions::from_lines(lines);
        assert_eq!(offers.size, Some(35_882_577));
        assert!(offers.auth_plain && offers.auth_login && offers.pipelining && offers.eight_bit_mime);
        assert_eq!((offers.recipients_max, offers.messages_max), (Some(20), None));
        assert_eq!(Extensions::from_lines(["PIPELINING"]), Extensions::default(), "the first line is a name");
        assert_eq!(Extensions::from_lines(["x", "SIZE"]).size, Some(0));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(flags in prop::array::uniform10(any::<bool>()), size in prop::option::of(any::<u64>()), rcpt in prop::option::of(1_u32..1_000_000), mail in prop::option::of(1_u32..1_000_000)) {
            let offers = Extensions {
                pipelining: flags[0], eight_bit_mime: flags[1], smtputf8: flags[2], chunking: flags[3], dsn: flags[4],
                enhanced_status_codes: flags[5], starttls: flags[6], auth_plain: flags[7], auth_login: flags[8], requiretls: flags[9],
                size, recipients_max: rcpt, messages_max: mail,
            };
            let lines = offers.lines();
            prop_assert_eq!(Extensions::from_lines(std::iter::once("host").chain(lines.iter().map(String::as_str))), offers);
        }

        #[test]
        fn any_line_is_read_without_a_panic(line in ".{0,60}") {
            let _ = Extensions::from_lines(["host", &line]);
        }
    }
}
