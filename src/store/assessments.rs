//! Assessments: the newest known of each (payer, assessment number).

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::amount_settings::{decode_money, impossible};
use super::declarations::decode_period;
use crate::domain::amount_setting::FactOrder;
use crate::domain::assessment::{Assessment, AssessmentKind};

/// (payer, assessment number)
pub type AssessmentKey = (String, String);

/// The newest known word, and when it was said.
#[derive(Debug, Clone)]
pub struct KnownAssessment {
    pub assessment: Assessment,
    pub order: FactOrder,
}

/// Those of the keys that are known.
pub async fn load(
    tx: &mut PgConnection,
    payers: &[&str],
    numbers: &[&str],
) -> sqlx::Result<Vec<(AssessmentKey, KnownAssessment)>> {
    let rows = sqlx::query(
        "SELECT a.payer_id, a.assessment_no, a.insurance_type, a.kind, a.period_from, a.period_to, a.amount, a.pay_by, a.status,
                a.fact_time, a.fact_id
         FROM unnest($1::text[], $2::text[]) AS k (payer_id, assessment_no)
         JOIN assessments a ON a.payer_id = k.payer_id AND a.assessment_no = k.assessment_no",
    )
    .bind(payers)
    .bind(numbers)
    .fetch_all(tx)
    .await?;
    rows.iter()
        .map(|row| {
            let assessment = Assessment {
                insurance_type: row.get(2),
                kind: AssessmentKind::parse(row.get(3)).ok_or_else(|| impossible("assessments.kind"))?,
                period: decode_period(row.get(4), row.get(5))?,
                amount: decode_money(row.get(6))?,
                pay_by: row.get(7),
                issued: row.get::<&str, _>(8) == "issued",
            };
            let order = FactOrder { time: row.get(9), id: row.get(10) };
            Ok(((row.get(0), row.get(1)), KnownAssessment { assessment, order }))
        })
        .collect()
}

/// Writes the newest word of each assessment (at most one row a key).
pub async fn upsert(tx: &mut PgConnection, rows: &[(&AssessmentKey, &KnownAssessment)]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO assessments (payer_id, assessment_no, insurance_type, kind, period_from, period_to, amount, pay_by, status,
                                  fact_time, fact_id)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::date[],
                              $9::text[], $10::timestamptz[], $11::text[])
         ON CONFLICT (payer_id, assessment_no) DO UPDATE SET
             insurance_type = excluded.insurance_type, kind = excluded.kind, period_from = excluded.period_from,
             period_to = excluded.period_to, amount = excluded.amount, pay_by = excluded.pay_by, status = excluded.status,
             fact_time = excluded.fact_time, fact_id = excluded.fact_id",
    )
    .bind(rows.iter().map(|row| row.0.0.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.0.1.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.assessment.insurance_type.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.assessment.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.assessment.period.from.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.assessment.period.to.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.assessment.amount.decimal()).collect::<Vec<Decimal>>())
    .bind(rows.iter().map(|row| row.1.assessment.pay_by).collect::<Vec<NaiveDate>>())
    .bind(rows.iter().map(|row| if row.1.assessment.issued { "issued" } else { "withdrawn" }).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.order.time).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.order.id.as_str()).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}
