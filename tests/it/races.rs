//! Messages against a run that is being planned and sealed: either in time, or told the file. No third case.

use std::collections::BTreeMap;
use std::sync::Arc;

use pikou::stages::{intake, lease, plan, seal};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::*;

/// How often a message asks the database for nothing before it goes off: it lands anywhere in the run, and on a machine
/// where the run takes longer, the later rounds reach its end, too.
const DETOURS: usize = 40;
/// Rounds until every ending has come up, at most: each has a day of its own, and the validity window has 254.
const ROUNDS_MAX: usize = 250;

struct Round {
    place: Arc<Place>,
    number: usize,
    dice: Dice,
}

impl Round {
    fn payer(&self, name: &str) -> String {
        format!("{:03}-{name}", self.number)
    }

    /// Plans and seals a run of its own while each message is taken by another worker. Returns the run.
    async fn race(&mut self, messages: Vec<Value>) -> i64 {
        let date = chrono::NaiveDate::from_ymd_opt(2026, 4, 1).unwrap() + chrono::Days::new(self.number as u64);
        let start = Arc::new(Barrier::new(messages.len() + 1));
        let racers: Vec<_> = messages
            .into_iter()
            .map(|message| {
                let (ctx, start, detours) =
                    (self.place.other_worker(), start.clone(), self.dice.below(DETOURS + self.number));
                tokio::spawn(async move {
                    start.wait().await;
                    for _ in 0..detours {
                        sqlx::query("SELECT 1").execute(&ctx.pool).await.unwrap();
                    }
                    intake::take(&ctx, &deliveries(&[message])).await.unwrap();
                })
            })
            .collect();
        let ctx = self.place.other_worker();
        start.wait().await;
        let run_id = plan::fire(&ctx, SCHEDULE, date).await.unwrap();
        let lease = lease::take(&ctx, run_id).await.unwrap().unwrap();
        plan::plan(&ctx, lease, |_| ()).await.unwrap();
        seal::seal(&ctx, lease, |_| ()).await.unwrap();
        for racer in racers {
            racer.await.unwrap();
        }
        run_id
    }

    /// What a run made of a payer: the skip, or the attempt, and whether it is in a sealed file.
    async fn outcome(&self, run_id: i64, payer: &str) -> String {
        let sql = format!(
            "SELECT 'skipped ' || reason FROM run_skips WHERE run_id = {run_id} AND payer_id = '{payer}'
             UNION ALL
             SELECT concat_ws(' ', a.amount, a.state, a.withdrawal, CASE WHEN f.state = 'sealed' AND a.state = 'planned' THEN 'in a file' END)
             FROM attempts a LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane
                 AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
             WHERE a.run_id = {run_id} AND a.payer_id = '{payer}'"
        );
        self.place.texts(&sql).await.join(" and ")
    }

    /// The last event about a payer's year, and whether it was told before the run was sealed.
    async fn last_word(&self, run_id: i64, payer: &str) -> String {
        let sql = format!(
            "WITH told AS (SELECT outbox_id, body::json AS event FROM outbox, unnest(bodies) AS body WHERE body LIKE '%{payer}/%' OR body LIKE '%run.sealed%')
             SELECT (y.event->>'type') || CASE WHEN y.outbox_id < s.outbox_id THEN ' before the seal' ELSE ' after the seal' END
             FROM told y JOIN told s ON s.event->>'type' = 'pikou.run.sealed.v1' AND s.event->>'subject' = '{run_id}'
             WHERE y.event->>'subject' = '{payer}/resident_pension/2026'
             ORDER BY (y.event->>'sequence')::int DESC LIMIT 1"
        );
        self.place.texts(&sql).await.remove(0)
    }
}

/// Runs rounds and counts the endings; each must be one of `allowed`, and each of those must come up in the end.
async fn rounds(
    count: usize,
    allowed: &[&str],
    mut prepare: impl FnMut(&Round) -> (String, Vec<Value>, Value),
    told: bool,
) {
    let place = Arc::new(Place::new().await);
    let mut endings: BTreeMap<String, usize> = allowed.iter().map(|ending| ((*ending).to_owned(), 0)).collect();
    for number in 0..ROUNDS_MAX {
        if number >= count && endings.values().all(|seen| *seen > 0) {
            break;
        }
        let mut round = Round { place: place.clone(), number, dice: Dice(number as u64) };
        let (payer, before, racing) = prepare(&round);
        place.take(&before).await;
        let run_id = round.race(vec![racing]).await;
        let mut ending = round.outcome(run_id, &payer).await;
        if told {
            ending = format!("{ending}, {}", round.last_word(run_id, &payer).await);
        }
        let seen = endings.get_mut(&ending);
        *seen.unwrap_or_else(|| panic!("round {number}: {ending}")) += 1;
        // Out of the way of the next rounds' plans.
        place
            .take(&[enrolment_with(
                &payer,
                &format!("moved-{payer}"),
                "2026-04-20T00:00:00Z",
                json!({"division_code": "310101"}),
            )])
            .await;
    }
    assert!(endings.values().all(|seen| *seen > 0), "not every ending came up: {endings:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_void_is_in_time_or_is_told_the_file() {
    let allowed = [
        "skipped voided, pikou.amount.voided.v1 before the seal",
        "1500.00 withdrawn voided, pikou.amount.voided.v1 before the seal",
        "1500.00 planned in a file, pikou.amount.void_too_late.v1 after the seal",
    ];
    let prepare = |round: &Round| {
        let payer = round.payer("void");
        let void = amount_voided(&payer, &format!("void-{payer}"), "2026-04-15T00:00:00Z");
        (payer.clone(), ready(&payer, "1500.00"), void)
    };
    rounds(120, &allowed, prepare, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_changed_amount_is_in_the_run_or_withdraws_the_old_one_or_comes_after_the_seal() {
    let allowed = [
        "1800.00 planned in a file, pikou.amount.set.v1 before the seal",
        "1500.00 withdrawn setting_changed, pikou.amount.set.v1 before the seal",
        "1500.00 planned in a file, pikou.amount.set.v1 after the seal",
    ];
    let prepare = |round: &Round| {
        let payer = round.payer("set");
        let set = amount_set(&payer, &format!("more-{payer}"), "2026-04-15T00:00:00Z", "1800.00");
        (payer.clone(), ready(&payer, "1500.00"), set)
    };
    rounds(120, &allowed, prepare, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_payers_declaration_is_the_one_that_is_collected_or_is_refused() {
    // The run uses the payer's own if it is there first, and files one if not: never both.
    let allowed = ["1500.00 planned in a file", "2000.00 planned in a file"];
    let prepare = |round: &Round| {
        let payer = round.payer("declare");
        let declared = declaration(&payer, &format!("D-{payer}"), json!({"collect_by": "online"}));
        (payer.clone(), ready(&payer, "1500.00"), declared)
    };
    rounds(60, &allowed, prepare, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_void_and_a_new_amount_at_once_never_leave_the_voided_amount_in_the_file_untold() {
    let place = Arc::new(Place::new().await);
    for number in 0..60 {
        let mut round = Round { place: place.clone(), number, dice: Dice(1000 + number as u64) };
        let payer = round.payer("both");
        place.take(&ready(&payer, "1500.00")).await;
        let void = amount_voided(&payer, &format!("void-{payer}"), "2026-04-15T00:00:00Z");
        let set = amount_set(&payer, &format!("anew-{payer}"), "2026-04-15T00:00:01Z", "1800.00");
        let run_id = round.race(vec![void, set]).await;
        // Whoever comes first: the void acts on the old amount alone, the newer one stands.
        let versions =
            format!("SELECT amount || ' ' || state FROM amount_settings WHERE payer_id = '{payer}' ORDER BY fact_time");
        assert_eq!(place.texts(&versions).await, ["1500.00 voided", "1800.00 active"], "round {number}");
        let ending = round.outcome(run_id, &payer).await;
        let word = round.last_word(run_id, &payer).await;
        let in_time = word.ends_with("before the seal");
        match ending.as_str() {
            "1800.00 planned in a file" | "1500.00 withdrawn setting_changed" => assert!(in_time, "{ending}, {word}"),
            "1500.00 withdrawn voided" | "skipped voided" => {}
            "1500.00 planned in a file" => assert!(!in_time, "round {number}: {ending}, {word}"),
            _ => panic!("round {number}: {ending}, {word}"),
        }
    }
}
