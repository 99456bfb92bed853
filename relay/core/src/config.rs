//! The compiled configuration. (Filled in by its owner.)

/// What a relay runs by.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Config {}
