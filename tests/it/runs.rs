//! What happens to an attempt between planning and the bank's answer, and who is tried again.

use pikou::stages::{StageError, deliver, lease, plan, seal};
use serde_json::{Value, json};

use crate::support::*;

const YEAR: &str = "P1/resident_pension/2026";

fn date(month: u32, day: u32) -> chrono::NaiveDate {
    chrono::NaiveDate::from_ymd_opt(2026, month, day).unwrap()
}

fn void() -> Value {
    amount_voided("P1", "void", "2026-04-15T00:30:00Z")
}

/// One payer, ready, planned in a run that is not sealed.
async fn planned() -> (Place, lease::Lease) {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let lease = place.plan().await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 1500.00 planned"]);
    (place, lease)
}

async fn run_state(place: &Place, run_id: i64) -> String {
    place.texts(&format!("SELECT state FROM runs WHERE run_id = {run_id}")).await.remove(0)
}

#[tokio::test]
async fn a_void_before_planning_keeps_the_payer_out_of_the_run() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    place.take(&[void()]).await;
    let run_id = place.run().await;
    assert_eq!(place.skips(run_id).await, ["P1 voided"]);
    assert_eq!(place.told_of(YEAR).await, ["amount.set", "amount.voided"]);
    assert_eq!(place.told_of(&format!("{run_id}/P1")).await, ["deduction.skipped"]);
    assert_eq!((run_state(&place, run_id).await.as_str(), place.request_files("102").len()), ("closed", 0));
    place.account().await;
}

#[tokio::test]
async fn a_void_between_plan_and_seal_withdraws_the_attempt_and_voids_its_declaration() {
    let (place, lease) = planned().await;
    place.take(&[void()]).await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 1500.00 withdrawn voided"]);
    assert_eq!(place.declarations().await, ["P1 D000000100100000001 1500.00 voided"]);
    place.seal(lease).await;
    place.deliver(lease).await;
    assert_eq!((run_state(&place, lease.run_id).await.as_str(), place.request_files("102").len()), ("closed", 0));
    assert_eq!(place.told_of(YEAR).await, ["amount.set", "amount.voided"]);
    assert_eq!(place.told_of("P000000100100000001").await, ["deduction.planned", "deduction.withdrawn"]);
    let declared = ["declaration.accepted", "declaration.paying", "declaration.voided"];
    assert_eq!(place.told_of("D000000100100000001").await, declared);
    assert_eq!(place.count("SELECT withdrawn FROM runs").await, 1);
    place.account().await;
}

/// Voids after the file is sealed and checks the answer; the attempt stays as it is.
async fn void_too_late(place: &Place, lease: lease::Lease) {
    place.seal(lease).await;
    place.take(&[void()]).await;
    let told = place.data_of("amount.void_too_late").await;
    let wanted = json!({"payer_id": "P1", "insurance_type": PENSION, "valid_year": 2026, "amount": "1500.00",
        "status": "voided", "channel": "etax", "order_no": "P000000100100000001",
        "file_name": "102_20260415_1_0001.txt", "if_succeeded": "扣款成功则缴费有效", "if_failed": "扣款失败则不再扣款"});
    assert_eq!(told, [wanted]);
    assert_eq!(place.told_of(YEAR).await, ["amount.set", "amount.void_too_late"]);
    place.deliver(lease).await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 1500.00 sent"]);
}

#[tokio::test]
async fn a_void_after_the_seal_is_told_the_file_and_a_success_stands() {
    let (place, lease) = planned().await;
    void_too_late(&place, lease).await;
    place.answer(lease.run_id, &[]).await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 1500.00 succeeded"]);
    assert_eq!(place.count("SELECT count(*) FROM settlements").await, 1);
    assert_eq!(place.count("SELECT count(*) FROM discrepancies").await, 0);
    let next = place.run_on(date(5, 15)).await;
    assert_eq!((place.attempts_of(next).await, place.skips(next).await), (vec![], vec!["P1 voided".to_owned()]));
    place.account().await;
}

#[tokio::test]
async fn a_void_after_the_seal_keeps_a_failed_deduction_from_being_tried_again() {
    let (place, lease) = planned().await;
    void_too_late(&place, lease).await;
    place.answer(lease.run_id, &[("P1", "1001")]).await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 1500.00 failed"]);
    assert_eq!(place.texts("SELECT state FROM declarations").await, ["voided"]);
    assert_eq!(place.data_of("deduction.failed").await[0]["tried_again"], false);
    let next = place.run_on(date(5, 15)).await;
    assert_eq!((place.attempts_of(next).await, place.skips(next).await), (vec![], vec!["P1 voided".to_owned()]));
    place.account().await;
}

#[tokio::test]
async fn an_amount_changed_before_the_seal_goes_into_the_next_run() {
    let (place, lease) = planned().await;
    place.take(&[amount_set("P1", "more", "2026-04-15T00:30:00Z", "1800.00")]).await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 1500.00 withdrawn setting_changed"]);
    assert_eq!(place.texts("SELECT state FROM declarations").await, ["voided"]);
    place.seal(lease).await;
    place.deliver(lease).await;
    let next = place.run_on(date(5, 15)).await;
    assert_eq!(place.attempts_of(next).await, ["P1 1800.00 sent"]);
    place.answer(next, &[]).await;
    assert_eq!(place.texts("SELECT amount::text FROM settlements").await, ["1800.00"]);
    assert_eq!(place.told_of(YEAR).await, ["amount.set", "amount.superseded", "amount.set", "amount.fulfilled"]);
    place.account().await;
}

#[tokio::test]
async fn an_amount_changed_after_the_seal_counts_only_if_the_frozen_one_fails() {
    for (codes, wanted) in [(&[][..], "already_paid"), (&[("P1", "1001")][..], "1800.00")] {
        let (place, lease) = planned().await;
        place.seal(lease).await;
        place.take(&[amount_set("P1", "more", "2026-04-15T00:30:00Z", "1800.00")]).await;
        assert_eq!(place.amounts().await, ["P1 1500.00 superseded", "P1 1800.00 active"]);
        place.deliver(lease).await;
        place.answer(lease.run_id, codes).await;
        let next = place.run_on(date(5, 15)).await;
        let became = [place.attempts_of(next).await, place.skips(next).await].concat();
        let wanted = if codes.is_empty() { format!("P1 {wanted}") } else { format!("P1 {wanted} sent") };
        assert_eq!(became, [wanted]);
        place.account().await;
    }
}

/// What a fact between plan and seal makes of the attempt, of a run-filed declaration, and of the payer in the next run.
#[tokio::test]
async fn an_attempt_whose_ground_has_gone_before_the_seal_is_withdrawn() {
    let signed = |fields| agreement_with("P1", "later", "2026-04-15T00:30:00Z", fields);
    let enrolled = |fields| enrolment_with("P1", "later", "2026-04-15T00:30:00Z", fields);
    let cases = [
        (signed(json!({"status": "ended"})), "withdrawn no_agreement", "P1 no_agreement"),
        (signed(json!({"batch_enabled": false})), "withdrawn no_agreement", "P1 no_agreement"),
        (signed(json!({"amount_max": "1000.00"})), "withdrawn no_agreement", "P1 agreement_scope"),
        (signed(json!({"insurance_types": []})), "withdrawn no_agreement", "P1 agreement_scope"),
        // The account is at another bank now: the file of the first is no place for it.
        (signed(json!({"bank_code": "105"})), "withdrawn no_agreement", "P1 1500.00 sent"),
        (signed(json!({"gateway": "alipay"})), "withdrawn no_agreement", "P1 no_agreement"),
        // Another account at the same bank is what the file will say.
        (signed(json!({"account_no": "62220002"})), "sent", "P1 attempt_in_flight"),
        (
            enrolled(json!({"status": "ended", "effective_on": "2026-04-10"})),
            "withdrawn enrolment_closed",
            "P1 enrolment_closed",
        ),
        // It ends after the day of the run.
        (enrolled(json!({"status": "ended", "effective_on": "2026-04-16"})), "sent", "P1 enrolment_closed"),
    ];
    for (fact, wanted, next_wanted) in cases {
        let (place, lease) = planned().await;
        place.take(std::slice::from_ref(&fact)).await;
        place.seal(lease).await;
        place.deliver(lease).await;
        assert_eq!(place.attempts_of(lease.run_id).await, [format!("P1 1500.00 {wanted}")], "{fact}");
        let state = if wanted == "sent" { "paying" } else { "payable" };
        assert_eq!(place.texts("SELECT state FROM declarations").await, [state], "{fact}");
        let next = place.run_on(date(5, 15)).await;
        assert_eq!([place.attempts_of(next).await, place.skips(next).await].concat(), [next_wanted], "{fact}");
        place.account().await;
    }
}

#[tokio::test]
async fn a_payers_own_declaration_is_used_with_its_amount_and_stays_payable() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    place.take(&[declaration("P1", "D1", json!({}))]).await;
    let lease = place.plan().await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 2000.00 planned"]);
    assert_eq!(place.declarations().await, ["P1 D1 2000.00 paying"]);
    // Another amount is no reason: what was filed is what is owed.
    place.take(&[amount_set("P1", "more", "2026-04-15T00:30:00Z", "1800.00")]).await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 2000.00 planned"]);
    place.take(&[amount_voided("P1", "void", "2026-04-15T00:40:00Z")]).await;
    assert_eq!(place.attempts_of(lease.run_id).await, ["P1 2000.00 withdrawn voided"]);
    assert_eq!(place.declarations().await, ["P1 D1 2000.00 payable"]);
    let told = ["declaration.accepted", "declaration.paying", "declaration.payable_again"];
    assert_eq!(place.told_of("D1").await, told);
    place.seal(lease).await;
    place.deliver(lease).await;
    place.take(&[amount_set("P1", "anew", "2026-04-15T00:50:00Z", "1900.00")]).await;
    let next = place.run_on(date(5, 15)).await;
    assert_eq!(place.attempts_of(next).await, ["P1 2000.00 sent"]);
    place.answer(next, &[]).await;
    let paid = "SELECT declaration_no || ' ' || amount FROM settlements";
    assert_eq!(place.texts(paid).await, ["D1 2000.00"]);
    place.account().await;
}

#[tokio::test]
async fn a_failure_that_passes_is_tried_again_up_to_the_configured_runs_and_the_paid_never() {
    let place = Place::with(&[("PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__RETRY_RUNS", "2")]).await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    let first = place.run().await;
    place.answer(first, &[("P1", "1001")]).await;
    let second = place.run_on(date(5, 15)).await;
    assert_eq!(place.attempts_of(second).await, ["P1 1500.00 sent"]);
    assert_eq!(place.skips(second).await, ["P2 already_paid"]);
    place.answer(second, &[("P1", "1002")]).await;
    let third = place.run_on(date(6, 15)).await;
    assert_eq!(place.attempts_of(third).await, Vec::<String>::new());
    assert_eq!(place.skips(third).await, ["P1 retry_exhausted", "P2 already_paid"]);
    let failed = place.data_of("deduction.failed").await;
    assert_eq!(failed.iter().map(|data| &data["tried_again"]).collect::<Vec<_>>(), [true, false]);
    assert_eq!(place.texts("SELECT state FROM runs ORDER BY run_id").await, ["closed", "closed", "closed"]);
    place.account().await;
}

#[tokio::test]
async fn a_final_failure_holds_the_amount_until_a_new_agreement() {
    let (place, lease) = planned().await;
    place.seal(lease).await;
    place.deliver(lease).await;
    place.answer(lease.run_id, &[("P1", "2001")]).await;
    let second = place.run_on(date(5, 15)).await;
    assert_eq!(place.skips(second).await, ["P1 no_agreement"]);
    // A changed amount does not mend an account.
    place.take(&[amount_set("P1", "more", "2026-05-16T00:00:00Z", "1800.00")]).await;
    let third = place.run_on(date(6, 15)).await;
    assert_eq!(place.skips(third).await, ["P1 no_agreement"]);
    let signed = json!({"agreement_no": "A-new", "account_no": "62220009"});
    place.take(&[agreement_with("P1", "new", "2026-06-20T00:00:00Z", signed)]).await;
    let fourth = place.run_on(date(7, 15)).await;
    assert_eq!(place.attempts_of(fourth).await, ["P1 1800.00 sent"]);
    let told = ["amount.set", "amount.held", "amount.superseded", "amount.set", "amount.released"];
    assert_eq!(place.told_of(YEAR).await, told);
    assert_eq!(place.data_of("amount.held").await[0]["hold_reason"], "no_agreement");
    place.account().await;
}

#[tokio::test]
async fn firing_again_is_the_same_run() {
    let place = Place::new().await;
    let others: Vec<_> = (0..6).map(|_| place.other_worker()).collect();
    let fired = futures::future::join_all(others.iter().map(|ctx| plan::fire(ctx, SCHEDULE, day()))).await;
    let mut runs: Vec<i64> = fired.into_iter().map(Result::unwrap).collect();
    runs.push(plan::fire(&place.ctx, SCHEDULE, day()).await.unwrap());
    assert_eq!(runs, [runs[0]; 7]);
    assert_eq!(place.count("SELECT count(*) FROM runs").await, 1);
    assert_ne!(plan::fire(&place.ctx, SCHEDULE, date(5, 15)).await.unwrap(), runs[0]);
}

#[tokio::test]
async fn who_has_lost_the_lease_can_neither_plan_nor_seal_nor_deliver() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let refused = |result: Result<(), StageError>, what: &str| {
        let error = result.expect_err(what);
        assert!(error.helps_later() && error.to_string().contains("another worker has taken over"), "{what}: {error}");
    };
    let (run_id, mut lease) = place.lease().await;
    let mut ctx = place.ctx.clone();
    for (stage, state) in [("plan", "planning"), ("seal", "planned"), ("deliver", "sealed"), ("delivering", "sealed")] {
        let other = place.other_worker();
        assert_eq!(lease::take(&other, run_id).await.unwrap(), None, "somebody has it");
        place.expire_lease(run_id).await;
        let taken_over = lease::take(&other, run_id).await.unwrap().expect("it has run out");
        assert_eq!(taken_over.epoch, lease.epoch + 1);
        let result = match stage {
            "plan" => plan::plan(&ctx, lease, |_| ()).await,
            "seal" => seal::seal(&ctx, lease, |_| ()).await,
            _ => deliver::deliver(&ctx, lease).await.map(drop),
        };
        refused(result, stage);
        assert_eq!(run_state(&place, run_id).await, state, "{stage}");
        assert_eq!(place.request_files("102").len(), 0, "{stage}");
        (ctx, lease) = (other, taken_over);
        match stage {
            "plan" => plan::plan(&ctx, lease, |_| ()).await.unwrap(),
            "seal" => seal::seal(&ctx, lease, |_| ()).await.unwrap(),
            "deliver" => {
                // As after a crash: said to be on its way, and a part of it lies there.
                let sql = "UPDATE request_files SET state = 'delivering', delivering_at = now(), delivery_epoch = $1";
                sqlx::query(sql).bind(lease.epoch).execute(&place.ctx.pool).await.unwrap();
                let part = format!("102_20260415_1_0001.txt.{}.part", lease.epoch);
                std::fs::write(place.outbox("102").join(part), "cut sh").unwrap();
            }
            _ => assert_eq!(deliver::deliver(&ctx, lease).await.unwrap().0, 1),
        }
    }
    assert_eq!(run_state(&place, run_id).await, "sent");
    assert_eq!(place.request_files("102").len(), 1);
    place.account().await;
}
