//! Special contributions (特殊缴费): an amount that the agency has fixed and that may be declared as it is.

use chrono::NaiveDate;

use super::declaration::{Kind, Obligation};
use super::money::Money;
use super::period::Period;

/// Why it is owed besides the normal contributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssessmentKind {
    /// 补缴: for a past period.
    BackPayment,
    /// 趸缴: for many years at once.
    LumpSum,
    /// 代缴: somebody else pays.
    PaidOnBehalf,
}

impl AssessmentKind {
    pub const ALL: [AssessmentKind; 3] =
        [AssessmentKind::BackPayment, AssessmentKind::LumpSum, AssessmentKind::PaidOnBehalf];

    pub fn as_str(self) -> &'static str {
        match self {
            AssessmentKind::BackPayment => "back_payment",
            AssessmentKind::LumpSum => "lump_sum",
            AssessmentKind::PaidOnBehalf => "paid_on_behalf",
        }
    }

    pub fn parse(text: &str) -> Option<AssessmentKind> {
        AssessmentKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// 特殊缴费核定. A withdrawn one is as if it had never been issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    pub insurance_type: String,
    pub kind: AssessmentKind,
    pub period: Period,
    pub amount: Money,
    /// Last day on which it may be declared and paid.
    pub pay_by: NaiveDate,
    pub issued: bool,
}

impl Assessment {
    /// Whether a special declaration says what was assessed.
    pub fn covers(&self, insurance_type: &str, obligation: &Obligation, amount: Money) -> bool {
        obligation.kind == Kind::Special
            && (self.insurance_type.as_str(), self.period, self.amount) == (insurance_type, obligation.period, amount)
    }
}
