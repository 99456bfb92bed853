//! The images as container engines and the kernel take them. Run as root: that is what mounting and changing the user take.

mod built;
mod engine;
mod engines;
mod sealed;
mod sealed_relay;
