//! Sizes as Kubernetes writes quantities: `25Mi`, `10M`, `4096`.
//! **Owns:** the part of its syntax that a number of bytes needs. **Never:** fractions, exponents.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text;

/// Twelve digits and a unit.
const MAX_BYTES: usize = 14;

/// A number of bytes, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    text: String,
    bytes: u64,
}

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidQuantity(String);

impl std::fmt::Display for InvalidQuantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "found {:?}; expected {}", self.0, text::meaning(text::SIZE).unwrap_or_default())
    }
}

impl std::error::Error for InvalidQuantity {}

impl Quantity {
    /// The number of bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// So many Mi, written as Gi where that is whole.
    pub fn mebibytes(count: u32) -> Self {
        let text =
            if count.is_multiple_of(1024) { format!("{}Gi", count / 1024) } else { format!("{count}Mi") };
        Self { text, bytes: u64::from(count) << 20 }
    }
}

impl std::str::FromStr for Quantity {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidQuantity(text.chars().take(32).collect());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=12).contains(&digits) {
            return Err(invalid());
        }
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => return Err(invalid()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(invalid)?;
        Ok(Self { text: text.to_owned(), bytes })
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum IntOrString {
            Int(u64),
            String(String),
        }
        match IntOrString::deserialize(from)? {
            IntOrString::Int(bytes) => Ok(Self { text: bytes.to_string(), bytes }),
            IntOrString::String(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "pattern": text::SIZE,
            "maxLength": MAX_BYTES,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("25Mi", 26_214_400), ("10M", 10_000_000), ("4096", 4_096), ("1Gi", 1 << 30)] {
            assert_eq!(text.parse::<Quantity>().expect(text).bytes(), bytes);
        }
        assert_eq!(serde_json::from_str::<Quantity>("4096").expect("a number").bytes(), 4_096);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "Mi", "1.5Mi", "-1", "25MB", "25 Mi", "1e6", "9999999999999"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
