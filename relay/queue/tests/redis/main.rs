//! The queue on real servers: what is told apart before mail is taken in, and every operation against the plain model.

mod changes;
mod cluster;
mod epoch;
mod limits;
mod model;
mod operations;
mod preflight;
mod sentinels;
mod server;
mod shards;
mod tally;
mod world;
