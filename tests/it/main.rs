//! Everything that is claimed about the database or the broker, against the real servers. One binary, so that the
//! crate is linked once. `scripts/test` starts the servers and says where they are.

mod broker;
mod embedded;
mod files;
mod guards;
mod intake;
mod permutations;
mod races;
mod runs;
mod skips;
mod support;
mod workers;
