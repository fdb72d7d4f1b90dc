//! Who decides, and why: what every command asks for that a person is answerable for.

use clap::Args;

use super::Failure;
use crate::stages::decider::Decider;

#[derive(Debug, Args)]
pub struct By {
    /// Who decides
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl By {
    pub fn decider(&self) -> Result<Decider, Failure> {
        Ok(Decider::new(&self.by, &self.reason)?)
    }
}
