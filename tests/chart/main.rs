//! What the chart makes of values, by Helm 3 and Helm 4: a module per thing that must hold.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod alerts;
mod crds;
mod installed;
mod manifests;
mod operator;
mod pods;
mod rights;
mod sets;
mod size;
mod values;
