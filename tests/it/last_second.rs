//! Payers, channels, the agency, banks and operators all change their minds in the last second, while workers plan, seal
//! and hand over and lose their leases: thousands of times, and after each run the books and the very bytes of its files
//! are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{Days, NaiveDate};
use pikou::crypt::Purpose;
use pikou::stages::decider::Decider;
use pikou::stages::{Context, cancel, intake, lease, plan, release};
use pikou::worker::runs::advance;
use serde_json::{Value, json};

use crate::support::*;

/// Places at once, runs in each, and the payers that are new in each run: every one of them is a round.
const PLACES: u64 = 2;
const WAVES: u64 = 6;
const PAYERS: usize = 120;
const INTAKES: usize = 3;
/// How often a racer asks the database for nothing before it goes off.
const DETOURS: usize = 60;
/// How often a worker looks whether the other one has let go of the run.
const LEASE_POLL: Duration = Duration::from_millis(3);

fn date_of(wave: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 4, 2).unwrap() + Days::new(wave)
}

/// What is known of a payer before the run: a setting always; perhaps a declaration of the year, one of an assessment, and
/// an online order that failed.
fn known(payer: &str, dice: &mut Dice) -> Vec<Value> {
    let mut known = ready(payer, "1500.00");
    let collect_by = json!({"collect_by": "batch"});
    if dice.below(2) == 0 {
        known.push(declaration(payer, &format!("N-{payer}"), json!({"collect_by": dice.one_of(&["batch", "online"])})));
        if dice.below(2) == 0 {
            known.push(payment_started(&format!("F-{payer}"), &[(&format!("N-{payer}"), "2000.00")], json!({})));
            known.push(payment_reported(&format!("F-{payer}"), &format!("closed-{payer}"), "closed", json!({})));
        }
    }
    if dice.below(2) == 0 {
        known.push(assessment(payer, "A1", &format!("assess-{payer}"), "2026-03-01T00:00:00Z", json!({})));
        known.push(with_data(special(payer, &format!("S-{payer}"), "A1"), collect_by));
    }
    known
}

/// What is said of a payer while the run goes on.
fn said(payer: &str, wave: u64, dice: &mut Dice) -> Vec<Value> {
    let id = |what: &str| format!("{what}-{payer}-{wave}");
    let time = |minute: u64| format!("2026-04-15T{:02}:{minute:02}:00Z", wave % 24);
    let succeeded = |order: &str| {
        let txn = json!({"gateway_txn_no": format!("T-{order}")});
        payment_reported(order, &id(&format!("paid-{order}")), "succeeded", txn)
    };
    let (normal, back) = (format!("N-{payer}"), format!("S-{payer}"));
    let set = |minute| amount_set(payer, &id("set"), &time(minute), "1800.00");
    let void = |minute| amount_voided(payer, &id("void"), &time(minute));
    let agreed = |fields| agreement_with(payer, &id("agree"), &time(1), fields);
    let assessed = |fields| assessment(payer, "A1", &id("assess"), &time(1), fields);
    match dice.below(14) {
        0 | 1 => vec![void(1)],
        2 => vec![set(1)],
        3 => vec![void(1), set(2)],
        4 => vec![agreed(json!({"status": "ended"}))],
        5 => vec![agreed(json!({"bank_code": "103"})), void(1)],
        6 => vec![agreed(json!({"amount_max": "1700.00"}))],
        7 => vec![assessed(json!({"status": "withdrawn"})), void(1)],
        8 => vec![assessed(json!({"amount": "1300.00"})), set(1)],
        9 => vec![void_requested(&normal, &id("undeclare")), void_requested(&back, &id("undeclare-special"))],
        10 => {
            let order = id("O");
            vec![payment_started(&order, &[(&normal, "2000.00")], json!({})), succeeded(&order)]
        }
        11 => {
            let order = id("Q");
            vec![payment_started(&order, &[(&back, "1200.00")], json!({})), void(1)]
        }
        12 => vec![succeeded(&format!("F-{payer}"))],
        _ => {
            let ended = json!({"status": "ended", "effective_on": "2026-04-01"});
            vec![enrolment_with(payer, &id("end"), &time(1), ended)]
        }
    }
}

async fn detours(ctx: &Context, count: usize) {
    for _ in 0..count {
        sqlx::query("SELECT 1").execute(&ctx.pool).await.unwrap();
    }
}

/// Takes its messages in small batches, from some moment on.
async fn take_all(ctx: Context, messages: Vec<Value>, batch: usize, begin: usize) {
    detours(&ctx, begin).await;
    for some in messages.chunks(batch) {
        while let Err(error) = intake::take(&ctx, &deliveries(some)).await {
            assert!(error.helps_later(), "{error}");
        }
        detours(&ctx, begin / 8).await;
    }
}

async fn state_of(ctx: &Context, run_id: i64) -> String {
    let sql = "SELECT state FROM runs WHERE run_id = $1";
    sqlx::query_scalar(sql).bind(run_id).fetch_one(&ctx.pool).await.unwrap()
}

/// Works on the run, whatever is taken out of its hands; lets a held one go on after a while, where somebody has patience.
async fn work(ctx: Context, run_id: i64, patience: Option<usize>) {
    loop {
        match state_of(&ctx, run_id).await.as_str() {
            "planning" | "planned" | "sealed" => {}
            "held" => {
                let Some(patience) = patience else { return };
                detours(&ctx, patience).await;
                release::release(&ctx, run_id, &Decider::new("Li Lei", "looked at it").unwrap()).await.unwrap();
            }
            _ => return,
        }
        match lease::take(&ctx, run_id).await.unwrap() {
            Some(lease) => {
                if let Err(error) = advance(&ctx, lease, &mut |_, _| ()).await {
                    assert!(error.helps_later(), "{error}: {error:?}");
                }
            }
            None => tokio::time::sleep(LEASE_POLL).await,
        }
    }
}

/// The bank's answers to what it was sent in a run: some fail, some of those turn out to have been paid after all.
async fn answers(place: &Place, run_id: i64, dice: &mut Dice) -> (Vec<u8>, Vec<u8>) {
    let sql = format!(
        "SELECT order_no || ' ' || amount FROM attempt_status WHERE run_id = {run_id} AND status = 'sent' AND file_name LIKE '102%' ORDER BY 1"
    );
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for sent in place.texts(&sql).await {
        let (order_no, amount) = sent.split_once(' ').unwrap();
        match dice.below(4) {
            0 => first.push(Row::paid(order_no, amount)),
            1 => {
                first.push(Row::failed(order_no, amount, "1001"));
                later.push(Row::paid(order_no, amount));
            }
            _ => first.push(Row::failed(order_no, amount, "1001")),
        }
    }
    (result_file(&format!("{run_id}"), &first), result_file(&format!("{run_id}"), &later))
}

async fn wave(place: &Arc<Place>, number: u64, dice: &mut Dice, late: &mut Vec<u8>, payers: &mut Vec<String>) -> i64 {
    let fresh: Vec<String> = (0..PAYERS).map(|payer| format!("{number:02}-{payer:02}")).collect();
    let before: Vec<Value> = fresh.iter().flat_map(|payer| known(payer, dice)).collect();
    place.take(&before).await;
    payers.extend(fresh.iter().cloned());
    // Of those before, too: the few that are still deducted are retries.
    let mut speaking: Vec<String> = (0..PAYERS / 4).map(|_| payers[dice.below(payers.len())].clone()).collect();
    speaking.extend(fresh);
    speaking.sort();
    speaking.dedup();
    dice.shuffle(&mut speaking);
    let mut racers = Vec::new();
    for share in speaking.chunks(speaking.len().div_ceil(INTAKES)) {
        let messages: Vec<Value> = share.iter().flat_map(|payer| said(payer, number, dice)).collect();
        let (batch, begin) = (1 + dice.below(16), dice.below(DETOURS));
        racers.push(tokio::spawn(take_all(place.other_worker(), messages, batch, begin)));
    }
    let hold = if number % 2 == 1 { "{ count_percent = 1 }" } else { "{}" };
    let hold = [
        ("PIKOU__SCHEDULES__BEIJING_RESIDENT_PENSION__HOLD", hold),
        ("PIKOU__RUN__RANGE_MAX", "60"),
        ("PIKOU__GATEWAYS__BANK__ITEMS_MAX", "20"),
    ];
    let run_id = plan::fire(&place.ctx, SCHEDULE, date_of(number)).await.unwrap();
    let mut workers = Vec::new();
    for _ in 0..2 {
        // One that is held and that nobody lets go on is cancelled for certain.
        let patience = (number % 4 != 3).then_some(dice.below(DETOURS));
        workers.push(tokio::spawn(work(place.under(&hold), run_id, patience)));
    }
    if number % 2 == 1 {
        let (ctx, patience) = (place.other_worker(), dice.below(DETOURS * 4));
        racers.push(tokio::spawn(async move {
            detours(&ctx, patience).await;
            cancel::decide(&ctx, run_id, &Decider::new("Lin Tao", "a mistake").unwrap()).await.unwrap();
        }));
    }
    let (bank, patience, bytes) = (place.clone(), dice.below(DETOURS), std::mem::take(late));
    racers.push(tokio::spawn(async move {
        detours(&bank.ctx, patience).await;
        if !bytes.is_empty() {
            bank.reconcile(&format!("late-{number}"), &bytes).await;
        }
    }));
    let (thief, patience) = (place.clone(), dice.below(DETOURS));
    racers.push(tokio::spawn(async move {
        detours(&thief.ctx, patience).await;
        thief.expire_lease(run_id).await;
    }));
    for task in racers.into_iter().chain(workers) {
        task.await.unwrap();
    }
    // A decision that came when both had gone home.
    if let Some(lease) = lease::take(&place.ctx, run_id).await.unwrap() {
        advance(&place.ctx, lease, &mut |_, _| ()).await.unwrap();
    }
    let (first, later) = answers(place, run_id, dice).await;
    looked_at(place, run_id).await;
    place.reconcile(&format!("first-{number}"), &first).await;
    *late = later;
    run_id
}

/// What the book says that it must not say; each query finds what is wrong. In which order two transactions went through
/// the gate is told by their numbers: both write only behind it.
const CONTRADICTIONS: [(&str, &str); 12] = [
    (
        "two live attempts of an obligation",
        "SELECT d.payer_id FROM attempts a JOIN declarations d USING (payer_id, declaration_no)
         WHERE a.state NOT IN ('failed', 'withdrawn') GROUP BY d.payer_id, d.insurance_type, d.kind, d.period_from, d.assessment_no HAVING count(*) > 1",
    ),
    (
        "paying without a live attempt, or one live without paying",
        "SELECT d.declaration_no FROM declarations d
         WHERE (d.state = 'paying') <> EXISTS (SELECT FROM attempts a WHERE a.declaration_no = d.declaration_no
                                               AND a.payer_id = d.payer_id AND a.state NOT IN ('failed', 'withdrawn'))",
    ),
    (
        "a candidate with two answers",
        "SELECT payer_id || ' ' || no FROM (
             SELECT a.payer_id, CASE d.kind WHEN 'special' THEN d.declaration_no ELSE '' END AS no
             FROM attempts a JOIN declarations d USING (payer_id, declaration_no) WHERE a.run_id = $1
             UNION ALL SELECT payer_id, declaration_no FROM run_skips WHERE run_id = $1) c
         GROUP BY payer_id, no HAVING count(*) > 1",
    ),
    (
        "a candidate without an answer",
        "SELECT DISTINCT s.payer_id FROM amount_settings s
         WHERE s.payer_id || '-' NOT IN (SELECT payer_id || '-' FROM run_skips WHERE run_id = $1 AND declaration_no = '')
           AND NOT EXISTS (SELECT FROM attempts a JOIN declarations d USING (payer_id, declaration_no)
                           WHERE a.run_id = $1 AND a.payer_id = s.payer_id AND d.kind = 'normal')
           AND EXISTS (SELECT FROM runs WHERE run_id = $1 AND planned_at IS NOT NULL)",
    ),
    (
        "counts or sums that are not those of the rows",
        "SELECT r.run_id::text FROM runs r
         CROSS JOIN LATERAL (SELECT count(*) AS attempts, COALESCE(sum(amount), 0) AS total, count(*) FILTER (WHERE state = 'withdrawn') AS withdrawn
                             FROM attempts WHERE run_id = r.run_id) a
         WHERE r.run_id = $1 AND ((r.attempts, r.attempts_total, r.skips) IS DISTINCT FROM
                   (a.attempts, a.total, (SELECT count(*) FROM run_skips WHERE run_id = r.run_id))
               OR (r.sealed_at IS NOT NULL OR r.state = 'cancelled') AND r.withdrawn <> a.withdrawn)",
    ),
    (
        "a gap in the numbers of a bank",
        "SELECT l.lane::text FROM run_lanes l
         WHERE l.run_id = $1 AND l.attempts <> (SELECT count(*) FROM attempts a WHERE a.run_id = l.run_id AND a.lane = l.lane)
            OR l.run_id = $1 AND l.attempts <> (SELECT COALESCE(max(right(order_no, 8)::int), 0) FROM attempts a WHERE a.run_id = l.run_id AND a.lane = l.lane)",
    ),
    (
        "an order in no file, or in two",
        "SELECT a.order_no FROM attempts a JOIN runs r USING (run_id)
         WHERE run_id = $1 AND r.sealed_at IS NOT NULL
           AND (SELECT count(*) FROM request_files f WHERE f.run_id = a.run_id AND f.lane = a.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no) <> 1",
    ),
    (
        "planned of a run that is cancelled",
        "SELECT order_no FROM attempts a JOIN runs r USING (run_id) WHERE r.state = 'cancelled' AND a.state <> 'withdrawn'",
    ),
    (
        "a voided year that is deducted, and nobody was told the file",
        "SELECT a.order_no FROM attempts a JOIN declarations d USING (payer_id, declaration_no)
         WHERE a.run_id = $1 AND a.state = 'planned' AND d.kind = 'normal'
           AND EXISTS (SELECT FROM amount_settings s WHERE s.payer_id = a.payer_id AND s.state = 'voided')
           AND NOT EXISTS (SELECT FROM amount_settings s WHERE s.payer_id = a.payer_id AND s.state = 'active')
           AND a.order_no NOT IN (SELECT body::json->'data'->>'order_no' FROM outbox o, unnest(o.bodies) AS body WHERE body LIKE '%amount.void_too_late%')",
    ),
    (
        "told the file, and it is in none",
        "SELECT a.order_no FROM attempts a JOIN runs r USING (run_id)
         WHERE a.run_id = $1 AND (r.sealed_at IS NULL OR a.state = 'withdrawn' AND a.withdrawal NOT IN ('no_agreement', 'unencodable'))
           AND a.order_no IN (SELECT body::json->'data'->>'order_no' FROM outbox o, unnest(o.bodies) AS body WHERE body LIKE '%amount.void_too_late%')",
    ),
    (
        "out, though its ground had gone before the seal",
        "WITH seal AS (
             SELECT o.xmin::text::bigint AS xid FROM outbox o, unnest(o.bodies) AS body
             WHERE body LIKE '%pikou.run.sealed.v1%' AND body::json->>'subject' = $1::text)
         SELECT a.order_no || ' ' || g.what
         FROM seal, attempts a JOIN run_lanes l USING (run_id, lane) JOIN declarations d USING (payer_id, declaration_no) CROSS JOIN LATERAL (
             SELECT 'setting', s.xmin FROM amount_settings s
             WHERE d.kind = 'normal' AND d.channel = 'batch' AND s.payer_id = d.payer_id AND s.state <> 'active'
               AND (s.fact_time, s.fact_id) = (d.setting_time, d.setting_id)
             UNION ALL SELECT 'agreement', g.xmin FROM agreements g
             WHERE g.payer_id = a.payer_id AND g.agreement_no = a.agreement_no AND (g.status <> 'active' OR g.bank_code <> l.bank_code OR g.amount_max < a.amount)
             UNION ALL SELECT 'assessment', h.xmin FROM assessments h
             WHERE d.kind = 'special' AND h.payer_id = d.payer_id AND (h.status <> 'issued' OR h.amount <> d.amount)
             UNION ALL SELECT 'enrolment', e.xmin FROM enrolments e WHERE e.payer_id = a.payer_id AND e.status <> 'active'
             UNION ALL SELECT 'dispute', c.xmin FROM discrepancies c LEFT JOIN declarations o ON o.declaration_no = c.declaration_no
             WHERE c.payer_id = a.payer_id AND c.order_no <> a.order_no
               AND (o.declaration_no IS NULL OR (o.kind, o.assessment_no) = (d.kind, d.assessment_no))) AS g (what, since)
         WHERE a.run_id = $1 AND a.state = 'planned' AND g.since::text::bigint < seal.xid",
    ),
    (
        "withdrawn after the seal",
        "WITH seal AS (
             SELECT o.xmin::text::bigint AS xid FROM outbox o, unnest(o.bodies) AS body
             WHERE body LIKE '%pikou.run.sealed.v1%' AND body::json->>'subject' = $1::text)
         SELECT a.order_no FROM attempts a, seal
         WHERE a.run_id = $1 AND a.state = 'withdrawn' AND a.withdrawal <> 'no_agreement' AND a.xmin::text::bigint > seal.xid",
    ),
];

async fn looked_at(place: &Place, run_id: i64) {
    let mut found = Vec::new();
    for (what, sql) in CONTRADICTIONS {
        let sql = sql.replace("$1", &run_id.to_string());
        found.extend(place.texts(&sql).await.into_iter().map(|row| format!("{what}: {row}")));
    }
    assert_eq!(found, Vec::<String>::new(), "run {run_id}");
    // What the sealed bytes say, and what the folder holds, is what is live: nothing that was withdrawn, nothing twice.
    let sql = format!(
        "SELECT order_no || ' ' || amount FROM attempts WHERE run_id = {run_id} AND state <> 'withdrawn' ORDER BY 1"
    );
    let live = place.texts(&sql).await;
    let files: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT bank_code, file_name, content FROM request_files WHERE run_id = $1 AND content IS NOT NULL",
    )
    .bind(run_id)
    .fetch_all(&place.ctx.pool)
    .await
    .unwrap();
    let mut written = Vec::new();
    for (bank_code, file_name, content) in files {
        let bytes = place.ctx.keys.open(Purpose::FileContent, &content).unwrap();
        assert_eq!(std::fs::read(place.outbox(&bank_code).join(&file_name)).unwrap(), bytes, "{file_name}");
        let read = place.ctx.settings.destination("bank", &bank_code).unwrap().parse_back(&bytes).unwrap();
        written.extend(read.orders.into_iter().map(|(order_no, amount)| format!("{order_no} {amount}")));
    }
    written.sort();
    assert_eq!(written, live, "run {run_id}");
}

/// What became of everybody in all runs.
const ENDINGS: &str = "
    SELECT concat_ws(' ', CASE WHEN run_id IS NULL THEN 'online' END, status, withdrawal) FROM attempt_status
    UNION ALL SELECT 'skipped ' || reason FROM run_skips
    UNION ALL SELECT 'run ' || state FROM runs
    UNION ALL SELECT 'told the file' FROM outbox, unnest(bodies) AS body WHERE body LIKE '%amount.void_too_late%'
    UNION ALL SELECT 'told ' || code FROM messages WHERE code IS NOT NULL
    UNION ALL SELECT kind FROM discrepancies";

/// Those that must have come up, or the races have not been run.
const MUST_COME_UP: [&str; 23] = [
    "failed",
    "sent",
    "succeeded",
    "withdrawn voided",
    "withdrawn setting_changed",
    "withdrawn no_agreement",
    "withdrawn enrolment_closed",
    "withdrawn attempt_in_flight",
    "skipped voided",
    "skipped no_agreement",
    "skipped agreement_scope",
    "skipped enrolment_closed",
    "skipped attempt_in_flight",
    "skipped already_paid",
    "run cancelled",
    "told the file",
    "told attempt_in_flight",
    "told already_paid",
    "online sent",
    "online succeeded",
    "online failed",
    "contradiction",
    "double_payment",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_changes_in_the_last_second_is_in_time_or_is_told_the_file() {
    let places = (0..PLACES).map(|seed| {
        tokio::spawn(async move {
            let place = Arc::new(Place::new().await);
            let (mut dice, mut late, mut payers) = (Dice(seed * 1_000), Vec::new(), Vec::new());
            for number in 0..WAVES {
                wave(&place, number, &mut dice, &mut late, &mut payers).await;
            }
            place.account().await;
            assert_eq!(place.texts("SELECT code FROM quarantine").await, Vec::<String>::new());
            let mut endings: BTreeMap<String, usize> = BTreeMap::new();
            for ending in place.texts(ENDINGS).await {
                *endings.entry(ending).or_default() += 1;
            }
            let sequences = sequences(&place).await;
            (endings, sequences)
        })
    });
    let places: Vec<_> = places.collect();
    let mut came_up: BTreeMap<String, usize> = BTreeMap::new();
    for place in places {
        let (endings, sequences) = place.await.unwrap();
        assert_eq!(sequences, Vec::<String>::new());
        for (ending, count) in endings {
            *came_up.entry(ending).or_default() += count;
        }
    }
    let missing: BTreeSet<&str> = MUST_COME_UP.into_iter().filter(|ending| !came_up.contains_key(*ending)).collect();
    assert!(missing.is_empty(), "{missing:?} did not come up: {came_up:#?}");
}

/// Events of one subject whose sequence does not go up one by one.
async fn sequences(place: &Place) -> Vec<String> {
    let mut last: BTreeMap<(String, String), i64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (kind, subject, sequence) in place.told().await {
        let thing = match kind.split('.').next().unwrap() {
            "payment" => "deduction",
            thing => thing,
        };
        let before = last.insert((thing.to_owned(), subject.clone()), sequence).unwrap_or(0);
        if sequence <= before {
            wrong.push(format!("{kind} {subject} {sequence} after {before}"));
        }
    }
    wrong
}
