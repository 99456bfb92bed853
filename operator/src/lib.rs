//! The operator: MailRelays and RoutingRules to running fleets.
//!
//! Start at [`reconcile`], the page to read: gather -> validate -> plan -> apply -> publish -> write_status, each a module
//! of its name. `plan` and `validate` are pure; `app` alone starts tasks.
//! **Owns:** what MailRelays and RoutingRules become on a cluster. **Never:** what a rule means (core), mail itself (relay).

pub mod agenda;
pub mod app;
pub mod apply;
pub mod cli;
pub mod dns;
pub mod finalize;
pub mod gather;
pub mod identity;
pub mod leader;
pub mod metrics;
pub mod names;
pub mod outcomes;
pub mod plan;
pub mod publish;
pub mod reconcile;
pub mod report;
pub mod reporter;
pub mod serve;
pub mod validate;
pub mod write_status;
