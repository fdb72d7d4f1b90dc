//! What the payer and the sender are told when a message is understood but the rules say no: a closed list.

macro_rules! refusal_codes {
    ($($variant:ident = $name:literal, $chinese:literal, $english:literal;)*) => {
        /// Each code with one Chinese and one English sentence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RefusalCode { $($variant),* }

        impl RefusalCode {
            pub const ALL: &[RefusalCode] = &[$(RefusalCode::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(RefusalCode::$variant => $name),* }
            }

            pub fn chinese(self) -> &'static str {
                match self { $(RefusalCode::$variant => $chinese),* }
            }

            pub fn english(self) -> &'static str {
                match self { $(RefusalCode::$variant => $english),* }
            }
        }
    };
}

refusal_codes! {
    NotEnrolled = "not_enrolled",
        "没有您的参保信息,请咨询人社部门",
        "There is no enrolment of yours; please ask the social-insurance agency.";
    RegionNotServed = "region_not_served",
        "您的参保地未开通该险种的缴费",
        "This insurance type is not collected in your region.";
    NothingToVoid = "nothing_to_void",
        "您还未设置缴费金额,无需作废",
        "You have not set an amount; there is nothing to void.";
    AmountOutOfRange = "amount_out_of_range",
        "缴费金额不在规定范围内",
        "The amount is outside what may be chosen.";
    YearNotOpen = "year_not_open",
        "该年度尚未开放设置",
        "Amounts for this year cannot be set yet.";
    WindowClosed = "window_closed",
        "该费款的缴费期已结束",
        "The payment period of this contribution has ended.";
    AlreadyPaid = "already_paid",
        "该费款已缴纳",
        "This contribution is already paid.";
    AttemptInFlight = "attempt_in_flight",
        "该费款正在扣款或支付中,请等待结果",
        "This contribution is being collected or paid; please wait for the result.";
    AlreadyVoided = "already_voided",
        "该申报已作废",
        "This declaration is already void.";
    AlreadyReversed = "already_reversed",
        "该申报的款项已退回,请重新申报",
        "The money of this declaration went back; please declare it again.";
    UnknownDeclaration = "unknown_declaration",
        "没有该申报记录",
        "There is no such declaration.";
    DuplicateObligation = "duplicate_obligation",
        "该费款已有申报记录,请勿重复申报",
        "This contribution is already declared; please do not declare it again.";
    AssessmentRequired = "assessment_required",
        "特殊缴费须先核定",
        "A special contribution must be assessed first.";
    AssessmentMismatch = "assessment_mismatch",
        "申报内容与核定不一致",
        "The declaration does not say what was assessed.";
    PeriodNotOffered = "period_not_offered",
        "费款所属期不符合该险种的规定",
        "The contribution period does not fit the insurance type.";
    SeveralPayers = "several_payers",
        "一笔订单只能支付同一缴费人的申报",
        "One order pays the declarations of one payer only.";
    SelfOnly = "self_only",
        "该渠道仅支持本人缴费",
        "In this channel payers can only pay for themselves.";
    MethodNotOffered = "method_not_offered",
        "该渠道不支持此支付方式",
        "This channel does not offer this way to pay.";
    AmountMismatch = "amount_mismatch",
        "支付金额与申报金额不一致",
        "The amount to be paid is not the declared one.";
    OrderExists = "order_exists",
        "该订单号已存在",
        "There is an order of this number already.";
    UnknownOrder = "unknown_order",
        "没有该订单",
        "There is no such order.";
    WaitedTooLong = "waited_too_long",
        "等待的前序信息超时未到",
        "What this message had to wait for did not come in time.";
    UnknownSchedule = "unknown_schedule",
        "没有该批扣计划",
        "There is no such schedule.";
    NotDue = "not_due",
        "尚未到批扣日期",
        "The date of this run has not come yet.";
    NotARunDate = "not_a_run_date",
        "该日期不是批扣计划的批扣日期",
        "The schedule has no run on this date.";
    CalendarMissing = "calendar_missing",
        "该年度的节假日安排尚未配置",
        "The business calendar of that year is not configured yet.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_told_once_in_each_language() {
        for texts in
            [RefusalCode::as_str as fn(RefusalCode) -> &'static str, RefusalCode::chinese, RefusalCode::english]
        {
            let distinct: std::collections::BTreeSet<_> = RefusalCode::ALL.iter().copied().map(texts).collect();
            assert_eq!(distinct.len(), RefusalCode::ALL.len());
        }
    }
}
