//! Our book and theirs disagree: these wait for a person.

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
}

impl DiscrepancyKind {
    pub const ALL: [DiscrepancyKind; 8] = [
        DiscrepancyKind::UnknownOrder,
        DiscrepancyKind::AmountDiffers,
        DiscrepancyKind::Contradiction,
        DiscrepancyKind::UnknownCode,
        DiscrepancyKind::DoublePayment,
        DiscrepancyKind::PaidAfterVoid,
        DiscrepancyKind::UnparsableRow,
        DiscrepancyKind::NameReused,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            DiscrepancyKind::UnknownOrder => "unknown_order",
            DiscrepancyKind::AmountDiffers => "amount_differs",
            DiscrepancyKind::Contradiction => "contradiction",
            DiscrepancyKind::UnknownCode => "unknown_code",
            DiscrepancyKind::DoublePayment => "double_payment",
            DiscrepancyKind::PaidAfterVoid => "paid_after_void",
            DiscrepancyKind::UnparsableRow => "unparsable_row",
            DiscrepancyKind::NameReused => "name_reused",
        }
    }
}
