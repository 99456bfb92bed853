//! What is taken out of Secrets.
//! **Owns:** which keys, of which form. **Never:** shows a value in a problem.

use std::collections::BTreeMap;

use postrider_crds::{SecretKeyRef, SecretRef, status::reasons};

use super::{Problem, Weight, shown};
use crate::{
    config::{Auth, Certificate, Credentials, PasswordHash, Secret},
    dkim::SigningKey,
    manifests::{Resources, SecretData},
};

/// The Secrets that resources of one namespace may name: its own.
pub(super) struct Secrets<'r> {
    pub(super) resources: &'r Resources,
    pub(super) namespace: &'r str,
}

impl<'r> Secrets<'r> {
    fn find(&self, name: &str, field: &str, expected: &str) -> Result<&'r SecretData, Problem> {
        let key = (self.namespace.to_owned(), name.to_owned());
        if let Some(secret) = self.resources.secrets.get(&key) {
            return Ok(secret);
        }
        let found = format!("no Secret {} in namespace {}", shown(name), self.namespace);
        let problem = Problem::invalid(field, found, expected)
            .because(Weight::Unresolved, reasons::SECRET_NOT_FOUND)
            .advise("create it or change the name");
        let here = self.resources.secrets.keys().filter(|(namespace, _)| namespace == self.namespace);
        Err(problem.or_did_you_mean(name, here.map(|(_, name)| name.as_str())))
    }

    fn text(&self, secret: &'r SecretData, name: &str, key: &str, field: &str) -> Result<&'r str, Problem> {
        let value = secret.data.get(key).ok_or_else(|| {
            let keys: Vec<&str> = secret.data.keys().map(String::as_str).collect();
            let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
            let found = format!("Secret {} without key {}", shown(name), shown(key));
            unusable(field, found, format!("that key; it has: {keys}"))
                .or_did_you_mean(key, secret.data.keys().map(String::as_str))
        })?;
        std::str::from_utf8(value.expose()).map_err(|_| {
            unusable(
                field,
                format!("bytes that are no text under key {} of Secret {}", shown(key), shown(name)),
                "text",
            )
        })
    }

    /// The value of one key.
    pub(super) fn value(
        &self,
        reference: &SecretKeyRef,
        field: &str,
        expected: &str,
    ) -> Result<String, Problem> {
        let secret = self.find(&reference.name, field, expected)?;
        self.text(secret, &reference.name, &reference.key, field).map(|text| text.trim().to_owned())
    }

    /// A certificate and its key.
    pub(super) fn certificate(&self, reference: &SecretRef, field: &str) -> Result<Certificate, Problem> {
        let name = &reference.name;
        let secret = self.find(name, field, "one of type kubernetes.io/tls")?;
        let chain = self.text(secret, name, "tls.crt", field)?;
        let key = self.text(secret, name, "tls.key", field)?;
        for (text, key, label) in
            [(chain, "tls.crt", "CERTIFICATE-----"), (key, "tls.key", "PRIVATE KEY-----")]
        {
            if !text.contains(label) {
                let found = format!("no PEM block under key {key:?} of Secret {}", shown(name));
                return Err(unusable(field, found, format!("-----BEGIN … {label}")));
            }
        }
        Ok(Certificate {
            origin: format!("{}/{name}", self.namespace),
            chain: chain.to_owned(),
            key: Secret::new(key.to_owned()),
        })
    }

    /// A key that signs.
    pub(super) fn signing_key(&self, reference: &SecretKeyRef, field: &str) -> Result<SigningKey, Problem> {
        let SecretKeyRef { name, key } = reference;
        let secret = self.find(name, field, "one with a private key")?;
        SigningKey::parse(self.text(secret, name, key, field)?).map_err(|err| {
            let found = format!("no key that signs under key {} of Secret {}", shown(key), shown(name));
            let text = err.to_string();
            unusable(field, found, text.split_once("; expected ").map_or("a key", |(_, expected)| expected))
        })
    }

    /// Users and their password hashes. Those whose hash can't be read are told of and left out.
    pub(super) fn users(&self, reference: &SecretRef, field: &str) -> Result<(Auth, Vec<Problem>), Problem> {
        let name = &reference.name;
        let secret = self.find(name, field, "one with a key per user, a password hash as value")?;
        let (mut users, mut problems) = (BTreeMap::new(), Vec::new());
        for user in secret.data.keys() {
            let at = |problem: String| {
                let (found, expected) =
                    problem.split_once("; expected ").unwrap_or((&problem, "a password hash"));
                let found = found.strip_prefix("found ").unwrap_or(found);
                unusable(
                    field,
                    format!("{found} under key {} of Secret {}", shown(user), shown(name)),
                    expected,
                )
            };
            match self.text(secret, name, user, field).map(PasswordHash::parse) {
                Ok(Ok(hash)) => drop(users.insert(user.clone(), hash)),
                Ok(Err(err)) => problems.push(at(err.to_string())),
                Err(problem) => problems.push(problem),
            }
        }
        Ok((Auth { users }, problems))
    }

    /// User and password.
    pub(super) fn credentials(&self, reference: &SecretRef, field: &str) -> Result<Credentials, Problem> {
        let name = &reference.name;
        let secret = self.find(name, field, "one of type kubernetes.io/basic-auth")?;
        let username = self.text(secret, name, "username", field)?;
        let password = self.text(secret, name, "password", field)?;
        Ok(Credentials { username: username.to_owned(), password: Secret::new(password.to_owned()) })
    }
}

pub(super) fn unusable(field: &str, found: impl Into<String>, expected: impl Into<String>) -> Problem {
    Problem::invalid(field, found, expected).because(Weight::Unresolved, reasons::SECRET_INVALID)
}
