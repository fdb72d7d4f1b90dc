//! What a gateway's result code means. The tables are configuration; a code they do not list is never guessed.

use std::collections::BTreeMap;

/// Will trying again help? Or do we not know?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutcomeClass {
    Success,
    /// Failed for a reason that passes, such as insufficient balance: the next run tries again.
    Retryable,
    /// Failed for good, such as a closed account: nothing is tried until the payer has acted.
    Final,
    /// The gateway itself does not know yet. Neither failed nor tried again.
    Unknown,
}

impl OutcomeClass {
    pub fn as_str(self) -> &'static str {
        match self {
            OutcomeClass::Success => "success",
            OutcomeClass::Retryable => "retryable",
            OutcomeClass::Final => "final",
            OutcomeClass::Unknown => "unknown",
        }
    }

    pub const ALL: [OutcomeClass; 4] =
        [OutcomeClass::Success, OutcomeClass::Retryable, OutcomeClass::Final, OutcomeClass::Unknown];

    pub fn parse(text: &str) -> Option<OutcomeClass> {
        OutcomeClass::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

/// One line of a gateway's code table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeMeaning {
    pub class: OutcomeClass,
    /// What happened, in words for the payer.
    pub reason: String,
    /// What the payer should do; empty where nothing.
    pub next_step: String,
}

/// A gateway's result codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodeTable(pub BTreeMap<String, CodeMeaning>);

impl CodeTable {
    /// `None` is discrepancy `unknown_code`.
    pub fn meaning(&self, code: &str) -> Option<&CodeMeaning> {
        self.0.get(code)
    }
}
