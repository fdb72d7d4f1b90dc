//! Schedules fire once, whoever fires them and how often, on the day that the calendar says; what is missed is caught up
//! as configured, and what is not caught up leaves its reason.

use pikou::clock::Clock;
use pikou::stages::fire::{self, News};
use pikou::stages::{Context, plan};
use pikou::worker::runs::{Firings, calendar_warnings, run_now};
use serde_json::{Value, json};

use crate::process::Pikou;
use crate::support::*;

const GUIZHOU: &str = "guizhou_resident_pension";

/// One schedule of Beijing's and nothing else: on the 15th of each month at nine, with a cut-off at four.
fn only(fields: &str) -> String {
    let mut text = String::new();
    for name in [
        "beijing_resident_medical",
        "beijing_flex_pension",
        "beijing_flex_medical",
        "beijing_flex_unemployment",
        GUIZHOU,
    ] {
        text += &format!("[schedules.{name}]\nenabled = false\n");
    }
    text + "[schedules.beijing_resident_pension]\n" + fields
}

fn at_time(ctx: &Context, time: &str) -> Context {
    Context { clock: Clock::Fixed(at(&format!("{time}:00+08:00"))), ..ctx.clone() }
}

/// Looks at each of these times, and says what it brought: `date outcome`.
async fn looks(ctx: &Context, times: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for time in times {
        for news in fire::fire(&at_time(ctx, time)).await.unwrap() {
            found.push(match news {
                News::Fired { firing, run_id, .. } => format!("{time}: {} is run {run_id}", firing.nominal),
                News::Missed { firing, why, .. } => format!("{time}: {} {}", firing.nominal, why.as_str()),
                News::Waits { firing, .. } => format!("{time}: {} waits", firing.nominal),
                News::Refused { nominal, missing, .. } => format!("{time}: {nominal} {missing}"),
                News::Failed { error, .. } => panic!("{error}"),
            });
        }
    }
    found
}

async fn runs(place: &Place) -> Vec<String> {
    place.texts("SELECT schedule || ' ' || business_date || ' ' || slot FROM runs ORDER BY run_id").await
}

async fn missed(place: &Place) -> Vec<String> {
    place.texts("SELECT business_date || ' ' || reason FROM missed_firings ORDER BY business_date").await
}

#[tokio::test]
async fn a_first_installation_does_not_catch_up_the_past() {
    let place = Place::new().await;
    let ctx = place.under_file(&only("catch_up = \"all\"\n"));
    assert_eq!(looks(&ctx, &["2026-06-15 12:00", "2026-06-15 12:01", "2026-07-14 23:59"]).await, [""; 0]);
    assert_eq!(looks(&ctx, &["2026-07-15 08:59", "2026-07-15 09:00"]).await, ["2026-07-15 09:00: 2026-07-15 is run 1"]);
    assert_eq!((runs(&place).await.len(), missed(&place).await), (1, vec![]));
}

#[tokio::test]
async fn a_firing_on_a_day_off_fires_on_the_next_workday_under_its_nominal_date() {
    let place = Place::new().await;
    let ctx = place.under_file(&only(""));
    let times = [
        "2026-08-14 10:00",
        "2026-08-15 09:30",
        "2026-08-16 09:30",
        "2026-08-17 08:59",
        "2026-08-17 09:00",
        "2026-08-17 09:01",
    ];
    assert_eq!(looks(&ctx, &times).await, ["2026-08-17 09:00: 2026-08-15 is run 1"]);
    // By whichever date it is asked for, it is that run.
    for date in ["2026-08-15", "2026-08-17"] {
        let data = json!({"schedule": SCHEDULE, "business_date": date});
        let asked = message("run.requested", date, "2026-08-17T02:00:00Z", data);
        let ctx = at_time(&ctx, "2026-08-17 10:00");
        assert_eq!(pikou::stages::intake::take(&ctx, &deliveries(&[asked])).await.unwrap().accepted, 1, "{date}");
    }
    assert_eq!(runs(&place).await, [format!("{SCHEDULE} 2026-08-15 1")]);
}

#[tokio::test]
async fn a_firing_may_also_come_before_its_nominal_date_or_stay_on_a_day_off() {
    let place = Place::new().await;
    let before = place.under_file(&only("holiday_rule = \"previous_workday\"\n"));
    let times = ["2026-08-10 10:00", "2026-08-14 09:00", "2026-08-15 09:00", "2026-08-17 09:00"];
    assert_eq!(looks(&before, &times).await, ["2026-08-14 09:00: 2026-08-15 is run 1"]);
    let place = Place::new().await;
    let stays = place.under_file(&only("holiday_rule = \"as_is\"\n"));
    assert_eq!(looks(&stays, &times).await, ["2026-08-15 09:00: 2026-08-15 is run 1"]);
}

#[tokio::test]
async fn requests_are_refused_on_other_dates_before_the_day_and_without_a_calendar() {
    let place = Place::new().await;
    let cases = [
        ("2026-08-16 09:00", "2026-08-15", "refused not_due"),
        ("2026-08-16 09:00", "2026-08-17", "refused not_due"),
        ("2026-08-18 09:00", "2026-08-16", "refused not_a_run_date"),
        ("2026-08-18 09:00", "2026-08-18", "refused not_a_run_date"),
        ("2027-04-15 10:00", "2027-04-15", "refused calendar_missing"),
        ("2026-12-11 09:00", "2026-12-07", "refused window_closed"),
        ("2026-08-17 09:00", "2026-08-17", "accepted"),
    ];
    for (now, date, _) in cases {
        let data = json!({"schedule": SCHEDULE, "business_date": date});
        let asked = message("run.requested", &format!("{now} {date}"), "2026-08-17T02:00:00Z", data);
        pikou::stages::intake::take(&at_time(&place.ctx, now), &deliveries(&[asked])).await.unwrap();
    }
    let wanted: Vec<String> = cases.iter().map(|(now, date, answer)| format!("{now} {date} {answer}")).collect();
    assert_eq!(place.answers().await, wanted);
    assert_eq!(runs(&place).await, [format!("{SCHEDULE} 2026-08-15 1")]);
}

#[tokio::test]
async fn after_the_cut_off_a_firing_waits_for_the_next_workday() {
    let place = Place::new().await;
    let ctx = place.under_file(&only(""));
    // Friday 15 May, after a night; nobody was up before the cut-off at four.
    let times = [
        "2026-05-14 10:00",
        "2026-05-15 16:00",
        "2026-05-16 10:00",
        "2026-05-17 10:00",
        "2026-05-18 08:59",
        "2026-05-18 09:00",
        "2026-05-18 09:01",
    ];
    let wanted = [
        "2026-05-15 16:00: 2026-05-15 waits",
        "2026-05-16 10:00: 2026-05-15 waits",
        "2026-05-17 10:00: 2026-05-15 waits",
        "2026-05-18 08:59: 2026-05-15 waits",
        "2026-05-18 09:00: 2026-05-15 is run 1",
    ];
    assert_eq!(looks(&ctx, &times).await, wanted);
}

/// No worker was up from April to the middle of July.
#[tokio::test]
async fn what_no_worker_was_up_for_is_caught_up_as_configured_and_the_rest_leaves_its_reason() {
    let late = ["2026-04-15", "2026-05-15", "2026-06-15", "2026-07-15"];
    for (catch_up, fired, reason) in [("all", 4, ""), ("latest", 1, "later_firing"), ("none", 0, "not_caught_up")] {
        let place = Place::new().await;
        let ctx = place.under_file(&only(&format!("catch_up = \"{catch_up}\"\n")));
        looks(&ctx, &["2026-04-14 09:00", "2026-07-16 10:00", "2026-07-16 10:01"]).await;
        // Another life of the worker knows it, too.
        assert_eq!(looks(&ctx, &["2026-07-16 10:02", "2026-07-17 10:00"]).await, [""; 0], "{catch_up}");
        let wanted: Vec<String> = late[4 - fired..].iter().map(|date| format!("{SCHEDULE} {date} 1")).collect();
        assert_eq!(runs(&place).await, wanted, "{catch_up}");
        let wanted: Vec<String> = late[..4 - fired].iter().map(|date| format!("{date} {reason}")).collect();
        assert_eq!(missed(&place).await, wanted, "{catch_up}");
        // The next one comes as always.
        assert_eq!(looks(&ctx, &["2026-08-17 09:00"]).await.len(), 1, "{catch_up}");
    }
}

#[tokio::test]
async fn a_firing_of_a_year_that_is_over_is_not_caught_up() {
    let place = Place::new().await;
    let ctx = place.under_file(&only("catch_up = \"all\"\n"));
    let times = ["2026-12-01 09:00", "2026-12-14 10:00", "2026-12-15 10:00"];
    assert_eq!(looks(&ctx, &times).await, ["2026-12-14 10:00: 2026-12-07 window_closed"]);
    assert_eq!((runs(&place).await, missed(&place).await), (vec![], vec!["2026-12-07 window_closed".to_owned()]));
}

#[tokio::test]
async fn a_clock_that_jumps_makes_no_second_run_and_loses_none() {
    let place = Place::new().await;
    let ctx = place.under_file(&only("catch_up = \"latest\"\n"));
    let times = [
        "2026-04-15 08:00",
        "2026-04-15 09:00",
        // Back by two weeks, and there again.
        "2026-04-01 09:00",
        "2026-04-15 09:00",
        // Ahead by months, and back.
        "2026-09-20 10:00",
        "2026-04-16 09:00",
        "2026-05-15 09:00",
        "2026-05-15 09:01",
    ];
    let wanted = [
        "2026-04-15 09:00: 2026-04-15 is run 1",
        "2026-09-20 10:00: 2026-05-15 later_firing",
        "2026-09-20 10:00: 2026-06-15 later_firing",
        "2026-09-20 10:00: 2026-07-15 later_firing",
        "2026-09-20 10:00: 2026-08-15 later_firing",
        "2026-09-20 10:00: 2026-09-15 is run 2",
        // What the clock that was ahead has written down is not yet true.
        "2026-05-15 09:00: 2026-05-15 is run 3",
    ];
    assert_eq!(looks(&ctx, &times).await, wanted);
    assert_eq!(place.count("SELECT count(*) FROM runs").await, 3);
}

#[tokio::test]
async fn a_year_without_calendar_fires_nothing_is_warned_of_and_is_caught_up_when_it_has_one() {
    let place = Place::new().await;
    let unknown = place.under_file(&only("catch_up = \"all\"\n"));
    let times = ["2026-12-20 09:00", "2027-04-14 10:00", "2027-04-15 09:00", "2027-04-16 09:00"];
    let refused = "2027-04-15 there is no business calendar of 2027 (calendar.2027 in the settings)";
    let wanted = [format!("2027-04-15 09:00: {refused}"), format!("2027-04-16 09:00: {refused}")];
    assert_eq!(looks(&unknown, &times).await, wanted);
    assert_eq!(runs(&place).await, [""; 0]);
    let warnings = |day: &str| calendar_warnings(&unknown, day.parse().unwrap());
    assert_eq!(warnings("2026-10-01"), [""; 0]);
    let warned = warnings("2026-12-01");
    assert!(
        warned.len() == 1 && warned[0].contains("2027") && warned[0].ends_with(": beijing_resident_pension"),
        "{warned:?}"
    );

    let known = only("catch_up = \"all\"\n")
        + "[calendar.2027]\nsource = \"made up for this test\"\nholidays = []\nworkdays = []\n";
    let known = place.under_file(&known);
    assert_eq!(looks(&known, &["2027-04-16 10:00"]).await, ["2027-04-16 10:00: 2027-04-15 is run 1"]);
}

#[tokio::test]
async fn what_is_due_while_a_schedule_is_not_enabled_is_not_caught_up_later() {
    let place = Place::new().await;
    let enabled = place.under_file(&only("catch_up = \"all\"\n"));
    looks(&enabled, &["2026-04-14 09:00"]).await;
    let disabled = place.under_file(&only("catch_up = \"all\"\nenabled = false\n"));
    assert_eq!(looks(&disabled, &["2026-04-15 10:00"]).await, [""; 0]);
    assert_eq!(
        looks(&enabled, &["2026-05-14 10:00", "2026-05-14 10:01", "2026-05-15 09:00"]).await,
        ["2026-05-15 09:00: 2026-05-15 is run 1"]
    );
}

/// Clocks of several workers, requests by either date, and commands, all at once and again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_a_shifted_firing_is_fired_and_by_how_many_it_is_one_run() {
    let place = Place::new().await;
    let ctx = place.under_file(&only(""));
    place.take(&ready("P1", "1500.00")).await;
    looks(&ctx, &["2026-08-14 10:00"]).await;
    let mut fired = tokio::task::JoinSet::new();
    for number in 0..12 {
        let worker = Context { worker: unique("worker"), ..at_time(&ctx, "2026-08-17 09:00") };
        fired.spawn(async move {
            match number % 3 {
                0 => Firings::default().look(&worker).await.unwrap(),
                1 => {
                    let date = if number % 2 == 0 { "2026-08-15" } else { "2026-08-17" };
                    let data = json!({"schedule": SCHEDULE, "business_date": date});
                    let asked = message("run.requested", &format!("r{number}"), "2026-08-17T01:00:00Z", data);
                    pikou::stages::intake::take(&worker, &deliveries(&[asked])).await.map(drop).unwrap();
                }
                _ => run_now(&worker, SCHEDULE, "2026-08-15".parse().unwrap(), &mut |_, _| ()).await.map(drop).unwrap(),
            }
        });
    }
    while let Some(one) = fired.join_next().await {
        one.unwrap();
    }
    assert_eq!(runs(&place).await, [format!("{SCHEDULE} 2026-08-15 1")]);
    assert_eq!(place.texts("SELECT state FROM runs").await, ["sent"]);
    assert_eq!(place.attempts_of(1).await, ["P1 1500.00 sent"]);
    assert_eq!((missed(&place).await, place.request_files("102").len()), (vec![], 1));
    place.account().await;
}

#[tokio::test]
async fn a_run_made_before_its_day_by_a_person_is_the_one_that_the_clock_finds() {
    let place = Place::new().await;
    let ctx = place.under_file(&only("catch_up = \"all\"\n"));
    looks(&ctx, &["2026-05-14 10:00"]).await;
    plan::fire(&ctx, SCHEDULE, "2026-05-15".parse().unwrap()).await.unwrap();
    assert_eq!(looks(&ctx, &["2026-05-15 09:00", "2026-05-18 09:00"]).await, [""; 0]);
    assert_eq!(runs(&place).await.len(), 1);
}

#[tokio::test]
async fn what_is_missed_stays_written_down() {
    let place = Place::new().await;
    let ctx = place.under_file(&only("catch_up = \"none\"\n"));
    looks(&ctx, &["2026-04-14 10:00", "2026-04-16 10:00"]).await;
    assert_eq!(missed(&place).await, ["2026-04-15 not_caught_up"]);
    for (sql, verb) in
        [("UPDATE missed_firings SET reason = 'later_firing'", "UPDATE"), ("DELETE FROM missed_firings", "DELETE")]
    {
        let refused = format!("{verb} on missed_firings is not possible: its rows are evidence");
        assert_eq!(place.refused_by(sql).await, refused);
    }
    let unheard = "INSERT INTO missed_firings VALUES ('s', '2026-05-15', 1, now(), 'forgotten', now())";
    assert_eq!(place.refused_by(unheard).await, "missed_firings_reason_check");
}

#[tokio::test]
async fn the_list_shows_each_firing_of_a_year_with_its_shift_and_its_run() {
    let pikou = Pikou::new(&[]).await;
    pikou.document(&["run", SCHEDULE, "--date", "2026-08-17"], 0).await;
    let list = pikou.document(&["schedule", "list", SCHEDULE, "--year", "2026"], 0).await;
    let short = |firing: &Value| {
        let text = |name: &str| firing[name].as_str().unwrap_or("-").to_owned();
        format!(
            "{} {} {} {} {}",
            text("nominal_date"),
            text("date"),
            text("time"),
            text("shifted_because"),
            firing["run_id"]
        )
    };
    let found: Vec<String> = list["firings"].as_array().unwrap().iter().map(short).collect();
    let wanted = [
        "2026-04-15 2026-04-15 09:00 - null",
        "2026-05-15 2026-05-15 09:00 - null",
        "2026-06-15 2026-06-15 09:00 - null",
        "2026-07-15 2026-07-15 09:00 - null",
        "2026-08-15 2026-08-17 09:00 Saturday 1",
        "2026-09-15 2026-09-15 09:00 - null",
        "2026-10-15 2026-10-15 09:00 - null",
        "2026-11-15 2026-11-16 09:00 Sunday null",
        "2026-12-07 2026-12-07 09:00 - null",
    ];
    assert_eq!(found, wanted);
    let unknown = pikou.document(&["schedule", "list", SCHEDULE, "--year", "2031"], 0).await;
    let firing = &unknown["firings"][0];
    assert_eq!((&firing["date"], firing["refused"].as_str().unwrap().contains("2031")), (&Value::Null, true));
    let text = pikou.run(&["schedule", "list", "--year", "2026"]).await;
    assert!(text.stdout.contains("春节") && text.stdout.contains("beijing_flex_pension"), "{}", text.stdout);
}

#[tokio::test]
async fn a_date_that_is_none_of_the_schedules_is_exit_code_3_unless_it_is_said_to_be_meant() {
    let pikou = Pikou::new(&[]).await;
    for (date, code) in
        [("2026-08-16", "not_a_run_date"), ("2999-04-15", "not_due"), ("2023-04-15", "calendar_missing")]
    {
        let refused = pikou.document(&["run", SCHEDULE, "--date", date], 3).await;
        assert_eq!((&refused["refused"], &refused["date"]), (&json!(code), &json!(date)), "{refused}");
    }
    assert_eq!(pikou.count("SELECT count(*) FROM runs").await, 0);
    let run = pikou.document(&["run", SCHEDULE, "--date", "2026-08-16", "--unscheduled"], 0).await;
    assert_eq!((&run["business_date"], &run["state"]), (&json!("2026-08-16"), &json!("closed")));
}
