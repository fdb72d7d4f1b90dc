//! The fields of a message's data, one by one: a value of a domain type, or the name of the field and what is wrong.

use chrono::{DateTime, NaiveDate, SubsecRound, Utc};
use serde_json::{Map, Value};

use crate::contract::envelope::{NotUnderstood, short_text};
use crate::domain::identity::PayerId;
use crate::domain::insurance::InsuranceType;
use crate::domain::money::Money;
use crate::domain::period::{Month, Period, Year};

pub(super) struct Fields<'a> {
    pub data: &'a Map<String, Value>,
    pub insurance_types: &'a [InsuranceType],
}

pub(super) type Field<T> = Result<T, NotUnderstood>;

impl Fields<'_> {
    pub fn required(&self, name: &str) -> Field<&Value> {
        self.data.get(name).ok_or_else(|| NotUnderstood::field(name, "missing"))
    }

    pub fn text(&self, name: &str) -> Field<String> {
        let text = self.required(name)?.as_str().ok_or_else(|| NotUnderstood::field(name, "not a text"))?;
        short_text(text).map_err(|reason| NotUnderstood::field(name, reason))?;
        Ok(text.to_owned())
    }

    pub fn maybe_text(&self, name: &str) -> Field<Option<String>> {
        match self.data.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.text(name).map(Some),
        }
    }

    pub fn one_of(&self, name: &str, allowed: &[&str]) -> Field<String> {
        let text = self.text(name)?;
        if allowed.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(NotUnderstood::field(name, format!("not one of {}", allowed.join(", "))))
    }

    pub fn payer_id(&self) -> Field<PayerId> {
        self.payer("payer_id")
    }

    fn payer(&self, name: &str) -> Field<PayerId> {
        PayerId::new(&self.text(name)?).ok_or_else(|| NotUnderstood::field(name, "not 1 to 32 printable characters"))
    }

    pub fn insurance_type(&self) -> Field<InsuranceType> {
        let insurance_type = InsuranceType(self.text("insurance_type")?);
        if self.insurance_types.contains(&insurance_type) {
            return Ok(insurance_type);
        }
        Err(NotUnderstood::field("insurance_type", "not configured"))
    }

    /// Money is a text, `"1000.00"`: a JSON number has lost its decimals before we see it.
    pub fn money(&self, name: &str) -> Field<Money> {
        let text = self.required(name)?.as_str().ok_or_else(|| NotUnderstood::field(name, "not a text"))?;
        Money::from_yuan(text).map_err(|error| NotUnderstood::field(name, error.to_string()))
    }

    pub fn positive_money(&self, name: &str) -> Field<Money> {
        let money = self.money(name)?;
        if money.is_zero() { Err(NotUnderstood::field(name, "zero")) } else { Ok(money) }
    }

    pub fn date(&self, name: &str) -> Field<NaiveDate> {
        let text = self.text(name)?;
        let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok();
        // Written as we write it: the parser also takes signs, blanks and single digits.
        let date = date.filter(|date| date.to_string() == text);
        let date = date.ok_or_else(|| NotUnderstood::field(name, "not a date (yyyy-mm-dd)"))?;
        if !(1900..3000).contains(&chrono::Datelike::year(&date)) {
            return Err(NotUnderstood::field(name, "year out of range"));
        }
        Ok(date)
    }

    /// A year comes as a number or as its four digits.
    pub fn year(&self, name: &str) -> Field<Year> {
        let value = self.required(name)?;
        let number = value.as_i64().or_else(|| {
            let text = value.as_str()?;
            (text.len() == 4).then(|| text.parse().ok()).flatten()
        });
        number.and_then(Year::new).ok_or_else(|| NotUnderstood::field(name, "not a year (2000 to 2999)"))
    }

    pub fn month(&self, name: &str) -> Field<Month> {
        Month::parse(&self.text(name)?).ok_or_else(|| NotUnderstood::field(name, "not a month (yyyymm)"))
    }

    pub fn maybe_month(&self, name: &str) -> Field<Option<Month>> {
        self.present(name).map(|_| self.month(name)).transpose()
    }

    pub fn maybe_money(&self, name: &str) -> Field<Option<Money>> {
        self.present(name).map(|_| self.money(name)).transpose()
    }

    /// `period_from` and `period_to`.
    pub fn period(&self) -> Field<Period> {
        let period = Period { from: self.month("period_from")?, to: self.month("period_to")? };
        if period.from > period.to {
            return Err(NotUnderstood::field("period_to", "before period_from"));
        }
        Ok(period)
    }

    /// An instant in RFC 3339, in microseconds as the database keeps it.
    pub fn instant(&self, name: &str) -> Field<DateTime<Utc>> {
        let instant = DateTime::parse_from_rfc3339(&self.text(name)?)
            .map_err(|_| NotUnderstood::field(name, "not RFC 3339"))?
            .with_timezone(&Utc)
            .trunc_subsecs(6);
        if !(2000..3000).contains(&chrono::Datelike::year(&instant)) {
            return Err(NotUnderstood::field(name, "year out of range"));
        }
        Ok(instant)
    }

    pub fn maybe_instant(&self, name: &str) -> Field<Option<DateTime<Utc>>> {
        self.present(name).map(|_| self.instant(name)).transpose()
    }

    pub fn maybe_payer_id(&self, name: &str) -> Field<Option<PayerId>> {
        self.present(name).map(|_| self.payer(name)).transpose()
    }

    /// One of a closed list of words.
    pub fn word<T: Copy>(&self, name: &str, all: &[T], as_str: fn(T) -> &'static str) -> Field<T> {
        let text = self.text(name)?;
        let found = all.iter().copied().find(|word| as_str(*word) == text);
        found.ok_or_else(|| {
            let words: Vec<&str> = all.iter().map(|word| as_str(*word)).collect();
            NotUnderstood::field(name, format!("not one of {}", words.join(", ")))
        })
    }

    /// A number that others give; those with this letter and 18 digits are given by runs.
    pub fn number_not_of_runs(&self, name: &str, letter: char) -> Field<String> {
        let number = self.text(name)?;
        let digits = number.strip_prefix(letter).unwrap_or_default();
        if digits.len() == 18 && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotUnderstood::field(name, format!("{letter} and 18 digits are the numbers that runs give")));
        }
        Ok(number)
    }

    pub fn slot(&self, name: &str) -> Field<Option<i16>> {
        let wrong = || NotUnderstood::field(name, "not 1 to 99");
        let number = self.present(name).map(|value| value.as_i64().filter(|slot| (1..=99).contains(slot)));
        number.map(|slot| slot.map(|slot| slot as i16).ok_or_else(wrong)).transpose()
    }

    fn present(&self, name: &str) -> Option<&Value> {
        self.data.get(name).filter(|value| !value.is_null())
    }
}
