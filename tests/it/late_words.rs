//! Words on a year that come when the next one is open already: what was carried over follows them.

use pikou::stages::{Context, intake, turning};
use serde_json::{Value, json};

use crate::support::*;

const AFTER_VOID: &str = "PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__AFTER_VOID";
const MINIMUM: &str = "PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__MINIMUM";

/// The place as it is configured and on the day given.
fn on(place: &Place, time: &str, more: &[(&str, &str)]) -> Context {
    let settings = [&[(CARRY_OVER, "true"), ("PIKOU__RUN__RANGE_MAX", "50")], more].concat();
    Context { clock: place.at(time).clock, ..place.under(&settings) }
}

fn spring(place: &Place, more: &[(&str, &str)]) -> Context {
    on(place, "2027-04-15T09:00:00+08:00", more)
}

async fn take(ctx: &Context, messages: &[Value]) {
    intake::take(ctx, &deliveries(messages)).await.unwrap();
}

fn of(valid_year: i16, message: Value) -> Value {
    with_data(message, json!({"valid_year": valid_year}))
}

/// `payer year amount channel state held` of every version.
async fn standing(place: &Place) -> Vec<String> {
    place
        .texts(
            "SELECT concat_ws(' ', payer_id, valid_year, amount, channel, state, hold_reason) FROM amount_settings
             ORDER BY payer_id, valid_year, fact_time",
        )
        .await
}

/// Every order of so many things.
fn orders(of: usize) -> Vec<Vec<usize>> {
    if of == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for shorter in orders(of - 1) {
        for place in 0..of {
            let mut longer = shorter.clone();
            longer.insert(place, of - 1);
            all.push(longer);
        }
    }
    all
}

/// What is said of 2026 and 2027, without the opening of 2027 in between; and what is collected in 2027 in the end.
fn stories() -> Vec<(&'static [&'static str], &'static str)> {
    vec![
        (&["set 2026 05-01 1500.00"], "1500.00 carried_over"),
        (&["set 2026 05-01 1500.00", "void 2026 05-02"], ""),
        (&["set 2026 05-01 1500.00", "void 2026 05-02", "set 2026 05-03 2000.00"], "2000.00 carried_over"),
        (&["set 2026 05-01 1500.00", "set 2026 05-02 2000.00", "void 2026 05-03"], ""),
        (&["set 2026 05-01 1500.00", "void 2026 05-02", "set 2027 01-02 3000.00"], "3000.00 etax"),
        (&["set 2026 05-01 1500.00", "set 2026 05-02 2000.00", "void 2027 01-02"], ""),
        (
            &[
                "set 2026 05-01 1500.00",
                "void 2026 05-02",
                "set 2026 05-03 2000.00",
                "set 2027 01-02 3000.00",
                "void 2027 01-03",
            ],
            "",
        ),
    ]
}

fn said(payer: &str, word: &str) -> Value {
    let words: Vec<&str> = word.split(' ').collect();
    let (year, time) = (words[1].parse().unwrap(), format!("{}-{}T00:00:00Z", words[1], words[2]));
    let id = format!("{payer}-{}", word.replace(' ', "-"));
    match words[0] {
        "set" => of(year, amount_set(payer, &id, &time, words[3])),
        _ => of(year, amount_voided(payer, &id, &time)),
    }
}

#[tokio::test]
async fn whatever_comes_before_or_after_the_opening_ends_in_the_same_year() {
    let place = Place::new().await;
    // The last of each order is the opening: what is behind it comes late.
    let (mut early, mut late, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for (story, (words, collected)) in stories().into_iter().enumerate() {
        for (number, order) in orders(words.len() + 1).into_iter().enumerate() {
            let payer = format!("{story}-{number:03}");
            early.push(enrolment(&payer));
            let opening = order.iter().position(|place| *place == words.len()).unwrap();
            early.extend(order[..opening].iter().map(|place| said(&payer, words[*place])));
            late.extend(order[opening + 1..].iter().map(|place| said(&payer, words[*place])));
            wanted.push(format!("{payer} {collected}").trim_end().to_owned());
        }
    }
    // In December 2026 is over; what comes later than that is none of its end any more.
    take(&on(&place, "2027-03-01T09:00:00+08:00", &[]), &early).await;
    let ctx = spring(&place, &[]);
    turning::turn_years(&ctx).await.unwrap();
    for some in late.chunks(97) {
        take(&ctx, some).await;
    }
    let ends = place
        .texts(
            "SELECT concat_ws(' ', e.payer_id, s.amount, s.channel) FROM enrolments e
             LEFT JOIN amount_settings s ON s.payer_id = e.payer_id AND s.valid_year = 2027 AND s.state = 'active'
             ORDER BY e.payer_id",
        )
        .await;
    assert_eq!(ends, wanted);
    assert_eq!(
        place.count("SELECT count(*) FROM amount_settings WHERE valid_year = 2026 AND state = 'active'").await,
        0
    );
    let carried = place.count("SELECT count(*) FROM amount_settings WHERE channel = 'carried_over'").await;
    assert!(carried > 200, "{carried}");
    // The books say by their own sequence what was told, without a gap.
    let mut last: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
    for (_, subject, sequence) in place.told().await {
        if subject.ends_with("/2027") || subject.ends_with("/2026") {
            assert_eq!(last.insert(subject.clone(), sequence).unwrap_or(0) + 1, sequence, "{subject}");
        }
    }
}

#[tokio::test]
async fn a_late_void_withdraws_what_was_carried_over_and_is_planned_or_says_in_which_file_it_is() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    let ctx = spring(&place, &[]);
    let april = Place { ctx: ctx.clone(), folder: tempfile::tempdir().unwrap(), url: place.url.clone() };
    let date = ctx.clock.business_date();
    let lease = april.plan_on(date).await;
    assert_eq!(april.attempts_of(lease.run_id).await, ["P1 1500.00 planned", "P2 1500.00 planned"]);
    take(&ctx, &[amount_voided("P1", "void-P1", "2026-05-01T00:00:00Z")]).await;
    assert_eq!(april.attempts_of(lease.run_id).await, ["P1 1500.00 withdrawn voided", "P2 1500.00 planned"]);
    april.seal(lease).await;
    april.deliver(lease).await;
    take(&ctx, &[amount_voided("P2", "void-P2", "2026-05-01T00:00:00Z")]).await;
    let wanted = [
        "P1 2026 1500.00 etax voided",
        "P1 2027 1500.00 carried_over voided",
        "P2 2026 1500.00 etax voided",
        "P2 2027 1500.00 carried_over voided",
    ];
    assert_eq!(standing(&place).await, wanted);
    let of_2027 = |payer: &str| format!("{payer}/{PENSION}/2027");
    let told = place.told_of(&of_2027("P1")).await;
    assert_eq!(told, ["amount.carried_over", "amount.voided"]);
    let told = place.told_of(&of_2027("P2")).await;
    assert_eq!(told, ["amount.carried_over", "amount.void_too_late"]);
    let late = place.data_of("amount.void_too_late").await.remove(0);
    assert_eq!((&late["valid_year"], &late["amount"]), (&json!(2027), &json!("1500.00")));
    assert!(late["file_name"].as_str().unwrap().starts_with("102"), "{late}");
    place.account().await;
}

#[tokio::test]
async fn a_void_of_a_year_that_is_over_is_accepted_where_it_stops_what_was_carried_over() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00"), ready("P3", "1500.00")].concat()).await;
    let ctx = spring(&place, &[]);
    turning::turn_years(&ctx).await.unwrap();
    take(
        &ctx,
        &[
            amount_voided("P1", "void-P1", "2026-05-01T00:00:00Z"),
            // Said of the year before, and again: the first has done it.
            amount_voided("P1", "void-P1-again", "2026-05-02T00:00:00Z"),
            of(2025, amount_voided("P2", "void-P2", "2025-05-01T00:00:00Z")),
        ],
    )
    .await;
    let answers = place.answers().await;
    let of_voids: Vec<&String> = answers.iter().filter(|answer| answer.starts_with("void")).collect();
    let wanted = ["void-P1 accepted", "void-P1-again refused nothing_to_void", "void-P2 refused nothing_to_void"];
    assert_eq!(of_voids, wanted);
    let wanted = [
        "P1 2026 1500.00 etax voided",
        "P1 2027 1500.00 carried_over voided",
        "P2 2026 1500.00 etax expired",
        "P2 2027 1500.00 carried_over active",
        "P3 2026 1500.00 etax expired",
        "P3 2027 1500.00 carried_over active",
    ];
    assert_eq!(standing(&place).await, wanted);
}

#[tokio::test]
async fn a_late_void_goes_through_every_year_that_was_carried_on_from_it() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    turning::turn_years(&spring(&place, &[])).await.unwrap();
    let ctx = on(&place, "2028-04-15T09:00:00+08:00", &[]);
    turning::turn_years(&ctx).await.unwrap();
    take(&ctx, &[amount_voided("P1", "void-P1", "2026-05-01T00:00:00Z")]).await;
    // A newer amount of 2026 that is no more than known changes nothing; another does.
    take(&ctx, &[amount_set("P2", "same", "2026-05-01T00:00:00Z", "1500.00")]).await;
    take(&ctx, &[amount_set("P2", "other", "2026-05-02T00:00:00Z", "1800.00")]).await;
    let wanted = [
        "P1 2026 1500.00 etax voided",
        "P1 2027 1500.00 carried_over voided",
        "P1 2028 1500.00 carried_over voided",
        "P2 2026 1500.00 etax superseded",
        "P2 2026 1500.00 etax superseded",
        "P2 2026 1800.00 etax expired",
        "P2 2027 1500.00 carried_over superseded",
        "P2 2027 1800.00 carried_over expired",
        "P2 2028 1500.00 carried_over superseded",
        "P2 2028 1800.00 carried_over active",
    ];
    assert_eq!(standing(&place).await, wanted);
}

#[tokio::test]
async fn an_amount_that_has_waited_for_its_enrolment_until_the_year_was_open_is_carried_over() {
    let place = Place::new().await;
    let march = on(&place, "2027-03-01T09:00:00+08:00", &[]);
    take(&march, &[amount_set("P1", "set", "2026-05-01T00:00:00Z", "1500.00"), enrolment("P2")]).await;
    let ctx = spring(&place, &[]);
    turning::turn_years(&ctx).await.unwrap();
    take(&ctx, &[amount_set("P2", "set-P2", "2026-05-01T00:00:00Z", "1600.00")]).await;
    turning::turn_years(&ctx).await.unwrap();
    take(&ctx, &[enrolment("P1")]).await;
    let wanted = [
        "P1 2026 1500.00 etax expired",
        "P1 2027 1500.00 carried_over active",
        "P2 2026 1600.00 etax expired",
        "P2 2027 1600.00 carried_over active",
    ];
    assert_eq!(standing(&place).await, wanted);
}

#[tokio::test]
async fn after_a_late_void_what_was_last_paid_is_carried_where_that_is_configured() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00"), ready("P3", "1500.00")].concat()).await;
    let run_id = place.run().await;
    place.answer(run_id, &[("P2", "1001")]).await;
    let last_paid = [(AFTER_VOID, "last_paid")];
    // P1 and P3 have paid 1,500 yuan in 2026 and set 3,000 for 2027, unpaid; that is carried into 2028,
    // and then 2027 is voided.
    let ctx = spring(&place, &last_paid);
    let set = |payer: &str| of(2027, amount_set(payer, &format!("{payer}-27"), "2027-04-02T00:00:00Z", "3000.00"));
    take(&ctx, &[set("P1"), set("P3")]).await;
    turning::turn_years(&ctx).await.unwrap();
    let ctx = on(&place, "2028-04-15T09:00:00+08:00", &last_paid);
    turning::turn_years(&ctx).await.unwrap();
    let void = |payer: &str| of(2027, amount_voided(payer, &format!("void-{payer}"), "2027-05-01T00:00:00Z"));
    take(&ctx, &[void("P1"), void("P2")]).await;
    // What was paid then is not within the rule of now.
    take(&on(&place, "2028-04-15T09:00:00+08:00", &[last_paid[0], (MINIMUM, "1600.00")]), &[void("P3")]).await;
    let in_2028: Vec<String> = standing(&place).await.into_iter().filter(|row| row.contains(" 2028 ")).collect();
    let wanted = [
        "P1 2028 3000.00 carried_over superseded",
        "P1 2028 1500.00 carried_over active",
        "P2 2028 1500.00 carried_over voided",
        "P3 2028 3000.00 carried_over superseded",
        "P3 2028 1500.00 carried_over active amount_out_of_range",
    ];
    assert_eq!(in_2028, wanted);
    let told = place.data_of("amount.carried_over").await.pop().unwrap();
    let wanted = json!({"payer_id": "P3", "insurance_type": PENSION, "valid_year": 2028, "amount": "1500.00", "status": "held",
        "channel": "carried_over", "hold_reason": "amount_out_of_range"});
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn an_amount_in_time_that_comes_when_its_year_is_over_expires_at_once() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    // Nothing is carried over here.
    let winter = place.at("2026-12-20T09:00:00+08:00");
    turning::turn_years(&winter).await.unwrap();
    take(&winter, &[amount_set("P1", "straggler", "2026-12-09T00:00:00Z", "2000.00")]).await;
    assert_eq!(standing(&place).await, ["P1 2026 1500.00 etax superseded", "P1 2026 2000.00 etax expired"]);
    let told = place.told_of(&format!("P1/{PENSION}/2026")).await;
    assert_eq!(told, ["amount.set", "amount.expired", "amount.set", "amount.expired"]);
    assert_eq!(place.answers().await.last().unwrap(), "straggler accepted");
}

#[tokio::test]
async fn an_amount_of_a_year_that_is_over_stays_while_a_deduction_is_out_and_expires_with_it() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let run_id = place.run().await;
    let winter = place.at("2026-12-20T09:00:00+08:00");
    take(&winter, &[amount_set("P1", "straggler", "2026-12-09T00:00:00Z", "2000.00")]).await;
    turning::turn_years(&winter).await.unwrap();
    assert_eq!(standing(&place).await, ["P1 2026 1500.00 etax superseded", "P1 2026 2000.00 etax active"]);
    place.answer(run_id, &[("P1", "1001")]).await;
    turning::turn_years(&place.at("2026-12-21T09:00:00+08:00")).await.unwrap();
    assert_eq!(standing(&place).await, ["P1 2026 1500.00 etax superseded", "P1 2026 2000.00 etax expired"]);
}
