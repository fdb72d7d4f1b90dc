//! Everything that is claimed about the database or the broker, against the real servers. One binary, so that the
//! crate is linked once. `scripts/test` starts the servers and says where they are.

mod after_the_seal;
mod broker;
mod bus;
mod canary;
mod cli;
mod crash;
mod dead_letters;
mod embedded;
mod events;
mod faults;
mod files;
mod guards;
mod intake;
mod interleavings;
mod keys;
mod not_again;
mod orders;
mod permutations;
mod process;
mod proxy;
mod quarantine;
mod races;
mod rebuild;
mod reconcile;
mod result_files;
mod runs;
mod scanner;
mod sending;
mod serve;
mod skips;
mod story;
mod support;
mod topology;
mod upgrade;
mod workers;
