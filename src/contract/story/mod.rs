//! The whole story of a payer, as `pikou explain` tells it: typed entries in order of time, a document for programs, and
//! in [`sentences`] what a clerk reads out. Nothing personal beyond `payer_id`: a story has no place for a name, an
//! identity number or an account.

mod sentences;
mod steps;
pub mod words;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::events::EventType;
use super::refusal::RefusalCode;
use crate::domain::amount_setting::HoldReason;
use crate::domain::attempt::Withdrawal;
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::domain::eligibility::SkipReason;
use crate::domain::outcome::OutcomeClass;
use crate::domain::threshold::RunHoldReason;

pub use steps::{Answer, Disagreement, Evidence, Fact, MessageStep, MoneyStep, RunStep, YearStep};
pub use words::Language;

/// Everything that is known of a payer, as of one moment.
#[derive(Debug, Serialize)]
pub struct Story {
    pub payer_id: String,
    /// Told of this type and year alone, and of what has neither.
    pub insurance_type: Option<String>,
    pub valid_year: Option<i16>,
    pub entries: Vec<Entry>,
    pub amounts_now: Vec<AmountNow>,
    pub declarations_now: Vec<DeclarationNow>,
    /// There is more of some kind than this; of each kind the newest are told.
    pub cut_at: Option<usize>,
    /// Since when events wait to be published, this payer's or others'.
    pub events_wait_since: Option<DateTime<Utc>>,
}

/// One thing that happened.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// When we took, decided or booked it; what the sender or the gateway says is in `what`.
    pub at: DateTime<Utc>,
    pub insurance_type: Option<String>,
    pub valid_year: Option<i16>,
    #[serde(flatten)]
    pub what: What,
    /// The events that told of it.
    #[serde(serialize_with = "names")]
    pub told: Vec<EventType>,
}

/// How an amount stands.
#[derive(Debug, Serialize)]
pub struct AmountNow {
    pub insurance_type: String,
    pub valid_year: i16,
    pub amount: String,
    pub status: &'static str,
    #[serde(serialize_with = "word")]
    pub hold_reason: Option<HoldReason>,
}

/// How a declaration stands.
#[derive(Debug, Serialize)]
pub struct DeclarationNow {
    pub declaration_no: String,
    pub insurance_type: String,
    pub kind: String,
    pub period_from: String,
    pub period_to: String,
    pub amount: String,
    pub channel: String,
    pub public_status: &'static str,
    pub paid: bool,
    pub state: &'static str,
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum What {
    Message(MessageStep),
    Year(YearStep),
    Run(RunStep),
    Money(MoneyStep),
    Disagreement(Disagreement),
}

impl What {
    /// Of things that are written at one moment: causes before what follows from them.
    pub fn rank(&self) -> u8 {
        match self {
            What::Message(MessageStep::Message { .. }) | What::Message(MessageStep::Quarantined { .. }) => 0,
            What::Year(YearStep::Expired { .. }) => 1,
            What::Year(YearStep::CarriedOver { .. }) => 2,
            What::Year(YearStep::HeldByPerson { .. }) => 3,
            What::Run(RunStep::Deducted { .. })
            | What::Run(RunStep::Skipped { .. })
            | What::Run(RunStep::NotCandidate { .. }) => 4,
            What::Run(RunStep::RunHeld { .. }) => 5,
            What::Run(RunStep::RunDecided { .. }) => 6,
            What::Run(RunStep::InFile { .. }) => 7,
            What::Money(MoneyStep::Result { .. }) => 8,
            What::Money(MoneyStep::Paid { .. }) => 9,
            What::Money(MoneyStep::Confirmed { .. }) => 10,
            What::Money(MoneyStep::Unpaid { .. }) => 11,
            What::Disagreement(Disagreement::Discrepancy { .. }) => 12,
            What::Disagreement(Disagreement::Decided { .. }) => 13,
            What::Money(MoneyStep::Refunded { .. }) => 14,
            What::Money(MoneyStep::Reversed { .. }) => 15,
            What::Money(MoneyStep::Undone { .. }) => 16,
        }
    }
}

impl Entry {
    /// What a clerk reads out: what happened, then how and why, a line each.
    pub fn sentences(&self, language: Language) -> Vec<String> {
        sentences::of(self, language)
    }
}

impl Story {
    pub fn title(&self, language: Language) -> String {
        sentences::title(self, language)
    }

    pub fn heading_of_now(&self, language: Language) -> &'static str {
        language.pick(("现状", "now"))
    }

    /// How everything stands, a line each.
    pub fn standing(&self, language: Language) -> Vec<String> {
        sentences::standing(self, language)
    }

    /// What is to be said about the story itself, a line each.
    pub fn notes(&self, language: Language) -> Vec<String> {
        sentences::notes(self, language)
    }
}

/// A word of the contract, as documents write it.
pub trait Word {
    fn word(&self) -> Option<&'static str>;
}

macro_rules! words {
    ($($of:ty),*) => { $(impl Word for $of { fn word(&self) -> Option<&'static str> { Some(self.as_str()) } })* };
}
words!(
    HoldReason,
    Withdrawal,
    SkipReason,
    OutcomeClass,
    DiscrepancyKind,
    Decision,
    RefusalCode,
    RunHoldReason,
    EventType
);

impl<W: Word> Word for Option<W> {
    fn word(&self) -> Option<&'static str> {
        self.as_ref().and_then(Word::word)
    }
}

fn word<S: Serializer>(word: &impl Word, serializer: S) -> Result<S::Ok, S::Error> {
    word.word().serialize(serializer)
}

fn all_words<S: Serializer>(words: &[RunHoldReason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(words.iter().map(|word| word.as_str()))
}

fn names<S: Serializer>(told: &[EventType], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(told.iter().map(|kind| kind.as_str()))
}
