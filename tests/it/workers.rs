//! Several workers on one run at once, and the same books as if there had been one.

use pikou::stages::{Context, lease, plan};
use pikou::worker::runs::{advance, run_now};
use serde_json::json;

use crate::support::*;

/// Payers who are deducted at two banks, with some skips among them.
fn payers(count: usize) -> Vec<serde_json::Value> {
    let mut messages = Vec::new();
    for n in 0..count {
        let payer = format!("P{n:03}");
        messages.extend([
            enrolment(&payer),
            amount_set(&payer, &format!("set-{payer}"), "2026-04-02T00:00:00Z", "1500.00"),
        ]);
        let bank = if n % 3 == 0 { "105" } else { "102" };
        if n % 7 != 6 {
            messages.push(agreement_with(
                &payer,
                &format!("agree-{payer}"),
                "2026-01-06T00:00:00Z",
                json!({ "bank_code": bank }),
            ));
        }
        match n % 5 {
            3 => messages.push(amount_voided(&payer, &format!("void-{payer}"), "2026-04-03T00:00:00Z")),
            4 => messages.push(declaration(&payer, &format!("D{payer}"), json!({}))),
            _ => {}
        }
    }
    messages
}

/// Everything a run leaves: counts, attempts, skips, declarations, files.
async fn books(place: &Place) -> Vec<String> {
    let counts = "SELECT concat_ws(' ', state, candidates, attempts, attempts_total, skips, withdrawn, planned_through) FROM runs";
    let lanes = "SELECT bank_code || ' ' || attempts FROM run_lanes WHERE attempts > 0 ORDER BY 1";
    let mut books = [place.texts(counts).await, place.texts(lanes).await].concat();
    books.extend(place.attempts_of(1).await);
    books.extend(place.skips(1).await);
    books.extend(place.declarations().await);
    for bank in ["102", "105"] {
        books.extend(place.request_files(bank).iter().map(|(name, bytes)| format!("{name} {}", bytes.escape_ascii())));
    }
    books
}

#[tokio::test]
async fn planning_in_small_ranges_gives_the_same_as_one_range() {
    let whole = Place::new().await;
    let small = Place::with(&[("PIKOU__RUN__RANGE_MAX", "2")]).await;
    for place in [&whole, &small] {
        place.take(&payers(30)).await;
        place.run().await;
        place.account().await;
    }
    let wanted = books(&whole).await;
    assert!(wanted.len() > 50, "{wanted:#?}");
    assert_eq!(books(&small).await, wanted);
}

/// Works on the run until it is out of the house, whoever else does, and whatever is taken out of its hands.
async fn work_until_sent(ctx: Context) {
    let run_id = plan::fire(&ctx, SCHEDULE, day()).await.unwrap();
    loop {
        let state: String = sqlx::query_scalar("SELECT state FROM runs WHERE run_id = $1")
            .bind(run_id)
            .fetch_one(&ctx.pool)
            .await
            .unwrap();
        if !["planning", "planned", "sealed"].contains(&state.as_str()) {
            return;
        }
        if let Some(lease) = lease::take(&ctx, run_id).await.unwrap()
            && let Err(error) = advance(&ctx, lease, &mut |_, _| ()).await
        {
            assert!(error.helps_later(), "{error}: {error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_workers_at_once_leave_the_books_of_one() {
    let ranges = [("PIKOU__RUN__RANGE_MAX", "4"), ("PIKOU__GATEWAYS__BANK__ITEMS_MAX", "3")];
    let alone = Place::with(&ranges).await;
    alone.take(&payers(30)).await;
    run_now(&alone.ctx, SCHEDULE, day(), &mut |_, _| ()).await.unwrap();
    let wanted = books(&alone).await;
    for round in 0..5 {
        let place = Place::with(&ranges).await;
        place.take(&payers(30)).await;
        let workers: Vec<_> = (0..2).map(|_| tokio::spawn(work_until_sent(place.other_worker()))).collect();
        // Again and again the one at work is taken for dead, in the middle of whatever it does.
        while !workers.iter().all(|worker| worker.is_finished()) {
            place.expire_lease(1).await;
        }
        for worker in workers {
            worker.await.unwrap();
        }
        assert_eq!(books(&place).await, wanted, "round {round}");
        let hands = place.count("SELECT lease_epoch FROM runs").await;
        assert!(hands > 1, "the run has changed hands");
        place.account().await;
    }
}
