//! The messages we take: an [`Envelope`] comes in, a [`Message`] of domain types goes out, or the field that is
//! wrong. Fields that we do not know are ignored, so that a sender may add some.

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::envelope::{Envelope, NotUnderstood, NotUnderstoodCode, short_text};
use crate::domain::declaration::{CollectBy, Kind, Obligation};
use crate::domain::identity::{PayerId, is_resident_id};
use crate::domain::insurance::InsuranceType;
use crate::domain::money::Money;
use crate::domain::period::{Month, Period, Year};

/// The names of the messages, which are also their routing keys; `type` is `pikou.in.<name>.v1`.
pub const MESSAGES: [&str; 5] =
    ["enrolment.changed", "agreement.changed", "amount.set", "amount.voided", "declaration.submitted"];

/// A message that is understood. What it may do is for the rules to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    EnrolmentChanged(EnrolmentChanged),
    AgreementChanged(AgreementChanged),
    AmountSet(AmountSet),
    AmountVoided(AmountVoided),
    DeclarationSubmitted(DeclarationSubmitted),
}

#[derive(Clone, PartialEq)]
pub struct EnrolmentChanged {
    pub payer_id: PayerId,
    pub insurance_type: InsuranceType,
    /// `active`, `suspended` or `ended`.
    pub status: String,
    pub effective_on: NaiveDate,
    pub name: String,
    pub id_type: String,
    pub id_number: String,
    /// GB/T 2260, six to twelve digits.
    pub division_code: String,
    pub category: Option<String>,
}

#[derive(Clone, PartialEq)]
pub struct AgreementChanged {
    pub agreement_no: String,
    pub payer_id: PayerId,
    pub gateway: String,
    pub bank_code: String,
    pub account_no: String,
    pub account_name: String,
    /// `active` or `ended`.
    pub status: String,
    pub batch_enabled: bool,
    pub insurance_types: Vec<String>,
    pub amount_max: Option<Money>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AmountSet {
    pub payer_id: PayerId,
    pub insurance_type: InsuranceType,
    pub valid_year: Year,
    pub amount: Money,
    pub channel: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AmountVoided {
    pub payer_id: PayerId,
    pub insurance_type: InsuranceType,
    pub valid_year: Year,
    pub channel: String,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DeclarationSubmitted {
    pub declaration_no: String,
    pub payer_id: PayerId,
    pub insurance_type: InsuranceType,
    pub obligation: Obligation,
    pub amount: Money,
    pub channel: String,
    pub collect_by: CollectBy,
}

// Names, identity numbers and accounts do not end up in logs and panics by a stray `{:?}`.

impl std::fmt::Debug for EnrolmentChanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolmentChanged")
            .field("payer_id", &self.payer_id)
            .field("insurance_type", &self.insurance_type)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AgreementChanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgreementChanged")
            .field("payer_id", &self.payer_id)
            .field("agreement_no", &self.agreement_no)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Message {
    pub fn payer_id(&self) -> &PayerId {
        match self {
            Message::EnrolmentChanged(message) => &message.payer_id,
            Message::AgreementChanged(message) => &message.payer_id,
            Message::AmountSet(message) => &message.payer_id,
            Message::AmountVoided(message) => &message.payer_id,
            Message::DeclarationSubmitted(message) => &message.payer_id,
        }
    }

    /// The number of the declaration it is about.
    pub fn declaration_no(&self) -> Option<&str> {
        match self {
            Message::DeclarationSubmitted(message) => Some(&message.declaration_no),
            Message::EnrolmentChanged(_)
            | Message::AgreementChanged(_)
            | Message::AmountSet(_)
            | Message::AmountVoided(_) => None,
        }
    }

    /// Understands an event. `insurance_types` is the configured list: another one is a sender that we do not
    /// know, or a setting that is missing, and worth a person's look rather than a refusal to the payer.
    pub fn read(envelope: &Envelope, insurance_types: &[InsuranceType]) -> Result<Message, NotUnderstood> {
        let fields = Fields { data: &envelope.data, insurance_types };
        let message = match envelope.kind.as_str() {
            "pikou.in.enrolment.changed.v1" => Message::EnrolmentChanged(fields.enrolment_changed()?),
            "pikou.in.agreement.changed.v1" => Message::AgreementChanged(fields.agreement_changed()?),
            "pikou.in.amount.set.v1" => Message::AmountSet(fields.amount_set()?),
            "pikou.in.amount.voided.v1" => Message::AmountVoided(fields.amount_voided()?),
            "pikou.in.declaration.submitted.v1" => Message::DeclarationSubmitted(fields.declaration_submitted()?),
            _ => {
                return Err(NotUnderstood {
                    code: NotUnderstoodCode::UnknownType,
                    reason: "no such message".into(),
                    position: "type".into(),
                });
            }
        };
        Ok(message)
    }
}

struct Fields<'a> {
    data: &'a Map<String, Value>,
    insurance_types: &'a [InsuranceType],
}

type Field<T> = Result<T, NotUnderstood>;

impl Fields<'_> {
    fn enrolment_changed(&self) -> Field<EnrolmentChanged> {
        let id_type = self.text("id_type")?;
        let id_number = self.text("id_number")?;
        // Only resident identity cards have a check character that we can check.
        if id_type == "resident_id" && !is_resident_id(&id_number) {
            return Err(NotUnderstood::field("id_number", "not a resident identity number (GB 11643)"));
        }
        let division_code = self.text("division_code")?;
        if !(6..=12).contains(&division_code.len()) || !division_code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotUnderstood::field("division_code", "not six to twelve digits"));
        }
        Ok(EnrolmentChanged {
            payer_id: self.payer_id()?,
            insurance_type: self.insurance_type()?,
            status: self.one_of("status", &["active", "suspended", "ended"])?,
            effective_on: self.date("effective_on")?,
            name: self.text("name")?,
            id_type,
            id_number,
            division_code,
            category: self.maybe_text("category")?,
        })
    }

    fn agreement_changed(&self) -> Field<AgreementChanged> {
        let not_texts = || NotUnderstood::field("insurance_types", "not a list of texts");
        let types = self.required("insurance_types")?.as_array().ok_or_else(not_texts)?;
        let mut insurance_types = Vec::with_capacity(types.len());
        for value in types {
            let text = value.as_str().ok_or_else(not_texts)?;
            short_text(text).map_err(|reason| NotUnderstood::field("insurance_types", reason))?;
            insurance_types.push(text.to_owned());
        }
        Ok(AgreementChanged {
            agreement_no: self.text("agreement_no")?,
            payer_id: self.payer_id()?,
            gateway: self.one_of("gateway", &["bank", "alipay", "wechat_pay", "unionpay"])?,
            bank_code: self.text("bank_code")?,
            account_no: self.text("account_no")?,
            account_name: self.text("account_name")?,
            status: self.one_of("status", &["active", "ended"])?,
            batch_enabled: self
                .required("batch_enabled")?
                .as_bool()
                .ok_or_else(|| NotUnderstood::field("batch_enabled", "not true or false"))?,
            insurance_types,
            amount_max: match self.data.get("amount_max") {
                None | Some(Value::Null) => None,
                Some(_) => Some(self.money("amount_max")?),
            },
        })
    }

    fn amount_set(&self) -> Field<AmountSet> {
        Ok(AmountSet {
            payer_id: self.payer_id()?,
            insurance_type: self.insurance_type()?,
            valid_year: self.year("valid_year")?,
            amount: self.positive_money("amount")?,
            channel: self.text("channel")?,
        })
    }

    fn amount_voided(&self) -> Field<AmountVoided> {
        Ok(AmountVoided {
            payer_id: self.payer_id()?,
            insurance_type: self.insurance_type()?,
            valid_year: self.year("valid_year")?,
            channel: self.text("channel")?,
            reason: self.maybe_text("reason")?,
        })
    }

    fn declaration_submitted(&self) -> Field<DeclarationSubmitted> {
        let period = Period { from: self.month("period_from")?, to: self.month("period_to")? };
        if period.from > period.to {
            return Err(NotUnderstood::field("period_to", "before period_from"));
        }
        let kind = match self.one_of("kind", &["normal", "special"])?.as_str() {
            "normal" => Kind::Normal,
            _ => Kind::Special,
        };
        let collect_by = match self.one_of("collect_by", &["batch", "online"])?.as_str() {
            "batch" => CollectBy::Batch,
            _ => CollectBy::Online,
        };
        let assessment_no = self.maybe_text("assessment_no")?.unwrap_or_default();
        if kind == Kind::Normal && !assessment_no.is_empty() {
            return Err(NotUnderstood::field("assessment_no", "a normal declaration has none"));
        }
        let declaration_no = self.text("declaration_no")?;
        let digits = declaration_no.strip_prefix('D').unwrap_or_default();
        if digits.len() == 18 && digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotUnderstood::field("declaration_no", "D and 18 digits are the numbers that runs give"));
        }
        let channel = self.text("channel")?;
        if channel == "batch" {
            return Err(NotUnderstood::field("channel", "batch is the channel of runs"));
        }
        Ok(DeclarationSubmitted {
            declaration_no,
            payer_id: self.payer_id()?,
            insurance_type: self.insurance_type()?,
            obligation: Obligation { period, kind, assessment_no },
            amount: self.positive_money("amount")?,
            channel,
            collect_by,
        })
    }

    fn required(&self, name: &str) -> Field<&Value> {
        self.data.get(name).ok_or_else(|| NotUnderstood::field(name, "missing"))
    }

    fn text(&self, name: &str) -> Field<String> {
        let text = self.required(name)?.as_str().ok_or_else(|| NotUnderstood::field(name, "not a text"))?;
        short_text(text).map_err(|reason| NotUnderstood::field(name, reason))?;
        Ok(text.to_owned())
    }

    fn maybe_text(&self, name: &str) -> Field<Option<String>> {
        match self.data.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.text(name).map(Some),
        }
    }

    fn one_of(&self, name: &str, allowed: &[&str]) -> Field<String> {
        let text = self.text(name)?;
        if allowed.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(NotUnderstood::field(name, format!("not one of {}", allowed.join(", "))))
    }

    fn payer_id(&self) -> Field<PayerId> {
        PayerId::new(&self.text("payer_id")?)
            .ok_or_else(|| NotUnderstood::field("payer_id", "not 1 to 32 printable characters"))
    }

    fn insurance_type(&self) -> Field<InsuranceType> {
        let insurance_type = InsuranceType(self.text("insurance_type")?);
        if self.insurance_types.contains(&insurance_type) {
            return Ok(insurance_type);
        }
        Err(NotUnderstood::field("insurance_type", "not configured"))
    }

    /// Money is a text, `"1000.00"`: a JSON number has lost its decimals before we see it.
    fn money(&self, name: &str) -> Field<Money> {
        let text = self.required(name)?.as_str().ok_or_else(|| NotUnderstood::field(name, "not a text"))?;
        Money::from_yuan(text).map_err(|error| NotUnderstood::field(name, error.to_string()))
    }

    fn positive_money(&self, name: &str) -> Field<Money> {
        let money = self.money(name)?;
        if money.is_zero() { Err(NotUnderstood::field(name, "zero")) } else { Ok(money) }
    }

    fn date(&self, name: &str) -> Field<NaiveDate> {
        let date = NaiveDate::parse_from_str(&self.text(name)?, "%Y-%m-%d")
            .map_err(|_| NotUnderstood::field(name, "not a date (yyyy-mm-dd)"))?;
        if !(1900..3000).contains(&chrono::Datelike::year(&date)) {
            return Err(NotUnderstood::field(name, "year out of range"));
        }
        Ok(date)
    }

    /// A year comes as a number or as its four digits.
    fn year(&self, name: &str) -> Field<Year> {
        let value = self.required(name)?;
        let number = value.as_i64().or_else(|| {
            let text = value.as_str()?;
            (text.len() == 4).then(|| text.parse().ok()).flatten()
        });
        number.and_then(Year::new).ok_or_else(|| NotUnderstood::field(name, "not a year (2000 to 2999)"))
    }

    fn month(&self, name: &str) -> Field<Month> {
        Month::parse(&self.text(name)?).ok_or_else(|| NotUnderstood::field(name, "not a month (yyyymm)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: &str, data: Value) -> Result<Message, NotUnderstood> {
        let raw = json!({"specversion": "1.0", "id": "1", "source": "//s", "time": "2026-04-01T00:00:00Z",
            "type": format!("pikou.in.{kind}.v1"), "data": data});
        let envelope = super::super::envelope::read(raw.to_string().as_bytes(), 10_000).unwrap();
        Message::read(&envelope, &[InsuranceType("resident_pension".into())])
    }

    fn amount_set() -> Value {
        json!({"payer_id": "1", "insurance_type": "resident_pension", "valid_year": 2026, "amount": "1000.00",
            "channel": "etax"})
    }

    #[test]
    fn an_amount_is_understood() {
        let Message::AmountSet(message) = read("amount.set", amount_set()).unwrap() else { panic!() };
        assert_eq!((message.valid_year, message.amount.to_string()), (Year(2026), "1000.00".into()));
    }

    #[test]
    fn each_wrong_field_is_named_and_its_value_is_not_repeated() {
        let wrong = [
            ("payer_id", json!("秘密")),
            ("payer_id", json!(7)),
            ("insurance_type", json!("秘密")),
            ("valid_year", json!("26")),
            ("valid_year", json!(26)),
            ("amount", json!(1000.0)),
            ("amount", json!("秘密")),
            ("amount", json!("0.00")),
            ("amount", json!("1000.001")),
            ("channel", json!("a\u{0}b")),
            ("channel", json!("x".repeat(300))),
        ];
        for (field, value) in wrong {
            let mut data = amount_set();
            data[field] = value.clone();
            let fault = read("amount.set", data).unwrap_err();
            assert_eq!((fault.code, fault.position.as_str()), (NotUnderstoodCode::WrongField, field), "{value}");
            assert!(!fault.reason.contains("秘密"), "{}", fault.reason);
        }
    }

    #[test]
    fn a_missing_field_and_an_unknown_type_are_named() {
        assert_eq!(read("amount.set", json!({})).unwrap_err().reason, "missing");
        assert_eq!(read("amount.doubled", amount_set()).unwrap_err().code, NotUnderstoodCode::UnknownType);
    }

    #[test]
    fn an_identity_number_with_a_wrong_check_character_is_not_understood() {
        let data = json!({"payer_id": "1", "insurance_type": "resident_pension", "status": "active",
            "effective_on": "2020-01-01", "name": "测试", "id_type": "resident_id",
            "id_number": "990101199001011230", "division_code": "110101"});
        let faults: Vec<String> = ('0'..='9')
            .filter_map(|check| {
                let mut data = data.clone();
                data["id_number"] = json!(format!("99010119900101123{check}"));
                read("enrolment.changed", data).err().map(|fault| fault.position)
            })
            .collect();
        assert!(faults.len() >= 9 && faults.iter().all(|position| position == "id_number"));
    }
}
