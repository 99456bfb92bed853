//! Each operation of a partition, on a real server.

mod admin;
mod claim;
mod enqueue;
mod fairness;
mod pod;
mod reap;
mod settle;
mod store;
