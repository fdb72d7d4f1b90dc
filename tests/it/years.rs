//! The turn of a year: amounts carried over at its opening, and what is still active at its end.

use pikou::stages::{Context, turning};
use pikou::store::year_turns::TurnKey;
use serde_json::{Value, json};

use crate::judging::plan_as_foreseen;
use crate::process::Pikou;
use crate::support::*;

const AFTER_VOID: &str = "PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__AFTER_VOID";
const MINIMUM: &str = "PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__MINIMUM";

fn key(valid_year: i16) -> TurnKey {
    TurnKey { region: "beijing".into(), insurance_type: PENSION.into(), valid_year }
}

/// The place on a day of the next spring, with amounts carried over, a few payers at a time.
fn spring(place: &Place, more: &[(&str, &str)]) -> Context {
    let settings = [&[(CARRY_OVER, "true"), ("PIKOU__RUN__RANGE_MAX", "2")], more].concat();
    Context { clock: place.at("2027-04-15T09:00:00+08:00").clock, ..place.under(&settings) }
}

async fn open(ctx: &Context) -> (i64, i64) {
    turning::open(ctx, &key(2027), ctx.clock.business_date()).await.unwrap()
}

fn of_2027(message: Value) -> Value {
    with_data(message, json!({"valid_year": 2027}))
}

/// `payer amount channel state held` of 2027.
async fn in_2027(place: &Place) -> Vec<String> {
    place
        .texts(
            "SELECT concat_ws(' ', payer_id, amount, channel, state, hold_reason) FROM amount_settings WHERE valid_year = 2027
             ORDER BY payer_id, fact_time",
        )
        .await
}

/// Last year's payers, by what is to become of their amounts.
async fn last_year(place: &Place) {
    for payer in [
        "1-plain",
        "2-voided",
        "3-low",
        "4-explicit",
        "5-void-mark",
        "6-ended",
        "7-guizhou",
        "8-paid",
        "9-account-closed",
    ] {
        place.take(&ready(payer, if payer == "3-low" { "1000.00" } else { "1500.00" })).await;
    }
    let run_id = place.run().await;
    let failing = ["1-plain", "2-voided", "3-low", "4-explicit", "5-void-mark", "6-ended", "7-guizhou"];
    let mut codes: Vec<(&str, &str)> = failing.iter().map(|payer| (*payer, "1001")).collect();
    codes.push(("9-account-closed", "2001"));
    place.answer(run_id, &codes).await;
    let moved = |payer: &str, fields| enrolment_with(payer, &format!("moved-{payer}"), "2026-12-01T00:00:00Z", fields);
    place
        .take(&[
            amount_voided("2-voided", "void-2", "2026-05-01T00:00:00Z"),
            moved("6-ended", json!({"status": "ended", "effective_on": "2026-12-01"})),
            moved("7-guizhou", json!({"division_code": "520102"})),
            of_2027(amount_voided("5-void-mark", "void-5", "2026-12-20T00:00:00Z")),
        ])
        .await;
    let early = place.at("2027-01-10T09:00:00+08:00");
    let set = of_2027(amount_set("4-explicit", "set-2027", "2027-01-10T00:00:00Z", "2000.00"));
    pikou::stages::intake::take(&early, &deliveries(&[set])).await.unwrap();
}

const CARRIED: [&str; 5] = [
    "1-plain 1500.00 carried_over active",
    "3-low 1000.00 carried_over active amount_out_of_range",
    "4-explicit 2000.00 etax active",
    "8-paid 1500.00 carried_over active",
    "9-account-closed 1500.00 carried_over active no_agreement",
];

#[tokio::test]
async fn last_years_amounts_are_carried_over_once_and_nothing_else_is() {
    let place = Place::new().await;
    last_year(&place).await;
    let ctx = spring(&place, &[(MINIMUM, "1200.00")]);
    assert_eq!(open(&ctx).await, (4, 2));
    assert_eq!(in_2027(&place).await, CARRIED);
    assert_eq!(open(&ctx).await, (4, 2), "again, it does nothing");
    assert_eq!(in_2027(&place).await, CARRIED);
    let told: Vec<Value> = place.data_of("amount.carried_over").await;
    let said: Vec<_> = told.iter().map(|data| (&data["payer_id"], &data["status"], &data["hold_reason"])).collect();
    let [active, held] = [json!("active"), json!("held")];
    let (range, agreement) = (json!("amount_out_of_range"), json!("no_agreement"));
    let payers = [json!("1-plain"), json!("3-low"), json!("8-paid"), json!("9-account-closed")];
    let wanted = [
        (&payers[0], &active, &Value::Null),
        (&payers[1], &held, &range),
        (&payers[2], &active, &Value::Null),
        (&payers[3], &held, &agreement),
    ];
    assert_eq!(said, wanted);

    let twice = "INSERT INTO carried_amounts SELECT * FROM carried_amounts";
    assert_eq!(place.refused_by(twice).await, "carried_amounts_pkey");
    let twice = "INSERT INTO year_turns (region, insurance_type, valid_year, what, begun_at) SELECT region, insurance_type, valid_year, what, begun_at FROM year_turns";
    assert_eq!(place.refused_by(twice).await, "a_year_turns_once");
}

#[tokio::test]
async fn after_a_void_what_was_last_paid_is_carried_where_that_is_configured() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    let run_id = place.run().await;
    place.answer(run_id, &[("P2", "1001")]).await;
    place.take(&[amount_voided("P2", "void-P2", "2026-05-01T00:00:00Z")]).await;
    // Paid in 2026, set and voided in 2027.
    let ctx = spring(&place, &[(AFTER_VOID, "last_paid")]);
    let set = of_2027(amount_set("P1", "set-27", "2027-04-02T00:00:00Z", "3000.00"));
    let void = of_2027(amount_voided("P1", "void-27", "2027-04-03T00:00:00Z"));
    pikou::stages::intake::take(&ctx, &deliveries(&[set, void])).await.unwrap();
    let ctx = Context { clock: place.at("2028-04-15T09:00:00+08:00").clock, ..ctx };
    turning::open(&ctx, &key(2027), chrono::NaiveDate::from_ymd_opt(2027, 4, 15).unwrap()).await.unwrap();
    assert_eq!(in_2027(&place).await, ["P1 3000.00 etax voided"], "P2 has never paid");
    turning::open(&ctx, &key(2028), ctx.clock.business_date()).await.unwrap();
    let sql = "SELECT concat_ws(' ', payer_id, from_year, amount) FROM carried_amounts";
    assert_eq!(place.texts(sql).await, ["P1 2026 1500.00"]);
}

#[tokio::test]
async fn whatever_arrives_when_what_the_payer_says_beats_what_was_carried() {
    let place = Place::new().await;
    for payer in ["P1", "P2", "P3"] {
        place.take(&ready(payer, "1500.00")).await;
    }
    let ctx = spring(&place, &[]);
    assert_eq!(open(&ctx).await, (3, 0));
    // Both were said long before the year was opened.
    let set = of_2027(amount_set("P1", "set-early", "2027-01-01T00:00:00Z", "2000.00"));
    let void = of_2027(amount_voided("P2", "void-early", "2000-01-01T00:00:00Z"));
    pikou::stages::intake::take(&ctx, &deliveries(&[set, void])).await.unwrap();
    let wanted = [
        "P1 1500.00 carried_over superseded",
        "P1 2000.00 etax active",
        "P2 1500.00 carried_over voided",
        "P3 1500.00 carried_over active",
    ];
    assert_eq!(in_2027(&place).await, wanted);
    let told = place.told_of(&format!("P1/{PENSION}/2027")).await;
    assert_eq!(told, ["amount.carried_over", "amount.superseded", "amount.set"]);
    assert_eq!(place.told_of(&format!("P2/{PENSION}/2027")).await, ["amount.carried_over", "amount.voided"]);
}

#[tokio::test]
async fn the_first_plan_of_a_year_opens_it_and_no_plan_before_its_window_does() {
    let place = Place::new().await;
    last_year(&place).await;
    let ctx = spring(&place, &[(MINIMUM, "1200.00")]);
    let plan_on = async |ctx: &Context, month| {
        let date = chrono::NaiveDate::from_ymd_opt(2027, month, 15).unwrap();
        plan_as_foreseen(&place, ctx, SCHEDULE, date).await
    };
    let run_id = plan_on(&ctx, 3).await;
    assert_eq!(place.skips(run_id).await, ["4-explicit not_due"]);
    let off = Context { clock: ctx.clock, ..place.other_worker() };
    let run_id = plan_on(&off, 4).await;
    assert_eq!(place.attempts_of(run_id).await, ["4-explicit 2000.00 planned"], "not where nothing is carried over");
    let run_id = plan_on(&ctx, 5).await;
    assert_eq!(in_2027(&place).await, CARRIED);
    let wanted = ["3-low amount_out_of_range", "4-explicit attempt_in_flight", "9-account-closed no_agreement"];
    assert_eq!(place.skips(run_id).await, wanted);
    assert_eq!(place.attempts_of(run_id).await, ["1-plain 1500.00 planned", "8-paid 1500.00 planned"]);
}

#[tokio::test]
async fn an_opening_that_died_goes_on_behind_the_last_payer_and_two_workers_carry_once() {
    let place = Place::new().await;
    last_year(&place).await;
    let ctx = spring(&place, &[(MINIMUM, "1200.00")]);
    let day = ctx.clock.business_date();
    assert!(turning::open_some(&ctx, &key(2027), day).await.unwrap().is_some());
    let through = "SELECT through FROM year_turns";
    assert_eq!(place.texts(through).await, ["2-voided"]);
    let other = Context { worker: unique("worker"), ..ctx.clone() };
    let of_2027 = key(2027);
    let (one, two) = tokio::join!(turning::open(&ctx, &of_2027, day), turning::open(&other, &of_2027, day));
    assert_eq!((one.unwrap(), two.unwrap()), ((4, 2), (4, 2)));
    assert_eq!(in_2027(&place).await, CARRIED);
}

#[tokio::test]
async fn a_year_that_is_not_open_or_not_carried_into_is_refused() {
    let place = Place::new().await;
    let ctx = spring(&place, &[]);
    let march = chrono::NaiveDate::from_ymd_opt(2027, 3, 31).unwrap();
    let refused = turning::open(&ctx, &key(2027), march).await.unwrap_err().to_string();
    assert_eq!(refused, "the window of 2027 is not open on 2027-03-31");
    let refused =
        turning::open(&place.at("2026-04-15T09:00:00+08:00"), &key(2026), day()).await.unwrap_err().to_string();
    assert_eq!(refused, "nothing is carried over for resident_pension in beijing");
    let nowhere = TurnKey { region: "atlantis".into(), ..key(2027) };
    let refused = turning::open(&ctx, &nowhere, march).await.unwrap_err().to_string();
    assert_eq!(refused, "resident_pension is not collected in atlantis");
    let refused = turning::expire(&ctx, &key(2027)).await.unwrap_err().to_string();
    assert_eq!(refused, "the window of 2027 is not over on 2027-04-15");
    assert_eq!(place.count("SELECT count(*) FROM year_turns").await, 0);
}

#[tokio::test]
async fn what_is_active_when_its_year_is_over_expires_once_nothing_is_out() {
    let place = Place::new().await;
    for payer in ["1-failed", "2-paid", "3-unknown", "4-voided"] {
        place.take(&ready(payer, "1500.00")).await;
    }
    let run_id = place.run().await;
    place.answer(run_id, &[("1-failed", "1001"), ("3-unknown", "9001"), ("4-voided", "1001")]).await;
    place.take(&[amount_voided("4-voided", "void", "2026-05-01T00:00:00Z")]).await;
    let in_december = |day: u32| place.at(&format!("2026-12-{day}T09:00:00+08:00"));
    turning::turn_years(&in_december(10)).await.unwrap();
    let standing = "SELECT concat_ws(' ', payer_id, state) FROM amount_settings ORDER BY payer_id";
    let before = ["1-failed active", "2-paid active", "3-unknown active", "4-voided voided"];
    assert_eq!(place.texts(standing).await, before, "on the last day");
    turning::turn_years(&in_december(11)).await.unwrap();
    let wanted = ["1-failed expired", "2-paid active", "3-unknown active", "4-voided voided"];
    assert_eq!(place.texts(standing).await, wanted, "what is paid is fulfilled, what is out waits");
    let turn = "SELECT concat_ws(' ', what, state, amounts) FROM year_turns";
    assert_eq!(place.texts(turn).await, ["expiry under_way 1"]);

    // The bank's word comes; the same day nothing more is looked at.
    let order = place.texts("SELECT order_no FROM attempts WHERE payer_id = '3-unknown'").await.remove(0);
    let request = place.texts("SELECT file_name FROM request_files").await.remove(0);
    place.reconcile("late", &result_file(&request, &[Row::failed(&order, "1500.00", "1001")])).await;
    turning::turn_years(&in_december(11)).await.unwrap();
    assert_eq!(place.texts(standing).await, wanted);
    turning::turn_years(&in_december(12)).await.unwrap();
    let wanted = ["1-failed expired", "2-paid active", "3-unknown expired", "4-voided voided"];
    assert_eq!(place.texts(standing).await, wanted);
    assert_eq!(place.texts(turn).await, ["expiry done 2"]);
    let told: Vec<String> = place
        .data_of("amount.expired")
        .await
        .iter()
        .map(|data| data["payer_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ["1-failed", "3-unknown"]);
}

/// Dies where it is told to, and is given the same command again: the books are those of one that never died.
#[tokio::test]
async fn a_worker_that_dies_while_a_year_is_opened_or_an_amount_held_leaves_no_half_of_it() {
    // The processes go by the real clock: the window is the whole year.
    let this_year = chrono::Datelike::year(&pikou::clock::Clock::System.business_date());
    let place = Pikou::new(&[
        (CARRY_OVER, "true"),
        ("PIKOU__RUN__RANGE_MAX", "2"),
        ("PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__WINDOW_FROM", "01-01"),
        ("PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__WINDOW_TO", "12-31"),
        ("PIKOU__LOG__LEVEL", "warn"),
    ])
    .await;
    let last_year = this_year - 1;
    let set = |payer: &str| {
        let message = amount_set(payer, &format!("set-{payer}"), &format!("{last_year}-04-02T00:00:00Z"), "1500.00");
        with_data(message, json!({"valid_year": last_year}))
    };
    let payers = ["P1", "P2", "P3", "P4", "P5"];
    let messages: Vec<Value> = payers.iter().flat_map(|payer| [enrolment(payer), set(payer)]).collect();
    let text: String = messages.iter().map(|message| format!("{message}\n")).collect();
    let file = place.write("messages.jsonl", text.as_bytes());
    assert_eq!(place.run(&["ingest", file.to_str().unwrap()]).await.code(), 0);

    let year = this_year.to_string();
    let open = ["--json", "year", "open", "beijing", PENSION, &year];
    for at in ["turning: before commit", "turning: range carried", "turning: range carried", "turning: year opened"] {
        let ended = place.run_with(&open, &[("PIKOU_DIE_AT", at)]).await;
        assert!(ended.was_killed(), "{at}: {}{}", ended.stdout, ended.stderr);
    }
    let ended = place.run(&open).await;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&said["amounts"], &said["held"], &said["events_published"]), (&json!(5), &json!(0), &json!(5)));

    let hold = ["hold", "set", "P3", PENSION, &year, "--by", "Li Wei", "--reason", "court order"];
    let ended = place.run_with(&hold, &[("PIKOU_DIE_AT", "hold: before commit")]).await;
    assert!(ended.was_killed(), "{}{}", ended.stdout, ended.stderr);
    let listed = async || {
        let ended = place.run(&["--json", "hold", "list"]).await;
        let listed: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
        let row = |row: &Value| format!("{} {} {}", row["payer_id"], row["hold_reason"], row["reason"]);
        listed.iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, [""; 0]);
    assert_eq!(place.run(&hold).await.code(), 0);
    assert_eq!(listed().await, [r#""P3" "suspended" "court order""#]);
    assert_eq!(place.run(&hold).await.code(), 2, "it is held already");
}
