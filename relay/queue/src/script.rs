//! Lua scripts: their text, their digest, and how they are run.
//! **Owns:** EVALSHA with reload on NOSCRIPT. **Never:** what a script means.
//! All keys of a script share one hash tag. Flags stand in the shebang: without `allow-oom` a full store refuses the script before
//! its first line, with it the script always runs (I8).

use std::sync::OnceLock;

/// When the store may run a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flags {
    /// Writes, and adds to the store: refused when memory is full.
    Grows,
    /// Writes, and must go on when memory is full.
    AllowOom,
    /// Only reads.
    ReadOnly,
}

/// A script. Declared as a `static`.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    flags: Flags,
    parts: &'static [&'static str],
    built: OnceLock<Built>,
}

#[derive(Debug)]
struct Built {
    text: String,
    sha: String,
}

impl Script {
    /// A script from its parts: shared functions first, its own text last.
    pub const fn new(name: &'static str, flags: Flags, parts: &'static [&'static str]) -> Self {
        Self { name, flags, parts, built: OnceLock::new() }
    }

    /// Its name, for messages and metrics.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The whole text, with its shebang.
    pub fn text(&self) -> &str {
        &self.built().text
    }

    /// The name that the store knows it by.
    pub fn sha(&self) -> &str {
        &self.built().sha
    }

    fn built(&self) -> &Built {
        self.built.get_or_init(|| {
            let shebang = match self.flags {
                Flags::Grows => "#!lua\n",
                Flags::AllowOom => "#!lua flags=allow-oom\n",
                Flags::ReadOnly => "#!lua flags=no-writes\n",
            };
            let text = std::iter::once(shebang).chain(self.parts.iter().copied()).collect::<String>();
            let sha = redis::Script::new(&text).get_hash().to_owned();
            Built { text, sha }
        })
    }
}
