//! Amounts that no run selects: after failed runs in a row, and because somebody said so. And what ends it.

use pikou::stages::hold::{self, Decision, Wish};
use pikou::store::amount_settings::YearKey;
use serde_json::json;

use crate::support::*;

const SUSPEND_AFTER: &str = "PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__SUSPEND_AFTER";

fn date(month: u32) -> chrono::NaiveDate {
    chrono::NaiveDate::from_ymd_opt(2026, month, 15).unwrap()
}

fn key(payer: &str) -> YearKey {
    (payer.into(), PENSION.into(), 2026)
}

fn decision(reason: &str) -> Decision {
    Decision { by: "Li Wei".into(), reason: reason.into() }
}

/// `payer amount why` of every held amount.
async fn held(place: &Place) -> Vec<String> {
    let sql = "SELECT payer_id || ' ' || amount || ' ' || hold_reason FROM amount_settings WHERE hold_reason IS NOT NULL ORDER BY 1";
    place.texts(sql).await
}

/// A run in which the payers named fail for want of balance and everybody else pays.
async fn failing_run(place: &Place, month: u32, failing: &[&str]) -> Vec<String> {
    let run_id = place.run_on(date(month)).await;
    let codes: Vec<(&str, &str)> = failing.iter().map(|payer| (*payer, "1001")).collect();
    place.answer(run_id, &codes).await;
    place.skips(run_id).await
}

#[tokio::test]
async fn runs_that_fail_in_a_row_suspend_the_amount_and_a_new_amount_releases_it() {
    let place = Place::with(&[(SUSPEND_AFTER, "2")]).await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    failing_run(&place, 4, &["P1", "P2"]).await;
    assert_eq!(held(&place).await, [""; 0]);
    failing_run(&place, 5, &["P1"]).await;
    assert_eq!(held(&place).await, ["P1 1500.00 suspended"]);
    let failed: Vec<_> =
        place.data_of("deduction.failed").await.iter().map(|data| data["tried_again"].clone()).collect();
    assert_eq!(failed, [json!(true), json!(true), json!(false)], "the payer is told when nothing is tried again");
    let told = place.data_of("amount.held").await;
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["payer_id"], &told[0]["hold_reason"]), (&json!("P1"), &json!("suspended")));

    let lease = place.plan_on(date(6)).await;
    assert_eq!(place.skips(lease.run_id).await, ["P1 suspended", "P2 already_paid"]);
    place.take(&[amount_set("P1", "anew", "2026-06-20T00:00:00Z", "1600.00")]).await;
    assert_eq!(held(&place).await, [""; 0]);
    let subject = format!("P1/{PENSION}/2026");
    let wanted = ["amount.set", "amount.held", "amount.superseded", "amount.set", "amount.released"];
    assert_eq!(place.told_of(&subject).await, wanted);

    // The count begins anew: one failure more suspends nobody.
    failing_run(&place, 7, &["P1"]).await;
    assert_eq!(held(&place).await, [""; 0]);
    failing_run(&place, 8, &["P1"]).await;
    assert_eq!(held(&place).await, ["P1 1600.00 suspended"]);
    place.account().await;
}

#[tokio::test]
async fn where_nothing_is_configured_no_number_of_failures_suspends() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    for month in 4..9 {
        failing_run(&place, month, &["P1"]).await;
    }
    assert_eq!(held(&place).await, [""; 0]);
    assert_eq!(place.count("SELECT count(*) FROM failure_streaks").await, 0);
}

/// A monthly type of a contribution base of which a fifth is owed.
const MONTHLY: &str = r#"
[insurance_types]
resident_pension = "month"
[regions.beijing.insurance.resident_pension]
rule = "base_rate"
rate = "0.20"
minimum = "6000.00"
window_from = "01-01"
window_to = "12-31"
suspend_after = 2
[schedules.guizhou_resident_pension]
enabled = false
"#;

fn base(payer: &str, id: &str, time: &str, amount: &str, from: &str) -> serde_json::Value {
    with_data(amount_set(payer, id, time, amount), json!({"period_from": from}))
}

async fn monthly(payers: &[&str]) -> Place {
    let mut place = Place::new().await;
    place.ctx = place.under_file(MONTHLY);
    for payer in payers {
        let first = base(payer, &format!("set-{payer}"), "2026-01-10T00:00:00Z", "7000.00", "202601");
        place.take(&[enrolment(payer), agreement(payer), first]).await;
    }
    place
}

#[tokio::test]
async fn a_success_in_between_begins_the_count_anew_also_across_months() {
    let place = monthly(&["P1", "P2"]).await;
    failing_run(&place, 4, &["P1", "P2"]).await;
    failing_run(&place, 5, &["P1"]).await;
    assert_eq!(held(&place).await, ["P1 7000.00 suspended"]);
    assert_eq!(failing_run(&place, 6, &["P2"]).await, ["P1 suspended"]);
    assert_eq!(held(&place).await, ["P1 7000.00 suspended"], "P2 has paid for May");
}

#[tokio::test]
async fn a_base_that_begins_later_is_not_used_early_and_ends_nothing_that_was_filed_before() {
    let place = monthly(&["P1", "P2", "P3"]).await;
    let later = base("P1", "later", "2026-04-01T00:00:00Z", "8000.00", "202606");
    place.take(&[later]).await;
    let lease = place.plan_on(date(4)).await;
    // While it is planned: one more that begins later, one that begins by then, and a void.
    place.take(&[base("P2", "july", "2026-04-15T00:10:00Z", "9000.00", "202607")]).await;
    place.take(&[base("P3", "april", "2026-04-15T00:10:00Z", "9000.00", "202604")]).await;
    place.seal(lease).await;
    place.deliver(lease).await;
    let wanted = ["P1 1400.00 sent", "P2 1400.00 sent", "P3 1400.00 withdrawn setting_changed"];
    assert_eq!(place.attempts_of(lease.run_id).await, wanted);
    place.answer(lease.run_id, &[("P1", "1001"), ("P2", "1001")]).await;
    let wanted = ["P1 1400.00 payable", "P2 1400.00 payable", "P3 1400.00 voided"];
    let sql = "SELECT payer_id || ' ' || amount || ' ' || state FROM declarations ORDER BY payer_id";
    assert_eq!(place.texts(sql).await, wanted, "what failed rests on the base of its month");

    let again = chrono::NaiveDate::from_ymd_opt(2026, 4, 28).unwrap();
    let run_id = place.run_on(again).await;
    assert_eq!(place.attempts_of(run_id).await, ["P1 1400.00 sent", "P2 1400.00 sent", "P3 1800.00 sent"]);
    let run_id = place.run_on(date(6)).await;
    assert_eq!(place.attempts_of(run_id).await, ["P1 1600.00 sent", "P2 1400.00 sent", "P3 1800.00 sent"]);
    place.account().await;
}

#[tokio::test]
async fn a_void_stops_the_months_before_a_base_that_is_set_anew_for_later() {
    let place = monthly(&["P1"]).await;
    let lease = place.plan_on(date(4)).await;
    let void = amount_voided("P1", "void", "2026-04-15T00:10:00Z");
    place.take(&[void, base("P1", "july", "2026-04-15T00:20:00Z", "9000.00", "202607")]).await;
    place.seal(lease).await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 1400.00 withdrawn voided"]);
    let lease = place.plan_on(date(6)).await;
    assert_eq!(place.skips(lease.run_id).await, ["P1 voided"]);
    let run_id = place.run_on(date(7)).await;
    assert_eq!(place.attempts_of(run_id).await, ["P1 1800.00 sent"]);
}

#[tokio::test]
async fn a_person_holds_an_amount_and_releases_it_and_both_are_kept() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    place.take(&[amount_voided("P2", "void", "2026-04-03T00:00:00Z")]).await;
    hold::decide(&place.ctx, &key("P1"), Wish::Set, &decision("court order")).await.unwrap();
    let lease = place.plan().await;
    assert_eq!(place.skips(lease.run_id).await, ["P1 suspended", "P2 voided"]);
    hold::decide(&place.ctx, &key("P1"), Wish::Release, &decision("lifted")).await.unwrap();
    let run_id = place.run_on(date(5)).await;
    assert_eq!(place.attempts_of(run_id).await, ["P1 1500.00 sent"]);
    let subject = format!("P1/{PENSION}/2026");
    assert_eq!(place.told_of(&subject).await, ["amount.set", "amount.held", "amount.released"]);
    let kept = "SELECT concat_ws(' ', payer_id, what, decided_by, reason) FROM hold_decisions ORDER BY decision_id";
    assert_eq!(place.texts(kept).await, ["P1 set Li Wei court order", "P1 release Li Wei lifted"]);
    for change in ["UPDATE hold_decisions SET reason = 'x'", "DELETE FROM hold_decisions"] {
        assert!(place.refused_by(change).await.contains("its rows are evidence"), "{change}");
    }
}

#[tokio::test]
async fn what_cannot_be_held_or_released_is_refused_and_leaves_nothing() {
    let place = Place::new().await;
    for payer in ["held", "free", "paid", "closed", "voided"] {
        place.take(&ready(payer, "1500.00")).await;
    }
    place.take(&[amount_voided("voided", "void", "2026-04-03T00:00:00Z")]).await;
    hold::decide(&place.ctx, &key("held"), Wish::Set, &decision("asked to wait")).await.unwrap();
    hold::decide(&place.ctx, &key("free"), Wish::Set, &decision("asked to wait")).await.unwrap();
    hold::decide(&place.ctx, &key("free"), Wish::Release, &decision("goes on")).await.unwrap();
    let run_id = place.run().await;
    place.answer(run_id, &[("closed", "2001"), ("free", "1001")]).await;
    let before = place.count("SELECT count(*) FROM hold_decisions").await;
    let nobody = Decision { by: " ".into(), reason: "x".into() };
    let cases = [
        (
            "held",
            Wish::Set,
            decision("again"),
            "the amount of held for resident_pension 2026 is held already: suspended",
        ),
        ("free", Wish::Release, decision("again"), "the amount of free for resident_pension 2026 is not held"),
        ("paid", Wish::Set, decision("late"), "the amount of paid for resident_pension 2026 is paid"),
        ("voided", Wish::Set, decision("late"), "the amount of voided for resident_pension 2026 is not active"),
        ("stranger", Wish::Set, decision("who"), "the amount of stranger for resident_pension 2026 is not active"),
        (
            "closed",
            Wish::Release,
            decision("why not"),
            "the amount of closed for resident_pension 2026 is held as no_agreement, which no decision ends but a new agreement or amount",
        ),
        ("free", Wish::Set, nobody, "a decision needs a name and a reason"),
    ];
    for (payer, wish, decision, wanted) in cases {
        let refused = hold::decide(&place.ctx, &key(payer), wish, &decision).await.unwrap_err();
        assert_eq!(refused.to_string(), wanted);
    }
    assert_eq!(place.count("SELECT count(*) FROM hold_decisions").await, before);
    assert_eq!(held(&place).await, ["closed 1500.00 no_agreement", "held 1500.00 suspended"]);
}

#[tokio::test]
async fn special_declarations_are_candidates_of_their_own_beside_the_normal_one() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let assessed =
        |number: &str, fields| assessment("P1", number, &format!("assess-{number}"), "2026-01-10T00:00:00Z", fields);
    let filed = |number: &str, assessment_no: &str| {
        with_data(special("P1", number, assessment_no), json!({"collect_by": "batch"}))
    };
    place
        .take(&[
            assessed("H1", json!({})),
            assessed("H2", json!({})),
            assessed("H3", json!({"pay_by": "2026-04-14"})),
            assessed("H4", json!({})),
            filed("S1", "H1"),
            filed("S2", "H2"),
            filed("S3", "H3"),
            special("P1", "S4", "H4"),
        ])
        .await;
    let lease = place.plan().await;
    // The assessment of one is withdrawn while it is planned.
    let withdrawn = assessment("P1", "H2", "withdraw-H2", "2026-04-15T00:10:00Z", json!({"status": "withdrawn"}));
    place.take(&[withdrawn, amount_voided("P1", "void", "2026-04-15T00:10:00Z")]).await;
    place.seal(lease).await;
    place.deliver(lease).await;
    let wanted = ["P1 1500.00 withdrawn voided", "P1 1200.00 sent", "P1 1200.00 withdrawn voided"];
    assert_eq!(place.attempts_of(lease.run_id).await, wanted, "a void of the year leaves the special one");
    let skipped = place.texts("SELECT declaration_no || ' ' || reason FROM run_skips").await;
    assert_eq!(skipped, ["S3 not_due"]);
    let told = place.data_of("deduction.skipped").await;
    let wanted = json!({"run_id": lease.run_id, "payer_id": "P1", "insurance_type": PENSION, "kind": "special",
        "period_from": "202401", "period_to": "202412", "declaration_no": "S3", "reason": "not_due", "sentence": "不在缴费期内"});
    assert_eq!(told, [wanted]);
    let states = "SELECT declaration_no || ' ' || state FROM declarations WHERE kind = 'special' ORDER BY 1";
    assert_eq!(place.texts(states).await, ["S1 paying", "S2 voided", "S3 payable", "S4 payable"]);
    let run = "SELECT concat_ws(' ', candidates, attempts, skips, withdrawn) FROM runs";
    assert_eq!(place.texts(run).await, ["4 3 1 2"]);
    place.account().await;
}
