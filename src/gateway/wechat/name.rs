//! What a bill's name says: the day it is of, which is nowhere in the file, and perhaps whose it is. A name comes in.
//! The merchant platform writes `<商户号>All<day>_<day>.csv`; who fetches bills by the interface names them himself.

use chrono::NaiveDate;

use crate::gateway::row::date;

/// The day that is written `yyyymmdd` or `yyyy-mm-dd` in the name. None if there is none or more than one; the same one
/// twice is one.
pub(super) fn day(file_name: &str, merchant_ids: &[String]) -> Option<NaiveDate> {
    let numbers = numbers(file_name);
    let mut days = (0..numbers.len()).filter_map(|at| {
        let (_, number) = numbers[at];
        if merchant_ids.iter().any(|id| id == number) {
            return None;
        }
        match number.len() {
            8 => date(number.as_bytes()),
            4 => dashed(file_name, &numbers[at..]),
            _ => None,
        }
    });
    let day = days.next()?;
    days.all(|other| other == day).then_some(day)
}

/// Whether the number stands in the name, not within a longer one.
pub(super) fn holds(file_name: &str, merchant_id: &str) -> bool {
    numbers(file_name).iter().any(|(_, number)| *number == merchant_id)
}

fn dashed(file_name: &str, numbers: &[(usize, &str)]) -> Option<NaiveDate> {
    let [(at, year), (_, month), (_, day), ..] = numbers else { return None };
    let written = format!("{year}-{month}-{day}");
    let dashed = month.len() == 2 && day.len() == 2 && file_name[*at..].starts_with(&written);
    if dashed { date(format!("{year}{month}{day}").as_bytes()) } else { None }
}

/// The numbers in a name, and where each begins.
fn numbers(file_name: &str) -> Vec<(usize, &str)> {
    let parts = file_name.split(|c: char| !c.is_ascii_digit());
    let offset = |part: &str| part.as_ptr().addr() - file_name.as_ptr().addr();
    parts.filter(|part| !part.is_empty()).map(|part| (offset(part), part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_the_one_date_in_the_name() {
        let of = |name| day(name, &["1900000109".to_owned(), "20121205".to_owned()]).map(|day| day.to_string());
        let april = Some("2026-04-16".to_owned());
        for name in [
            "1900000109All2026-04-16_2026-04-16.csv",
            "17-2026-04-16.csv.gz",
            "tradebill_20260416",
            "20260416-2026-04-16-ALL",
            "20121205_20260416.csv",
            "微信20260416账单",
        ] {
            assert_eq!(of(name), april, "{name}");
        }
        for name in [
            "bill.csv",
            "2026-04-16_2026-04-17.csv",
            "20260416_20260417.csv",
            "20260416103000.csv",
            "120260416.csv",
            "2026-4-16.csv",
            "2026-04-1600.csv",
            "2026_04_16.csv",
            "20261316.csv",
            "19990416.csv",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn a_merchant_number_is_found_whole() {
        assert!(holds("1900000109All2026-04-16.csv", "1900000109"));
        assert!(!holds("11900000109All.csv", "1900000109"));
    }
}
