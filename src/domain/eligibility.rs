//! Why a candidate of a run is not deducted. Each gets exactly one reason: the first that holds, in this order.
//! The set statement of the plan (`store/sql/plan_range.sql`) decides; this is the list it must agree with.

/// In the order in which they are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    NotEnrolled,
    EnrolmentClosed,
    Voided,
    AlreadyPaid,
    AttemptInFlight,
    NoAgreement,
    AgreementScope,
    AmountOutOfRange,
    RetryExhausted,
    Suspended,
    NotDue,
}

impl SkipReason {
    pub const ALL: [SkipReason; 11] = [
        SkipReason::NotEnrolled,
        SkipReason::EnrolmentClosed,
        SkipReason::Voided,
        SkipReason::AlreadyPaid,
        SkipReason::AttemptInFlight,
        SkipReason::NoAgreement,
        SkipReason::AgreementScope,
        SkipReason::AmountOutOfRange,
        SkipReason::RetryExhausted,
        SkipReason::Suspended,
        SkipReason::NotDue,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::NotEnrolled => "not_enrolled",
            SkipReason::EnrolmentClosed => "enrolment_closed",
            SkipReason::Voided => "voided",
            SkipReason::AlreadyPaid => "already_paid",
            SkipReason::AttemptInFlight => "attempt_in_flight",
            SkipReason::NoAgreement => "no_agreement",
            SkipReason::AgreementScope => "agreement_scope",
            SkipReason::AmountOutOfRange => "amount_out_of_range",
            SkipReason::RetryExhausted => "retry_exhausted",
            SkipReason::Suspended => "suspended",
            SkipReason::NotDue => "not_due",
        }
    }

    /// What a clerk tells the payer, in Chinese.
    pub fn sentence(self) -> &'static str {
        match self {
            SkipReason::NotEnrolled => "没有您的参保信息",
            SkipReason::EnrolmentClosed => "您的参保关系已暂停或终止",
            SkipReason::Voided => "您已作废本年度的缴费金额",
            SkipReason::AlreadyPaid => "本期费款已缴纳",
            SkipReason::AttemptInFlight => "本期费款正在扣款或支付中",
            SkipReason::NoAgreement => "没有有效的委托扣款协议",
            SkipReason::AgreementScope => "委托扣款协议不包括该险种或金额超出协议限额",
            SkipReason::AmountOutOfRange => "缴费金额不在规定范围内",
            SkipReason::RetryExhausted => "扣款失败次数已达上限",
            SkipReason::Suspended => "批量扣款已暂停",
            SkipReason::NotDue => "不在缴费期内",
        }
    }
    /// The same in English.
    pub fn english(self) -> &'static str {
        match self {
            SkipReason::NotEnrolled => "There is no enrolment of yours.",
            SkipReason::EnrolmentClosed => "Your enrolment is suspended or has ended.",
            SkipReason::Voided => "You have voided the amount of this year.",
            SkipReason::AlreadyPaid => "This contribution is already paid.",
            SkipReason::AttemptInFlight => "This contribution is being collected or paid.",
            SkipReason::NoAgreement => "There is no withholding agreement in force.",
            SkipReason::AgreementScope => {
                "The withholding agreement does not cover this insurance type, or not so high an amount."
            }
            SkipReason::AmountOutOfRange => "The amount is outside what may be chosen.",
            SkipReason::RetryExhausted => "The deduction has failed as often as it is tried.",
            SkipReason::Suspended => "Batch deduction is suspended.",
            SkipReason::NotDue => "It is outside the payment period.",
        }
    }
}
