//! What the payer and the sender are told when a message is understood but the rules say no: a closed list.

/// Each code with one Chinese and one English sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalCode {
    NotEnrolled,
    RegionNotServed,
    NothingToVoid,
    AmountOutOfRange,
    YearNotOpen,
    WindowClosed,
    AlreadyPaid,
    AssessmentRequired,
    PeriodNotOffered,
    DuplicateObligation,
}

impl RefusalCode {
    pub const ALL: [RefusalCode; 10] = [
        RefusalCode::NotEnrolled,
        RefusalCode::RegionNotServed,
        RefusalCode::NothingToVoid,
        RefusalCode::AmountOutOfRange,
        RefusalCode::YearNotOpen,
        RefusalCode::WindowClosed,
        RefusalCode::AlreadyPaid,
        RefusalCode::AssessmentRequired,
        RefusalCode::PeriodNotOffered,
        RefusalCode::DuplicateObligation,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            RefusalCode::NotEnrolled => "not_enrolled",
            RefusalCode::RegionNotServed => "region_not_served",
            RefusalCode::NothingToVoid => "nothing_to_void",
            RefusalCode::AmountOutOfRange => "amount_out_of_range",
            RefusalCode::YearNotOpen => "year_not_open",
            RefusalCode::WindowClosed => "window_closed",
            RefusalCode::AlreadyPaid => "already_paid",
            RefusalCode::AssessmentRequired => "assessment_required",
            RefusalCode::PeriodNotOffered => "period_not_offered",
            RefusalCode::DuplicateObligation => "duplicate_obligation",
        }
    }

    pub fn chinese(self) -> &'static str {
        match self {
            RefusalCode::NotEnrolled => "没有您的参保信息,请咨询人社部门",
            RefusalCode::RegionNotServed => "您的参保地未开通该险种的缴费",
            RefusalCode::NothingToVoid => "您还未设置缴费金额,无需作废",
            RefusalCode::AmountOutOfRange => "缴费金额不在规定范围内",
            RefusalCode::YearNotOpen => "该年度尚未开放设置",
            RefusalCode::WindowClosed => "该年度缴费期已结束",
            RefusalCode::AlreadyPaid => "该费款已缴纳",
            RefusalCode::AssessmentRequired => "特殊缴费须先核定",
            RefusalCode::PeriodNotOffered => "费款所属期不符合该险种的规定",
            RefusalCode::DuplicateObligation => "该费款已有申报记录,请勿重复申报",
        }
    }

    pub fn english(self) -> &'static str {
        match self {
            RefusalCode::NotEnrolled => "There is no enrolment of yours; please ask the social-insurance agency.",
            RefusalCode::RegionNotServed => "This insurance type is not collected in your region.",
            RefusalCode::NothingToVoid => "You have not set an amount; there is nothing to void.",
            RefusalCode::AmountOutOfRange => "The amount is outside what may be chosen.",
            RefusalCode::YearNotOpen => "Amounts for this year cannot be set yet.",
            RefusalCode::WindowClosed => "The payment period of this year has ended.",
            RefusalCode::AlreadyPaid => "This contribution is already paid.",
            RefusalCode::AssessmentRequired => "A special contribution must be assessed first.",
            RefusalCode::PeriodNotOffered => "The contribution period does not fit the insurance type.",
            RefusalCode::DuplicateObligation => {
                "This contribution is already declared; please do not declare it again."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_told_once_in_each_language() {
        for texts in
            [RefusalCode::as_str as fn(RefusalCode) -> &'static str, RefusalCode::chinese, RefusalCode::english]
        {
            let distinct: std::collections::BTreeSet<_> = RefusalCode::ALL.into_iter().map(texts).collect();
            assert_eq!(distinct.len(), RefusalCode::ALL.len());
        }
    }
}
