//! Accept to deliver on real parts: a module per behaviour.

mod harness;
