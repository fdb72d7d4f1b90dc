//! Our book and theirs disagree: these wait for a person, who may decide what the tables here say.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiscrepancyKind {
    /// A result for an order that was never sent.
    UnknownOrder,
    /// The amount is not the order's. No partial payment is booked.
    AmountDiffers,
    /// The gateway says both, or the opposite of what was booked.
    Contradiction,
    /// A result code its table does not list.
    UnknownCode,
    /// Money moved twice for one order.
    DoublePayment,
    /// Money moved for an attempt that had been withdrawn because its year was voided.
    PaidAfterVoid,
    /// One bad row in an otherwise sound file.
    UnparsableRow,
    /// A known file name came with other bytes.
    NameReused,
    /// A part of a payment went back.
    PartialRefund,
    /// A refund that the gateway could not carry out.
    RefundAbnormal,
    /// The due days are over, and no result file has a row for the order.
    ResultMissing,
    /// The channel reported a payment that the complete bills of its days lack.
    NotInBill,
    /// A gateway's file of a day has not come by its hour.
    FileMissing,
}

use DiscrepancyKind as K;

impl DiscrepancyKind {
    pub const ALL: [DiscrepancyKind; 13] = [
        K::UnknownOrder,
        K::AmountDiffers,
        K::Contradiction,
        K::UnknownCode,
        K::DoublePayment,
        K::PaidAfterVoid,
        K::UnparsableRow,
        K::NameReused,
        K::PartialRefund,
        K::RefundAbnormal,
        K::ResultMissing,
        K::NotInBill,
        K::FileMissing,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            K::UnknownOrder => "unknown_order",
            K::AmountDiffers => "amount_differs",
            K::Contradiction => "contradiction",
            K::UnknownCode => "unknown_code",
            K::DoublePayment => "double_payment",
            K::PaidAfterVoid => "paid_after_void",
            K::UnparsableRow => "unparsable_row",
            K::NameReused => "name_reused",
            K::PartialRefund => "partial_refund",
            K::RefundAbnormal => "refund_abnormal",
            K::ResultMissing => "result_missing",
            K::NotInBill => "not_in_bill",
            K::FileMissing => "file_missing",
        }
    }

    pub fn parse(text: &str) -> Option<DiscrepancyKind> {
        DiscrepancyKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// What a person may decide.
    pub fn decisions(self) -> &'static [Decision] {
        match self {
            K::UnknownOrder => &[Decision::Attach, Decision::Refund, Decision::WriteOff],
            K::AmountDiffers | K::PartialRefund => &[Decision::AcceptGateway, Decision::Failed, Decision::KeepWaiting],
            K::Contradiction | K::UnknownCode | K::ResultMissing | K::NotInBill => {
                &[Decision::AcceptSuccess, Decision::AcceptFailure, Decision::KeepWaiting]
            }
            K::DoublePayment | K::PaidAfterVoid => &[Decision::Refund, Decision::Keep],
            K::UnparsableRow | K::RefundAbnormal | K::FileMissing | K::NameReused => {
                &[Decision::Corrected, Decision::WriteOff]
            }
        }
    }

    /// Whether its rows say one thing of one order, so that they are decided together: those of one file or message.
    pub fn is_about_an_outcome(self) -> bool {
        match self {
            K::Contradiction | K::UnknownCode | K::ResultMissing | K::NotInBill => true,
            K::UnknownOrder
            | K::AmountDiffers
            | K::DoublePayment
            | K::PaidAfterVoid
            | K::UnparsableRow
            | K::NameReused
            | K::PartialRefund
            | K::RefundAbnormal
            | K::FileMissing => false,
        }
    }
}

/// What a person decides on a discrepancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    Attach,
    Refund,
    WriteOff,
    AcceptGateway,
    Failed,
    KeepWaiting,
    AcceptSuccess,
    AcceptFailure,
    Keep,
    Corrected,
}

impl Decision {
    pub const ALL: [Decision; 10] = [
        Decision::Attach,
        Decision::Refund,
        Decision::WriteOff,
        Decision::AcceptGateway,
        Decision::Failed,
        Decision::KeepWaiting,
        Decision::AcceptSuccess,
        Decision::AcceptFailure,
        Decision::Keep,
        Decision::Corrected,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Attach => "attach",
            Decision::Refund => "refund",
            Decision::WriteOff => "write_off",
            Decision::AcceptGateway => "accept_gateway",
            Decision::Failed => "failed",
            Decision::KeepWaiting => "keep_waiting",
            Decision::AcceptSuccess => "accept_success",
            Decision::AcceptFailure => "accept_failure",
            Decision::Keep => "keep",
            Decision::Corrected => "corrected",
        }
    }

    pub fn parse(text: &str) -> Option<Decision> {
        Decision::ALL.into_iter().find(|decision| decision.as_str() == text)
    }

    /// Whether it may change what counts as paid.
    pub fn moves_paid_status(self) -> bool {
        match self {
            Decision::Attach
            | Decision::AcceptGateway
            | Decision::Failed
            | Decision::AcceptSuccess
            | Decision::AcceptFailure => true,
            Decision::Refund | Decision::WriteOff | Decision::KeepWaiting | Decision::Keep | Decision::Corrected => {
                false
            }
        }
    }

    /// What it does to a discrepancy of this kind, in a sentence for whoever decides.
    pub fn effect(self, kind: DiscrepancyKind) -> &'static str {
        match self {
            Decision::Attach => "the money settles the order that you name; their amounts must be equal",
            Decision::Refund => "a refund of their amount is proposed; nothing of ours changes",
            Decision::WriteOff => "nothing follows",
            Decision::AcceptGateway if kind == K::PartialRefund => {
                "the part went back; our payment stands, the rest is settled elsewhere"
            }
            Decision::AcceptGateway => {
                "their amount moved; no partial payment is booked: the attempt fails (or our payment is reversed), and a \
                 refund of their amount is proposed"
            }
            Decision::Failed if kind == K::PartialRefund => {
                "our payment is reversed, and a refund of the rest is proposed"
            }
            Decision::Failed => "no money moved: the attempt fails (or our payment is reversed)",
            Decision::KeepWaiting => "the attempt stays as it is; the next row about it is judged anew",
            Decision::AcceptSuccess => "the order has succeeded: its declaration is paid",
            Decision::AcceptFailure => {
                "the order has failed: its declaration may be collected again, or our payment is reversed"
            }
            Decision::Keep => "the money stays where it is; nothing of ours changes",
            Decision::Corrected => "a later file has put it right; nothing follows",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decision_is_of_some_kind_and_every_word_is_read_back() {
        for decision in Decision::ALL {
            assert!(DiscrepancyKind::ALL.iter().any(|kind| kind.decisions().contains(&decision)), "{decision:?}");
            assert_eq!(Decision::parse(decision.as_str()), Some(decision));
        }
        for kind in DiscrepancyKind::ALL {
            assert_eq!(DiscrepancyKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!((Decision::parse("reopen"), DiscrepancyKind::parse("")), (None, None));
    }
}
