//! The fields that a column may be, and the names by which configuration calls them. A field that makes no sense in
//! a line cannot be written there: every kind of line has an enum of its own.

use super::width::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Yuan,
    Fen,
}

/// What a request's header or trailer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestEdge {
    BankCode,
    BusinessDate,
    FileName,
    Count,
    Total(Unit),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestField {
    LineNo,
    OrderNo,
    AgreementNo,
    AccountNo,
    AccountName,
    Amount(Unit),
}

/// What a result's header or trailer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultEdge {
    BankCode,
    BusinessDate,
    RequestFileName,
    Count,
    Total(Unit),
    SuccessCount,
    SuccessTotal(Unit),
    FailedCount,
    FailedTotal(Unit),
    TailBytes,
    Ignored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultField {
    LineNo,
    OrderNo,
    Amount(Unit),
    DeductedAmount(Unit),
    Code,
    Reason,
    GatewayTxnNo,
    SettledAt,
    SettledOn,
    TailBytes,
    Ignored,
}

/// The names by which configuration calls a field.
pub trait Named: Copy + PartialEq + 'static {
    const NAMES: &'static [(&'static str, Self)];

    /// Whether a line may have it more than once.
    fn repeatable(self) -> bool {
        false
    }

    /// Whether it is the length of a tail: of bytes that follow the last column of a line.
    fn is_tail(self) -> bool {
        false
    }

    /// How a cell of fixed width holds it.
    fn kind(self) -> Kind;

    /// The least width that can hold it at all.
    fn least_bytes(self) -> usize {
        1
    }

    /// What configuration calls it.
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }
}

impl Named for RequestEdge {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("bank_code", RequestEdge::BankCode),
        ("business_date", RequestEdge::BusinessDate),
        ("file_name", RequestEdge::FileName),
        ("count", RequestEdge::Count),
        ("total_yuan", RequestEdge::Total(Unit::Yuan)),
        ("total_fen", RequestEdge::Total(Unit::Fen)),
    ];

    fn kind(self) -> Kind {
        match self {
            RequestEdge::Count | RequestEdge::Total(_) => Kind::Number,
            RequestEdge::BankCode | RequestEdge::BusinessDate | RequestEdge::FileName => Kind::Text,
        }
    }

    fn least_bytes(self) -> usize {
        if self == RequestEdge::BusinessDate { 8 } else { 1 }
    }
}

impl Named for RequestField {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("line_no", RequestField::LineNo),
        ("order_no", RequestField::OrderNo),
        ("agreement_no", RequestField::AgreementNo),
        ("account_no", RequestField::AccountNo),
        ("account_name", RequestField::AccountName),
        ("amount_yuan", RequestField::Amount(Unit::Yuan)),
        ("amount_fen", RequestField::Amount(Unit::Fen)),
    ];

    fn kind(self) -> Kind {
        match self {
            RequestField::LineNo | RequestField::Amount(_) => Kind::Number,
            RequestField::OrderNo | RequestField::AgreementNo | RequestField::AccountNo | RequestField::AccountName => {
                Kind::Text
            }
        }
    }
}

impl Named for ResultEdge {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("bank_code", ResultEdge::BankCode),
        ("business_date", ResultEdge::BusinessDate),
        ("request_file_name", ResultEdge::RequestFileName),
        ("count", ResultEdge::Count),
        ("total_yuan", ResultEdge::Total(Unit::Yuan)),
        ("total_fen", ResultEdge::Total(Unit::Fen)),
        ("success_count", ResultEdge::SuccessCount),
        ("success_total_yuan", ResultEdge::SuccessTotal(Unit::Yuan)),
        ("success_total_fen", ResultEdge::SuccessTotal(Unit::Fen)),
        ("failed_count", ResultEdge::FailedCount),
        ("failed_total_yuan", ResultEdge::FailedTotal(Unit::Yuan)),
        ("failed_total_fen", ResultEdge::FailedTotal(Unit::Fen)),
        ("tail_bytes", ResultEdge::TailBytes),
        ("ignored", ResultEdge::Ignored),
    ];

    fn repeatable(self) -> bool {
        self == ResultEdge::Ignored
    }

    fn is_tail(self) -> bool {
        self == ResultEdge::TailBytes
    }

    fn kind(self) -> Kind {
        match self {
            ResultEdge::Count
            | ResultEdge::Total(_)
            | ResultEdge::SuccessCount
            | ResultEdge::SuccessTotal(_)
            | ResultEdge::FailedCount
            | ResultEdge::FailedTotal(_)
            | ResultEdge::TailBytes => Kind::Number,
            ResultEdge::BankCode | ResultEdge::BusinessDate | ResultEdge::RequestFileName | ResultEdge::Ignored => {
                Kind::Text
            }
        }
    }

    fn least_bytes(self) -> usize {
        if self == ResultEdge::BusinessDate { 8 } else { 1 }
    }
}

impl Named for ResultField {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("line_no", ResultField::LineNo),
        ("order_no", ResultField::OrderNo),
        ("amount_yuan", ResultField::Amount(Unit::Yuan)),
        ("amount_fen", ResultField::Amount(Unit::Fen)),
        ("deducted_amount_yuan", ResultField::DeductedAmount(Unit::Yuan)),
        ("deducted_amount_fen", ResultField::DeductedAmount(Unit::Fen)),
        ("code", ResultField::Code),
        ("reason", ResultField::Reason),
        ("gateway_txn_no", ResultField::GatewayTxnNo),
        ("settled_at", ResultField::SettledAt),
        ("settled_on", ResultField::SettledOn),
        ("tail_bytes", ResultField::TailBytes),
        ("ignored", ResultField::Ignored),
    ];

    fn repeatable(self) -> bool {
        self == ResultField::Ignored
    }

    fn is_tail(self) -> bool {
        self == ResultField::TailBytes
    }

    fn kind(self) -> Kind {
        match self {
            ResultField::LineNo | ResultField::Amount(_) | ResultField::DeductedAmount(_) | ResultField::TailBytes => {
                Kind::Number
            }
            ResultField::OrderNo
            | ResultField::Code
            | ResultField::Reason
            | ResultField::GatewayTxnNo
            | ResultField::SettledAt
            | ResultField::SettledOn
            | ResultField::Ignored => Kind::Text,
        }
    }

    fn least_bytes(self) -> usize {
        match self {
            ResultField::SettledAt => 14,
            ResultField::SettledOn => 8,
            ResultField::LineNo
            | ResultField::OrderNo
            | ResultField::Amount(_)
            | ResultField::DeductedAmount(_)
            | ResultField::Code
            | ResultField::Reason
            | ResultField::GatewayTxnNo
            | ResultField::TailBytes
            | ResultField::Ignored => 1,
        }
    }
}
