//! Everything that is claimed about the database or the broker, against the real servers. One binary, so that the
//! crate is linked once. `scripts/test` starts the servers and says where they are.

mod broker;
mod cli;
mod crash;
mod embedded;
mod intake;
mod process;
mod reconcile;
mod result_files;
mod serve;
mod support;
