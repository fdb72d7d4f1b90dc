//! The fields that a column may be, and the names by which configuration calls them. A field that makes no sense in
//! a line cannot be written there: every kind of line has an enum of its own.

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
    Ignored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultField {
    LineNo,
    OrderNo,
    Amount(Unit),
    Code,
    Reason,
    GatewayTxnNo,
    SettledAt,
    Ignored,
}

/// The names by which configuration calls a field.
pub(super) trait Named: Copy + PartialEq + 'static {
    const NAMES: &'static [(&'static str, Self)];

    /// Whether a line may have it more than once.
    fn repeatable(self) -> bool {
        false
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
        ("ignored", ResultEdge::Ignored),
    ];

    fn repeatable(self) -> bool {
        self == ResultEdge::Ignored
    }
}

impl Named for ResultField {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("line_no", ResultField::LineNo),
        ("order_no", ResultField::OrderNo),
        ("amount_yuan", ResultField::Amount(Unit::Yuan)),
        ("amount_fen", ResultField::Amount(Unit::Fen)),
        ("code", ResultField::Code),
        ("reason", ResultField::Reason),
        ("gateway_txn_no", ResultField::GatewayTxnNo),
        ("settled_at", ResultField::SettledAt),
        ("ignored", ResultField::Ignored),
    ];

    fn repeatable(self) -> bool {
        self == ResultField::Ignored
    }
}
