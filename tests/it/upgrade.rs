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

#[tokio::test]
async fn what_disagreed_before_people_could_decide_is_decided_on_and_a_payment_of_then_is_reversed() {
    let url = new_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    up_to(16).run(&mut connection).await.unwrap();
    sqlx::raw_sql(
        "SET session_replication_role = replica;
         INSERT INTO declarations (declaration_no, payer_id, insurance_type, kind, period_from, period_to, amount, channel, collect_by, state,
                                   submitted_at, sequence)
         VALUES ('D1', 'P1', 'resident_pension', 'normal', '202601', '202612', 1, 'etax', 'batch', 'paying', now(), 2);
         INSERT INTO attempts (order_no, payer_id, run_id, lane, declaration_no, agreement_no, amount, state, declaration_sequence)
         VALUES ('O1', 'P1', 1, 1, 'D1', 'A', 1, 'planned', 2);
         INSERT INTO settlements (order_no, payer_id, declaration_no, insurance_type, kind, period_from, period_to, valid_year, amount,
                                  channel, gateway, bank_code, settled_at, result_file_id, line_no, booked_at, sequence, declaration_sequence)
         VALUES ('O1', 'P1', 'D1', 'resident_pension', 'normal', '202601', '202612', 2026, 1, 'etax', 'bank', '102', now(), 1, 2, now(), 3, 3);
         INSERT INTO discrepancies (kind, gateway, bank_code, result_file_id, line_no, order_no, payer_id, declaration_no, amount_theirs,
                                    code, opened_at)
         VALUES ('contradiction', 'bank', '102', 1, 3, 'O1', 'P1', 'D1', 1, '1001', now());
         RESET session_replication_role",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    MIGRATOR.run(&mut connection).await.unwrap();
    let standing = "SELECT count(*) FROM standing_settlements";
    assert_eq!(sqlx::query_scalar::<_, i64>(standing).fetch_one(&mut connection).await.unwrap(), 1);
    sqlx::raw_sql(
        "INSERT INTO discrepancy_decisions (discrepancy_id, kind, what, decided_by, reason, decided_at)
         VALUES (1, 'contradiction', 'accept_failure', 'Li Lei', 'why', now());
         UPDATE discrepancies SET state = 'resolved', decision_id = 1, sequence = sequence + 1;
         INSERT INTO reversals (order_no, payer_id, item, declaration_no, decision_id, reversed_at, booked_at, sequence, declaration_sequence)
         VALUES ('O1', 'P1', 1, 'D1', 1, now(), now(), 5, 4);
         UPDATE attempts SET state = 'reversed';
         UPDATE declarations SET state = 'reversed';
         INSERT INTO declarations (declaration_no, payer_id, insurance_type, kind, period_from, period_to, amount, channel, collect_by, state,
                                   submitted_at, sequence)
         SELECT 'D2', payer_id, insurance_type, kind, period_from, period_to, amount, channel, collect_by, 'payable', now(), 1 FROM declarations",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT d.state || ' ' || a.status || ' ' || (SELECT count(*) FROM standing_settlements)
         FROM attempt_status a, discrepancies d",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(found, ["resolved reversed 0"]);
}
