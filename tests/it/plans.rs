//! What `pikou plan` prints, through the binary: which firing a date means, what its run would do, whether it would wait.
//! The processes go by the real clock, and no figure here depends on it.

use pikou::clock::Clock;
use serde_json::{Value, json};

use crate::process::Pikou;
use crate::support::*;

const HOLD: &str = "PIKOU__SCHEDULES__BEIJING_RESIDENT_PENSION__HOLD";

async fn ingest(place: &Pikou, messages: &[Value]) {
    let text: String = messages.iter().map(|message| format!("{message}\n")).collect();
    let ended = place.run_fed(&["ingest", "-"], text.as_bytes()).await;
    assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
}

/// What it prints, without the padding of the table.
async fn printed(place: &Pikou, arguments: &[&str]) -> Vec<String> {
    let ended = place.run(&[&["plan", SCHEDULE], arguments].concat()).await;
    assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    ended.stdout.lines().map(squeezed).filter(|line| !line.is_empty()).collect()
}

async fn pikou(more: &[(&str, &str)]) -> Pikou {
    let quiet =
        [("PIKOU__LOG__LEVEL", "error"), (HOLD, "{ count_percent = 40, first_of_year = true, two_people = true }")];
    Pikou::new(&[&quiet[..], more].concat()).await
}

#[tokio::test]
async fn a_plan_says_when_its_run_fires_what_it_would_do_and_that_it_would_wait() {
    let place = pikou(&[]).await;
    ingest(
        &place,
        &[
            ready("P1", "1500.00"),
            ready("P2", "3000.00"),
            vec![enrolment("P3"), amount_set("P3", "s", "2026-04-02T00:00:00Z", "1000.00")],
        ]
        .concat(),
    )
    .await;
    let wanted = [
        "beijing_resident_pension of 2026-08-15, as of now; nothing is written.",
        "Fires on 2026-08-17 at 09:00, as 2026-08-15 is a day off: Saturday.",
        "now no run before change such as",
        "candidates 3",
        "attempts 2 P1 P2",
        "their yuan 4,500.00",
        "skipped no_agreement 1 P3",
        "Would be held (first_of_year) until released by two people.",
    ];
    // Its nominal date and the one it is shifted to are one run.
    assert_eq!(printed(&place, &["--date", "2026-08-15"]).await, wanted);
    assert_eq!(printed(&place, &["--date", "2026-08-17"]).await, wanted);
    let refused = printed(&place, &["--date", "2026-08-20"]).await;
    let wanted = [
        "beijing_resident_pension of 2026-08-20, as of now; nothing is written.",
        "Not a run date: 2026-08-20 is neither a nominal nor a shifted date of the schedule. `pikou run` makes this run only with --unscheduled.",
    ];
    assert_eq!(refused[..2], wanted);
    let unknown = printed(&place, &["--date", "2031-04-15"]).await;
    assert_eq!(
        unknown[1],
        "Not a run date: there is no business calendar of 2031 (calendar.2031 in the settings). `pikou run` makes this run only with --unscheduled."
    );
    let document = place.document(&["plan", SCHEDULE, "--date", "2026-08-17"], 0).await;
    let wanted = json!({
        "schedule": SCHEDULE, "business_date": "2026-08-15", "fires_at": "2026-08-17T09:00:00+08:00", "shifted_because": "Saturday",
        "not_a_run_date": null, "run": null, "carried_over": null, "candidates": 3, "attempts": 2, "attempts_total": "4500.00",
        "skips": 1, "skipped": {"no_agreement": 1}, "samples": {"planned": ["P1", "P2"], "no_agreement": ["P3"]},
        "would_hold": ["first_of_year"], "releases_needed": 2, "last_run": null,
    });
    assert_eq!(document, wanted);
    let ended = place.run(&["plan", "nowhere"]).await;
    assert_eq!(ended.code(), 2);
    assert!(ended.stderr.contains("there is no schedule nowhere with a rule to collect by"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_plan_of_a_run_that_is_made_shows_that_run_and_the_next_one_is_compared_with_it() {
    let place = pikou(&[]).await;
    ingest(&place, &["P1", "P2", "P3"].iter().flat_map(|payer| ready(payer, "1500.00")).collect::<Vec<_>>()).await;
    let ended = place.run(&["run", SCHEDULE, "--date", "2026-04-15"]).await;
    assert_eq!(ended.code(), 4, "{}{}", ended.stdout, ended.stderr);
    let wanted = [
        "beijing_resident_pension of 2026-04-15, as of now; nothing is written.",
        "Fires on 2026-04-15 at 09:00.",
        "Run 1 of this date is made already and held: 3 candidates, 3 attempts of 4,500.00 yuan (0 withdrawn), 0 skipped.",
        "Firing again finds that run. Judged anew, what it has planned is attempt_in_flight:",
        "now no run before change such as",
        "candidates 3",
        "attempts 0",
        "their yuan 0.00",
        "skipped attempt_in_flight 3 P1 P2 P3",
    ];
    assert_eq!(printed(&place, &["--date", "2026-04-15"]).await, wanted);
    let document = place.document(&["plan", SCHEDULE, "--date", "2026-04-15"], 0).await;
    assert_eq!((&document["run"]["run_id"], &document["run"]["state"]), (&json!(1), &json!("held")));
    assert_eq!(
        (&document["run"]["attempts"], &document["run"]["hold_reasons"]),
        (&json!(3), &json!(["first_of_year"]))
    );
    assert_eq!(document["would_hold"], json!([]), "that run waits already");

    for (by, code) in [("Li Wei", 4), ("Wang Fang", 0)] {
        let ended = place.run(&["run", "release", "1", "--by", by, "--reason", "looked at it"]).await;
        assert_eq!(ended.code(), code, "{}{}", ended.stdout, ended.stderr);
    }
    let wanted = [
        "beijing_resident_pension of 2026-05-15, as of now; nothing is written.",
        "Fires on 2026-05-15 at 09:00.",
        "now run 1 of 2026-04-15 change such as",
        "candidates 3 3 +0",
        "attempts 0 3 -3",
        "their yuan 0.00 4,500.00 -4500.00",
        "skipped attempt_in_flight 3 0 +3 P1 P2 P3",
        "Would be held (count_deviates) until released by two people.",
    ];
    assert_eq!(printed(&place, &["--date", "2026-05-15"]).await, wanted);
    let document = place.document(&["plan", SCHEDULE, "--date", "2026-05-15"], 0).await;
    let last = &document["last_run"];
    assert_eq!(
        (&last["run_id"], &last["attempts_total"], &last["skipped"]),
        (&json!(1), &json!("4500.00"), &json!({}))
    );
}

#[tokio::test]
async fn a_plan_that_opens_a_year_says_what_would_be_carried_over() {
    let minimum = "PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__MINIMUM";
    let place = pikou(&[(CARRY_OVER, "true"), (minimum, "1200.00")]).await;
    let this_year = chrono::Datelike::year(&Clock::System.business_date());
    let (last, day) = (this_year - 1, format!("{this_year}-06-15"));
    let low = place.run_with(&["config"], &[]).await;
    assert_eq!(low.code(), 0);
    let set = |payer: &str, amount: &str| {
        let message = amount_set(payer, &format!("set-{payer}"), &format!("{last}-06-02T00:00:00Z"), amount);
        with_data(message, json!({"valid_year": last}))
    };
    let of_two = ["P1", "P2"].iter().flat_map(|payer| [enrolment(payer), agreement(payer)]).collect::<Vec<_>>();
    ingest(&place, &of_two).await;
    ingest(&place, &[set("P1", "1500.00")]).await;
    // Set when that was still within the rule.
    let text = format!("{}\n", set("P2", "1000.00"));
    let file = place.folder.path().join("low.jsonl");
    std::fs::write(&file, text).unwrap();
    let ended = place.run_with(&["ingest", file.to_str().unwrap()], &[(minimum, "1000.00")]).await;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let told = printed(&place, &["--date", &day]).await;
    let opens =
        "Opens the year first: 2 amounts of 2,500.00 yuan are carried over, 1 of them held. They are among these:";
    assert!(told.contains(&opens.to_owned()), "{told:#?}");
    assert!(
        told.contains(&"attempts 1 P1".to_owned()) && told.contains(&"skipped amount_out_of_range 1 P2".to_owned()),
        "{told:#?}"
    );
    let document = place.document(&["plan", SCHEDULE, "--date", &day], 0).await;
    assert_eq!(document["carried_over"], json!({"amounts": 2, "total": "2500.00", "held": 1}));
    let nothing: i64 = sqlx::query_scalar("SELECT count(*) FROM year_turns").fetch_one(&place.pool).await.unwrap();
    assert_eq!(nothing, 0);
}
