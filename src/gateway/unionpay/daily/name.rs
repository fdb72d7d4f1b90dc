//! What the names of the daily files say: text comes in; kind, day and merchant go out. Called by [`super`]. The day is
//! the day of settlement.

use chrono::NaiveDate;

use crate::gateway::row::date;

/// Letters and digits of a merchant id.
const MERCHANT_BYTES: usize = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BillKind {
    Settled,
    Adjusted,
    Report,
}

/// `INN<yymmdd>88ZM_<merchant>`, `INN<yymmdd>88ZME_<merchant>` or `RD2010<yymmdd>01_<merchant>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BillName<'n> {
    pub kind: BillKind,
    pub day: NaiveDate,
    pub merchant_id: &'n str,
}

/// `<merchant>_<yyyymmdd>.zip`, whatever the ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackedName<'n> {
    pub day: NaiveDate,
    pub merchant_id: &'n str,
}

impl BillKind {
    pub fn as_str(self) -> &'static str {
        match self {
            BillKind::Settled => "ZM",
            BillKind::Adjusted => "ZME",
            BillKind::Report => "RD2010",
        }
    }
}

impl<'n> BillName<'n> {
    /// The ending `.txt`, which people add, is passed over.
    pub fn parse(name: &'n str) -> Option<BillName<'n>> {
        let name = name.strip_suffix(".txt").unwrap_or(name);
        let (kind, merchant_id) = name.split_once('_')?;
        let is_report = kind.starts_with("RD2010");
        let (day, kind) = kind.strip_prefix(if is_report { "RD2010" } else { "INN" })?.split_at_checked(6)?;
        let kind = match (is_report, kind) {
            (false, "88ZM") => BillKind::Settled,
            (false, "88ZME") => BillKind::Adjusted,
            (true, "01") => BillKind::Report,
            (true | false, _) => return None,
        };
        let day = date(format!("20{day}").as_bytes())?;
        is_merchant(merchant_id).then_some(BillName { kind, day, merchant_id })
    }
}

impl<'n> PackedName<'n> {
    pub fn parse(name: &'n str) -> Option<PackedName<'n>> {
        let (merchant_id, day) = name.split('.').next()?.split_once('_')?;
        let day = date(day.as_bytes())?;
        is_merchant(merchant_id).then_some(PackedName { day, merchant_id })
    }
}

/// Whether it is called like a file that goes to UnionPay or answers one.
pub(super) fn is_of_batch(name: &str) -> bool {
    let directed = name.ends_with("I.txt") || name.ends_with("O.txt");
    directed && ["DK", "DF", "TH"].iter().any(|kind| name.starts_with(kind))
}

fn is_merchant(text: &str) -> bool {
    text.len() == MERCHANT_BYTES && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MERCHANT: &str = "777290058110097";

    #[test]
    fn a_name_says_kind_day_and_merchant() {
        let day = NaiveDate::from_ymd_opt(2026, 4, 12).unwrap();
        let of = |kind| Some(BillName { kind, day, merchant_id: MERCHANT });
        assert_eq!(BillName::parse("INN26041288ZM_777290058110097"), of(BillKind::Settled));
        assert_eq!(BillName::parse("INN26041288ZM_777290058110097.txt"), of(BillKind::Settled));
        assert_eq!(BillName::parse("INN26041288ZME_777290058110097"), of(BillKind::Adjusted));
        assert_eq!(BillName::parse("RD201026041201_777290058110097"), of(BillKind::Report));
        let packed = Some(PackedName { day, merchant_id: MERCHANT });
        assert_eq!(PackedName::parse("777290058110097_20260412.zip"), packed);
        assert_eq!(PackedName::parse("777290058110097_20260412.zip.b64"), packed);
    }

    #[test]
    fn any_other_name_says_nothing() {
        for name in [
            "",
            "INN",
            "INN26041288ZM",
            "INN26041288ZM_1",
            "INN26043188ZM_777290058110097",
            "INN26041288ZX_777290058110097",
            "INN26041201_777290058110097",
            "RD201026041288ZM_777290058110097",
            "INN26041银88ZM_777290058110097",
            "inn26041288ZM_777290058110097",
        ] {
            assert_eq!(BillName::parse(name), None, "{name}");
        }
        for name in ["777290058110097", "777290058110097_202604.zip", "7772900581100971_20260412.zip", "_20260412"] {
            assert_eq!(PackedName::parse(name), None, "{name}");
        }
        assert!(is_of_batch("DK00000000777290058110097202612310012O.txt"));
        assert!(!is_of_batch("DK.zip") && !is_of_batch("INN26041288ZM_777290058110097.txt"));
    }
}
