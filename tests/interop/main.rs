//! Real programs speak to the relay and hear from it: swaks, Python's smtplib, curl, dkimpy, OpenDKIM, and Postfix on both sides.

mod bounces;
mod curl;
mod dkim;
mod foreign;
mod postfix_client;
mod postfix_far_side;
mod python;
mod submission;
mod swaks;

use std::time::Duration;

/// How long mail may take that nothing holds up.
const SOON: Duration = Duration::from_secs(20);
/// How long mail may take that must be tried again.
const LATER: Duration = Duration::from_secs(60);
