//! The fields of each message that comes in, for its JSON Schema. To add a message: its fields here, in the order of the
//! document, and an example in `fixtures/messages/`; the test that holds schema and reader together says what is wrong.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::inbound::ORDER_ITEMS_MAX;
use super::schemas::word;
use super::words::*;

pub struct Field {
    pub name: &'static str,
    pub schema: Value,
    pub needed: Needed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    Always,
    /// May be left out or `null`.
    Maybe,
}

/// The fields of a message, and what they must be together.
pub struct Fields {
    pub fields: Vec<Field>,
    pub rules: Vec<Value>,
}

type Word = fn(&mut SchemaGenerator) -> Schema;

fn always(name: &'static str, schema: Word) -> Field {
    Field { name, schema: word(schema), needed: Needed::Always }
}

fn maybe(name: &'static str, schema: Word) -> Field {
    Field { name, schema: word(schema), needed: Needed::Maybe }
}

/// A field that also must not be something.
fn never(mut field: Field, what: Value) -> Field {
    field.schema["not"] = what;
    field
}

/// A message without insurance type, or without payer.
fn plain(fields: Vec<Field>) -> Option<Fields> {
    Some(Fields { fields, rules: vec![] })
}

/// What an order pays.
fn order_items(_: &mut SchemaGenerator) -> Schema {
    let item = json!({"type": "object", "required": ["declaration_no", "amount"],
        "properties": {"declaration_no": word(text), "amount": word(positive_money_in)}});
    json_schema!({"type": "array", "minItems": 1, "maxItems": ORDER_ITEMS_MAX, "items": item})
}

/// `None`: no such message.
pub fn of(name: &str) -> Option<Fields> {
    let payer = [always("payer_id", payer_id), always("insurance_type", text)];
    let (fields, rules) = match name {
        "enrolment.changed" => (
            vec![
                always("status", enrolment_status),
                always("effective_on", date_in),
                always("name", text),
                always("id_type", text),
                always("id_number", text),
                always("division_code", division_code),
                maybe("category", text),
            ],
            // The check character is the reader's to check.
            vec![json!({"if": {"properties": {"id_type": {"const": "resident_id"}}},
                        "then": {"properties": {"id_number": {"pattern": "^[0-9]{17}[0-9X]$"}}}})],
        ),
        "agreement.changed" => {
            return plain(vec![
                always("agreement_no", text),
                always("payer_id", payer_id),
                always("gateway", gateway),
                always("bank_code", text),
                always("account_no", text),
                always("account_name", text),
                always("status", agreement_status),
                always("batch_enabled", flag),
                always("insurance_types", texts),
                maybe("amount_max", money_in),
            ]);
        }
        "amount.set" => (
            vec![
                always("valid_year", year_in),
                always("amount", positive_money_in),
                maybe("period_from", month),
                always("channel", text),
            ],
            vec![],
        ),
        "amount.voided" => {
            (vec![always("valid_year", year_in), always("channel", text), maybe("reason", text)], vec![])
        }
        "declaration.submitted" => (
            vec![
                // D and 18 digits are the numbers that runs give.
                never(always("declaration_no", text), json!({"pattern": "^D[0-9]{18}$"})),
                always("kind", declaration_kind),
                always("period_from", month),
                always("period_to", month),
                always("amount", positive_money_in),
                never(always("channel", text), json!({"const": "batch"})),
                maybe("assessment_no", text),
                always("collect_by", collect_by),
            ],
            vec![json!({"if": {"properties": {"kind": {"const": "normal"}}},
                        "then": {"properties": {"assessment_no": {"type": "null"}}}})],
        ),
        "assessment.changed" => (
            vec![
                always("assessment_no", text),
                always("kind", assessment_kind),
                always("period_from", month),
                always("period_to", month),
                always("amount", positive_money_in),
                always("pay_by", date_in),
                always("status", assessment_status),
            ],
            vec![],
        ),
        "declaration.void_requested" => {
            return plain(vec![always("declaration_no", text), always("channel", text), maybe("reason", text)]);
        }
        "payment.started" => {
            return plain(vec![
                never(always("order_no", text), json!({"pattern": "^P[0-9]{18}$"})),
                always("items", order_items),
                always("gateway", gateway),
                always("method", method),
                always("channel", text),
                maybe("acting_payer_id", payer_id),
                always("expires_at", instant_anywhere),
            ]);
        }
        "payment.reported" => {
            return plain(vec![
                always("order_no", text),
                always("outcome", report_outcome),
                maybe("gateway_txn_no", text),
                maybe("paid_at", instant_anywhere),
                maybe("code", text),
                maybe("reason", text),
            ]);
        }
        "run.requested" => {
            return plain(vec![always("schedule", text), always("business_date", date_in), maybe("slot", slot)]);
        }
        _ => return None,
    };
    Some(Fields { fields: payer.into_iter().chain(fields).collect(), rules })
}
