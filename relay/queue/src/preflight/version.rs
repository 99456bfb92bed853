//! Which server this is, and what is known to be wrong with it.
//! **Owns:** the version floor's facts and the list of fixes. **Never:** asks the server.

use std::fmt;

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Redis, or one that says it is.
    Redis,
    /// Valkey.
    Valkey,
}

/// A server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Whose.
    pub product: Product,
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

/// The first patch release of each Valkey line whose loader ends an open MULTI at a torn tail (valkey-io/valkey#4342).
const TORN_TAIL_FIXED_IN: [(u32, u32, u32); 4] = [(8, 0, 11), (8, 1, 10), (9, 0, 6), (9, 1, 2)];

impl Version {
    /// Reads `7.0.15` as INFO has it. What isn't a number counts as 0, so an odd version is an old one.
    pub fn parse(product: Product, text: &str) -> Self {
        let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { product, major: next(), minor: next(), patch: next() }
    }

    /// Whether a file cut inside of a transaction makes this version lose the writes after its *next* start. Redis counts as
    /// affected until its notes say otherwise.
    pub fn has_torn_tail_bug(&self) -> bool {
        if self.product == Product::Redis {
            return true;
        }
        let line = (self.major, self.minor);
        match TORN_TAIL_FIXED_IN.iter().find(|(major, minor, _)| (*major, *minor) == line) {
            Some((_, _, patch)) => self.patch < *patch,
            None => line < (9, 1),
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}.{}", self.product, self.major, self.minor, self.patch)
    }
}
