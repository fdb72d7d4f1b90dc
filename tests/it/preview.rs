//! What `pikou reconcile --preview` says is what happens then, and it writes nothing. Every case of `reconcile` looks ahead
//! before it applies a file; here are the whole output, refusals, and what is known already.

use std::collections::BTreeMap;

use pikou::stages::reconcile::Outcome;
use pikou::stages::reconcile::preview::{self, Preview};
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

/// Applies a file that does what its preview has said, which has written nothing.
pub async fn reconcile_as_foreseen(place: &Place, name: &str, bytes: &[u8]) -> Outcome {
    let foreseen = foresee(place, name, bytes).await;
    let outcome = place.reconcile(name, bytes).await;
    let id = outcome.file().result_file_id;
    match (foreseen, &outcome) {
        (Preview::Known(file), Outcome::Repeated(same)) => assert_eq!(file.result_file_id, same.result_file_id),
        (Preview::Refused(_, foreseen), Outcome::Refused(file)) => assert_eq!(
            (Some(foreseen.kind.as_str()), Some(foreseen.line as i64), Some(foreseen.reason.as_str())),
            (file.refused_as.as_deref(), file.refused_line, file.refused_reason.as_deref())
        ),
        (Preview::Foreseen(foreseen), Outcome::Applied(_)) => {
            let foreseen_rows: BTreeMap<String, i64> =
                foreseen.verdicts.iter().map(|(verdict, rows)| (verdict.clone(), rows.count)).collect();
            let booked: Vec<(String, i64)> = sqlx::query_as(
                "SELECT 'settle', count(*) FROM settlements WHERE result_file_id = $1 HAVING count(*) > 0
                 UNION ALL
                 SELECT CASE o.class WHEN 'unknown' THEN 'unknown' ELSE 'fail' END, count(*) FROM attempt_outcomes o
                 WHERE result_file_id = $1
                   AND NOT EXISTS (SELECT FROM discrepancies d WHERE d.result_file_id = $1 AND d.line_no = o.line_no)
                 GROUP BY 1
                 UNION ALL
                 SELECT kind, count(*) FROM discrepancies WHERE result_file_id = $1 AND line_no IS NOT NULL GROUP BY 1
                 UNION ALL
                 SELECT 'repeated', repeated FROM result_files WHERE result_file_id = $1 AND repeated > 0
                 UNION ALL
                 SELECT 'noted', noted FROM (
                     SELECT f.applied - (SELECT count(*) FROM settlements WHERE result_file_id = $1)
                            - (SELECT count(*) FROM attempt_outcomes o WHERE result_file_id = $1
                               AND NOT EXISTS (SELECT FROM discrepancies d WHERE d.result_file_id = $1 AND d.line_no = o.line_no)) AS noted
                     FROM result_files f WHERE f.result_file_id = $1) n
                 WHERE noted > 0",
            )
            .bind(id)
            .fetch_all(&place.ctx.pool)
            .await
            .unwrap();
            assert_eq!(foreseen_rows, booked.into_iter().collect(), "{name}");
            let wrong: Vec<String> = foreseen
                .wrong_lines
                .iter()
                .map(|line| {
                    let part = |part: Option<String>| part.unwrap_or_default();
                    let amounts = [line.amount_ours, line.amount_theirs].map(|of| part(of.map(|of| of.to_string())));
                    [line.line_no.to_string(), line.kind.clone(), part(line.order_no.clone())].join(" ")
                        + &format!(
                            " {} {} {} {}",
                            amounts[0],
                            amounts[1],
                            part(line.code.clone()),
                            part(line.detail.clone())
                        )
                })
                .collect();
            let opened = format!(
                "SELECT concat(line_no, ' ', kind, ' ', order_no, ' ', amount_ours, ' ', amount_theirs, ' ', code, ' ', detail) FROM discrepancies
                 WHERE result_file_id = {id} AND line_no IS NOT NULL ORDER BY line_no LIMIT 10"
            );
            assert_eq!(wrong, place.texts(&opened).await, "{name}");
            let reused =
                format!("SELECT detail FROM discrepancies WHERE result_file_id = {id} AND kind = 'name_reused'");
            let same_name = foreseen.same_name.map(|earlier| format!("the name was used by result file {earlier}"));
            assert_eq!(Vec::from_iter(same_name), place.texts(&reused).await, "{name}");
        }
        (foreseen, outcome) => panic!("{name}: foreseen {foreseen:?}, but it is {}", outcome.as_str()),
    }
    outcome
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
        assert_eq!((lines, foreseen.verdicts["unknown_order"].count), ((2..12).collect(), 25), "{range_max}");
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
    assert_eq!(foreseen.verdicts["settle"].count, 1);
    other.rollback().await.unwrap();
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
            "rows yuan",
            "succeeded 1 1,500.00",
            "failed 1 1,500.00",
            "unknown 0 0.00",
            "noted without effect 0 0.00",
            "repeated 1 20.00",
            "discrepancy amount_differs 1 1,400.00",
            "discrepancy unknown_order 1 20.00",
            "all rows 5 4,440.00",
            "line discrepancy order ours theirs code reason",
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
        "rows": 5, "booked_through": 0, "succeeded": {"rows": 1, "total": "1500.00"}, "failed": {"rows": 1, "total": "1500.00"},
        "unknown": {"rows": 0, "total": "0.00"}, "noted": {"rows": 0, "total": "0.00"}, "repeated": {"rows": 1, "total": "20.00"},
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
