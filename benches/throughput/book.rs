//! A book full of facts as the intake leaves them, written by the database itself: a million payers in seconds, where
//! their messages would need minutes. Payers arrived in any order, so neighbours in an index are strangers on the disk.

use pikou::crypt::Purpose;
use pikou::stages::Context;

use crate::Outcome;

/// Accounts and their holders that are encrypted; payers share them.
const ACCOUNTS: usize = 1000;
/// Payers written in one statement.
const AT_ONCE: i64 = 250_000;

/// Of 100 payers three have voided their year, four never signed, and one has ended the agreement.
pub async fn fill(ctx: &Context, payers: u32) -> Outcome<()> {
    let ring = ctx.keys.current();
    let seal = |purpose, text: String| ring.seal(purpose, text.as_bytes());
    let accounts: Vec<Vec<u8>> = (0..ACCOUNTS).map(|n| seal(Purpose::AccountNumber, format!("6222{n:015}"))).collect();
    let names: Vec<Vec<u8>> = (0..ACCOUNTS).map(|n| seal(Purpose::AccountName, format!("欧阳{n}"))).collect();
    let sealed = [
        "INSERT INTO enrolments (payer_id, insurance_type, status, effective_on, name, id_type, id_number, id_number_hash,
                                 division_code, fact_time, fact_id)
         SELECT payer_id, 'resident_pension', 'active', '2020-01-01', $2[1 + n % 1000], 'resident_id', $1[1 + n % 1000],
                sha256(payer_id::bytea), '110101', '2026-01-01', 'e' || n FROM bench_payers",
        "INSERT INTO agreements (payer_id, agreement_no, gateway, bank_code, account_no, account_name, status, batch_enabled,
                                 insurance_types, fact_time, fact_id)
         SELECT payer_id, 'A' || n, 'bank', ('{102,103,104,105,301,403}'::text[])[1 + n % 6], $1[1 + n % 1000],
                $2[1 + n % 1000], CASE WHEN n % 100 = 7 THEN 'ended' ELSE 'active' END, true, '{resident_pension}',
                '2026-01-02', 'a' || n FROM bench_payers WHERE n % 100 NOT IN (3, 4, 5, 6)",
    ];
    let amounts = "INSERT INTO amount_settings (insurance_type, valid_year, payer_id, fact_time, fact_id, amount, channel, state, sequence)
         SELECT 'resident_pension', 2026, payer_id, '2026-03-01', 's' || n, 1000 + n % 80 * 100, 'etax',
                CASE WHEN n % 100 IN (0, 1, 2) THEN 'voided' ELSE 'active' END, 1 FROM bench_payers";
    let mut connection = ctx.pool.acquire().await?;
    sqlx::raw_sql("CREATE TEMP TABLE bench_payers (n int, payer_id text)").execute(&mut *connection).await?;
    for from in (0..i64::from(payers)).step_by(AT_ONCE as usize) {
        let until = (from + AT_ONCE).min(payers.into()) - 1;
        sqlx::query("TRUNCATE bench_payers").execute(&mut *connection).await?;
        sqlx::query(
            "INSERT INTO bench_payers SELECT n, '1011' || lpad(n::text, 16, '0')
             FROM generate_series($1::int, $2::int) AS n ORDER BY hashint4(n)",
        )
        .bind(from as i32)
        .bind(until as i32)
        .execute(&mut *connection)
        .await?;
        for statement in sealed {
            sqlx::query(statement).bind(&accounts).bind(&names).execute(&mut *connection).await?;
        }
        sqlx::query(amounts).execute(&mut *connection).await?;
    }
    Ok(())
}
