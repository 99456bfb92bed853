//! SOCKS5 as bytes: what a client says, what a proxy's answers mean.
//! **Owns:** RFC 1928 (version 5, CONNECT to an address) and RFC 1929 (user and password). **Never:** a socket, a name (far sides are
//! resolved here, by the DNS that DANE and MX rules go by).

use std::net::{IpAddr, SocketAddr};

/// RFC 1928 3.
const VERSION: u8 = 5;
/// RFC 1929 2.
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;

/// What is wrong with the proxy, or with the way from it to the far side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It speaks something else.
    #[error("found {0:#04x} where a SOCKS proxy says its version; expected 0x05")]
    NotSocks(u8),
    /// It wants another way to log in.
    #[error("found no way to log in that both know; expected user and password, or none, as the source says")]
    NoMethod,
    /// It doesn't know the user, or the password.
    #[error(
        "found user or password refused; expected those in the source's credentialsRef to be the proxy's"
    )]
    LoginRefused,
    /// It doesn't connect to anybody, or not to them. RFC 1928 6.
    #[error(
        "found the connection refused by the proxy (reply {0:#04x}); expected it to connect for this relay"
    )]
    Refused(u8),
    /// It can't reach the far side. RFC 1928 6.
    #[error("{}", beyond(*.0))]
    FarSide(u8),
    /// An address of a kind that isn't in RFC 1928 5.
    #[error("found address type {0:#04x} in the proxy's reply; expected 0x01, 0x03 or 0x04")]
    NoAddress(u8),
}

impl Fault {
    /// Whether the proxy works, and the far side is what couldn't be reached.
    pub const fn is_far_side(self) -> bool {
        match self {
            Self::FarSide(_) => true,
            Self::NotSocks(_)
            | Self::NoMethod
            | Self::LoginRefused
            | Self::Refused(_)
            | Self::NoAddress(_) => false,
        }
    }
}

const fn beyond(code: u8) -> &'static str {
    match code {
        3 => "Network is unreachable (from the proxy)",
        4 => "Host is unreachable (from the proxy)",
        5 => "Connection refused (at the proxy)",
        6 => "Connection timed out (at the proxy)",
        _ => "Address family not supported (by the proxy)",
    }
}

/// The first thing that a client says: how it can log in. Whoever has a password wants it asked for.
pub const fn greeting(has_login: bool) -> [u8; 3] {
    [VERSION, 1, if has_login { LOGIN } else { NO_LOGIN }]
}

/// Reads which way the proxy chose.
///
/// # Errors
/// It is no SOCKS5 proxy, or wants another way.
pub const fn method(answer: [u8; 2], has_login: bool) -> Result<(), Fault> {
    match answer {
        [VERSION, LOGIN] if has_login => Ok(()),
        [VERSION, NO_LOGIN] if !has_login => Ok(()),
        [VERSION, _] => Err(Fault::NoMethod),
        [other, _] => Err(Fault::NotSocks(other)),
    }
}

/// User and password. Either is cut at 255 bytes, for which core has checked.
pub fn login(username: &str, password: &str) -> Vec<u8> {
    let mut bytes = vec![LOGIN_VERSION];
    for text in [username, password] {
        let text = text.as_bytes().get(..255).unwrap_or(text.as_bytes());
        bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(text);
    }
    bytes
}

/// Reads what the proxy says to them.
///
/// # Errors
/// It doesn't let us in.
pub const fn login_answer(answer: [u8; 2]) -> Result<(), Fault> {
    match answer {
        [LOGIN_VERSION, 0] => Ok(()),
        // Some proxies repeat the version of the protocol here.
        [VERSION, 0] => Ok(()),
        _ => Err(Fault::LoginRefused),
    }
}

/// Asks for a connection to an address.
pub fn connect(to: SocketAddr) -> Vec<u8> {
    let mut bytes = vec![VERSION, 1, 0];
    match to.ip() {
        IpAddr::V4(ip) => {
            bytes.push(1);
            bytes.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes.push(4);
            bytes.extend_from_slice(&ip.octets());
        }
    }
    bytes.extend_from_slice(&to.port().to_be_bytes());
    bytes
}

/// How far a reply to [`connect`] is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// So many bytes are missing, and no more may be read at once: what follows them is the far side's.
    More(usize),
    /// The far side is connected.
    Connected,
}

/// Reads what there is of a reply.
///
/// # Errors
/// There is no connection. Known from the second byte on: not every proxy says more.
pub fn reply(bytes: &[u8]) -> Result<Reply, Fault> {
    let [version, code, rest @ ..] = bytes else {
        return Ok(Reply::More(2_usize.saturating_sub(bytes.len())));
    };
    match (*version, *code) {
        (VERSION, 0) => {}
        // 6 is the time that a connection took; 8 is the far side's kind of address. Neither says that the proxy is broken.
        (VERSION, code @ (3..=6 | 8)) => return Err(Fault::FarSide(code)),
        (VERSION, code) => return Err(Fault::Refused(code)),
        (version, _) => return Err(Fault::NotSocks(version)),
    }
    let [_reserved, kind, first, ..] = rest else {
        return Ok(Reply::More(3_usize.saturating_sub(rest.len())));
    };
    let address = match kind {
        1 => 4,
        3 => 1 + usize::from(*first),
        4 => 16,
        other => return Err(Fault::NoAddress(*other)),
    };
    match (2 + address + 2).saturating_sub(rest.len()) {
        0 => Ok(Reply::Connected),
        missing => Ok(Reply::More(missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says() {
        assert_eq!(greeting(false), [5, 1, 0]);
        assert_eq!(greeting(true), [5, 1, 2]);
        assert_eq!(login("ab", "c"), [1, 2, b'a', b'b', 1, b'c']);
        assert_eq!(connect("192.0.2.1:25".parse().unwrap()), [5, 1, 0, 1, 192, 0, 2, 1, 0, 25]);
        let v6 = connect("[2001:db8::1]:465".parse().unwrap());
        assert_eq!((&v6[..8], v6.len()), (&[5, 1, 0, 4, 0x20, 1, 0x0d, 0xb8][..], 22));
        assert_eq!(&v6[20..], [1, 209]);
        assert_eq!(login(&"x".repeat(300), "y").len(), 1 + 1 + 255 + 2);
    }

    #[test]
    fn the_way_to_log_in_is_the_one_that_was_said() {
        assert_eq!(method([5, 0], false), Ok(()));
        assert_eq!(method([5, 2], true), Ok(()));
        assert_eq!(method([5, 0], true), Err(Fault::NoMethod));
        assert_eq!(method([5, 255], false), Err(Fault::NoMethod));
        assert_eq!(method([b'2', b'2'], false), Err(Fault::NotSocks(b'2')));
        assert_eq!(login_answer([1, 0]), Ok(()));
        assert_eq!(login_answer([1, 1]), Err(Fault::LoginRefused));
    }

    #[test]
    fn a_reply_is_read_to_its_last_byte_and_no_further() {
        let v4 = [5, 0, 0, 1, 127, 0, 0, 1, 0, 25];
        let name = [5, 0, 0, 3, 2, b'm', b'x', 0, 25];
        let v6 = [&[5, 0, 0, 4][..], &[0; 16], &[0, 25]].concat();
        for whole in [&v4[..], &name, &v6] {
            let mut read = 0;
            while let Reply::More(missing) = reply(&whole[..read]).expect("no fault") {
                assert!(missing > 0);
                read += missing;
                assert!(read <= whole.len(), "what follows is the far side's");
            }
            assert_eq!(read, whole.len());
        }
    }

    #[test]
    fn it_is_told_whether_the_proxy_or_the_far_side_failed() {
        for code in 1..=255 {
            let fault = reply(&[5, code]).expect_err("a refusal");
            assert_eq!(fault.is_far_side(), matches!(code, 3..=6 | 8), "{code}");
            assert!(!fault.to_string().is_empty());
        }
        assert_eq!(reply(b"220 mail.example.com"), Err(Fault::NotSocks(b'2')));
        assert_eq!(reply(&[5, 0, 0, 9, 0]), Err(Fault::NoAddress(9)));
    }

    #[test]
    fn no_bytes_make_a_reply_that_asks_for_too_much() {
        // Numerical Recipes' generator: the same bytes each time.
        let mut seed = 7_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        };
        for _ in 0..20_000 {
            let length = usize::from(next()) + usize::from(next() % 32);
            let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(length).collect();
            if let [version, code, _, kind, ..] = bytes.as_mut_slice() {
                (*version, *code, *kind) = (5, 0, *kind % 5);
            }
            match reply(&bytes) {
                Ok(Reply::More(missing)) => assert!((1..=262).contains(&missing)),
                Ok(Reply::Connected) => assert!(bytes.len() >= 7),
                Err(fault) => assert!(!fault.is_far_side()),
            }
        }
    }
}
