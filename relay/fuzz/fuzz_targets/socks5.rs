//! What a SOCKS5 proxy answers.
//! **Owns:** a reply is read to its last byte and no further; what is found stays so whatever follows. **Never:** whether the proxy is
//! right.
//! Input: the answers, one behind the other: two bytes to the greeting, two to the password, the reply to CONNECT.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_relay::egress::socks5::{Fault, Reply, login_answer, method, reply};

/// Reads as a connection does: what is asked for, then that much.
fn read(bytes: &[u8]) -> Option<Result<usize, Fault>> {
    let mut taken = 0;
    loop {
        match reply(bytes.get(..taken)?) {
            Ok(Reply::Connected) => return Some(Ok(taken)),
            Ok(Reply::More(missing)) => {
                assert!((1..=257).contains(&missing), "{missing} bytes are no part of a reply");
                taken += missing;
            }
            Err(fault) => return Some(Err(fault)),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [a, b, c, d, answer @ ..] = bytes else { return };
    for has_login in [true, false] {
        if method([*a, *b], has_login).is_ok() {
            assert!(method([*a, *b], !has_login).is_err(), "there is one way to log in");
        }
    }
    if let Err(fault) = login_answer([*c, *d]) {
        assert!(!fault.is_far_side());
    }
    let longer = [answer, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 25]].concat();
    match read(answer) {
        None => {}
        Some(Ok(taken)) => {
            assert!((7..=262).contains(&taken));
            assert_eq!(read(&longer), Some(Ok(taken)), "what follows is the far side's");
            for at in 0..taken {
                assert!(
                    matches!(reply(&answer[..at]), Ok(Reply::More(_))),
                    "a part of a reply is waited for"
                );
            }
        }
        Some(Err(fault)) => {
            assert!(!fault.to_string().is_empty());
            assert_eq!(read(&longer), Some(Err(fault)));
        }
    }
});
