//! Who is a candidate, and the one reason why a payer was skipped: the first that holds.

use std::collections::BTreeSet;

use pikou::domain::eligibility::SkipReason;
use pikou::stages::{lease, plan};
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::*;

/// Who is skipped in the run of 15 December, and why. A name says what else would hold, in the order of the rules.
const SKIPPED: [(&str, &str); 22] = [
    ("01-not-yet-enrolled", "not_enrolled"),
    ("02-not-yet-enrolled-voided", "not_enrolled"),
    ("03-ended", "enrolment_closed"),
    ("04-suspended-voided", "enrolment_closed"),
    ("05-voided", "voided"),
    ("06-voided-late-paid", "voided"),
    ("07-voided-no-agreement", "voided"),
    ("08-voided-anew-voided", "voided"),
    ("09-paid", "already_paid"),
    ("10-paid-no-agreement", "already_paid"),
    ("11-in-flight", "attempt_in_flight"),
    ("12-in-flight-no-agreement", "attempt_in_flight"),
    ("13-no-agreement", "no_agreement"),
    ("14-agreement-ended", "no_agreement"),
    ("15-no-batch-flag", "no_agreement"),
    ("16-gateway-without-files", "no_agreement"),
    ("17-account-closed", "no_agreement"),
    ("18-scope-of-types", "agreement_scope"),
    ("19-scope-of-amount-out-of-range", "agreement_scope"),
    ("20-out-of-range", "amount_out_of_range"),
    ("21-retried-enough", "retry_exhausted"),
    ("22-suspended", "suspended"),
];

fn signed(payer: &str, fields: Value) -> Value {
    agreement_with(payer, &format!("again-{payer}"), "2026-06-01T00:00:00Z", fields)
}

fn ended(payer: &str) -> Value {
    signed(payer, json!({"status": "ended"}))
}

fn void(payer: &str) -> Value {
    amount_voided(payer, &format!("void-{payer}"), "2026-06-02T00:00:00Z")
}

/// Payers of the first run, and what it left of them.
async fn april(place: &Place) {
    let payers =
        ["06-voided-late-paid", "09-paid", "10-paid-no-agreement", "11-in-flight", "12-in-flight-no-agreement"];
    let failing = [("17-account-closed", "2001"), ("21-retried-enough", "1001")];
    for payer in payers.iter().chain(failing.iter().map(|(payer, _)| payer)) {
        place.take(&ready(payer, "1500.00")).await;
    }
    let run_id = place.run().await;
    place.take(&[void("06-voided-late-paid")]).await;
    let open = [("11-in-flight", "9002"), ("12-in-flight-no-agreement", "9002")];
    place.answer(run_id, &[&failing[..], &open[..]].concat()).await;
    place.take(&[ended("10-paid-no-agreement"), ended("12-in-flight-no-agreement")]).await;
}

/// Everybody else, as they stand before the second run.
async fn december(place: &Place) {
    let enrolled = |payer: &str, fields| enrolment_with(payer, &format!("e-{payer}"), "2026-06-01T00:00:00Z", fields);
    let not_yet = json!({"effective_on": "2027-01-01"});
    for (payer, _) in SKIPPED {
        let known = place.count(&format!("SELECT count(*) FROM amount_settings WHERE payer_id = '{payer}'")).await;
        if known == 0 {
            let amount = if payer.contains("out-of-range") { "1200.00" } else { "1500.00" };
            place.take(&ready(payer, amount)).await;
        }
    }
    place
        .take(&[
            enrolled("01-not-yet-enrolled", not_yet.clone()),
            enrolled("02-not-yet-enrolled-voided", not_yet),
            void("02-not-yet-enrolled-voided"),
            enrolled("03-ended", json!({"status": "ended", "effective_on": "2026-05-31"})),
            enrolled("04-suspended-voided", json!({"status": "suspended", "effective_on": "2026-12-15"})),
            void("04-suspended-voided"),
            void("05-voided"),
            void("07-voided-no-agreement"),
            ended("07-voided-no-agreement"),
            amount_set("08-voided-anew-voided", "anew", "2026-06-03T00:00:00Z", "1600.00"),
            amount_voided("08-voided-anew-voided", "void-anew", "2026-06-04T00:00:00Z"),
            ended("13-no-agreement"),
            ended("14-agreement-ended"),
            signed("15-no-batch-flag", json!({"batch_enabled": false})),
            signed("16-gateway-without-files", json!({"gateway": "alipay"})),
            signed("18-scope-of-types", json!({"insurance_types": ["resident_medical"]})),
            signed("19-scope-of-amount-out-of-range", json!({"amount_max": "1199.99"})),
        ])
        .await;
    // No message suspends a payer yet.
    sqlx::query("UPDATE amount_settings SET hold_reason = 'suspended' WHERE payer_id = '22-suspended'")
        .execute(&place.ctx.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn each_candidate_that_is_not_deducted_has_the_first_reason_that_holds() {
    let place = Place::with(&[("PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__RETRY_RUNS", "1")]).await;
    april(&place).await;
    december(&place).await;
    let neither = [
        // Elsewhere; paid by the payer alone; without any amount. None of them is a candidate.
        ready("31-guizhou", "1500.00"),
        vec![
            enrolment("32-online"),
            agreement("32-online"),
            declaration("32-online", "D32", json!({"collect_by": "online"})),
        ],
        vec![enrolment("33-no-amount"), agreement("33-no-amount")],
        vec![enrolment("34-void-only"), agreement("34-void-only"), void("34-void-only")],
    ];
    place.take(&neither.concat()).await;
    let moved = json!({"division_code": "520102"});
    place.take(&[enrolment_with("31-guizhou", "moved", "2026-06-01T00:00:00Z", moved)]).await;
    // A payer without a setting is a candidate by a declaration to be collected in batch; one whose enrolment has not
    // ended yet is enrolled.
    let ends_later = json!({"status": "ended", "effective_on": "2027-01-01"});
    place
        .take(&[
            enrolment_with("41-declared", "e41", "2026-06-01T00:00:00Z", ends_later),
            agreement("41-declared"),
            declaration("41-declared", "D41", json!({"amount": "3000.00"})),
        ])
        .await;

    // By now the minimum is higher and the window longer than when the amounts were set.
    let raised = place.under(&[
        ("PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__MINIMUM", "1300.00"),
        ("PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__RETRY_RUNS", "1"),
        ("PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__WINDOW_TO", "12-31"),
    ]);
    let date = chrono::NaiveDate::from_ymd_opt(2026, 12, 15).unwrap();
    let run_id = plan::fire(&raised, SCHEDULE, date).await.unwrap();
    let lease = lease::take(&raised, run_id).await.unwrap().unwrap();
    plan::plan(&raised, lease, |_| ()).await.unwrap();

    let wanted: Vec<String> = SKIPPED.iter().map(|(payer, reason)| format!("{payer} {reason}")).collect();
    assert_eq!(place.skips(run_id).await, wanted);
    assert_eq!(place.attempts_of(run_id).await, ["41-declared 3000.00 planned"]);
    let run = sqlx::query("SELECT candidates, attempts, skips, attempts_total::text FROM runs WHERE run_id = $1")
        .bind(run_id)
        .fetch_one(&place.ctx.pool)
        .await
        .unwrap();
    let counts: (i64, i64, i64, String) = (run.get(0), run.get(1), run.get(2), run.get(3));
    assert_eq!(counts, (23, 1, 22, "3000.00".into()));

    let told: Vec<String> = place
        .data_of("deduction.skipped")
        .await
        .iter()
        .filter(|data| data["run_id"] == run_id)
        .map(|data| format!("{} {}", data["payer_id"].as_str().unwrap(), data["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(told, wanted, "and each is told");
    place.account().await;

    let covered: BTreeSet<&str> = SKIPPED.iter().map(|(_, reason)| *reason).chain(["not_due"]).collect();
    assert_eq!(covered, SkipReason::ALL.into_iter().map(SkipReason::as_str).collect(), "no reason is left out");
}

#[tokio::test]
async fn outside_the_window_nothing_is_due() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    place.take(&[void("P2")]).await;
    for (month, day) in [(3, 31), (12, 11)] {
        let date = chrono::NaiveDate::from_ymd_opt(2026, month, day).unwrap();
        let lease = place.plan_on(date).await;
        assert_eq!(place.skips(lease.run_id).await, ["P1 not_due", "P2 voided"], "{date}");
    }
    for (month, day) in [(4, 1), (12, 10)] {
        let date = chrono::NaiveDate::from_ymd_opt(2026, month, day).unwrap();
        let run_id = place.run_on(date).await;
        assert_eq!(place.attempts_of(run_id).await, ["P1 1500.00 sent"], "{date}");
        place.answer(run_id, &[("P1", "1001")]).await;
    }
}
