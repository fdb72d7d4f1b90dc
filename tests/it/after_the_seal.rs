//! The run is decided, its files are not written yet, and the worker dies: what comes in the meantime.

use serde_json::{Value, json};

use crate::process::Pikou;
use crate::support::*;

async fn texts(pikou: &Pikou, sql: &'static str) -> Vec<String> {
    let rows: Vec<(String,)> = sqlx::query_as(sql).fetch_all(&pikou.pool).await.unwrap();
    rows.into_iter().map(|(text,)| text).collect()
}

async fn ingest(pikou: &Pikou, messages: &[Value]) {
    let lines: Vec<String> = messages.iter().map(Value::to_string).collect();
    std::fs::write(pikou.folder.path().join("in.jsonl"), lines.join("\n")).unwrap();
    assert_eq!(pikou.run(&["ingest", "in.jsonl"]).await.code(), 0);
}

#[tokio::test]
async fn an_account_that_moved_is_not_written_and_an_answer_to_an_unwritten_file_pays_nothing() {
    let pikou = Pikou::new(&[("PIKOU__RUN__LEASE_SECONDS", "5")]).await;
    ingest(&pikou, &[ready("P1", "1500.00"), ready("P2", "1600.00")].concat()).await;
    let run = ["run", SCHEDULE, "--date", "2026-04-15"];
    assert!(pikou.run_with(&run, &[("PIKOU_DIE_AT", "seal: run sealed")]).await.was_killed());

    // The bank cannot know an order whose file does not exist: whatever says so is kept, and pays nothing.
    let orders = texts(&pikou, "SELECT order_no FROM attempts ORDER BY payer_id").await;
    let answer = result_file("r", &[Row::paid(&orders[1], "1600.00")]);
    std::fs::write(pikou.folder.path().join("answer"), answer).unwrap();
    assert_eq!(pikou.run(&["reconcile", "answer"]).await.code(), 0);
    assert_eq!(texts(&pikou, "SELECT kind FROM discrepancies").await, ["unknown_order"]);
    assert_eq!(texts(&pikou, "SELECT order_no FROM settlements").await, Vec::<String>::new());

    // The file is that of the first bank, and the account is no longer there.
    ingest(&pikou, &[agreement_with("P1", "moved", "2026-04-16T00:00:00Z", json!({"bank_code": "103"}))]).await;
    assert_eq!(pikou.run(&run).await.code(), 0);
    let statuses =
        "SELECT payer_id || ' ' || status || COALESCE(' ' || withdrawal, '') FROM attempt_status ORDER BY payer_id";
    assert_eq!(texts(&pikou, statuses).await, ["P1 withdrawn no_agreement", "P2 sent"]);
    assert_eq!(texts(&pikou, "SELECT bank_code || ' ' || items FROM request_files").await, ["102 1"]);
    assert_eq!(pikou.run(&["account"]).await.code(), 0);
}
