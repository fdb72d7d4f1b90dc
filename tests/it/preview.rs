//! What `pikou reconcile --preview` says is what happens then, and it writes nothing. Every case of `reconcile` looks ahead
//! before it applies a file; here are the whole output, refusals, and what is known already.

use pikou::fixtures::foreseen;
use pikou::gateway::Answers;
use pikou::stages::Context;
use pikou::stages::reconcile::preview::{self, Preview};
use pikou::stages::reconcile::{self, Outcome};
use pikou::store::file_rows::Outcomes;
use serde_json::{Value, json};

use crate::judging::everything;
use crate::process::Pikou;
use crate::support::*;

async fn foresee(place: &Place, name: &str, bytes: &[u8]) -> Preview {
    let before = everything(place).await;
    let bank = place.ctx.settings.bank.bank("102").unwrap();
    let foreseen = preview::preview(&place.ctx, bank, name, bytes, &[], |_| ()).await.unwrap();
    assert_eq!(everything(place).await, before, "a look ahead writes nothing");
    foreseen
}

/// Applies a file of bank 102 that does what its preview has said, which has written nothing.
pub async fn reconcile_as_foreseen(place: &Place, name: &str, bytes: &[u8]) -> Outcome {
    let foreseen = foresee(place, name, bytes).await;
    let outcome = place.reconcile(name, bytes).await;
    as_foreseen(&place.ctx, name, foreseen, &outcome).await;
    outcome
}

async fn as_foreseen(ctx: &Context, name: &str, foreseen: Preview, outcome: &Outcome) {
    let differences = foreseen::differences(ctx, &foreseen, outcome).await.unwrap();
    assert!(differences.is_empty(), "{name}: {differences:#?}");
    if let (Preview::Foreseen(foreseen), Outcome::Applied(file)) = (foreseen, outcome) {
        let all: i64 = foreseen.outcomes.values().map(|rows| rows.count).sum();
        assert_eq!(Some(all), file.rows, "{name}");
    }
}

/// Applies bills of WeChat Pay that do what their previews have said; these leave nothing but numbers that are not given.
pub async fn bills_as_foreseen(place: &Place, bills: &[(String, Vec<u8>)]) {
    let from = place.ctx.settings.wechat.as_ref().unwrap() as &dyn Answers;
    for (name, bytes) in bills {
        let before = rows_of(place).await;
        let foreseen = preview::preview(&place.ctx, from, name, &bytes[..], &[], |_| ()).await.unwrap();
        assert_eq!(rows_of(place).await, before, "a look ahead writes nothing");
        let outcome = reconcile::reconcile(&place.ctx, from, name, &bytes[..]).await.unwrap();
        as_foreseen(&place.ctx, name, foreseen, &outcome).await;
    }
}

/// Everything but where sequences stand.
async fn rows_of(place: &Place) -> Vec<String> {
    everything(place).await.into_iter().filter(|line| !line.split(" ").next().unwrap().ends_with("_seq")).collect()
}

/// P1 to P3 with 1500 yuan each are sent to bank 102.
async fn sent() -> Place {
    let place = Place::new().await;
    place.take(&["P1", "P2", "P3"].iter().flat_map(|payer| ready(payer, "1500.00")).collect::<Vec<_>>()).await;
    place.run().await;
    place
}

fn order(number: usize) -> String {
    format!("P0000001001{number:08}")
}

const REQUEST: &str = "102_20260415_1_0001.txt";

#[tokio::test]
async fn a_file_that_is_known_refused_or_of_a_used_name_is_foreseen_as_such() {
    let place = sent().await;
    let good = result_file(REQUEST, &[Row::paid(&order(1), "1500.00")]);
    let short = good[..good.len() - 4].to_vec();
    for (name, bytes, outcome) in [
        ("R1.txt", &short, "refused"),
        ("R1.txt", &short, "refused"),
        ("R1.txt", &good, "applied"),
        ("other.txt", &good, "repeated"),
        ("R1.txt", &result_file(REQUEST, &[Row::paid(&order(2), "1500.00")]), "applied"),
        ("R3.txt", &result_file(REQUEST, &[]), "applied"),
    ] {
        assert_eq!(reconcile_as_foreseen(&place, name, bytes).await.as_str(), outcome, "{name}");
    }
}

#[tokio::test]
async fn only_the_first_wrong_lines_are_shown_whatever_the_ranges_and_all_are_counted() {
    let stray = |number: usize| Row::paid(&format!("X{number:03}"), "10.00");
    let rows: Vec<Row> = (0..25).map(stray).chain([Row::paid(&order(1), "1500.00")]).collect();
    for range_max in ["1", "7", "50000"] {
        let mut place = sent().await;
        place.ctx = place.under(&[("PIKOU__RESULTS__RANGE_MAX", range_max)]);
        let bytes = result_file(REQUEST, &rows);
        let Preview::Foreseen(foreseen) = foresee(&place, "R.txt", &bytes).await else { panic!("it is read") };
        let lines: Vec<i64> = foreseen.wrong_lines.iter().map(|line| line.line_no).collect();
        assert_eq!((lines, of_verdict(&foreseen.outcomes, "unknown_order")), ((2..12).collect(), 25), "{range_max}");
        reconcile_as_foreseen(&place, "R.txt", &bytes).await;
    }
}

/// Nobody who applies a file or takes messages waits for a look ahead, nor does it wait for them.
#[tokio::test]
async fn a_look_ahead_does_not_wait_for_the_gate() {
    let place = sent().await;
    let mut other = place.ctx.pool.begin().await.unwrap();
    pikou::store::gates::own(&mut other).await.unwrap();
    let bytes = result_file(REQUEST, &[Row::paid(&order(1), "1500.00")]);
    let Preview::Foreseen(foreseen) = foresee(&place, "R.txt", &bytes).await else { panic!("it is read") };
    assert_eq!(of_verdict(&foreseen.outcomes, "settle"), 1);
    other.rollback().await.unwrap();
}

fn of_verdict(outcomes: &Outcomes, verdict: &str) -> i64 {
    outcomes.iter().filter(|(outcome, _)| outcome.verdict == verdict).map(|(_, rows)| rows.count).sum()
}

async fn printed(pikou: &Pikou, arguments: &[&str], code: i32) -> Vec<String> {
    let ended = pikou.run(arguments).await;
    assert_eq!(ended.code(), code, "{}{}", ended.stdout, ended.stderr);
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    ended.stdout.lines().map(squeezed).filter(|line| !line.is_empty()).collect()
}

/// P1 to P3 with 1500 yuan each are sent to bank 102 by the binary.
pub async fn sent_by_binary() -> Pikou {
    let pikou = Pikou::new(&[("PIKOU__LOG__LEVEL", "error")]).await;
    let messages: Vec<Value> = ["P1", "P2", "P3"].iter().flat_map(|payer| ready(payer, "1500.00")).collect();
    let text: String = messages.iter().map(|message| format!("{message}\n")).collect();
    assert_eq!(pikou.run_fed(&["ingest", "-"], text.as_bytes()).await.code(), 0);
    let ended = pikou.run(&["run", SCHEDULE, "--date", "2026-04-15"]).await;
    assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
    pikou
}

#[tokio::test]
async fn a_preview_prints_counts_sums_and_the_first_wrong_lines() {
    let pikou = sent_by_binary().await;
    let request = &pikou.texts("SELECT file_name FROM request_files").await[0];
    let rows = [
        Row::paid(&order(1), "1500.00"),
        Row::failed(&order(2), "1500.00", "1001"),
        Row::paid(&order(3), "1400.00"),
        Row::paid("X1", "20.00"),
        Row::paid("X1", "20.00"),
    ];
    let path = pikou.write("R1.txt", &result_file(request, &rows));
    let path = path.to_str().unwrap();
    assert_eq!(
        printed(&pikou, &["reconcile", path, "--preview"], 0).await,
        [
            "R1.txt of bank 102, as of now; nothing is written.",
            "What would become of its rows rows yuan",
            "succeeded 1 1,500.00",
            "failed 1 1,500.00",
            "repeated 1 20.00",
            "discrepancy amount_differs 1 1,400.00",
            "discrepancy unknown_order 1 20.00",
            "all rows 5 4,440.00",
            "Discrepancies",
            "line kind order ours theirs code reason",
            "4 amount_differs P000000100100000003 1500.00 1400.00 0000",
            "5 unknown_order X1 20.00 0000",
        ]
    );
    let nothing: i64 = pikou.count("SELECT count(*) FROM result_files").await;
    assert_eq!(nothing, 0);
    let mut document = pikou.document(&["reconcile", path, "--preview"], 0).await;
    document.as_object_mut().unwrap().remove("sha256").unwrap();
    let wanted = json!({
        "outcome": "would_be_applied", "result_file_id": null, "file_name": "R1.txt", "gateway": "bank", "bank_code": "102",
        "rows": 5, "booked_through": 0, "succeeded": {"rows": 1, "total": "1500.00"}, "confirmed": {"rows": 0, "total": "0.00"},
        "reversed": {"rows": 0, "total": "0.00"}, "failed": {"rows": 1, "total": "1500.00"},
        "unknown": {"rows": 0, "total": "0.00"}, "noted": {"rows": 0, "total": "0.00"}, "repeated": {"rows": 1, "total": "20.00"},
        "not_ours": {"rows": 0, "total": "0.00"},
        "discrepancies": {"amount_differs": {"rows": 1, "total": "1400.00"}, "unknown_order": {"rows": 1, "total": "20.00"}},
        "wrong_lines": [
            {"line": 4, "kind": "amount_differs", "order_no": order(3), "amount_ours": "1500.00", "amount_theirs": "1400.00",
             "code": "0000", "reason": null},
            {"line": 5, "kind": "unknown_order", "order_no": "X1", "amount_ours": null, "amount_theirs": "20.00", "code": "0000",
             "reason": null}],
        "same_name": null,
    });
    assert_eq!(document, wanted);
    assert_eq!(pikou.run(&["reconcile", path]).await.code(), 0);
    assert_eq!(
        printed(&pikou, &["reconcile", path, "--preview"], 0).await,
        ["R1.txt: these bytes were applied before, as result file 1; nothing would happen"]
    );
    let cut = result_file(request, &rows);
    let path = pikou.write("R2.txt", &cut[..cut.len() - 4]);
    let document = pikou.document(&["reconcile", path.to_str().unwrap(), "--preview"], 3).await;
    assert_eq!(
        (&document["outcome"], &document["result_file_id"], document["line"].is_u64()),
        (&json!("would_be_refused"), &json!(null), true)
    );
    assert_eq!(pikou.count("SELECT count(*) FROM result_files").await, 1);
}
