//! One story in which everything happens that events tell of: two runs, withdrawals, failures, doubts that end, files
//! refused and then applied, refusals, stale and unreadable messages. The clock stands still and every number is
//! given by an empty database, so the events are the same each time: `fixtures/events/` has one of each type.
//!
//! A new type of event: add the step that makes it happen, at the end, so that the numbers of the others stay; then
//! write the examples again (`tests/it/events.rs`) and read the difference.

use std::sync::Arc;

use pikou::domain::discrepancy::Decision;
use pikou::stages::decider::Decider;
use pikou::stages::resolve::{self, Reopened, Resolution, Resolved};
use pikou::stages::undo::{self, Named, Undo, Undone};
use pikou::stages::{Context, cancel, deliver, intake, lease, plan, reconcile, release, seal, turning};
use pikou::store::year_turns::TurnKey;
use serde_json::{Value, json};

use crate::support::*;
use crate::wechat_bill::{self, BILLS, started, take_bill};

/// The payers, by what happens to them.
const PAID: &str = "10110000000000000001";
const CHANGED: &str = "10110000000000000002";
const VOIDED: &str = "10110000000000000003";
const WITHDRAWN: &str = "10110000000000000004";
const TOO_LATE: &str = "10110000000000000005";
const SHORT_OF_MONEY: &str = "10110000000000000006";
const CLOSED_ACCOUNT: &str = "10110000000000000007";
const UNKNOWN: &str = "10110000000000000008";
const DECLARED: &str = "10110000000000000009";
const NEVER_ENROLLED: &str = "10110000000000000010";
const ENROLLED_LATE: &str = "10110000000000000011";
const NOT_SIGNED: &str = "10110000000000000012";
const STRANGE_NAME: &str = "10110000000000000013";
const CANCELLED: &str = "10110000000000000014";
const OTHER_AMOUNT: &str = "10110000000000000015";
const ONLINE: &str = "10110000000000000016";
const BILLED: &str = "10110000000000000017";

/// Tells it. From the middle of the first run's planning on, everything is done under `later`: the same place, perhaps
/// with other settings.
pub async fn tell(place: &Place, later: &Context) {
    facts(place).await;
    answers(place).await;

    // The run is made by the one and planned by the other.
    let run_id = plan::fire(&place.ctx, SCHEDULE, day()).await.unwrap();
    let lease = lease::take(later, run_id).await.unwrap().expect("the lease is free");
    plan::plan(later, lease, |_| ()).await.unwrap();
    let ended = agreement_with(CANCELLED, "cancel", "2026-04-15T00:20:00Z", json!({"status": "ended"}));
    take(later, &[amount_voided(WITHDRAWN, "void-4", "2026-04-15T00:30:00Z"), ended]).await;
    seal::seal(later, lease, |_| ()).await.unwrap();
    deliver::deliver(later, lease).await.unwrap();
    take(later, &[amount_voided(TOO_LATE, "void-5", "2026-04-15T00:40:00Z")]).await;
    results(place, later, run_id).await;

    let signed = |payer: &str| agreement_with(payer, &format!("again-{payer}"), "2026-04-20T00:00:00Z", json!({}));
    take(later, &[signed(CLOSED_ACCOUNT), signed(CANCELLED)]).await;
    let second = chrono::NaiveDate::from_ymd_opt(2026, 5, 15).unwrap();
    let run_id = plan::fire(later, SCHEDULE, second).await.unwrap();
    let lease = lease::take(later, run_id).await.unwrap().expect("the lease is free");
    plan::plan(later, lease, |_| ()).await.unwrap();
    seal::seal(later, lease, |_| ()).await.unwrap();
    deliver::deliver(later, lease).await.unwrap();
    let rows: Vec<Row> = sent(place, run_id).await.iter().map(|(_, order, amount)| Row::paid(order, amount)).collect();
    assert_eq!(rows.len(), 3, "those short of money, with a closed account and with a new agreement");
    apply(later, "102", "R_102_20260515_2_0001.txt", &result_file("102_20260515_2_0001.txt", &rows)).await;

    let waited = Context { clock: place.at("2026-04-18T09:00:00+08:00").clock, ..later.clone() };
    assert_eq!(intake::end_waits(&waited).await.unwrap(), 2);
    online(later).await;
    looked_at(later).await;
    turn_of_the_year(place).await;
    worked_off(place, later).await;
    billed(place).await;
}

/// A run that differs from the one before it waits for a person, is released, and is cancelled after all.
async fn looked_at(later: &Context) {
    let mut settings = (*later.settings).clone();
    settings.schedules.get_mut(SCHEDULE).unwrap().hold.count_percent = Some(1);
    let careful = Context { settings: Arc::new(settings), ..later.clone() };
    let run_id = plan::fire(&careful, SCHEDULE, chrono::NaiveDate::from_ymd_opt(2026, 6, 15).unwrap()).await.unwrap();
    let lease = lease::take(&careful, run_id).await.unwrap().expect("the lease is free");
    plan::plan(&careful, lease, |_| ()).await.unwrap();
    let decider = Decider::new("Li Lei", "only one is left").unwrap();
    release::release(&careful, run_id, &decider).await.unwrap();
    cancel::decide(&careful, run_id, &decider).await.unwrap();
    cancel::cancel(&careful, lease, |_| ()).await.unwrap();
}

/// What is still active and not out expires with its year; where amounts are carried over, it is used in the next.
async fn turn_of_the_year(place: &Place) {
    let carries = place.under(&[(CARRY_OVER, "true")]);
    let key = |valid_year| TurnKey { region: "beijing".into(), insurance_type: PENSION.into(), valid_year };
    let over = Context { clock: place.at("2026-12-11T09:00:00+08:00").clock, ..carries.clone() };
    turning::expire(&over, &key(2026)).await.unwrap();
    let opens = Context { clock: place.at("2027-04-01T09:00:00+08:00").clock, ..carries };
    turning::open(&opens, &key(2027), opens.clock.business_date()).await.unwrap();
}

/// The bank takes back what it had said of a payment, and people decide: the payment is reversed, double payments are
/// refunded, one decision is taken back.
async fn worked_off(place: &Place, later: &Context) {
    let sql = format!("SELECT order_no || ' ' || amount FROM settlements WHERE payer_id = '{PAID}'");
    let settled = place.texts(&sql).await.pop().expect("it was paid");
    let (order, amount) = settled.split_once(' ').unwrap();
    let taken_back = result_file("102_20260415_1_0001.txt", &[Row::failed(order, amount, "1001")]);
    assert_eq!(apply(later, "102", "R4.txt", &taken_back).await, "applied");
    let decider = Decider::new("Li Lei", "the bank has confirmed it").unwrap();
    let decide = async |kind: &str, payer: &str, decision| {
        let wanted =
            format!("SELECT min(discrepancy_id) FROM discrepancies WHERE kind = '{kind}' AND payer_id = '{payer}'");
        let id = place.count(&wanted).await;
        let resolution = Resolution { decision, order_no: None, decider: decider.clone(), second: None };
        let resolved = resolve::resolve(later, id, &resolution).await.unwrap();
        assert!(matches!(resolved, Resolved::Done(_)), "{kind}: {resolved:?}");
        id
    };
    decide("contradiction", PAID, Decision::AcceptFailure).await;
    decide("double_payment", ONLINE, Decision::Refund).await;
    let kept = decide("amount_differs", OTHER_AMOUNT, Decision::KeepWaiting).await;
    assert_eq!(resolve::reopen(later, kept, &decider).await.unwrap(), Reopened::Done);
    decide("amount_differs", OTHER_AMOUNT, Decision::AcceptGateway).await;
}

/// A channel's report is borne out by the gateway's bill, until that is put back.
async fn billed(place: &Place) {
    let ctx = place.under(&[BILLS]);
    take(&ctx, &[enrolment(BILLED), amount_set(BILLED, "set-17", "2026-04-02T00:00:00Z", "2000.00")]).await;
    take(&ctx, &[declaration(BILLED, "S2026000019", json!({"collect_by": "online"}))]).await;
    take(&ctx, &[started("ZF2026000003", &[("S2026000019", "2000.00")], json!({}))]).await;
    let txn_no = "4200009999202604110000000001";
    let paid = json!({"gateway_txn_no": txn_no, "paid_at": "2026-04-11T08:04:59+08:00"});
    take(&ctx, &[payment_reported("ZF2026000003", "report-6", "succeeded", paid)]).await;
    let bill = take_bill(&ctx, 11, &[wechat_bill::paid("ZF2026000003", txn_no, "2000.00")]).await;
    let decider = Decider::new("Li Lei", "a draft, the gateway says").unwrap();
    let undo = Undo { decider, second: None };
    let undone = undo::undo(&ctx, &Named::Id(bill.file().result_file_id), &undo).await.unwrap();
    assert!(matches!(undone, Undone::Done { .. }), "{undone:?}");
}

/// Orders that are paid, fail, remain unknown, and are paid after all when nobody expected it.
async fn online(later: &Context) {
    take(later, &[enrolment(ONLINE), amount_set(ONLINE, "set-16", "2026-04-02T00:00:00Z", "2000.00")]).await;
    take(later, &[assessment(ONLINE, "H2026000016", "assess-16", "2026-03-01T00:00:00Z", json!({}))]).await;
    let whole_year = declaration(ONLINE, "S2026000016", json!({"collect_by": "online"}));
    take(later, &[whole_year, special(ONLINE, "S2026000017", "H2026000016")]).await;
    let both = [("S2026000016", "2000.00"), ("S2026000017", "1200.00")];
    let paid = |txn: &str| json!({"gateway_txn_no": txn, "paid_at": "2026-04-11T08:04:59+08:00"});
    let closed = json!({"code": "TRADE_HAS_CLOSE"});
    let steps = [
        payment_started("ZF2026000001", &both, json!({})),
        payment_reported("ZF2026000001", "report-1", "unknown", json!({})),
        payment_reported("ZF2026000001", "report-2", "failed", closed),
        payment_started("ZF2026000002", &both, json!({})),
        payment_reported("ZF2026000002", "report-3", "succeeded", paid("2026040822001400002")),
        payment_reported("ZF2026000001", "report-4", "succeeded", paid("2026040822001400001")),
        payment_reported("ZF2026000002", "report-5", "succeeded", paid("2026040822001400003")),
    ];
    for step in steps {
        take(later, &[step]).await;
    }
    take(later, &[special(ONLINE, "S2026000018", "H2026000016"), void_requested("S2026000011", "void-11")]).await;
}

/// What payers and authorities say before the first run.
async fn facts(place: &Place) {
    let plainly = [PAID, CHANGED, VOIDED, WITHDRAWN, TOO_LATE, SHORT_OF_MONEY, CLOSED_ACCOUNT, UNKNOWN, CANCELLED];
    let mut messages: Vec<Value> =
        plainly.into_iter().chain([OTHER_AMOUNT]).flat_map(|payer| ready(payer, "3000.00")).collect();
    messages.push(amount_set(CHANGED, "set-2-again", "2026-04-03T00:00:00Z", "5000.00"));
    messages.push(amount_voided(VOIDED, "void-3", "2026-04-03T00:00:00Z"));
    messages.extend([enrolment(DECLARED), agreement(DECLARED), declaration(DECLARED, "S2026000009", json!({}))]);
    messages.push(declaration(NEVER_ENROLLED, "S2026000010", json!({})));
    messages.push(amount_set(NEVER_ENROLLED, "set-10", "2026-04-02T00:00:00Z", "3000.00"));
    messages.push(declaration(ENROLLED_LATE, "S2026000011", json!({"collect_by": "online"})));
    messages.push(enrolment(NOT_SIGNED));
    messages.push(amount_set(NOT_SIGNED, "set-12", "2026-04-02T00:00:00Z", "3000.00"));
    messages.extend(ready(STRANGE_NAME, "3000.00"));
    // The separator of the bank's file: the item is held back.
    let name = json!({"account_name": "张,三"});
    messages.push(agreement_with(STRANGE_NAME, "rename-13", "2026-01-07T00:00:00Z", name));
    take(&place.ctx, &messages).await;
    take(&place.ctx, &[enrolment(ENROLLED_LATE)]).await;
}

/// Messages that are refused, stale, repeated or not understood.
async fn answers(place: &Place) {
    let older = amount_set(PAID, "set-1-older", "2026-04-01T00:00:00Z", "1000.00");
    let too_much = amount_set(PAID, "set-1-too-much", "2026-04-04T00:00:00Z", "20000.00");
    take(&place.ctx, &[older, too_much.clone(), too_much.clone()]).await;
    let conflict = with_data(too_much, json!({"amount": "30000.00"}));
    take(&place.ctx, &[conflict]).await;
    intake::take(&place.ctx, &[raw_delivery(b"{\"specversion\":")]).await.unwrap();
}

/// What the bank says of the first run: three files, the first of which comes to the wrong inbox, twice.
async fn results(place: &Place, later: &Context, run_id: i64) {
    let request = "102_20260415_1_0001.txt";
    let sent = sent(place, run_id).await;
    let row = |payer: &str, code: &str| {
        let (_, order, amount) = sent.iter().find(|(of, ..)| of == payer).expect("it was sent");
        if code == "0000" { Row::paid(order, amount) } else { Row::failed(order, amount, code) }
    };
    let mut rows = vec![
        row(PAID, "0000"),
        row(CHANGED, "0000"),
        row(SHORT_OF_MONEY, "1001"),
        row(TOO_LATE, "1001"),
        row(CLOSED_ACCOUNT, "2001"),
        row(UNKNOWN, "9001"),
        row(DECLARED, "0000"),
    ];
    rows.push(Row { amount: "300.00".into(), ..row(OTHER_AMOUNT, "0000") });
    let first = result_file(request, &rows);
    for _ in 0..2 {
        assert_eq!(apply(later, "103", "R1.txt", &first).await, "refused");
    }
    assert_eq!(apply(later, "102", "R1.txt", &first).await, "applied");
    assert_eq!(apply(later, "102", "R1-again.txt", &first).await, "repeated");
    let strange = Row::paid("P999999900100000001", "100.00");
    // A known name with other bytes is told, too.
    let second = result_file(request, &[row(UNKNOWN, "9002"), row(PAID, "0000"), strange]);
    assert_eq!(apply(later, "102", "R1.txt", &second).await, "applied");
    assert_eq!(apply(later, "102", "R3.txt", &result_file(request, &[row(UNKNOWN, "0000")])).await, "applied");
}

/// (payer, order, amount) of what a run has sent.
async fn sent(place: &Place, run_id: i64) -> Vec<(String, String, String)> {
    let sql =
        "SELECT payer_id, order_no, amount::text FROM attempt_status WHERE run_id = $1 AND status = 'sent' ORDER BY 2";
    sqlx::query_as(sql).bind(run_id).fetch_all(&place.ctx.pool).await.unwrap()
}

async fn take(ctx: &Context, messages: &[Value]) {
    intake::take(ctx, &deliveries(messages)).await.unwrap();
}

async fn apply(ctx: &Context, bank_code: &str, name: &str, bytes: &[u8]) -> &'static str {
    let bank = ctx.settings.bank.bank(bank_code).unwrap();
    reconcile::reconcile(ctx, bank, name, bytes).await.unwrap().as_str()
}
