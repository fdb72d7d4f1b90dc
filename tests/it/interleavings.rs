//! Payments, voids, declarations and runs compete, taken by several workers at once in any order: who wins may differ, the
//! book never contradicts itself.

use std::collections::BTreeMap;

use pikou::stages::intake;
use serde_json::{Value, json};

use crate::support::*;

const ROUNDS: u64 = 12;
const PAYERS: usize = 6;
const WORKERS: usize = 3;

/// Everything that payers, channels and the agency may say about a few declarations, in no order.
fn actions(round: u64, dice: &mut Dice) -> Vec<Value> {
    let mut actions = Vec::new();
    for payer in 0..PAYERS {
        let payer = format!("R{round}P{payer}");
        let (normal, other, back) = (format!("N-{payer}"), format!("M-{payer}"), format!("S-{payer}"));
        actions.push(declaration(&payer, &normal, json!({"collect_by": dice.one_of(&["batch", "online"])})));
        actions.push(declaration(&payer, &other, json!({})));
        actions.push(special(&payer, &back, "A1"));
        actions.push(amount_set(&payer, &format!("set-{payer}"), "2026-04-04T00:00:00Z", "2000.00"));
        if dice.below(2) == 0 {
            actions.push(amount_voided(&payer, &format!("void-{payer}"), "2026-04-05T00:00:00Z"));
        }
        for number in [&normal, &back] {
            if dice.below(3) == 0 {
                actions.push(void_requested(number, &format!("void-{number}")));
            }
        }
        if dice.below(3) == 0 {
            let withdrawn = json!({"status": "withdrawn"});
            actions.push(assessment(&payer, "A1", &format!("withdraw-{payer}"), "2026-04-09T00:00:00Z", withdrawn));
        }
        for order in 0..3 {
            let order_no = format!("O{order}-{payer}");
            let items: Vec<(&str, &str)> = match dice.below(3) {
                0 => vec![(&normal, "2000.00")],
                1 => vec![(&back, "1200.00")],
                _ => vec![(&normal, "2000.00"), (&back, "1200.00")],
            };
            actions.push(payment_started(&order_no, &items, json!({})));
            for report in 0..dice.below(3) {
                let id = format!("report-{order_no}-{report}");
                let txn = json!({"gateway_txn_no": format!("T{order_no}")});
                actions.push(match dice.below(4) {
                    0 => payment_reported(&order_no, &id, "closed", json!({})),
                    1 => payment_reported(&order_no, &id, "unknown", json!({})),
                    _ => payment_reported(&order_no, &format!("paid {order_no} {report}"), "succeeded", txn),
                });
            }
        }
    }
    dice.shuffle(&mut actions);
    actions
}

/// What the book says that it must not say; each query finds the rows that are wrong.
async fn contradictions(place: &Place) -> Vec<String> {
    let mut found = Vec::new();
    for (what, sql) in [
        (
            "paid twice",
            "SELECT declaration_no FROM settlements GROUP BY 1 HAVING count(*) > 1",
        ),
        (
            "an obligation paid twice",
            "SELECT payer_id FROM settlements GROUP BY payer_id, insurance_type, period_from, period_to, kind HAVING count(*) > 1",
        ),
        (
            "paying without a live attempt, or one live without paying",
            "SELECT d.declaration_no FROM declarations d
             WHERE (d.state = 'paying') <> EXISTS (SELECT FROM attempts a WHERE a.declaration_no = d.declaration_no
                                                   AND a.payer_id = d.payer_id AND a.state IN ('planned', 'sent', 'unknown'))",
        ),
        (
            "an order neither whole nor not at all",
            "SELECT order_no FROM attempt_status WHERE run_id IS NULL GROUP BY 1 HAVING count(DISTINCT status) > 1",
        ),
        (
            "money that nobody knows of",
            "SELECT m.id FROM messages m WHERE m.id LIKE 'paid %' AND m.outcome = 'accepted'
               AND NOT EXISTS (SELECT FROM settlements s WHERE s.order_no = split_part(m.id, ' ', 2))
               AND NOT EXISTS (SELECT FROM discrepancies c WHERE c.order_no = split_part(m.id, ' ', 2))",
        ),
        ("a message that still waits", "SELECT id FROM messages WHERE outcome = 'waiting'"),
        ("a message put aside", "SELECT code FROM quarantine"),
    ] {
        found.extend(place.texts(sql).await.into_iter().map(|row| format!("{what}: {row}")));
    }
    found
}

#[tokio::test]
async fn whatever_order_workers_take_competing_actions_in_the_book_keeps_its_word() {
    let place = Place::new().await;
    for round in 0..ROUNDS {
        let mut dice = Dice(round);
        let mut known = Vec::new();
        for payer in 0..PAYERS {
            let payer = format!("R{round}P{payer}");
            known.extend([enrolment(&payer), agreement(&payer)]);
            known.push(assessment(&payer, "A1", &format!("assess-{payer}"), "2026-03-01T00:00:00Z", json!({})));
        }
        place.take(&known).await;
        let actions = actions(round, &mut dice);
        let share = actions.len().div_ceil(WORKERS);
        let workers = actions.chunks(share).map(|mine| {
            let (worker, mine) = (place.other_worker(), mine.to_vec());
            let size = 1 + dice.below(12);
            tokio::spawn(async move {
                for batch in mine.chunks(size) {
                    let batch = deliveries(batch);
                    // Two that want the same in another order are told to come again, as the broker would.
                    while let Err(error) = intake::take(&worker, &batch).await {
                        assert!(error.helps_later(), "{error}");
                    }
                }
            })
        });
        let workers: Vec<_> = workers.collect();
        let run_on = chrono::NaiveDate::from_ymd_opt(2026, 4 + (round % 8) as u32, 15).unwrap();
        place.run_on(run_on).await;
        for worker in workers {
            worker.await.unwrap();
        }
        intake::end_waits(&place.at("2026-04-19T09:00:00+08:00")).await.unwrap();
        assert_eq!(contradictions(&place).await, Vec::<String>::new(), "round {round}");
    }
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for (kind, subject, sequence) in place.told().await {
        let thing = match kind.split('.').next().unwrap() {
            "payment" | "deduction" => "order",
            thing => thing,
        };
        let before = last.insert(format!("{thing} {subject}"), sequence).unwrap_or(0);
        assert_eq!(sequence, before + 1, "{kind} of {subject}");
    }
    let account = place.account().await;
    assert!(account.orders.succeeded > 0 && account.orders.failed > 0 && account.orders.refused > 0, "{account:#?}");
}
