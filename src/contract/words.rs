//! How the fields on the wire are written: patterns, and the closed lists of words, which are those of the domain. Each
//! function is the JSON Schema of one kind of field; the fields name them.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::envelope::{NotUnderstoodCode, SHORT_TEXT_MAX};
use super::refusal::RefusalCode;
use crate::domain::amount_setting::{HoldReason, SettingState};
use crate::domain::assessment::AssessmentKind;
use crate::domain::attempt::Withdrawal;
use crate::domain::declaration::{CollectBy, Kind, PublicStatus};
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::domain::eligibility::SkipReason;
use crate::domain::identity::PayerId;
use crate::domain::order::{Gateway, Method, ReportOutcome};
use crate::domain::outcome::OutcomeClass;
use crate::domain::threshold::RunHoldReason;

/// Of an enrolment; an agreement is never suspended.
pub const ENROLMENT_STATUSES: [&str; 3] = ["active", "suspended", "ended"];
pub const AGREEMENT_STATUSES: [&str; 2] = ["active", "ended"];
pub const ASSESSMENT_STATUSES: [&str; 2] = ["issued", "withdrawn"];

type Words = Vec<&'static str>;

pub fn withdrawals() -> Words {
    Withdrawal::ALL.into_iter().map(Withdrawal::as_str).collect()
}

pub fn refusal_codes() -> Words {
    RefusalCode::ALL.iter().map(|code| code.as_str()).collect()
}

pub fn quarantine_codes() -> Words {
    NotUnderstoodCode::ALL.into_iter().map(NotUnderstoodCode::as_str).collect()
}

pub fn declaration_kinds() -> Words {
    Kind::ALL.into_iter().map(Kind::as_str).collect()
}

pub fn ways_to_collect() -> Words {
    CollectBy::ALL.into_iter().map(CollectBy::as_str).collect()
}

pub fn public_statuses() -> Words {
    PublicStatus::ALL.into_iter().map(PublicStatus::as_str).collect()
}

pub fn one_of(words: impl IntoIterator<Item = &'static str>) -> Schema {
    let words: Vec<Value> = words.into_iter().map(Value::from).collect();
    json_schema!({"type": "string", "enum": words})
}

fn pattern(pattern: &str) -> Schema {
    json_schema!({"type": "string", "pattern": pattern})
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $schema:expr;)*) => {
        $($(#[$doc])* pub fn $name(_: &mut SchemaGenerator) -> Schema { $schema })*
    };
}

fields! {
    specversion = json_schema!({"type": "string", "const": "1.0"});
    datacontenttype = json_schema!({"type": "string", "const": "application/json"});
    /// The schema of the type takes its place.
    anything = json_schema!(true);
    /// No control characters; the length is counted in bytes where it is read.
    text = json_schema!({"type": "string", "minLength": 1, "maxLength": SHORT_TEXT_MAX,
        "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"});
    texts = json_schema!({"type": "array", "items": text(&mut SchemaGenerator::default())});
    /// Of any length: a sentence, or a name made of several texts.
    saying = json_schema!({"type": "string", "minLength": 1});
    any_text = json_schema!({"type": "string"});
    payer_id = json_schema!({"type": "string", "pattern": format!("^[!-~]{{1,{}}}$", PayerId::MAX_CHARS)});
    /// Yuan with two decimals.
    money = pattern(r"^[0-9]{1,16}\.[0-9]{2}$");
    year = json_schema!({"type": "integer", "minimum": 2000, "maximum": 2999});
    month = pattern("^2[0-9]{3}(0[1-9]|1[0-2])$");
    date = json_schema!({"type": "string", "format": "date",
        "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"});
    /// RFC 3339 in UTC.
    instant = json_schema!({"type": "string", "format": "date-time",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z$"});
    /// RFC 3339, wherever the sender is.
    instant_anywhere = json_schema!({"type": "string", "format": "date-time",
        "pattern": r"^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"});
    /// Yuan with at most two decimals, as a text: a JSON number has lost its decimals before we see it.
    money_in = pattern(r"^[0-9]{1,12}(\.[0-9]{1,2})?$");
    positive_money_in = json_schema!({"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,2})?$",
        "not": {"pattern": r"^0+(\.0+)?$"}});
    /// A number, or its four digits.
    year_in = json_schema!({"anyOf": [{"type": "integer", "minimum": 2000, "maximum": 2999},
        {"type": "string", "pattern": "^2[0-9]{3}$"}]});
    date_in = json_schema!({"type": "string", "format": "date",
        "pattern": "^(19|2[0-9])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"});
    division_code = pattern("^[0-9]{6,12}$");
    slot = json_schema!({"type": "integer", "minimum": 1, "maximum": 99});
    flag = json_schema!({"type": "boolean"});
    enrolment_status = one_of(ENROLMENT_STATUSES);
    agreement_status = one_of(AGREEMENT_STATUSES);
    collect_by = one_of(ways_to_collect());
    sha256 = pattern("^[0-9a-f]{64}$");
    number = json_schema!({"type": "integer", "minimum": 1});
    count = json_schema!({"type": "integer", "minimum": 0});
    /// 支付渠道.
    gateway = one_of(Gateway::ALL.into_iter().map(Gateway::as_str));
    /// How the payer pays.
    method = one_of(Method::ALL.into_iter().map(Method::as_str));
    report_outcome = one_of(ReportOutcome::ALL.into_iter().map(ReportOutcome::as_str));
    assessment_kind = one_of(AssessmentKind::ALL.into_iter().map(AssessmentKind::as_str));
    assessment_status = one_of(ASSESSMENT_STATUSES);
    /// `fulfilled` and `held` are not stored as states: the settlement and the hold say so.
    amount_status = one_of(SettingState::ALL.into_iter().map(SettingState::as_str).chain(["fulfilled", "held"]));
    hold_reason = one_of(HoldReason::ALL.into_iter().map(HoldReason::as_str));
    declaration_kind = one_of(declaration_kinds());
    public_status = one_of(public_statuses());
    /// Why it is payable again or void (that of the attempt's withdrawal, or its failure), or rejected.
    declaration_reason = one_of(withdrawals().into_iter().chain(["deduction_failed", "payment_failed", "requested", "assessment_withdrawn", "assessment_changed"]).chain(refusal_codes()));
    outcome_class = one_of(OutcomeClass::ALL.into_iter().filter(|class| *class != OutcomeClass::Success).map(OutcomeClass::as_str));
    skip_reason = one_of(SkipReason::ALL.into_iter().map(SkipReason::as_str));
    /// Of its events; between `sent` and `closed` a run is settling, of which none tells.
    run_state = one_of(["planned", "held", "cancelled", "sealed", "sent", "closed"]);
    /// Of a run: what is out of the ordinary about it.
    hold_reasons = json_schema!({"type": "array", "minItems": 1, "items": one_of(RunHoldReason::ALL.into_iter().map(RunHoldReason::as_str))});
    /// Why a payment is taken back without its money.
    reversal_reason = one_of(["undone"]);
    file_refusal = one_of(["malformed", "totals_differ", "wrong_file"]);
    discrepancy_kind = one_of(DiscrepancyKind::ALL.into_iter().map(DiscrepancyKind::as_str));
    decision = one_of(Decision::ALL.into_iter().map(Decision::as_str));
    /// Of two payments for the same.
    earlier = one_of(["this", "booked"]);
    message_code = one_of(refusal_codes().into_iter().chain(quarantine_codes()));
}
