//! The messages we take: an [`Envelope`] comes in, a [`Message`] of domain types goes out, or the field that is
//! wrong. Fields that we do not know are ignored, so that a sender may add some.

mod fields;
mod read;

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use super::envelope::{Envelope, NotUnderstood, NotUnderstoodCode};
use crate::domain::assessment::Assessment;
use crate::domain::declaration::{CollectBy, Obligation};
use crate::domain::identity::PayerId;
use crate::domain::insurance::InsuranceType;
use crate::domain::money::Money;
use crate::domain::order::{Gateway, Method, ReportOutcome};
use crate::domain::period::{Month, Year};
use fields::Fields;

/// Declarations that one order may pay.
pub const ORDER_ITEMS_MAX: usize = 100;

macro_rules! messages {
    ($($variant:ident = $name:literal, $read:ident;)*) => {
        /// The names of the messages, which are also their routing keys; `type` is `pikou.in.<name>.v1`.
        pub const MESSAGES: &[&str] = &[$($name),*];

        /// A message that is understood. What it may do is for the rules to say.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Message { $($variant($variant)),* }

        impl Message {
            /// Understands an event. `insurance_types` is the configured list: another one is a sender that we do not
            /// know, or a setting that is missing, and worth a person's look rather than a refusal to the payer.
            pub fn read(envelope: &Envelope, insurance_types: &[InsuranceType]) -> Result<Message, NotUnderstood> {
                let fields = Fields { data: &envelope.data, insurance_types };
                match envelope.kind.as_str() {
                    $(concat!("pikou.in.", $name, ".v1") => Ok(Message::$variant(fields.$read()?)),)*
                    _ => Err(NotUnderstood {
                        code: NotUnderstoodCode::UnknownType,
                        reason: "no such message".into(),
                        position: "type".into(),
                    }),
                }
            }
        }
    };
}

messages! {
    EnrolmentChanged = "enrolment.changed", enrolment_changed;
    AgreementChanged = "agreement.changed", agreement_changed;
    AmountSet = "amount.set", amount_set;
    AmountVoided = "amount.voided", amount_voided;
    AssessmentChanged = "assessment.changed", assessment_changed;
    DeclarationSubmitted = "declaration.submitted", declaration_submitted;
    DeclarationVoidRequested = "declaration.void_requested", declaration_void_requested;
    PaymentStarted = "payment.started", payment_started;
    PaymentReported = "payment.reported", payment_reported;
    RunRequested = "run.requested", run_requested;
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
    pub gateway: Gateway,
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
    /// For base-rate types the contribution base.
    pub amount: Money,
    /// For base-rate types: the first month the base holds for.
    pub period_from: Option<Month>,
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
pub struct AssessmentChanged {
    pub assessment_no: String,
    pub payer_id: PayerId,
    pub assessment: Assessment,
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

#[derive(Debug, Clone, PartialEq)]
pub struct DeclarationVoidRequested {
    pub declaration_no: String,
    pub channel: String,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PaymentStarted {
    pub order_no: String,
    /// At least one, each declaration once.
    pub items: Vec<OrderItem>,
    /// The sum of the items.
    pub amount: Money,
    pub gateway: Gateway,
    pub method: Method,
    pub channel: String,
    /// Who pays, where it may be somebody else.
    pub acting_payer_id: Option<PayerId>,
    pub expires_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OrderItem {
    pub declaration_no: String,
    pub amount: Money,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PaymentReported {
    pub order_no: String,
    pub outcome: ReportOutcome,
    pub gateway_txn_no: Option<String>,
    /// The gateway's time.
    pub paid_at: Option<DateTime<Utc>>,
    pub code: Option<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RunRequested {
    pub schedule: String,
    /// The nominal date.
    pub business_date: NaiveDate,
    /// The schedule's own where none is given.
    pub slot: Option<i16>,
}

// Names, identity numbers and accounts do not end up in logs and panics by a stray `{:?}`.

impl fmt::Debug for EnrolmentChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentChanged")
            .field("payer_id", &self.payer_id)
            .field("insurance_type", &self.insurance_type)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AgreementChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgreementChanged")
            .field("payer_id", &self.payer_id)
            .field("agreement_no", &self.agreement_no)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// Whom it is about, where it says so.
    pub fn payer_id(&self) -> Option<&str> {
        match self {
            Message::EnrolmentChanged(message) => Some(message.payer_id.as_str()),
            Message::AgreementChanged(message) => Some(message.payer_id.as_str()),
            Message::AmountSet(message) => Some(message.payer_id.as_str()),
            Message::AmountVoided(message) => Some(message.payer_id.as_str()),
            Message::AssessmentChanged(message) => Some(message.payer_id.as_str()),
            Message::DeclarationSubmitted(message) => Some(message.payer_id.as_str()),
            Message::DeclarationVoidRequested(_)
            | Message::PaymentStarted(_)
            | Message::PaymentReported(_)
            | Message::RunRequested(_) => None,
        }
    }

    /// The numbers of the declarations it is about.
    pub fn declaration_nos(&self) -> Vec<&str> {
        match self {
            Message::DeclarationSubmitted(message) => vec![&message.declaration_no],
            Message::DeclarationVoidRequested(message) => vec![&message.declaration_no],
            Message::PaymentStarted(message) => message.items.iter().map(|item| item.declaration_no.as_str()).collect(),
            Message::EnrolmentChanged(_)
            | Message::AgreementChanged(_)
            | Message::AmountSet(_)
            | Message::AmountVoided(_)
            | Message::AssessmentChanged(_)
            | Message::PaymentReported(_)
            | Message::RunRequested(_) => vec![],
        }
    }

    /// The number of the online order it is about.
    pub fn order_no(&self) -> Option<&str> {
        match self {
            Message::PaymentStarted(message) => Some(&message.order_no),
            Message::PaymentReported(message) => Some(&message.order_no),
            Message::EnrolmentChanged(_)
            | Message::AgreementChanged(_)
            | Message::AmountSet(_)
            | Message::AmountVoided(_)
            | Message::AssessmentChanged(_)
            | Message::DeclarationSubmitted(_)
            | Message::DeclarationVoidRequested(_)
            | Message::RunRequested(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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

    #[test]
    fn an_order_names_each_declaration_once_and_ends_after_it_began() {
        let good = json!({"order_no": "O1", "items": [{"declaration_no": "S1", "amount": "1.00"},
            {"declaration_no": "S2", "amount": "2.00"}], "gateway": "alipay", "method": "alipay", "channel": "alipay_app",
            "expires_at": "2026-04-01T08:15:00+08:00"});
        let Message::PaymentStarted(message) = read("payment.started", good.clone()).unwrap() else { panic!() };
        assert_eq!((message.items.len(), message.amount.to_string()), (2, "3.00".into()));
        let wrong = [
            ("items", json!([])),
            ("items", json!("S1")),
            ("items", json!([{"declaration_no": "S1", "amount": "1.00"}, {"declaration_no": "S1", "amount": "1.00"}])),
            ("items", json!([{"declaration_no": "S1", "amount": "0.00"}])),
            ("items", json!([{"declaration_no": "S1"}])),
            ("order_no", json!("P000000100100000001")),
            ("gateway", json!("paypal")),
            ("method", json!("cash")),
            ("expires_at", json!("tomorrow")),
        ];
        for (field, value) in wrong {
            let mut data = good.clone();
            data[field] = value.clone();
            let fault = read("payment.started", data).unwrap_err();
            assert_eq!(fault.position.split('[').next().unwrap(), field, "{value}");
        }
    }
}
