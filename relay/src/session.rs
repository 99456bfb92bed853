//! session

pub mod wire;
