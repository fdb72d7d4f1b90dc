//! Who decides, and why: what every decision of a person is kept with. Shared by the stages that take decisions.

use super::StageError;
use crate::contract::envelope::short_text;

#[derive(Debug, Clone)]
pub struct Decider {
    by: String,
    reason: String,
}

impl Decider {
    pub fn new(by: &str, reason: &str) -> Result<Decider, StageError> {
        for (name, text) in [("--by", by), ("--reason", reason)] {
            short_text(text.trim()).map_err(|fault| StageError::Refused(format!("{name}: {fault}")))?;
        }
        Ok(Decider { by: by.trim().to_owned(), reason: reason.trim().to_owned() })
    }

    pub fn by(&self) -> &str {
        &self.by
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }
}
