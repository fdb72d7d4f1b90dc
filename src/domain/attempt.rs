//! One try to collect one declaration's amount, under an order.

/// `succeeded` is not among them: the settlement says so. Nor is `sent` stored of a deduction: the delivered file says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptState {
    Planned,
    /// An online payment, from its start.
    Sent,
    Withdrawn,
    Failed,
    /// The gateway's word is missing, not understood or contradictory. Never timed out, never sent again.
    Unknown,
    /// It succeeded, and the money went back.
    Reversed,
}

impl AttemptState {
    pub const ALL: [AttemptState; 6] = [
        AttemptState::Planned,
        AttemptState::Sent,
        AttemptState::Withdrawn,
        AttemptState::Failed,
        AttemptState::Unknown,
        AttemptState::Reversed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            AttemptState::Planned => "planned",
            AttemptState::Sent => "sent",
            AttemptState::Withdrawn => "withdrawn",
            AttemptState::Failed => "failed",
            AttemptState::Unknown => "unknown",
            AttemptState::Reversed => "reversed",
        }
    }
}

/// Why a planned attempt never went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Withdrawal {
    Voided,
    SettingChanged,
    /// The agreement it was planned on has ended, or lost its batch flag, before the file was sealed.
    NoAgreement,
    EnrolmentClosed,
    /// Money may have moved for its obligation by another order: a person has to decide first.
    AttemptInFlight,
    /// Its name or account cannot be written in the bank's file.
    Unencodable,
    Cancelled,
}

impl Withdrawal {
    pub const ALL: [Withdrawal; 7] = [
        Withdrawal::Voided,
        Withdrawal::SettingChanged,
        Withdrawal::NoAgreement,
        Withdrawal::EnrolmentClosed,
        Withdrawal::AttemptInFlight,
        Withdrawal::Unencodable,
        Withdrawal::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Withdrawal::Voided => "voided",
            Withdrawal::SettingChanged => "setting_changed",
            Withdrawal::NoAgreement => "no_agreement",
            Withdrawal::EnrolmentClosed => "enrolment_closed",
            Withdrawal::AttemptInFlight => "attempt_in_flight",
            Withdrawal::Unencodable => "unencodable",
            Withdrawal::Cancelled => "cancelled",
        }
    }
}
