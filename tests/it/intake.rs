//! Messages become facts: once, in the sender's order, or with a clear answer.

use std::collections::{BTreeMap, BTreeSet};

use pikou::contract::refusal::RefusalCode;
use pikou::crypt::Purpose;
use pikou::stages::intake::{self, Taken};
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn the_same_message_twice_has_one_effect() {
    let place = Place::new().await;
    let messages = ready("P1", "1500.00");
    let first = place.take(&messages).await;
    let second = place.take(&messages).await;
    assert_eq!((first.accepted, first.repeated), (3, 0));
    assert_eq!((second.accepted, second.repeated), (0, 3));
    assert_eq!(place.account().await.messages.repeated, 3);
    assert_eq!(place.told().await, [("amount.set".into(), "P1/resident_pension/2026".into(), 1)]);
}

#[tokio::test]
async fn a_thousand_deliveries_of_one_message_in_one_batch_have_one_effect() {
    let place = Place::new().await;
    place.take(&[enrolment("P1")]).await;
    let taken = place.take(&vec![amount_set("P1", "set", "2026-04-02T00:00:00Z", "1500.00"); 1000]).await;
    assert_eq!(taken, Taken { accepted: 1, repeated: 999, ..Taken::default() });
    assert_eq!(place.amounts().await, ["P1 1500.00 active"]);
    assert_eq!(place.account().await.messages.repeated, 999);
}

/// Payers who have paid, voided, started an order, are insured elsewhere; and assessments of every kind.
async fn known() -> Place {
    let place = Place::new().await;
    place.take(&ready("PAID", "1500.00")).await;
    let run_id = place.run().await;
    place.answer(run_id, &[]).await;
    let in_division =
        |payer, code| enrolment_with(payer, payer, "2026-01-05T00:00:00Z", json!({ "division_code": code }));
    let known = [
        in_division("BJ", "110101"),
        in_division("GZ", "520102"),
        in_division("SH", "310101"),
        declaration("BJ", "D-first", json!({})),
        assessment("BJ", "A1", "assess-1", "2026-03-01T00:00:00Z", json!({})),
        assessment("BJ", "A-withdrawn", "assess-2", "2026-03-01T00:00:00Z", json!({"status": "withdrawn"})),
        assessment("BJ", "A-past", "assess-3", "2026-03-01T00:00:00Z", json!({"pay_by": "2026-04-02"})),
        enrolment("VD"),
        declaration("VD", "D-void", json!({})),
        void_requested("D-void", "void-first"),
        enrolment("FLY"),
        declaration("FLY", "D-flying", json!({})),
        payment_started("O-flying", &[("D-flying", "2000.00")], json!({})),
    ];
    assert_eq!(place.take(&known).await, Taken { accepted: known.len(), ..Taken::default() });
    place
}

/// Each message is refused; the id of a message says what it is about.
fn refusals() -> Vec<(RefusalCode, Value)> {
    use RefusalCode::*;
    let set = |payer, id, amount| amount_set(payer, id, "2026-04-20T00:00:00Z", amount);
    let in_year = |year: i16, id| with_data(set("BJ", id, "1500.00"), json!({ "valid_year": year }));
    let declared = |payer, number, fields| declaration(payer, number, fields);
    let mut same_number = declared("BJ", "D-first", json!({}));
    same_number["id"] = json!("declare-same-number");
    vec![
        (NotEnrolled, set("NOBODY", "set-not-enrolled", "1500.00")),
        (NotEnrolled, declared("NOBODY", "D-not-enrolled", json!({}))),
        (RegionNotServed, set("SH", "set-region", "1500.00")),
        (RegionNotServed, declared("SH", "D-region", json!({}))),
        (NothingToVoid, amount_voided("BJ", "void-nothing", "2026-04-20T00:00:00Z")),
        (AmountOutOfRange, set("BJ", "set-below", "999.99")),
        (AmountOutOfRange, set("BJ", "set-above", "9000.01")),
        (AmountOutOfRange, set("GZ", "set-no-tier", "1100.00")),
        (AmountOutOfRange, set("GZ", "set-between-tiers", "150.00")),
        (AmountOutOfRange, declared("GZ", "D-no-tier", json!({"amount": "2000.01"}))),
        (YearNotOpen, in_year(2027, "set-next-year")),
        (YearNotOpen, declared("BJ", "D-next-year", json!({"period_from": "202701", "period_to": "202712"}))),
        (WindowClosed, in_year(2025, "set-last-year")),
        // The eleventh of December in Shanghai, still the tenth in UTC.
        (WindowClosed, amount_set("BJ", "set-too-late", "2026-12-10T16:00:00Z", "1500.00")),
        (AlreadyPaid, set("PAID", "set-paid", "1600.00")),
        (AlreadyPaid, amount_voided("PAID", "void-paid", "2026-04-20T00:00:00Z")),
        (AlreadyPaid, declared("PAID", "D-paid", json!({}))),
        (AssessmentRequired, declared("BJ", "D-special", json!({"kind": "special"}))),
        (PeriodNotOffered, declared("GZ", "D-quarter", json!({"period_to": "202603"}))),
        (DuplicateObligation, declared("BJ", "D-second", json!({"amount": "3000.00"}))),
        (DuplicateObligation, same_number),
        (AssessmentRequired, special("BJ", "D-not-assessed", "A-none")),
        (AssessmentRequired, special("BJ", "D-withdrawn", "A-withdrawn")),
        (AssessmentMismatch, with_data(special("BJ", "D-mismatch", "A1"), json!({"amount": "1200.01"}))),
        (WindowClosed, special("BJ", "D-past-pay-by", "A-past")),
        (UnknownDeclaration, void_requested("D-unheard-of", "void-unknown")),
        (AlreadyVoided, void_requested("D-void", "void-again")),
        (AlreadyPaid, void_requested("D000000100100000001", "void-paid-declaration")),
        (AttemptInFlight, void_requested("D-flying", "void-flying")),
        (OrderExists, with_id(payment_started("O-flying", &[("D-first", "2000.00")], json!({})), "start-again")),
        (UnknownDeclaration, payment_started("O1", &[("D-unheard-of", "1.00")], json!({}))),
        (SeveralPayers, payment_started("O2", &[("D-first", "2000.00"), ("D-flying", "2000.00")], json!({}))),
        (
            SelfOnly,
            payment_started("O3", &[("D-first", "2000.00")], json!({"channel": "alipay_app", "acting_payer_id": "GZ"})),
        ),
        (MethodNotOffered, payment_started("O4", &[("D-first", "2000.00")], json!({"channel": "nowhere"}))),
        (MethodNotOffered, payment_started("O5", &[("D-first", "2000.00")], json!({"channel": "counter"}))),
        (MethodNotOffered, payment_started("O6", &[("D-first", "2000.00")], json!({"method": "wechat_pay"}))),
        (AlreadyPaid, payment_started("O7", &[("D000000100100000001", "1500.00")], json!({}))),
        (AlreadyVoided, payment_started("O8", &[("D-void", "2000.00")], json!({}))),
        (AttemptInFlight, payment_started("O9", &[("D-flying", "2000.00")], json!({}))),
        (AmountMismatch, payment_started("O10", &[("D-first", "1999.99")], json!({}))),
        (WindowClosed, at_time(payment_started("O11", &[("D-first", "2000.00")], json!({})), "2026-12-11T00:00:00Z")),
        (WaitedTooLong, payment_started("O12", &[("D-waits-longer", "2000.00")], json!({}))),
        (NotEnrolled, declared("NOBODY-2", "D-waits-longer", json!({}))),
        (UnknownOrder, payment_reported("O-unheard-of", "report-unknown", "succeeded", json!({}))),
        (UnknownSchedule, run_requested("shanghai", "2026-04-15")),
        (NotDue, run_requested("beijing_resident_pension", "2026-04-16")),
        (NotARunDate, run_requested("beijing_resident_pension", "2026-04-14")),
        (WindowClosed, run_requested("beijing_resident_pension", "2025-12-07")),
        (PeriodNotOffered, with_data(set("BJ", "set-from-month", "1500.00"), json!({"period_from": "202603"}))),
    ]
}

fn with_id(mut message: Value, id: &str) -> Value {
    message["id"] = json!(id);
    message
}

fn at_time(mut message: Value, time: &str) -> Value {
    message["time"] = json!(time);
    message
}

fn run_requested(schedule: &str, date: &str) -> Value {
    let data = json!({"schedule": schedule, "business_date": date});
    message("run.requested", &format!("run-{schedule}-{date}"), "2026-04-15T00:00:00Z", data)
}

#[tokio::test]
async fn every_refusal_is_answered_with_its_code_in_the_book_and_in_an_event() {
    let place = known().await;
    let (codes, messages): (Vec<RefusalCode>, Vec<Value>) = refusals().into_iter().unzip();
    let taken = place.take(&messages).await;
    // Two for an enrolment, one for an assessment, two for a declaration, one for both, one for an order.
    assert_eq!(taken, Taken { refused: codes.len() - 8, waiting: 8, ..Taken::default() });
    assert_eq!(intake::end_waits(&place.ctx).await.unwrap(), 0, "the wait has only begun");
    assert_eq!(intake::end_waits(&place.at("2026-04-18T09:00:00+08:00")).await.unwrap(), 8);

    let told: BTreeMap<String, (String, String)> = place
        .data_of("message.refused")
        .await
        .iter()
        .map(|data| {
            let text = |name: &str| data[name].as_str().unwrap().to_owned();
            (text("id"), (text("code"), text("message_zh")))
        })
        .collect();
    let answers = place.answers().await;
    let mut found = Vec::new();
    let mut wanted = Vec::new();
    for (code, message) in codes.iter().zip(&messages) {
        let id = message["id"].as_str().unwrap();
        let answer = answers.iter().find(|answer| answer.starts_with(&format!("{id} "))).cloned();
        found.push((answer.unwrap_or_default(), told.get(id).cloned().unwrap_or_default()));
        wanted.push((format!("{id} refused {}", code.as_str()), (code.as_str().into(), code.chinese().into())));
    }
    assert_eq!(found, wanted);
    assert_eq!(told.len(), codes.len(), "one event a refusal");
    // A year without calendar has not come yet, and nothing is reversed yet: those refusals are tested with the schedules
    // and with people's decisions.
    let elsewhere = [RefusalCode::CalendarMissing, RefusalCode::AlreadyReversed];
    let covered: BTreeSet<RefusalCode> = codes.into_iter().chain(elsewhere).collect();
    assert_eq!(covered, RefusalCode::ALL.iter().copied().collect::<BTreeSet<_>>(), "every code is in the table");
    let others = "SELECT declaration_no || ' ' || state FROM declarations WHERE payer_id <> 'PAID' ORDER BY 1";
    let wanted = [
        "D-first payable",
        "D-flying paying",
        "D-not-assessed rejected",
        "D-not-enrolled rejected",
        "D-void voided",
        "D-waits-longer rejected",
    ];
    assert_eq!(place.texts(others).await, wanted);
    let orders = "SELECT order_no || ' ' || state || COALESCE(' ' || code, '') FROM online_orders ORDER BY order_no";
    let refused = "SELECT count(*) FROM online_orders WHERE state = 'refused'";
    assert_eq!(place.count(refused).await, 12, "a refused order is kept: {:?}", place.texts(orders).await);
    place.account().await;
}

#[tokio::test]
async fn an_amount_of_the_windows_last_minute_is_accepted() {
    let place = Place::new().await;
    let last = amount_set("P1", "set", "2026-12-10T15:59:59Z", "1500.00");
    assert_eq!(place.take(&[enrolment("P1"), last]).await.accepted, 2);
}

#[tokio::test]
async fn what_is_not_understood_is_kept_byte_for_byte_with_its_place() {
    let place = Place::new().await;
    let set = |fields| with_data(amount_set("P1", "set", "2026-04-02T00:00:00Z", "1500.00"), fields).to_string();
    let big = format!("{}{}", set(json!({})), " ".repeat(262_144));
    let cases = [
        ("{\"id\":".to_owned(), "not_json", "line 1 column 6"),
        ("[1]".to_owned(), "not_an_event", ""),
        (set(json!({})).replace("\"time\"", "\"tide\""), "not_an_event", "time"),
        (message("amount.doubled", "a", "2026-04-02T00:00:00Z", json!({})).to_string(), "unknown_type", "type"),
        (set(json!({"amount": 1500.0})), "wrong_field", "amount"),
        (set(json!({"amount": "1234567890123.00"})), "wrong_field", "amount"),
        (set(json!({"payer_id": null})), "wrong_field", "payer_id"),
        (set(json!({"insurance_type": "pet_insurance"})), "wrong_field", "insurance_type"),
        (big, "too_big", ""),
        // Ours alone: what a run files.
        (declaration("P1", "E1", json!({"channel": "batch"})).to_string(), "wrong_field", "channel"),
        (declaration("P1", "D000000100100000001", json!({})).to_string(), "wrong_field", "declaration_no"),
        ("秘密\u{0}".to_owned(), "not_json", "line 1 column 1"),
    ];
    let mut deliveries: Vec<_> = cases.iter().map(|(raw, _, _)| raw_delivery(raw.as_bytes())).collect();
    deliveries[0].headers = vec![("x".into(), "秘密".into())];
    deliveries.insert(3, raw_delivery(enrolment("P1").to_string().as_bytes()));
    let taken = intake::take(&place.ctx, &deliveries).await.unwrap();
    assert_eq!(taken, Taken { accepted: 1, quarantined: cases.len(), ..Taken::default() });

    let rows: Vec<(String, String, Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT code, position, raw, headers FROM quarantine ORDER BY quarantine_id")
            .fetch_all(&place.ctx.pool)
            .await
            .unwrap();
    let open = |sealed: &[u8]| place.ctx.keys.open_text(Purpose::RawMessage, sealed).unwrap();
    let mut found: Vec<(String, String, String)> =
        rows.iter().map(|(code, position, raw, _)| (open(raw), code.clone(), position.clone())).collect();
    let mut wanted: Vec<(String, String, String)> =
        cases.iter().map(|(raw, code, position)| (raw.clone(), (*code).into(), (*position).into())).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    assert!(rows.iter().any(|(_, _, _, headers)| open(headers) == r#"[["x","秘密"]]"#), "the headers are kept");
    assert_eq!(place.data_of("message.quarantined").await.len(), cases.len());
    assert_eq!(place.count("SELECT count(*) FROM declarations").await, 0);
    place.account().await;
}

#[tokio::test]
async fn a_message_that_the_database_refuses_stops_no_other_of_its_batch() {
    let place = Place::new().await;
    let mut batch: Vec<Value> = (0..7).map(|n| enrolment(&format!("P{n}"))).collect();
    batch.insert(4, declaration("P1", "D1", json!({"channel": "batch"})));
    assert_eq!(place.take(&batch).await, Taken { accepted: 7, quarantined: 1, ..Taken::default() });
    assert_eq!(place.count("SELECT count(*) FROM enrolments").await, 7);
    assert_eq!(place.account().await.messages.received, 8);
}

#[tokio::test]
async fn another_content_under_a_known_id_is_put_aside_and_changes_nothing() {
    let place = Place::new().await;
    let first = amount_set("P1", "set", "2026-04-02T00:00:00Z", "1500.00");
    let other = amount_set("P1", "set", "2026-04-02T00:00:00Z", "1600.00");
    place.take(&[enrolment("P1")]).await;
    let together = place.take(&[first.clone(), other.clone()]).await;
    assert_eq!(together, Taken { accepted: 1, quarantined: 1, ..Taken::default() });
    let later = place.take(&[other, first]).await;
    assert_eq!(later, Taken { repeated: 1, quarantined: 1, ..Taken::default() });
    assert_eq!(place.amounts().await, ["P1 1500.00 active"]);
    let aside = place.texts("SELECT concat_ws(' ', code, position, state, repeated) FROM quarantine").await;
    assert_eq!(aside, ["conflict id open 1"]);
}

#[tokio::test]
async fn what_is_older_than_what_is_known_is_recorded_as_stale() {
    let place = Place::new().await;
    let enrolled = |id, time, code| enrolment_with("P1", id, time, json!({ "division_code": code }));
    let signed = |id, time, bank| agreement_with("P1", id, time, json!({ "bank_code": bank }));
    place
        .take(&[
            enrolled("e-new", "2026-01-09T00:00:00Z", "110105"),
            signed("a-new", "2026-01-09T00:00:00Z", "105"),
            amount_set("P1", "s-new", "2026-04-09T00:00:00Z", "1600.00"),
        ])
        .await;
    let stale = [
        enrolled("e-old", "2026-01-08T00:00:00Z", "110101"),
        signed("a-old", "2026-01-08T00:00:00Z", "102"),
        amount_set("P1", "s-old", "2026-04-08T00:00:00Z", "1500.00"),
        amount_voided("P1", "v-old", "2026-04-07T00:00:00Z"),
    ];
    assert_eq!(place.take(&stale).await, Taken { stale: 4, ..Taken::default() });
    assert_eq!(place.texts("SELECT division_code FROM enrolments").await, ["110105"]);
    assert_eq!(place.texts("SELECT bank_code FROM agreements").await, ["105"]);
    assert_eq!(place.amounts().await, ["P1 1500.00 superseded", "P1 1600.00 active"]);
    assert_eq!(place.told_of("P1/resident_pension/2026").await, ["amount.set"]);
    let told: Vec<Value> = place.data_of("message.stale").await.iter().map(|data| data["id"].clone()).collect();
    assert_eq!(told, ["e-old", "a-old", "s-old", "v-old"]);
}

#[tokio::test]
async fn a_void_that_overtook_its_amount_still_stops_the_deduction() {
    let place = Place::new().await;
    place.take(&[enrolment("P1"), agreement("P1")]).await;
    assert_eq!(place.take(&[amount_voided("P1", "void", "2026-04-03T00:00:00Z")]).await.refused, 1);
    assert_eq!(place.take(&[amount_set("P1", "set", "2026-04-02T00:00:00Z", "1500.00")]).await.stale, 1);
    assert_eq!(place.amounts().await, ["P1 1500.00 voided"]);
    let run_id = place.run().await;
    assert_eq!((place.attempts_of(run_id).await, place.skips(run_id).await), (vec![], vec!["P1 voided".to_owned()]));
    assert_eq!(place.take(&[amount_set("P1", "anew", "2026-04-04T00:00:00Z", "1700.00")]).await.accepted, 1);
    assert_eq!(place.amounts().await, ["P1 1500.00 voided", "P1 1700.00 active"]);
}

#[tokio::test]
async fn what_waits_for_its_enrolment_is_judged_when_that_comes() {
    let place = Place::new().await;
    let same_batch = [
        amount_set("P1", "set-P1", "2026-04-02T00:00:00Z", "1500.00"),
        declaration("P1", "D1", json!({})),
        enrolment("P1"),
    ];
    assert_eq!(place.take(&same_batch).await, Taken { accepted: 3, ..Taken::default() });
    let early = [
        amount_set("P2", "set-P2", "2026-04-03T00:00:00Z", "1600.00"),
        amount_set("P2", "set-P2-older", "2026-04-02T00:00:00Z", "1500.00"),
        declaration("P2", "D2", json!({})),
        declaration("P3", "D3", json!({"amount": "500.00"})),
        amount_set("P3", "set-P3", "2026-04-02T00:00:00Z", "500.00"),
    ];
    assert_eq!(place.take(&early).await, Taken { waiting: 5, ..Taken::default() });
    assert_eq!(
        place.declarations().await,
        ["P1 D1 2000.00 payable", "P2 D2 2000.00 awaiting_enrolment", "P3 D3 500.00 awaiting_enrolment"]
    );
    assert_eq!(place.take(&[enrolment("P2"), enrolment("P3")]).await, Taken { accepted: 2, ..Taken::default() });
    assert_eq!(place.declarations().await, ["P1 D1 2000.00 payable", "P2 D2 2000.00 payable", "P3 D3 500.00 rejected"]);
    assert_eq!(
        place.amounts().await,
        ["P1 1500.00 active", "P2 1500.00 superseded", "P2 1600.00 active"],
        "what waited is judged in the order of its senders' times"
    );
    let waited = ["set-P2 accepted", "set-P2-older accepted", "declare-D2 accepted"];
    let refused = ["declare-D3 refused amount_out_of_range", "set-P3 refused amount_out_of_range"];
    assert_eq!(place.answers().await[3..8], [&waited[..], &refused[..]].concat());
    assert_eq!(place.told_of("D1").await, ["declaration.waiting", "declaration.accepted"]);
    assert_eq!(place.told_of("D2").await, ["declaration.waiting", "declaration.accepted"]);
    assert_eq!(place.told_of("D3").await, ["declaration.waiting", "declaration.rejected"]);
    assert_eq!(intake::end_waits(&place.at("2026-05-01T00:00:00Z")).await.unwrap(), 0, "nothing waits any more");
    place.account().await;
}

#[tokio::test]
async fn nothing_personal_can_be_read_in_any_table() {
    let place = Place::new().await;
    let (name, holder, number, account) = ("甄实姓名", "户主金丝雀", "SECRET-ID-4711", "62229900004711");
    place
        .take(&[
            enrolment_with("P1", "e", "2026-01-05T00:00:00Z", json!({"name": name, "id_number": number})),
            agreement_with("P1", "a", "2026-01-06T00:00:00Z", json!({"account_no": account, "account_name": holder})),
            amount_set("P1", "set", "2026-04-02T00:00:00Z", "1500.00"),
            enrolment_with(
                "P2",
                "bad",
                "2026-01-05T00:00:00Z",
                json!({"name": name, "id_number": number, "status": name}),
            ),
            enrolment_with("P1", "e", "2026-01-05T00:00:00Z", json!({"name": name, "id_number": account})),
        ])
        .await;
    let run_id = place.run().await;
    place.answer(run_id, &[]).await;
    place.events().await;

    let tables = place
        .texts("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'")
        .await;
    assert!(tables.len() > 12, "{tables:?}");
    // A row as text shows texts as they are and bytes in hexadecimal.
    let found = async |secret: &str| {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let shapes = [secret.to_owned(), hex(secret.as_bytes()), hex(&encoding_rs::GB18030.encode(secret).0)];
        let mut hits = Vec::new();
        for table in &tables {
            for shape in &shapes {
                let sql = format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%' || '{shape}' || '%'");
                if place.count(&sql).await > 0 {
                    hits.push(format!("{table}: {shape}"));
                }
            }
        }
        hits
    };
    assert!(found("resident_pension").await.len() > 5, "the search finds what is there");
    for secret in [name, holder, number, account] {
        assert_eq!(found(secret).await, Vec::<String>::new());
    }
    let events = std::fs::read_to_string(place.ctx.settings.events_file()).unwrap();
    let leaked: Vec<&str> = [name, holder, number, account].into_iter().filter(|it| events.contains(it)).collect();
    assert_eq!(leaked, Vec::<&str>::new());
}

#[tokio::test]
async fn a_message_that_the_database_refuses_is_put_aside_alone_and_its_batch_is_taken() {
    let place = Place::new().await;
    // Nothing that we let through is refused today; a constraint of this test's own stands for what tomorrow brings.
    sqlx::query("ALTER TABLE amount_settings ADD CHECK (amount <> 4321)").execute(&place.ctx.pool).await.unwrap();
    let messages: Vec<_> =
        (0..20).flat_map(|n| ready(&format!("P{n:02}"), if n == 13 { "4321.00" } else { "1500.00" })).collect();
    let taken = place.take(&messages).await;
    assert_eq!(taken, Taken { accepted: 59, quarantined: 1, ..Taken::default() });
    assert_eq!(place.texts("SELECT code FROM quarantine").await, ["unstorable"]);
    assert_eq!(place.count("SELECT count(*) FROM amount_settings").await, 19);
    place.account().await;
}

#[tokio::test]
async fn an_amount_is_judged_by_where_its_payer_was_insured_when_it_was_set() {
    let place = Place::new().await;
    let moved = |id: &str, time, code| enrolment_with("P1", id, time, json!({ "division_code": code }));
    // From Beijing, where any amount of the range may be set, to Guizhou with its tiers.
    place.take(&[moved("guizhou", "2026-04-10T00:00:00Z", "520102")]).await;
    place.take(&[moved("beijing", "2026-01-05T00:00:00Z", "110101")]).await;
    let set = |id, time, amount| amount_set("P1", id, time, amount);
    place
        .take(&[
            set("before-both", "2026-01-01T00:00:00Z", "1234.00"),
            set("in-beijing", "2026-04-09T00:00:00Z", "1235.00"),
            set("in-guizhou", "2026-04-11T00:00:00Z", "1236.00"),
            set("tier", "2026-04-11T00:00:00Z", "1200.00"),
        ])
        .await;
    let wanted = [
        "guizhou accepted",
        "beijing stale",
        "before-both accepted",
        "in-beijing accepted",
        "in-guizhou refused amount_out_of_range",
        "tier accepted",
    ];
    assert_eq!(place.answers().await, wanted);
}

/// Two more rules of Beijing's: a fixed amount for each category, and a contribution base.
const MORE_RULES: &str = r#"
[regions.beijing.insurance.resident_medical]
rule = "fixed"
amounts = { student = "380.00", adult = "400.00" }
window_from = "09-01"
window_to = "12-31"
future_years = 1
retry_runs = 3
[regions.beijing.insurance.flex_pension]
rule = "base_rate"
minimum = "6821.00"
maximum = "35283.00"
step = "0.01"
rate = "0.20"
window_from = "01-01"
window_to = "12-31"
future_years = 0
retry_runs = 3
"#;

#[tokio::test]
async fn a_fixed_amount_goes_by_category_and_a_base_holds_from_a_month_on() {
    let place = Place::new().await;
    let ctx = place.under_file(MORE_RULES);
    let enrolled = |id: &str, kind: &str, category: &str| {
        let fields = json!({"insurance_type": kind, "category": category});
        enrolment_with("P1", id, "2026-01-05T00:00:00Z", fields)
    };
    let set = |id: &str, kind: &str, amount: &str, fields: Value| {
        let base = with_data(amount_set("P1", id, "2026-04-02T00:00:00Z", amount), json!({"insurance_type": kind}));
        with_data(base, fields)
    };
    let monthly = |number: &str, amount: &str| {
        let fields = json!({"insurance_type": "flex_pension", "period_to": "202601", "amount": amount});
        declaration("P1", number, fields)
    };
    let messages = [
        enrolled("medical", "resident_medical", "student"),
        enrolled("pension", "flex_pension", "freelancer"),
        set("adult", "resident_medical", "400.00", json!({"valid_year": 2027})),
        set("student", "resident_medical", "380.00", json!({"valid_year": 2027})),
        set("no-month", "flex_pension", "7000.00", json!({})),
        set("other-year", "flex_pension", "7000.00", json!({"period_from": "202507"})),
        set("low", "flex_pension", "6820.99", json!({"period_from": "202604"})),
        set("base", "flex_pension", "7000.00", json!({"period_from": "202604"})),
        monthly("D-low", "1364.19"),
        monthly("D-lowest", "1364.20"),
    ];
    intake::take(&ctx, &deliveries(&messages)).await.unwrap();
    let wanted = [
        "medical accepted",
        "pension accepted",
        "adult refused amount_out_of_range",
        "student accepted",
        "no-month refused period_not_offered",
        "other-year refused period_not_offered",
        "low refused amount_out_of_range",
        "base accepted",
        "declare-D-low refused amount_out_of_range",
        "declare-D-lowest accepted",
    ];
    assert_eq!(place.answers().await, wanted);
    let sql = "SELECT concat_ws(' ', insurance_type, valid_year, amount, period_from) FROM amount_settings ORDER BY 1";
    assert_eq!(place.texts(sql).await, ["flex_pension 2026 7000.00 202604", "resident_medical 2027 380.00"]);
}

#[tokio::test]
async fn of_several_reasons_the_first_in_the_stated_order_counts() {
    let place = known().await;
    let set = |payer, id, amount, fields| with_data(amount_set(payer, id, "2026-04-20T00:00:00Z", amount), fields);
    let order = |order_no, items: &[(&str, &str)], fields| payment_started(order_no, items, fields);
    let elsewhere = json!({"channel": "alipay_app", "acting_payer_id": "X", "method": "unionpay"});
    let late = |message| at_time(message, "2026-12-11T00:00:00Z");
    let cases = [
        ("region_not_served", set("SH", "a1", "1.00", json!({"valid_year": 2027, "period_from": "202701"}))),
        ("period_not_offered", set("BJ", "a2", "1.00", json!({"valid_year": 2027, "period_from": "202701"}))),
        ("year_not_open", set("BJ", "a3", "1.00", json!({"valid_year": 2027}))),
        ("window_closed", set("BJ", "a4", "1.00", json!({"valid_year": 2025}))),
        ("amount_out_of_range", set("PAID", "a5", "1.00", json!({}))),
        ("stale", amount_set("PAID", "a6", "2026-03-01T00:00:00Z", "1600.00")),
        ("already_paid", set("PAID", "a7", "1600.00", json!({}))),
        ("stale", amount_voided("PAID", "v1", "2026-03-01T00:00:00Z")),
        ("already_paid", amount_voided("PAID", "v2", "2026-04-20T00:00:00Z")),
        ("duplicate_obligation", with_id(declaration("PAID", "D-first", json!({})), "d1")),
        ("already_paid", declaration("PAID", "D2", json!({"period_to": "202612", "amount": "1.00"}))),
        ("duplicate_obligation", declaration("FLY", "D3", json!({"amount": "1.00"}))),
        ("assessment_required", declaration("SH", "D4", json!({"kind": "special"}))),
        ("region_not_served", special("SH", "D5", "A1")),
        ("assessment_required", with_data(special("BJ", "D6", "A-withdrawn"), json!({"amount": "1.00"}))),
        ("assessment_mismatch", with_data(special("BJ", "D7", "A-past"), json!({"amount": "1.00"}))),
        ("period_not_offered", declaration("GZ", "D8", json!({"period_from": "202702", "period_to": "202712"}))),
        (
            "year_not_open",
            declaration("GZ", "D9", json!({"period_from": "202701", "period_to": "202712", "amount": "1.00"})),
        ),
        (
            "window_closed",
            declaration("GZ", "D10", json!({"period_from": "202501", "period_to": "202512", "amount": "1.00"})),
        ),
        ("order_exists", with_id(order("O-flying", &[("D-none", "1.00")], elsewhere.clone()), "o1")),
        ("waiting", order("O2", &[("D-none", "1.00"), ("D-flying", "1.00")], elsewhere.clone())),
        ("several_payers", order("O3", &[("D-first", "1.00"), ("D-flying", "1.00")], elsewhere.clone())),
        ("self_only", order("O4", &[("D-flying", "1.00")], elsewhere)),
        ("method_not_offered", order("O5", &[("D-flying", "1.00")], json!({"channel": "nowhere"}))),
        ("already_paid", late(order("O6", &[("D000000100100000001", "1.00")], json!({})))),
        ("already_voided", late(order("O7", &[("D-void", "1.00")], json!({})))),
        ("attempt_in_flight", late(order("O8", &[("D-flying", "1.00")], json!({})))),
        ("amount_mismatch", late(order("O9", &[("D-first", "1.00")], json!({})))),
        ("window_closed", late(order("O10", &[("D-first", "2000.00")], json!({})))),
        ("unknown_schedule", run_requested("nowhere", "2030-01-01")),
        ("not_due", run_requested(SCHEDULE, "2030-01-01")),
        ("window_closed", run_requested(SCHEDULE, "2025-12-06")),
    ];
    let (wanted, messages): (Vec<&str>, Vec<Value>) = cases.into_iter().unzip();
    place.take(&messages).await;
    let answers = place.answers().await;
    let found: Vec<String> = messages
        .iter()
        .map(|message| {
            let id = message["id"].as_str().unwrap();
            let answer = answers.iter().find_map(|answer| answer.strip_prefix(&format!("{id} "))).unwrap_or("none");
            format!("{id}: {}", answer.trim_start_matches("refused "))
        })
        .collect();
    let ids = messages.iter().map(|message| message["id"].as_str().unwrap());
    let wanted: Vec<String> = ids.zip(wanted).map(|(id, code)| format!("{id}: {code}")).collect();
    assert_eq!(found, wanted);
}
