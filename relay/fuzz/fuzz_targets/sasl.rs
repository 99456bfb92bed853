//! AUTH's lines, by a client that may send anything.
//! **Owns:** credentials are bounded, have no NUL, are read as they were written, and no `Debug` shows the password. **Never:** checks
//! a password.
//! Input: the exchange's lines, each ended by LF; both mechanisms get them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postrider_smtp::sasl::{BadExchange, Credentials, Exchange, MAX_CREDENTIAL_BYTES, Mechanism, Progress};

fn run<'a>(
    mechanism: Mechanism,
    lines: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<Credentials>, BadExchange> {
    let mut exchange = Exchange::of(mechanism);
    for line in lines {
        match exchange.answer(line)? {
            Progress::Challenge(next) => exchange = next,
            Progress::Complete(credentials) => return Ok(Some(credentials)),
        }
    }
    Ok(None)
}

fn check(credentials: &Credentials) {
    let (user, password) = (credentials.user(), credentials.expose_password());
    for text in [user, password] {
        assert!(text.len() <= MAX_CREDENTIAL_BYTES && !text.contains('\0'));
    }
    assert!(!user.is_empty());
    let plain = run(Mechanism::Plain, [credentials.to_plain().as_bytes()]);
    assert_eq!(plain.as_ref(), Ok(&Some(credentials.clone())));
    let (name, secret) = (credentials.to_login_user(), credentials.to_login_password());
    let login = run(Mechanism::Login, [name.as_bytes(), secret.as_bytes()]);
    assert_eq!(login, plain);
    let without = format!("{:?}", Credentials::new(user, ""));
    assert_eq!(format!("{credentials:?}"), without, "the password makes no difference to what is shown");
}

fuzz_target!(|input: &[u8]| {
    for mechanism in [Mechanism::Plain, Mechanism::Login] {
        if let Ok(Some(credentials)) = run(mechanism, input.split(|byte| *byte == b'\n')) {
            check(&credentials);
        }
    }
});
