//! Everything that is claimed about the database or the broker, against the real servers. One binary, so that the
//! crate is linked once. `scripts/test` starts the servers and says where they are.

mod after_the_seal;
mod broker;
mod bus;
mod cli;
mod crash;
mod embedded;
mod files;
mod guards;
mod intake;
mod line;
mod not_again;
mod permutations;
mod process;
mod races;
mod reconcile;
mod result_files;
mod runs;
mod serve;
mod skips;
mod support;
mod workers;
