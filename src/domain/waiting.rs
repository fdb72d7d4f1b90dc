//! What a message waits for that needs another one which has not come.

use std::fmt;

/// Written as the log keeps it: `enrolment/<payer>/<type>`, `assessment/<payer>/<number>`, `declaration/<number>`,
/// `order/<number>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Awaited {
    Enrolment {
        payer_id: String,
        insurance_type: String,
    },
    Assessment {
        payer_id: String,
        assessment_no: String,
    },
    /// That it arrives, or stops waiting itself.
    Declaration(String),
    Order(String),
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Awaited::Enrolment { payer_id, insurance_type } => write!(f, "enrolment/{payer_id}/{insurance_type}"),
            Awaited::Assessment { payer_id, assessment_no } => write!(f, "assessment/{payer_id}/{assessment_no}"),
            Awaited::Declaration(number) => write!(f, "declaration/{number}"),
            Awaited::Order(number) => write!(f, "order/{number}"),
        }
    }
}
