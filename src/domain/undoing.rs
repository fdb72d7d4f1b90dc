//! What keeps an applied result file from being put back: something rests on it by now.

macro_rules! rests {
    ($($variant:ident = $name:literal: $sentence:literal),* $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rest { $($variant),* }

        impl Rest {
            pub const ALL: &[Rest] = &[$(Rest::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Rest::$variant => $name),* }
            }

            /// What is listed with it, and what may be done.
            pub fn sentence(self) -> &'static str {
                match self { $(Rest::$variant => $sentence),* }
            }
        }
    };
}

rests! {
    EventsWaiting = "events_waiting": "its events are not published yet (outbox rows): let the relay work, then try again",
    EarlierVersion = "earlier_version": "an earlier version of pikou applied it, and did not keep how these orders were before",
    DiscrepancyDecided = "discrepancy_decided": "a person has decided on these of its discrepancies",
    MoneyUsed = "money_used": "an order that started later was paid by these of its rows (discrepancies)",
    DecidedSince = "decided_since": "a person has decided since on these discrepancies about its orders",
    SaidSince = "said_since": "another file, a report or a decision has said something since of these orders: undo that file first",
    ReportedSince = "reported_since": "channels have reported on these payers' orders since (messages)",
    RefusedSince = "refused_since": "these messages were refused since because something was paid",
    VoidedSince = "voided_since": "these messages have voided amounts since of which nothing was out any more",
    DeclarationMoved = "declaration_moved": "these declarations were deducted, paid or voided since",
    DeclaredAnew = "declared_anew": "these declarations have taken the place of those it voided or reversed",
    CountedSince = "counted_since": "a later file has counted failed runs of these payers on from its own",
    YearEnded = "year_ended": "the amounts of these payers have expired since",
}

impl Rest {
    pub fn parse(text: &str) -> Option<Rest> {
        Rest::ALL.iter().copied().find(|rest| rest.as_str() == text)
    }
}
