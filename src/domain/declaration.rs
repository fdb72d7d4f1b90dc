//! The filed obligation and what the public may know of it.

use super::period::Period;

/// `paid` is not among them: it follows from the settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclarationState {
    /// Its enrolment or assessment has not arrived yet; limited wait, then rejected.
    AwaitingEnrolment,
    Payable,
    /// A live attempt holds it; also when that attempt has succeeded.
    Paying,
    Voided,
    Rejected,
    /// It was paid, and the money went back. The obligation may be declared anew.
    Reversed,
}

impl DeclarationState {
    pub const ALL: [DeclarationState; 6] = [
        DeclarationState::AwaitingEnrolment,
        DeclarationState::Payable,
        DeclarationState::Paying,
        DeclarationState::Voided,
        DeclarationState::Rejected,
        DeclarationState::Reversed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            DeclarationState::AwaitingEnrolment => "awaiting_enrolment",
            DeclarationState::Payable => "payable",
            DeclarationState::Paying => "paying",
            DeclarationState::Voided => "voided",
            DeclarationState::Rejected => "rejected",
            DeclarationState::Reversed => "reversed",
        }
    }

    pub fn parse(text: &str) -> Option<DeclarationState> {
        DeclarationState::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// What query services show; whether it is paid is not stored.
    pub fn public_status(self, paid: bool) -> PublicStatus {
        match self {
            DeclarationState::Paying if paid => PublicStatus::Accepted,
            DeclarationState::AwaitingEnrolment | DeclarationState::Paying => PublicStatus::Processing,
            DeclarationState::Payable | DeclarationState::Reversed => PublicStatus::Accepted,
            DeclarationState::Voided | DeclarationState::Rejected => PublicStatus::Voided,
        }
    }

    /// A live one is the only one of its obligation.
    pub fn is_live(self) -> bool {
        !matches!(self, DeclarationState::Voided | DeclarationState::Rejected | DeclarationState::Reversed)
    }
}

/// What query services show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicStatus {
    Processing,
    Accepted,
    Voided,
}

impl PublicStatus {
    pub const ALL: [PublicStatus; 3] = [PublicStatus::Processing, PublicStatus::Accepted, PublicStatus::Voided];

    pub fn as_str(self) -> &'static str {
        match self {
            PublicStatus::Processing => "申报处理中",
            PublicStatus::Accepted => "申报成功",
            PublicStatus::Voided => "已作废",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Normal,
    Special,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Normal, Kind::Special];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Normal => "normal",
            Kind::Special => "special",
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Whether a declaration is to be collected by a run or paid by the payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectBy {
    Batch,
    Online,
}

impl CollectBy {
    pub const ALL: [CollectBy; 2] = [CollectBy::Batch, CollectBy::Online];

    pub fn as_str(self) -> &'static str {
        match self {
            CollectBy::Batch => "batch",
            CollectBy::Online => "online",
        }
    }
}

/// What may be owed once: with the payer and the insurance type, at most one live declaration has it.
/// Nothing of a run is part of it, so a shifted date can never make a second one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Obligation {
    pub period: Period,
    pub kind: Kind,
    /// Empty for normal declarations.
    pub assessment_no: String,
}
