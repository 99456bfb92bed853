//! intake

pub mod scan;
pub mod trace;
