//! Lua scripts: their text and digest, and the packing of what they are given.
//! **Owns:** the list of scripts. **Never:** what a script means (its contract stands on top of it).
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
            let lines = self.parts.iter().flat_map(|part| part.lines());
            // The store parses the text once; the comments are for readers of the file.
            let code =
                lines.filter(|line| !line.trim_start().starts_with("--")).flat_map(|line| [line, "\n"]);
            let text = std::iter::once(shebang).chain(code).collect::<String>();
            let sha = redis::Script::new(&text).get_hash().to_owned();
            Built { text, sha }
        })
    }
}

macro_rules! script {
    ($(#[$doc:meta])* $name:ident, $file:literal, $flags:ident, $($part:literal),*) => {
        $(#[$doc])*
        pub(crate) static $name: Script = Script::new(
            $file,
            Flags::$flags,
            &[$(include_str!(concat!("scripts/", $part, ".lua")),)* include_str!(concat!("scripts/", $file, ".lua"))],
        );
    };
}

script!(ENQUEUE, "enqueue", Grows, "plan");
script!(ABORT, "abort", AllowOom, "plan", "delivery");
script!(CLAIM, "claim", AllowOom, "plan", "live");
script!(SETTLE, "settle", AllowOom, "plan", "delivery");
script!(RELEASE, "release", AllowOom, "plan", "delivery");
script!(REAP, "reap", AllowOom, "plan", "delivery");
script!(REGISTER, "register", AllowOom, "plan");
script!(BEAT, "beat", AllowOom,);
script!(SUSPEND, "suspend", AllowOom, "plan");
script!(RESUME, "resume", AllowOom, "plan");
script!(ADMIN, "admin", AllowOom, "plan", "delivery");
script!(REASSERT, "reassert", AllowOom, "plan", "live", "delivery");

/// Packs arrays of strings as MessagePack, which scripts unpack with `cmsgpack`: one argument per item, whatever is in it.
#[derive(Debug, Default)]
pub(crate) struct Packed(Vec<u8>);

impl Packed {
    /// An array of `len` values follows.
    pub(crate) fn array(&mut self, len: usize) -> &mut Self {
        match u16::try_from(len) {
            Ok(short @ 0..=15) => self.0.push(0x90 | short as u8),
            Ok(middle) => {
                self.0.push(0xdc);
                self.0.extend(middle.to_be_bytes());
            }
            Err(_) => {
                self.0.push(0xdd);
                self.0.extend(u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        self
    }

    /// A string.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let bytes = text.as_ref();
        match u16::try_from(bytes.len()) {
            Ok(short @ 0..=31) => self.0.push(0xa0 | short as u8),
            Ok(middle) => {
                self.0.push(0xda);
                self.0.extend(middle.to_be_bytes());
            }
            Err(_) => {
                self.0.push(0xdb);
                self.0.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        self.0.extend(bytes);
        self
    }

    /// A number, as a string: Lua's own numbers lose digits.
    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.text(number.to_string())
    }

    /// The argument.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn scripts_and_we_know_the_same_flows() {
        let line = format!("local FLOWS = {}\n", crate::flow::FLOWS);
        assert!(include_str!("scripts/plan.lua").contains(&line), "{line}");
    }
}
