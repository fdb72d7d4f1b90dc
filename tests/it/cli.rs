//! The commands, as a shell sees them: documents, exit codes, and what is never printed.

use serde_json::{Value, json};

use crate::process::Pikou;
use crate::support::*;

const RUN: [&str; 4] = ["run", SCHEDULE, "--date", "2026-04-15"];

fn lines(messages: &[Value]) -> Vec<u8> {
    messages.iter().map(|message| format!("{message}\n")).collect::<String>().into_bytes()
}

fn order(number: usize) -> String {
    format!("P0000001001{number:08}")
}

fn answer() -> Vec<u8> {
    let rows = [Row::paid(&order(1), "1500.00"), Row::failed(&order(2), "1500.00", "1001")];
    result_file("102_20260415_1_0001.txt", &rows)
}

#[tokio::test]
async fn with_json_every_command_prints_one_document_and_nothing_else() {
    let pikou = Pikou::new(&[]).await;
    let mut messages: Vec<Value> = ["P1", "P2"].iter().flat_map(|payer| ready(payer, "1500.00")).collect();
    messages.push(amount_voided("P1", "too-much", "2026-01-01T00:00:00Z"));
    let mut file = lines(&messages);
    file.extend_from_slice(b"\n\n  \r\nnonsense\n");
    let file = pikou.write("messages.jsonl", &file);
    let ingested = pikou.document(&["ingest", file.to_str().unwrap()], 0).await;
    assert_eq!(
        ingested,
        json!({"messages": 8, "accepted": 6, "refused": 0, "stale": 1, "waiting": 0, "repeated": 0, "quarantined": 1,
            "events_published": 4})
    );
    let mut run = pikou.document(&RUN, 0).await;
    let files = run["files"].take();
    assert_eq!(
        run,
        json!({"run_id": 1, "schedule": SCHEDULE, "business_date": "2026-04-15", "state": "sent", "candidates": 2,
            "attempts": 2, "attempts_total": "3000.00", "skips": {}, "withdrawn": 0, "files": null, "events_published": 12})
    );
    let path = files[0]["path"].as_str().unwrap();
    assert!(std::fs::read(pikou.folder.path().join(path)).unwrap().starts_with(b"H,102,20260415,"), "{files}");
    assert_eq!(
        (files.as_array().unwrap().len(), &files[0]["items"], &files[0]["state"]),
        (1, &json!(2), &json!("delivered"))
    );
    // Fired again, it is the same run, and nothing is new.
    let again = pikou.document(&RUN, 0).await;
    assert_eq!((&again["run_id"], &again["attempts"], &again["events_published"]), (&json!(1), &json!(2), &json!(0)));

    let result = pikou.write("R1.txt", &answer());
    let result = result.to_str().unwrap();
    let applied = pikou.document(&["reconcile", result], 0).await;
    let counts = ["outcome", "rows", "applied", "repeated", "discrepancies", "not_ours", "bank_code", "file_name"];
    let counts: Vec<&Value> = counts.iter().map(|name| &applied[name]).collect();
    assert_eq!(
        counts,
        [&json!("applied"), &json!(2), &json!(2), &json!(0), &json!(0), &json!(0), &json!("102"), &json!("R1.txt")]
    );
    let repeated = pikou.document(&["reconcile", result], 0).await;
    assert_eq!((&repeated["outcome"], &repeated["events_published"]), (&json!("repeated"), &json!(0)));
    let account = pikou.document(&["account"], 0).await;
    assert_eq!((&account["balanced"], &account["sums"]["paid"]), (&json!(true), &json!("1500.00")));
    assert_eq!(account["events"]["outbox"], account["events"]["published"]);
    let config = pikou.document(&["config"], 0).await;
    assert_eq!(config["run"]["range_max"], json!(50_000));
    let url = config["database"]["url"].as_str().unwrap();
    assert!(url.starts_with("postgres://") && (url.contains(":***@") || !url.contains('@')), "the password is masked");
}

#[tokio::test]
async fn messages_come_from_standard_input_too() {
    let pikou = Pikou::new(&[]).await;
    let ended = pikou.run_fed(&["--json", "ingest", "-"], &lines(&ready("P1", "1500.00"))).await;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let ingested: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&ingested["messages"], &ingested["accepted"]), (&json!(3), &json!(3)));
    assert_eq!(pikou.count("SELECT count(*) FROM messages").await, 3);
}

#[tokio::test]
async fn a_refused_file_is_exit_code_3_with_line_and_reason() {
    let pikou = Pikou::new(&[]).await;
    let whole = answer();
    let result = pikou.write("R1.txt", whole.strip_suffix(b"T,2,3000.00\r\n").unwrap());
    let refused = pikou.document(&["reconcile", result.to_str().unwrap()], 3).await;
    let told = (&refused["outcome"], &refused["refused_as"], &refused["line"], &refused["rows"]);
    assert_eq!(told, (&json!("refused"), &json!("malformed"), &json!(3), &Value::Null));
    assert!(refused["reason"].as_str().unwrap().contains("cut off"), "{refused}");
    let text = pikou.run(&["reconcile", result.to_str().unwrap()]).await;
    assert_eq!(text.code(), 3);
    assert!(text.stdout.contains("refused as malformed, line 3"), "{}", text.stdout);
    let account = pikou.document(&["account"], 0).await;
    assert_eq!(account["result_rows"]["rows"], json!(0));
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2_and_prints_no_document() {
    let pikou = Pikou::new(&[]).await;
    for (arguments, said) in [
        (&["--json", "dance"][..], "dance"),
        (
            &["--json", "run", "no_such_schedule"],
            "there is no schedule no_such_schedule; known are beijing_flex_medical",
        ),
        (&["--json", "run", SCHEDULE, "--date", "15.4.2026"], "15.4.2026"),
        (&["--json", "ingest", "no-such-file"], "cannot read no-such-file"),
        (&["--json", "reconcile", "no-such-file"], "cannot read no-such-file"),
        (&["--json", "--config", "no-such.toml", "account"], "no-such.toml"),
        (&["--json", "reconcile", "/dev/null", "--bank", "999"], "there is no bank 999"),
    ] {
        let ended = pikou.run(arguments).await;
        assert_eq!((ended.code(), ended.stdout.as_str()), (2, ""), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn every_mistake_in_the_settings_is_named_at_once() {
    let pikou = Pikou::new(&[]).await;
    let file = pikou.write("mine.toml", b"[intake]\nbatch_size = 3\n[nonsense]\nx = 1\n");
    let environment = [("PIKOU__RUN__RANGE_MAX", "many"), ("PIKOU__DATABSE__URL", "postgres://me:secret@db/x")];
    let ended = pikou.run_with(&["--config", file.to_str().unwrap(), "account"], &environment).await;
    assert_eq!((ended.code(), ended.stdout.as_str()), (2, ""));
    for key in ["4 mistakes", "intake.batch_size", "nonsense", "run.range_max", "databse"] {
        assert!(ended.stderr.contains(key), "{key}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
}
