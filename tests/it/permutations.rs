//! Messages overtake each other, and the books end the same.

use serde_json::{Value, json};

use crate::support::*;

const PERMUTATIONS: u64 = 30;

/// Facts of two payers: changes of heart, ties of one instant, a void before its amount, an amount that is refused.
fn facts(prefix: &str) -> Vec<Value> {
    let payer = |name: &str| format!("{prefix}{name}");
    let (first, second) = (payer("P1"), payer("P2"));
    let day = |day: u8| format!("2026-04-{day:02}T00:00:00Z");
    let enrolled = |of: &str, n: u8, fields| enrolment_with(of, &format!("{prefix}e{n}-{of}"), &day(n), fields);
    let signed = |of: &str, n: u8, fields| agreement_with(of, &format!("{prefix}a{n}-{of}"), &day(n), fields);
    let set = |of: &str, id: &str, n: u8, amount| amount_set(of, &format!("{prefix}s{id}"), &day(n), amount);
    let voided = |of: &str, id: &str, n: u8| amount_voided(of, &format!("{prefix}v{id}"), &day(n));
    vec![
        enrolled(&first, 1, json!({})),
        enrolled(&first, 4, json!({"status": "suspended", "effective_on": "2026-05-01", "division_code": "110105"})),
        enrolled(&first, 6, json!({"division_code": "110106", "category": "student"})),
        enrolled(&second, 2, json!({})),
        enrolled(&second, 3, json!({"status": "ended"})),
        signed(&first, 2, json!({})),
        signed(&first, 5, json!({"status": "ended"})),
        signed(&first, 7, json!({"bank_code": "105", "amount_max": "3000.00"})),
        signed(&second, 3, json!({"batch_enabled": false})),
        set(&first, "1", 3, "1000.00"),
        set(&first, "2", 6, "1200.00"),
        voided(&first, "3", 7),
        set(&first, "4", 9, "1300.00"),
        // Of one instant: the id decides.
        set(&first, "5a", 11, "1500.00"),
        set(&first, "5b", 11, "1501.00"),
        set(&first, "6", 12, "9999.00"),
        set(&second, "7", 5, "2000.00"),
        set(&second, "8", 6, "2100.00"),
        voided(&second, "9", 8),
        voided(&second, "10", 4),
    ]
}

/// The state columns of everything the facts made.
async fn books(place: &Place, prefix: &str) -> Vec<String> {
    let like = format!("payer_id LIKE '{prefix}P%'");
    let bare = |sql: &str| format!("SELECT replace({sql}, '{prefix}', '')");
    let mut books = Vec::new();
    for sql in [
        format!(
            "{} FROM enrolments WHERE {like} ORDER BY 1",
            bare("concat_ws(' ', payer_id, status, effective_on, division_code, category, fact_time, fact_id)")
        ),
        format!(
            "{} FROM agreements WHERE {like} ORDER BY 1",
            bare(
                "concat_ws(' ', payer_id, agreement_no, bank_code, status, batch_enabled, amount_max, fact_time, fact_id)"
            )
        ),
        format!(
            "{} FROM amount_settings WHERE {like} ORDER BY 1",
            bare("concat_ws(' ', payer_id, valid_year, fact_time, fact_id, amount, channel, state, hold_reason)")
        ),
        format!(
            "{} FROM assessments WHERE {like} ORDER BY 1",
            bare(
                "concat_ws(' ', payer_id, assessment_no, kind, period_from, period_to, amount, pay_by, status, fact_time, fact_id)"
            )
        ),
        format!(
            "{} FROM amount_voids WHERE {like} ORDER BY 1",
            bare("concat_ws(' ', payer_id, valid_year, fact_time, fact_id, channel)")
        ),
    ] {
        books.extend(place.texts(&sql).await);
    }
    books
}

#[tokio::test]
async fn any_order_of_arrival_in_any_batches_ends_in_the_same_books() {
    let place = Place::new().await;
    place.take(&facts("in-order-")).await;
    let wanted = books(&place, "in-order-").await;
    // Two enrolments, two agreements, seven amounts, three voids.
    assert_eq!(wanted.len(), 14, "{wanted:#?}");
    assert_eq!(wanted.iter().filter(|row| row.contains(" active")).count(), 4, "{wanted:#?}");
    for seed in 0..PERMUTATIONS {
        let mut dice = Dice(seed);
        let prefix = format!("order-{seed}-");
        let mut messages = facts(&prefix);
        dice.shuffle(&mut messages);
        let mut rest = &messages[..];
        while !rest.is_empty() {
            let (batch, more) = rest.split_at(1 + dice.below(rest.len().min(6)));
            place.take(batch).await;
            rest = more;
        }
        assert_eq!(books(&place, &prefix).await, wanted, "seed {seed}");
    }
    place.account().await;
}

/// Payers of a generated log.
const PAYERS: usize = 9;
/// Facts of a generated log, before duplicates.
const FACTS: usize = 300;
const LOGS: u64 = 3;
const ARRIVALS: u64 = 5;

/// A log of facts about some payers; the same for the same seed, but for the prefix of payers and ids. Times are few, so
/// that many facts are of one instant.
fn generated(prefix: &str, seed: u64) -> Vec<Value> {
    let mut dice = Dice(seed);
    let mut facts = Vec::with_capacity(FACTS);
    for n in 0..FACTS {
        let payer = format!("{prefix}P{}", dice.below(PAYERS));
        let id = format!("{prefix}{n:03}");
        let time = format!("2026-{:02}-{:02}T{:02}:00:00Z", 3 + dice.below(9), 1 + dice.below(28), dice.below(3) * 8);
        let fact = match dice.below(10) {
            0 | 1 => {
                let status = dice.one_of(&["active", "active", "suspended", "ended"]);
                let district = dice.one_of(&["110101", "110105", "110228"]);
                enrolment_with(&payer, &id, &time, json!({"status": status, "division_code": district}))
            }
            2 | 3 => {
                let fields = json!({
                    "agreement_no": format!("A{}", dice.below(2)),
                    "bank_code": dice.one_of(&["102", "105"]),
                    "status": dice.one_of(&["active", "ended"]),
                    "batch_enabled": dice.below(3) > 0,
                });
                agreement_with(&payer, &id, &time, fields)
            }
            4..=6 => {
                let amount = dice.one_of(&["1000.00", "1200.50", "9000.00", "900.00"]);
                let year = dice.one_of(&[2026, 2026, 2026, 2025, 2027]);
                with_data(amount_set(&payer, &id, &time, amount), json!({ "valid_year": year }))
            }
            7 => amount_voided(&payer, &id, &time),
            _ => {
                let fields = json!({
                    "amount": dice.one_of(&["1200.00", "1300.00"]),
                    "status": dice.one_of(&["issued", "issued", "withdrawn"]),
                    "kind": dice.one_of(&["back_payment", "lump_sum", "paid_on_behalf"]),
                });
                assessment(&payer, &format!("S{}", dice.below(2)), &id, &time, fields)
            }
        };
        facts.push(fact);
    }
    facts
}

#[tokio::test]
async fn any_permutation_and_duplication_of_a_generated_log_ends_in_the_same_books() {
    let place = Place::new().await;
    for log in 0..LOGS {
        let prefix = format!("log-{log}-");
        place.take(&generated(&prefix, log)).await;
        let wanted = books(&place, &prefix).await;
        assert!(wanted.len() > PAYERS * 3, "{wanted:#?}");
        for arrival in 0..ARRIVALS {
            let mut dice = Dice(log * 1000 + arrival);
            let prefix = format!("log-{log}-{arrival}-");
            let mut messages = generated(&prefix, log);
            let repeated: Vec<Value> = messages.iter().filter(|_| dice.below(4) == 0).cloned().collect();
            messages.extend(repeated);
            dice.shuffle(&mut messages);
            let mut rest = &messages[..];
            while !rest.is_empty() {
                let (batch, more) = rest.split_at(1 + dice.below(rest.len().min(80)));
                place.take(batch).await;
                rest = more;
            }
            assert_eq!(books(&place, &prefix).await, wanted, "log {log}, arrival {arrival}");
        }
    }
    let account = place.account().await;
    assert_eq!(account.messages.quarantined, 0);
    assert!(account.messages.repeated > 0 && account.messages.stale > 0 && account.messages.refused > 0);
}
