//! A database full of data at an earlier schema is brought up to date, and what was on its way goes on.

use std::borrow::Cow;

use pikou::store::MIGRATOR;
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

use crate::support::*;

/// The migrations up to a version.
fn up_to(version: i64) -> Migrator {
    let migrations = MIGRATOR.iter().filter(|migration| migration.version <= version).cloned().collect();
    Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }
}

#[tokio::test]
async fn what_waits_at_the_first_schema_says_in_the_next_what_it_waits_for() {
    let url = new_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    up_to(7).run(&mut connection).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO enrolments VALUES ('P1', 'resident_pension', 'active', '2020-01-01', '', 'other', '', '', '110101', NULL, now(), 'e');
         INSERT INTO messages (source, id, kind, payer_id, sent_at, received_at, digest, raw, outcome, wait_for, wait_until)
         VALUES ('//s', 'amount', 'pikou.in.amount.set.v1', 'P2', '2026-04-01', now(), '', '', 'waiting', 'resident_pension', now()),
                ('//s', 'special', 'pikou.in.declaration.submitted.v1', 'P1', '2026-04-02', now(), '', '', 'waiting', 'resident_pension', now()),
                ('//s', 'not-enrolled', 'pikou.in.declaration.submitted.v1', 'P2', '2026-04-03', now(), '', '', 'waiting', 'resident_pension', now());
         INSERT INTO declarations (declaration_no, payer_id, insurance_type, kind, period_from, period_to, assessment_no, amount, channel,
                                   collect_by, state, submitted_at, sequence)
         VALUES ('S1', 'P1', 'resident_pension', 'special', '202401', '202412', 'A1', 1, 'etax', 'online', 'awaiting_enrolment', '2026-04-02', 1),
                ('S2', 'P2', 'resident_pension', 'special', '202401', '202412', 'A2', 1, 'etax', 'online', 'awaiting_enrolment', '2026-04-03', 1);
         INSERT INTO attempts (order_no, payer_id, run_id, lane, declaration_no, agreement_no, amount, state, declaration_sequence)
         VALUES ('P000000100100000001', 'P9', 1, 1, 'D000000100100000001', 'A', 1, 'planned', 2)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    MIGRATOR.run(&mut connection).await.unwrap();
    let waits: Vec<(String, String)> =
        sqlx::query_as("SELECT id, wait_for FROM messages ORDER BY id").fetch_all(&mut connection).await.unwrap();
    let wanted = [
        ("amount", "enrolment/P2/resident_pension"),
        ("not-enrolled", "enrolment/P2/resident_pension"),
        ("special", "assessment/P1/A1"),
    ];
    assert_eq!(waits, wanted.map(|(id, wait)| (id.to_owned(), wait.to_owned())));
    let attempts: Vec<(String, i16)> =
        sqlx::query_as("SELECT order_no, item FROM attempts").fetch_all(&mut connection).await.unwrap();
    assert_eq!(attempts, [("P000000100100000001".to_owned(), 1)]);
}

#[tokio::test]
async fn runs_of_every_state_go_on_after_they_can_also_wait_and_be_cancelled() {
    let url = new_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    up_to(11).run(&mut connection).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO runs (schedule, business_date, slot, insurance_type, valid_year, period_from, period_to, retry_runs, state, created_at,
                           planned_at, sealed_at, closed_at)
         SELECT 's', day::date, 1, 'resident_pension', 2026, '202601', '202612', 1, state, now(), planned, sealed, closed
         FROM (VALUES ('2026-04-15', 'planning', NULL::timestamptz, NULL::timestamptz, NULL::timestamptz), ('2026-05-15', 'planned', now(), NULL, NULL),
                      ('2026-06-15', 'sealed', now(), now(), NULL), ('2026-07-15', 'closed', now(), now(), now()))
              AS r (day, state, planned, sealed, closed)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    MIGRATOR.run(&mut connection).await.unwrap();
    sqlx::raw_sql(
        "UPDATE runs SET state = 'held', planned_at = now(), hold_reasons = '{first_of_year}' WHERE state = 'planning';
         INSERT INTO run_decisions (run_id, kind, decided_by, reason, decided_at) SELECT run_id, 'cancel', 'x', 'y', now() FROM runs WHERE state = 'planned';
         UPDATE runs SET cancellation = 1 WHERE state = 'planned';
         UPDATE runs SET state = 'cancelled', cancelled_at = now() WHERE state = 'planned';
         UPDATE runs SET state = 'sent', sent_at = now() WHERE state = 'sealed'",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let states: Vec<String> =
        sqlx::query_scalar("SELECT state FROM runs ORDER BY business_date").fetch_all(&mut connection).await.unwrap();
    assert_eq!(states, ["held", "cancelled", "sent", "closed"]);
}
