//! What no statement may do, whoever writes it: each tries to get round a guard and is refused by its name.

use std::collections::BTreeSet;

use pikou::domain::amount_setting::{HoldReason, SettingState};
use pikou::domain::attempt::{AttemptState, Withdrawal};
use pikou::domain::declaration::DeclarationState;
use pikou::domain::discrepancy::DiscrepancyKind;
use pikou::domain::eligibility::SkipReason;
use pikou::domain::threshold::RunHoldReason;
use pikou::schedule::Missed;
use serde_json::json;

use crate::support::*;

/// Books in which everything has happened once. In the first run P1 has paid, P2 failed, P3 is out, P4 was withdrawn,
/// P5's outcome is not known, P6 was skipped, P8 failed for good; the second run is planned with P2 and P7 and not sealed.
async fn books() -> Place {
    let place = Place::new().await;
    for payer in ["P1", "P2", "P3", "P4", "P5", "P6", "P8"] {
        place.take(&ready(payer, "1500.00")).await;
    }
    place.take(&[amount_voided("P6", "void-P6", "2026-04-03T00:00:00Z")]).await;
    let lease = place.plan().await;
    place.take(&[amount_voided("P4", "void-P4", "2026-04-15T00:30:00Z")]).await;
    place.seal(lease).await;
    place.deliver(lease).await;
    let order = |number: u8| format!("P0000001001{number:08}");
    let rows = [
        Row::paid(&order(1), "1500.00"),
        Row::failed(&order(2), "1500.00", "1001"),
        Row::failed(&order(5), "1500.00", "9001"),
        Row::failed(&order(6), "1500.00", "2001"),
        Row::paid("P9999999999", "1.00"),
    ];
    place.reconcile("R1", &result_file("102_20260415_1_0001.txt", &rows)).await;
    place.take(&ready("P7", "1500.00")).await;
    place.plan_on(chrono::NaiveDate::from_ymd_opt(2026, 5, 15).unwrap()).await;
    let wanted = [
        "P1 succeeded",
        "P2 failed",
        "P3 sent",
        "P4 withdrawn voided",
        "P5 unknown",
        "P8 failed",
        "P2 planned",
        "P7 planned",
    ];
    assert_eq!(place.attempts().await, wanted);
    place
}

async fn each_is_refused(place: &Place, cases: &[(&str, String, &str)]) {
    let mut found = Vec::new();
    for (what, sql, _) in cases {
        found.push(format!("{what}: {}", place.refused_by(sql).await));
    }
    let wanted: Vec<String> = cases.iter().map(|(what, _, guard)| format!("{what}: {guard}")).collect();
    assert_eq!(found, wanted);
}

fn copy_attempt(payer: &str, order_no: &str) -> String {
    format!(
        "INSERT INTO attempts (order_no, payer_id, run_id, lane, declaration_no, agreement_no, amount, state, declaration_sequence)
         SELECT '{order_no}', payer_id, run_id, lane, declaration_no, agreement_no, amount, 'planned', declaration_sequence
         FROM attempts WHERE payer_id = '{payer}' ORDER BY order_no DESC LIMIT 1"
    )
}

/// Books a success of a payer's latest attempt, with one column as given.
fn settle(payer: &str, column: &str, value: &str) -> String {
    let given = |name: &str, otherwise: &str| if name == column { value.to_owned() } else { otherwise.to_owned() };
    format!(
        "INSERT INTO settlements (order_no, payer_id, declaration_no, insurance_type, kind, period_from, period_to, valid_year, amount,
                                  channel, gateway, bank_code, gateway_txn_no, settled_at, result_file_id, line_no, booked_at, sequence,
                                  declaration_sequence)
         SELECT {}, a.payer_id, {}, d.insurance_type, d.kind, d.period_from, d.period_to, 2026, {}, d.channel, 'bank', '102', {}, now(),
                1, 99, now(), 9, 9
         FROM attempts a JOIN declarations d USING (declaration_no, payer_id)
         WHERE a.payer_id = '{payer}' ORDER BY a.order_no DESC LIMIT 1",
        given("order_no", "a.order_no"),
        given("declaration_no", "a.declaration_no"),
        given("amount", "a.amount"),
        given("gateway_txn_no", "'T-other'"),
    )
}

#[tokio::test]
async fn nothing_is_owed_or_tried_or_paid_twice() {
    let place = books().await;
    let second_declaration = "INSERT INTO declarations (declaration_no, payer_id, insurance_type, kind, period_from, period_to, amount,
                                                        channel, collect_by, state, submitted_at, sequence)
         SELECT 'D-second', payer_id, insurance_type, kind, period_from, period_to, amount, 'etax', 'online', 'payable', now(), 1
         FROM declarations WHERE payer_id = 'P3'";
    let second_run = "INSERT INTO runs (schedule, business_date, slot, insurance_type, valid_year, period_from, period_to, retry_runs, state, created_at)
         SELECT schedule, business_date, slot, insurance_type, valid_year, period_from, period_to, retry_runs, 'planning', now() FROM runs WHERE run_id = 1";
    let second_amount = "INSERT INTO amount_settings (insurance_type, valid_year, payer_id, fact_time, fact_id, amount, channel, state, sequence)
         SELECT insurance_type, valid_year, payer_id, now(), 'second', amount, channel, 'active', 9 FROM amount_settings WHERE payer_id = 'P3'";
    let settlement = "settlements_rest_on_live_attempts";
    let cases = [
        ("a second attempt while one is out", copy_attempt("P3", "X1"), "one_live_attempt"),
        ("a second attempt while the first is unknown", copy_attempt("P5", "X1"), "one_live_attempt"),
        ("a second attempt after the first has paid", copy_attempt("P1", "X1"), "one_live_attempt"),
        ("a second declaration of one obligation", second_declaration.into(), "one_live_declaration"),
        ("a second settlement", settle("P1", "", ""), "settlements_pkey"),
        (
            "a transaction number twice",
            settle("P3", "gateway_txn_no", "'TP000000100100000001'"),
            "a_transaction_settles_once",
        ),
        ("a settlement of more", settle("P3", "amount", "a.amount + 0.01"), settlement),
        ("a settlement of less", settle("P5", "amount", "a.amount - 0.01"), settlement),
        ("a settlement of another declaration", settle("P3", "declaration_no", "'D000000100100000001'"), settlement),
        ("a settlement of no order", settle("P3", "order_no", "'X1'"), settlement),
        ("a settlement of another payer's order", settle("P3", "order_no", "'P000000100100000005'"), settlement),
        ("a settlement of what was withdrawn", settle("P4", "", ""), settlement),
        ("a settlement of what has failed", settle("P2", "order_no", "'P000000100100000002'"), settlement),
        ("a settlement of what is not sealed", settle("P7", "", ""), settlement),
        ("two runs in one slot", second_run.into(), "one_run_a_slot"),
        ("two active amounts", second_amount.into(), "one_active_amount"),
        (
            "a voided amount made active beside another",
            second_amount.replace("'active'", "'superseded'"),
            "nobody: 1 rows",
        ),
        ("control: a settlement of what is out", settle("P3", "", ""), "nobody: 1 rows"),
        ("control: a settlement of what is unknown", settle("P5", "", ""), "nobody: 1 rows"),
        ("control: another attempt after a failure is withdrawn", copy_attempt("P4", "X1"), "nobody: 1 rows"),
    ];
    each_is_refused(&place, &cases).await;
}

#[tokio::test]
async fn no_state_goes_where_the_rule_book_forbids_it() {
    let place = books().await;
    let attempt = |of: &str, set: &str| format!("UPDATE attempts SET {set} WHERE payer_id = '{of}' AND run_id = 1");
    let declared = |of: &str, set: &str| format!("UPDATE declarations SET {set} WHERE payer_id = '{of}'");
    let run = |set: &str| format!("UPDATE runs SET {set} WHERE run_id = 1");
    let file = |set: &str| format!("UPDATE request_files SET {set}");
    let result = |set: &str| format!("UPDATE result_files SET {set}");
    let forward = "attempts_move_forward";
    let filed = "declarations_move_forward";
    let freed = "no_declaration_is_freed_under_a_live_attempt";
    let withdrawn = "state = 'withdrawn', withdrawal = 'voided'";
    let cases = [
        ("withdrawing what is out", attempt("P3", withdrawn), "what_is_sealed_is_not_withdrawn"),
        ("withdrawing what has paid", attempt("P1", withdrawn), "what_is_sealed_is_not_withdrawn"),
        ("withdrawing what is unknown", attempt("P5", withdrawn), forward),
        ("a withdrawal without a reason", attempt("P3", "state = 'withdrawn'"), "a_withdrawal_has_its_reason"),
        ("failing what has paid", attempt("P1", "state = 'failed'"), "what_is_settled_does_not_change"),
        ("doubting what has paid", attempt("P1", "state = 'unknown'"), "what_is_settled_does_not_change"),
        ("planning what has failed", attempt("P8", "state = 'planned'"), forward),
        ("doubting what has failed", attempt("P8", "state = 'unknown'"), forward),
        ("planning what is unknown", attempt("P5", "state = 'planned'"), forward),
        ("reviving what was withdrawn", attempt("P4", "state = 'planned', withdrawal = NULL"), forward),
        ("a state of no name", attempt("P3", "state = 'lost'"), "attempts_state_check"),
        ("another amount", attempt("P3", "amount = amount + 1"), forward),
        ("another declaration", attempt("P3", "declaration_no = 'D1'"), forward),
        ("another order number", attempt("P3", "order_no = 'X1'"), forward),
        ("freeing what is out", declared("P3", "state = 'payable'"), freed),
        ("voiding what is out", declared("P3", "state = 'voided'"), freed),
        ("voiding what is paid", declared("P1", "state = 'voided'"), freed),
        ("reviving what is void", declared("P4", "state = 'payable'"), filed),
        ("rejecting what is out", declared("P3", "state = 'rejected'"), filed),
        ("declaring another amount", declared("P3", "amount = amount + 1"), filed),
        ("declaring another period", declared("P3", "period_to = '202611'"), filed),
        ("a run sealed again", run("state = 'planned', sealed_at = NULL"), "runs_move_forward"),
        ("a run planned again", run("state = 'planning', planned_at = NULL, sealed_at = NULL"), "runs_move_forward"),
        ("an older lease", run("lease_epoch = lease_epoch - 1"), "runs_move_forward"),
        ("a run of another day", run("business_date = '2026-04-16'"), "runs_move_forward"),
        ("a candidate without account", run("candidates = candidates + 1"), "every_candidate_is_accounted_for"),
        ("a closed run without its time", run("state = 'closed'"), "closed_when_it_says_so"),
        (
            "a file sent again",
            file("state = 'sealed', delivered_at = NULL, delivering_at = NULL"),
            "request_files_move_forward",
        ),
        ("other bytes after delivery", file("content = 'x'"), "request_files_move_forward"),
        ("another hash after delivery", file("sha256 = 'x'"), "request_files_move_forward"),
        ("more rows than outcomes", result("rows = rows + 1"), "every_row_has_one_outcome"),
        ("an outcome less", result("repeated = repeated - 1"), "every_row_has_one_outcome"),
        ("an applied file without counts", result("rows = NULL"), "applied_when_it_says_so"),
        (
            "a settlement changed",
            "UPDATE settlements SET amount = amount + 1".into(),
            &evidence("UPDATE", "settlements"),
        ),
        (
            "an outcome changed",
            "UPDATE attempt_outcomes SET code = '0000'".into(),
            &evidence("UPDATE", "attempt_outcomes"),
        ),
        ("control: failing what is out", attempt("P3", "state = 'failed'"), "nobody: 1 rows"),
    ];
    each_is_refused(&place, &cases).await;
}

/// P1 pays two declarations by one order that is out, P2 has a third one in a run.
async fn order_and_run() -> Place {
    let place = Place::new().await;
    place.take(&ready("P2", "1500.00")).await;
    place.take(&[enrolment("P1"), declaration("P1", "N-P1", json!({"collect_by": "online"}))]).await;
    place
        .take(&[assessment("P1", "A1", "assess", "2026-03-01T00:00:00Z", json!({})), special("P1", "S-P1", "A1")])
        .await;
    let both = payment_started("O1", &[("N-P1", "2000.00"), ("S-P1", "1200.00")], json!({}));
    assert_eq!(place.take(&[both]).await.accepted, 1);
    // One that is free, one that is void, and another payer's.
    let more = "INSERT INTO declarations (declaration_no, payer_id, insurance_type, kind, period_from, period_to, amount, channel,
                                          collect_by, state, submitted_at, sequence)
         SELECT no, payer, 'resident_medical', 'normal', '202601', '202612', 2000, 'etax', 'online', state, now(), 1
         FROM (VALUES ('F-P1', 'P1', 'payable'), ('V-P1', 'P1', 'voided'), ('F-P2', 'P2', 'payable')) AS d (no, payer, state)";
    sqlx::query(more).execute(&place.ctx.pool).await.unwrap();
    place.plan().await;
    assert_eq!(place.attempts().await, ["P1 sent", "P1 sent", "P2 planned"]);
    place
}

#[tokio::test]
async fn an_online_order_is_held_by_the_same_guards_and_by_its_own() {
    let place = order_and_run().await;
    let attempt = |set: &str| format!("UPDATE attempts SET {set} WHERE order_no = 'O1'");
    let another = |order_no: &str, item: i32, number: &str, amount: &str, state: &str| {
        format!(
            "INSERT INTO attempts (order_no, payer_id, item, declaration_no, amount, state, declaration_sequence)
             VALUES ('{order_no}', 'P1', {item}, '{number}', {amount}, '{state}', 9)"
        )
    };
    let order_of = |number: &str, items: i32, amount: &str| {
        format!(
            "WITH a AS ({} RETURNING 1)
             INSERT INTO online_orders (order_no, payer_id, gateway, method, channel, items, amount, state, started_at, expires_at, sequence)
             SELECT 'O2', 'P1', 'alipay', 'alipay', 'etax', {items}, {amount}, 'started', now(), now(), 1 FROM a",
            another("O2", 1, number, amount, "sent")
        )
    };
    let order = |items: i32, amount: &str| {
        order_of("F-P1", items, "2000")
            .replace(&format!("{items}, 2000, 'started'"), &format!("{items}, {amount}, 'started'"))
    };
    let settle = |items: &str, change: &str, value: &str| {
        let given = |name: &str, otherwise: &str| if name == change { value.to_owned() } else { otherwise.to_owned() };
        format!(
            "INSERT INTO settlements (order_no, payer_id, item, declaration_no, insurance_type, kind, period_from, period_to, valid_year,
                                      amount, channel, gateway, bank_code, gateway_txn_no, settled_at, message_source, message_id,
                                      result_file_id, line_no, booked_at, sequence, declaration_sequence)
             SELECT order_no, payer_id, item, declaration_no, 'resident_pension', 'normal', '202601', '202612', 2026, {}, 'etax',
                    'alipay', '', 'T1', now(), {}, 'm', {}, NULL, now(), 9, 9
             FROM attempts WHERE order_no = 'O1' AND item IN ({items})",
            given("amount", "amount"),
            given("message_source", "'s'"),
            given("result_file_id", "NULL")
        )
    };
    let order_set = |set: &str| format!("UPDATE online_orders SET {set}");
    let run_sent = "UPDATE attempts SET state = 'sent' WHERE payer_id = 'P2'";
    let forward = "attempts_move_forward";
    let cases = [
        ("a second order for what is out", another("O2", 1, "N-P1", "2000", "sent"), "one_live_attempt"),
        ("a batch order number with a second item", another("O1", 1, "S-P1", "1", "failed"), "attempts_pkey"),
        (
            "an online payment that is planned",
            another("O2", 1, "N-x", "1", "planned"),
            "sent_is_stored_of_online_payments",
        ),
        ("a deduction that says it is sent", run_sent.into(), "sent_is_stored_of_online_payments"),
        (
            "an online payment withdrawn",
            attempt("state = 'withdrawn', withdrawal = 'voided'"),
            "sent_is_stored_of_online_payments",
        ),
        ("an order of another sum than its items", order(1, "2001"), "orders_hold_their_declarations"),
        ("an order of more items than it holds", order(2, "2000"), "orders_hold_their_declarations"),
        ("half of an order settled", settle("1", "", ""), "an_order_settles_whole"),
        ("an order settled for more", settle("1, 2", "amount", "amount + 0.01"), "settlements_rest_on_live_attempts"),
        ("a settlement without evidence", settle("1, 2", "message_source", "NULL"), "settled_on_evidence"),
        ("a settlement with two kinds of evidence", settle("1, 2", "result_file_id", "1"), "settled_on_evidence"),
        ("another amount", attempt("amount = amount + 1"), forward),
        ("an order of another sum", order_set("amount = amount + 1"), &evidence("UPDATE", "online_orders")),
        (
            "an order that is refused later",
            order_set("state = 'refused', code = 'x'"),
            &evidence("UPDATE", "online_orders"),
        ),
        ("a refusal without its code", order_set("state = 'refused'"), &evidence("UPDATE", "online_orders")),
        (
            "a declaration freed under its order",
            "UPDATE declarations SET state = 'payable' WHERE declaration_no = 'N-P1'".into(),
            "no_declaration_is_freed_under_a_live_attempt",
        ),
        ("control: the order settled whole", settle("1, 2", "", ""), "nobody: 2 rows"),
        ("control: the order failed", attempt("state = 'failed'"), "nobody: 2 rows"),
        ("an order of another sum than was declared", order_of("F-P1", 1, "1999"), "orders_pay_what_was_declared"),
        ("an order for what nobody has declared", order_of("F-none", 1, "2000"), "orders_pay_what_was_declared"),
        ("an order for another payer's declaration", order_of("F-P2", 1, "2000"), "orders_pay_what_was_declared"),
        ("an order for a void declaration", order_of("V-P1", 1, "2000"), "orders_pay_what_was_declared"),
        ("control: an order with what it holds", order(1, "2000"), "nobody: 1 rows"),
    ];
    each_is_refused(&place, &cases).await;
}

fn evidence(verb: &str, table: &str) -> String {
    format!("{verb} on {table} is not possible: its rows are evidence")
}

#[tokio::test]
async fn what_was_said_stays_as_it_was_said() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let mut voided = ready("P2", "1500.00");
    voided.push(amount_voided("P2", "void-P2", "2026-04-05T00:00:00Z"));
    place.take(&voided).await;
    place.run().await;
    place.reconcile("r", &result_file("r", &[])).await;
    for (table, change) in [
        ("result_file_pieces", "content = 'x'"),
        ("result_files", "sha256 = 'x'"),
        ("result_files", "file_name = 'x'"),
        ("amount_settings", "amount = 1"),
        ("amount_settings", "channel = 'x'"),
        ("run_skips", "reason = 'not_due'"),
    ] {
        assert!(place.count(&format!("SELECT count(*) FROM {table}")).await > 0, "{table} is empty");
        let change = format!("UPDATE {table} SET {change}");
        let refused = sqlx::query(sqlx::AssertSqlSafe(change.clone())).execute(&place.ctx.pool).await;
        let refused = refused.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("its rows are evidence"), "{change}: {refused}");
    }
}

#[tokio::test]
async fn what_is_evidence_is_never_deleted() {
    let place = books().await;
    let tables = [
        "settlements",
        "attempt_outcomes",
        "attempts",
        "declarations",
        "amount_settings",
        "amount_voids",
        "runs",
        "run_decisions",
        "missed_firings",
        "run_lanes",
        "run_skips",
        "request_files",
        "result_files",
        "discrepancies",
        "messages",
        "quarantine",
        "quarantine_decisions",
        "online_orders",
        "assessments",
        "hold_decisions",
        "year_turns",
        "carried_amounts",
        "expired_amounts",
    ];
    let mut found = Vec::new();
    let mut wanted = Vec::new();
    for table in tables {
        found.push(place.refused_by(&format!("DELETE FROM {table}")).await);
        found.push(place.refused_by(&format!("TRUNCATE {table} CASCADE")).await);
        wanted.push(evidence("DELETE", table));
        wanted.push(evidence("TRUNCATE", table));
    }
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn the_bytes_of_a_sealed_file_do_not_change_on_their_way() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    place.take(&[agreement_with("P2", "a", "2026-01-06T00:00:00Z", json!({}))]).await;
    let lease = place.plan().await;
    place.seal(lease).await;
    for state in ["sealed", "delivering"] {
        for set in [
            "content = 'x'",
            "sha256 = 'x'",
            "items = items + 1",
            "total = total + 1",
            "file_name = 'x'",
            "first_order_no = 'A'",
            "last_order_no = 'Z'",
            "bank_code = '105'",
        ] {
            let sql = format!("UPDATE request_files SET {set}, held_reason = 'x'");
            assert_eq!(place.refused_by(&sql).await, "request_files_move_forward", "{state}: {set}");
        }
        let sql = "UPDATE request_files SET state = 'delivering', delivering_at = now()";
        sqlx::query(sql).execute(&place.ctx.pool).await.unwrap();
    }
    let twice = "INSERT INTO request_files (run_id, lane, part, gateway, bank_code, file_name, first_order_no, last_order_no, state)
         SELECT run_id, lane, part + 1, gateway, bank_code, file_name, first_order_no, last_order_no, 'open' FROM request_files";
    assert_eq!(place.refused_by(twice).await, "a_name_is_used_once");
}

/// The words that the CHECK of a column allows.
async fn words(place: &Place, table: &str, column: &str) -> BTreeSet<String> {
    let sql = format!(
        "SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c
         JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
         WHERE c.conrelid = '{table}'::regclass AND c.contype = 'c' AND a.attname = '{column}'"
    );
    let checks = place.texts(&sql).await;
    checks.iter().flat_map(|check| check.split('\'').skip(1).step_by(2).map(str::to_owned)).collect()
}

#[tokio::test]
async fn the_words_of_the_database_are_those_of_the_rule_book() {
    let place = Place::new().await;
    fn all<T: Copy>(list: &[T], word: fn(T) -> &'static str) -> BTreeSet<String> {
        list.iter().map(|item| word(*item).to_owned()).collect()
    }
    let expected = [
        ("attempts", "state", all(&AttemptState::ALL, AttemptState::as_str)),
        ("attempts", "withdrawal", all(&Withdrawal::ALL, Withdrawal::as_str)),
        ("declarations", "state", all(&DeclarationState::ALL, DeclarationState::as_str)),
        ("amount_settings", "state", all(&SettingState::ALL, SettingState::as_str)),
        ("run_skips", "reason", all(&SkipReason::ALL, SkipReason::as_str)),
        ("runs", "hold_reasons", all(&RunHoldReason::ALL, RunHoldReason::as_str)),
        ("missed_firings", "reason", all(&Missed::ALL, Missed::as_str)),
        ("amount_settings", "hold_reason", all(&HoldReason::ALL, HoldReason::as_str)),
        ("discrepancies", "kind", all(&DiscrepancyKind::ALL, DiscrepancyKind::as_str)),
    ];
    for (table, column, of_the_rule_book) in expected {
        assert_eq!(words(&place, table, column).await, of_the_rule_book, "{table}.{column}");
    }
}

#[tokio::test]
async fn a_void_that_leaves_a_planned_deduction_is_not_committed_and_one_after_the_seal_is() {
    let place = Place::new().await;
    let messages: Vec<_> = ["P1", "P2"].iter().flat_map(|payer| ready(payer, "1500.00")).collect();
    place.take(&messages).await;
    let lease = place.plan().await;
    let voided = "UPDATE amount_settings SET state = 'voided' WHERE payer_id = 'P1'";
    // By itself a transaction of its own: the guard is asked at its commit.
    let refused = sqlx::raw_sql(voided).execute(&place.ctx.pool).await.unwrap_err();
    let refused = refused.into_database_error().unwrap();
    assert_eq!(refused.constraint(), Some("nothing_voided_is_planned"));
    let withdrawn = "UPDATE attempts SET state = 'withdrawn', withdrawal = 'voided' WHERE payer_id = 'P1'";
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{voided}; {withdrawn}"))).execute(&place.ctx.pool).await.unwrap();
    place.seal(lease).await;
    sqlx::raw_sql("UPDATE amount_settings SET state = 'voided' WHERE payer_id = 'P2'")
        .execute(&place.ctx.pool)
        .await
        .unwrap();
    assert_eq!(
        place.texts("SELECT payer_id || ' ' || state FROM amount_settings ORDER BY 1").await,
        ["P1 voided", "P2 voided"]
    );
    assert_eq!(place.attempts().await, ["P1 withdrawn voided", "P2 planned"]);
}
