//! `pikou explain`: the whole story of a payer, read out in two languages, and what is never in it.
//!
//! The story of one payer to whom nearly everything happens is compared whole: `fixtures/stories/` has it as text and as
//! a document. After a change that is meant: `PIKOU_WRITE_CONTRACT=1 scripts/test explain::`, and read the difference.

use std::path::Path;

use chrono::NaiveDate;
use pikou::contract::refusal::RefusalCode;
use pikou::contract::story::Language;
use pikou::contract::story::words::Said;
use pikou::domain::amount_setting::HoldReason;
use pikou::domain::attempt::Withdrawal;
use pikou::domain::discrepancy::{Decision, DiscrepancyKind};
use pikou::domain::eligibility::SkipReason;
use pikou::domain::outcome::OutcomeClass;
use pikou::stages::decider::Decider;
use pikou::stages::explain::{self, Question};
use pikou::stages::hold::{self, Wish};
use pikou::stages::resolve::{self, Resolution};
use pikou::stages::undo::{self, Named, Undo};
use pikou::stages::{Context, StageError, deliver, intake, lease, plan, reconcile, seal};
use pikou::store::amount_settings::YearKey;
use pikou::worker::relay;
use serde_json::{Value, json};

use crate::process::Pikou;
use crate::support::*;
use crate::wechat_bill::{self, BILLS, started, take_named};

/// Everything happens to this one.
const RICH: &str = "10110000000000000002";
/// Comes before it in every file.
const OTHER: &str = "10110000000000000001";

/// A day of 2026 at nine in the morning in Beijing.
fn morning(place: &Place, month: u32, day: u32) -> Context {
    Context { clock: place.at(&format!("2026-{month:02}-{day:02}T09:00:00+08:00")).clock, ..place.under(&[BILLS]) }
}

async fn take(ctx: &Context, messages: &[Value]) {
    intake::take(ctx, &deliveries(messages)).await.unwrap();
}

/// Plans, seals and hands over the run of the 15th.
async fn run(place: &Place, month: u32) -> i64 {
    let ctx = morning(place, month, 15);
    let run_id = plan::fire(&ctx, SCHEDULE, NaiveDate::from_ymd_opt(2026, month, 15).unwrap()).await.unwrap();
    let lease = lease::take(&ctx, run_id).await.unwrap().expect("the lease is free");
    plan::plan(&ctx, lease, |_| ()).await.unwrap();
    seal::seal(&ctx, lease, |_| ()).await.unwrap();
    deliver::deliver(&ctx, lease).await.unwrap();
    run_id
}

/// The bank answers with one row about this payer and one about everybody else in the run.
async fn answer(place: &Place, month: u32, day: u32, run_id: i64, code: &str) {
    let sql = format!(
        "SELECT payer_id || ' ' || order_no || ' ' || amount || ' ' || file_name FROM attempt_status WHERE run_id = {run_id} ORDER BY order_no"
    );
    let sent = place.texts(&sql).await;
    let mut request = String::new();
    let mut rows = Vec::new();
    for line in &sent {
        let [payer, order, amount, file]: [&str; 4] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        request = file.to_owned();
        let code = if payer == RICH { code } else { "0000" };
        rows.push(if code == "0000" { Row::paid(order, amount) } else { Row::failed(order, amount, code) });
    }
    let ctx = morning(place, month, day);
    let bank = ctx.settings.bank.bank("102").unwrap();
    let file = format!("R_{month:02}{day:02}.txt");
    reconcile::reconcile(&ctx, bank, &file, result_file(&request, &rows).as_slice()).await.unwrap();
}

/// Half a year: amounts that count and do not, failures, a hold, a payment that goes back, a void, and a payment online.
async fn half_a_year(place: &Place) {
    let march = morning(place, 3, 20);
    take(&march, &[enrolment(OTHER), agreement(OTHER), enrolment(RICH), agreement(RICH)]).await;
    let april = morning(place, 4, 2);
    take(&april, &[amount_set(OTHER, "set-1", "2026-04-01T00:00:00Z", "1500.00")]).await;
    take(&april, &[amount_set(RICH, "set-2", "2026-04-01T00:30:00Z", "3000.00")]).await;
    let too_much = amount_set(RICH, "set-3", "2026-04-02T00:30:00Z", "20000.00");
    let older = amount_set(RICH, "set-0", "2026-04-01T00:10:00Z", "1000.00");
    take(&april, &[too_much.clone(), older, too_much.clone()]).await;
    take(&april, &[with_data(too_much, json!({"amount": "30000.00"}))]).await;

    let run_id = run(place, 4).await;
    answer(place, 4, 17, run_id, "1001").await;
    let run_id = run(place, 5).await;
    answer(place, 5, 17, run_id, "2001").await;
    run(place, 6).await;
    let signed = agreement_with(RICH, "sign-again", "2026-06-20T00:00:00Z", json!({"amount_max": "5000.00"}));
    take(&morning(place, 6, 20), &[signed]).await;
    let run_id = run(place, 7).await;
    answer(place, 7, 17, run_id, "0000").await;
    // The bank takes back what it has said.
    answer(place, 7, 20, run_id, "1001").await;
    let july = morning(place, 7, 21);
    let id = place.count("SELECT min(discrepancy_id) FROM discrepancies WHERE state = 'open'").await;
    let decider = Decider::new("Li Lei", "the bank has confirmed it by telephone").unwrap();
    let second = Some("Han Meimei".to_owned());
    let resolution = Resolution { decision: Decision::AcceptFailure, order_no: None, decider, second };
    resolve::resolve(&july, id, &resolution).await.unwrap();

    let key: YearKey = (RICH.into(), PENSION.into(), 2026);
    let decided = |reason: &str| hold::Decision { by: "Li Wei".into(), reason: reason.into() };
    hold::decide(&morning(place, 8, 1), &key, Wish::Set, &decided("the payer has asked for it")).await.unwrap();
    run(place, 8).await;
    hold::decide(&morning(place, 8, 20), &key, Wish::Release, &decided("the payer has money again")).await.unwrap();
    take(&morning(place, 9, 1), &[amount_voided(RICH, "void-2", "2026-08-31T23:30:00Z")]).await;
    run(place, 9).await;

    let october = morning(place, 10, 11);
    let times = |message: Value, time: &str| {
        let mut message = message;
        message["time"] = json!(time);
        message
    };
    let filed = declaration(RICH, "S2026000002", json!({"collect_by": "online", "channel": "baidu_app"}));
    take(&october, &[times(filed, "2026-10-11T00:50:00Z")]).await;
    let expires = json!({"expires_at": "2026-10-11T01:05:00Z"});
    let order = started("ZF2026000002", &[("S2026000002", "2000.00")], expires);
    take(&october, &[times(order, "2026-10-11T00:51:00Z")]).await;
    let txn_no = "4200009999202610110000000001";
    let paid = json!({"gateway_txn_no": txn_no, "paid_at": "2026-10-11T08:52:59+08:00"});
    take(&october, &[times(payment_reported("ZF2026000002", "report-2", "succeeded", paid), "2026-10-11T00:53:00Z")])
        .await;
    let row =
        wechat_bill::BillRow { time: "2026-10-11 08:52:59", ..wechat_bill::paid("ZF2026000002", txn_no, "2000.00") };
    let name = format!("{}All2026-10-11_2026-10-11.csv", wechat_bill::MERCHANT);
    take_named(&morning(place, 10, 12), &name, &wechat_bill::bill(&[row])).await;
    relay::drain(&place.ctx).await.unwrap();
}

/// The command on the database and the keys of a place.
async fn command(place: &Place) -> Pikou {
    let folder = place.folder.path().display().to_string();
    Pikou::on(place.url.clone(), &[("PIKOU__DATA__FOLDER", &folder)]).await
}

/// Compares with a file that is written again on request.
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stories").join(name);
    if std::env::var_os("PIKOU_WRITE_CONTRACT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{name}");
}

#[tokio::test]
async fn the_story_of_a_payer_is_read_out_in_both_languages() {
    let place = Place::new().await;
    half_a_year(&place).await;
    let pikou = command(&place).await;
    for language in ["zh", "en"] {
        let told = pikou.run(&["explain", "--payer", RICH, "--language", language]).await;
        assert_eq!((told.code(), told.stderr.as_str()), (0, ""), "{}", told.stdout);
        compare(&format!("half-a-year.{language}.txt"), &told.stdout);
        let widest = told.stdout.lines().map(|line| line.chars().map(columns_of).sum::<usize>()).max();
        assert!(widest <= Some(100), "{widest:?}");
    }
    let document = pikou.document(&["explain", "--payer", RICH, "--language", "en"], 0).await;
    compare("half-a-year.json", &format!("{}\n", serde_json::to_string_pretty(&document).unwrap()));

    // The terminal's language is the default.
    let english = pikou.run(&["explain", "--payer", RICH]).await;
    assert!(english.stdout.starts_with(&format!("payer {RICH}\n")), "{}", english.stdout);
    let chinese = pikou.run_with(&["explain", "--payer", RICH], &[("LANG", "zh_CN.UTF-8")]).await;
    assert!(chinese.stdout.starts_with(&format!("缴费人 {RICH}\n")), "{}", chinese.stdout);
    let other = pikou.run_with(&["explain", "--payer", RICH], &[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")]).await;
    assert_eq!(other.stdout, english.stdout, "LC_ALL comes before LANG");

    // Another year has only what belongs to none, and a type of which there is nothing only the agreements.
    let told = pikou.document(&["explain", "--payer", RICH, "--year", "2025"], 0).await;
    assert_eq!(facts_of(&told), ["enrolment", "agreement", "quarantined", "agreement"]);
    let told = pikou.document(&["explain", "--payer", RICH, "--type", "flex_pension"], 0).await;
    assert_eq!(facts_of(&told), ["agreement", "quarantined", "agreement"]);
    assert_eq!((&told["amounts_now"], &told["declarations_now"]), (&json!([]), &json!([])));
    let whole = pikou.document(&["explain", "--payer", RICH, "--year", "2026", "--type", PENSION], 0).await;
    assert_eq!(whole["entries"].as_array().unwrap().len(), document["entries"].as_array().unwrap().len());
}

/// Chinese characters take two places.
fn columns_of(c: char) -> usize {
    if ('\u{2e80}'..='\u{ffe6}').contains(&c) { 2 } else { 1 }
}

/// What each entry is: of a message what it says.
fn facts_of(story: &Value) -> Vec<&str> {
    let entries = story["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["fact"].as_str().or(entry["what"].as_str()).unwrap()).collect()
}

#[tokio::test]
async fn a_payer_nobody_knows_and_words_nobody_understands_are_answered_clearly() {
    let place = Place::new().await;
    place.take(&ready("P1", "3000.00")).await;
    let pikou = command(&place).await;
    for (arguments, said) in [
        (vec!["--payer", "P2"], "nothing is known of a payer P2"),
        (vec!["--payer", "P1", "--type", "pension"], "there is no insurance type pension in the settings"),
        (vec!["--payer", "P1", "--language", "fr"], "one of zh, en"),
        (vec!["--payer", "P1", "--year", "26"], "2000..=2999"),
        (vec![], "--payer"),
    ] {
        let told = pikou.run(&[vec!["explain"], arguments].concat()).await;
        assert_eq!((told.code(), told.stdout.as_str()), (2, ""), "{}", told.stderr);
        assert!(told.stderr.contains(said), "{}", told.stderr);
    }
    let nothing = pikou.run(&["explain", "--payer", "P1", "--year", "2031", "--type", "flex_pension"]).await;
    assert_eq!(nothing.code(), 0);
}

async fn told(place: &Place, payer: &str, language: Language) -> Vec<String> {
    let question = Question { payer_id: payer.into(), ..Question::default() };
    let story = explain::explain(&place.ctx, &question).await.unwrap();
    story.entries.iter().flat_map(|entry| entry.sentences(language)).collect()
}

#[tokio::test]
async fn a_void_that_comes_too_late_names_the_file() {
    let place = Place::new().await;
    place.take(&ready("P1", "3000.00")).await;
    place.run().await;
    place.take(&[amount_voided("P1", "void", "2026-04-15T00:40:00Z")]).await;
    let story = told(&place, "P1", Language::English).await;
    let late = "its deduction was in the sealed file 102_20260415_1_0001.txt already: if it succeeds the payment stands, if it fails \
                nothing is tried again";
    assert!(story.iter().any(|line| line == late), "{story:#?}");
    assert!(story.contains(&"→ amount.void_too_late".to_owned()), "{story:#?}");
}

#[tokio::test]
async fn a_payment_whose_file_was_put_back_says_who_took_it_back_and_why() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    place.run().await;
    let request = place.request_files("102")[0].0.clone();
    place.reconcile("R1.txt", &result_file(&request, &[Row::paid("P000000100100000001", "1500.00")])).await;
    relay::drain(&place.ctx).await.unwrap();
    let decider = Decider::new("Li Lei", "the bank has sent the wrong file").unwrap();
    let later = place.at("2026-04-16T13:00:00+08:00");
    undo::undo(&later, &Named::Name("R1.txt".into()), &Undo { decider, second: Some("Han Meimei".into()) })
        .await
        .unwrap();
    let lines = told(&place, "P1", Language::English).await;
    let undone = lines.iter().position(|line| line.contains("was put back")).expect("it is told");
    assert_eq!(
        lines[undone..][..3],
        [
            "resident pension 2026: result file R1.txt was put back: what it said of order P000000100100000001 holds no more",
            "the 1500.00 yuan that it had as paid count no more",
            "by Li Lei and Han Meimei, because: the bank has sent the wrong file",
        ]
    );
    assert!(!lines.iter().any(|line| line.contains("1500.00 yuan paid")), "{lines:#?}");
}

#[tokio::test]
async fn a_run_in_which_the_payer_was_no_candidate_says_so_and_one_of_another_region_is_not_told() {
    let place = Place::new().await;
    place.take(&[ready("P1", "3000.00"), vec![enrolment("P2")]].concat()).await;
    let elsewhere = enrolment_with("P3", "enrol-3", "2026-01-05T00:00:00Z", json!({"division_code": "520102"}));
    place.take(&[elsewhere]).await;
    place.run().await;
    let said =
        "城乡居民基本养老保险 2026 年度:批扣批次 1(2026-04-15):不在批扣范围。当时没有缴费金额,也没有待批扣的申报";
    let is_told = async |payer: &str| told(&place, payer, Language::Chinese).await.iter().any(|line| line == said);
    assert_eq!((is_told("P1").await, is_told("P2").await, is_told("P3").await), (false, true, false));
}

#[tokio::test]
async fn what_came_before_anybody_knew_whose_it_was_is_told_once_that_is_known() {
    let place = Place::new().await;
    place.take(&[void_requested("S1", "void-early"), enrolment("P1")]).await;
    place.take(&[declaration("P1", "S1", json!({}))]).await;
    assert_eq!(place.answers().await, ["void-early accepted", "enrol-P1 accepted", "declare-S1 accepted"]);
    let story = told(&place, "P1", Language::Chinese).await;
    let asked = "城乡居民基本养老保险 2026 年度:请求作废申报 S1,渠道 电子税务局";
    assert!(story.iter().any(|line| line == asked), "{story:#?}");
}

#[tokio::test]
async fn a_story_that_is_too_long_is_cut_and_says_so() {
    let place = Place::new().await;
    let more: Vec<Value> = (0..=explain::ROWS_MAX)
        .map(|number| amount_set("P1", &format!("set-{number}"), "2026-04-02T00:00:00Z", "3000.00"))
        .collect();
    place.take(&[enrolment("P1")]).await;
    for batch in more.chunks(500) {
        place.take(batch).await;
    }
    let question = Question { payer_id: "P1".into(), ..Question::default() };
    let story = explain::explain(&place.ctx, &question).await.unwrap();
    assert_eq!((story.entries.len(), story.cut_at), (explain::ROWS_MAX, Some(explain::ROWS_MAX)));
    let notes = story.notes(Language::English);
    assert_eq!(notes[0], "there is more than this: of each kind the newest 2000 are told");
}

#[tokio::test]
async fn a_message_that_cannot_be_opened_is_our_own_fault_and_no_story_without_it_is_told() {
    let place = Place::new().await;
    place.take(&[enrolment("P1")]).await;
    // As a worker with another file of keys would see it.
    let broken = "SET session_replication_role = replica;
                  UPDATE messages SET raw = set_byte(raw, length(raw) - 1, get_byte(raw, length(raw) - 1) # 1)";
    let mut connection = place.ctx.pool.acquire().await.unwrap().detach();
    sqlx::raw_sql(broken).execute(&mut connection).await.unwrap();
    let question = Question { payer_id: "P1".into(), ..Question::default() };
    let told = explain::explain(&place.ctx, &question).await;
    assert!(matches!(told, Err(StageError::Broken { .. })), "{told:?}");
}

/// Every word of a table, in one language.
fn words<T: Copy + Said>(all: &[T], language: Language) -> Vec<&'static str> {
    all.iter().map(|word| word.said(language)).collect()
}

#[test]
fn every_reason_has_words_in_both_languages() {
    let chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    let tables = |language| {
        [
            words(&SkipReason::ALL, language),
            words(RefusalCode::ALL, language),
            words(&Withdrawal::ALL, language),
            words(&HoldReason::ALL, language),
            words(&DiscrepancyKind::ALL, language),
            words(&OutcomeClass::ALL, language),
        ]
    };
    for (zh, en) in tables(Language::Chinese).into_iter().zip(tables(Language::English)) {
        assert!(zh.iter().all(|text| chinese(text)), "{zh:?}");
        assert!(en.iter().all(|text| text.is_ascii() && !text.is_empty()), "{en:?}");
        for words in [zh, en] {
            let distinct: std::collections::BTreeSet<_> = words.iter().collect();
            assert_eq!(distinct.len(), words.len(), "two reasons that read alike: {words:?}");
        }
    }
    for language in Language::ALL {
        assert!(words(&Decision::ALL, language).iter().all(|text| chinese(text) == (language == Language::Chinese)));
    }
}
