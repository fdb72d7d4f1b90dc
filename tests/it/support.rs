//! What tests stand on: a database of their own on the real server, a context with a clock that stands still, and
//! builders for messages and result files. Nothing here pretends to be a part of the system.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, NaiveDate, Utc};
use pikou::clock::Clock;
use pikou::config::{self, Settings};
use pikou::crypt::Keys;
use pikou::domain::account::Account;
use pikou::stages::intake::{self, Delivery, Taken};
use pikou::stages::lease::{self, Lease};
use pikou::stages::reconcile::{self, Outcome};
use pikou::stages::{Context, deliver, plan, seal};
use pikou::store;
use pikou::worker::relay;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub const SCHEDULE: &str = "beijing_resident_pension";
pub const PENSION: &str = "resident_pension";
/// The setting by which last year's amounts are carried over in Beijing.
pub const CARRY_OVER: &str = "PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__CARRY_OVER";

/// The test's day: 15 April 2026, nine in the morning in Shanghai.
pub fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 4, 15).unwrap()
}

pub fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
}

pub fn server_url() -> String {
    std::env::var("PIKOU_TEST_DATABASE_URL")
        .expect("PIKOU_TEST_DATABASE_URL is not set: run the tests with scripts/test")
}

/// A place of one test: database, data folder and settings. The database is dropped with the private server, or by
/// the next run's `stale databases` sweep on a given one.
pub struct Place {
    pub ctx: Context,
    pub folder: tempfile::TempDir,
    /// URL of the test's own database.
    pub url: String,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A name that no other test, and no other run of the tests, has.
pub fn unique(what: &str) -> String {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("pikou_test_{what}_{}_{number}_{:08x}", std::process::id(), rand::random::<u32>())
}

/// An empty database of its own on the server.
pub async fn new_database() -> String {
    let options = PgConnectOptions::from_str(&server_url()).unwrap();
    let name = unique("db");
    let mut server = PgConnection::connect_with(&options).await.expect("the test server answers");
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")))
        .execute(&mut server)
        .await
        .unwrap();
    let url = server_url();
    let (base, query) = url.split_once('?').map_or((url.as_str(), ""), |(base, query)| (base, query));
    let base = base.rsplit_once('/').unwrap().0;
    if query.is_empty() { format!("{base}/{name}") } else { format!("{base}/{name}?{query}") }
}

impl Place {
    pub async fn new() -> Place {
        Place::with(&[]).await
    }

    /// A place with some settings of its own, as in the environment: `("PIKOU__RUN__RANGE_MAX", "2")`.
    pub async fn with(settings: &[(&str, &str)]) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let url = new_database().await;
        let settings = settings_for(folder.path(), &url, settings);
        let pool = pool(&url).await;
        store::MIGRATOR.run(&pool).await.unwrap();
        let keys = Keys::load_or_make(&settings.keys_file, settings.keys_algorithm).unwrap();
        let ctx = Context {
            pool,
            settings: Arc::new(settings),
            keys: Arc::new(keys),
            clock: Clock::Fixed(at("2026-04-15T09:00:00+08:00")),
            worker: unique("worker"),
        };
        Place { ctx, folder, url }
    }

    /// The same place as another worker sees it.
    pub fn other_worker(&self) -> Context {
        Context { worker: unique("worker"), ..self.ctx.clone() }
    }

    /// Takes messages in one batch.
    pub async fn take(&self, messages: &[Value]) -> Taken {
        intake::take(&self.ctx, &deliveries(messages)).await.unwrap()
    }

    pub async fn lease(&self) -> (i64, Lease) {
        let run_id = plan::fire(&self.ctx, SCHEDULE, day()).await.unwrap();
        (run_id, lease::take(&self.ctx, run_id).await.unwrap().expect("the lease is free"))
    }

    pub async fn plan(&self) -> Lease {
        self.plan_on(day()).await
    }

    pub async fn plan_on(&self, date: NaiveDate) -> Lease {
        let run_id = plan::fire(&self.ctx, SCHEDULE, date).await.unwrap();
        let lease = lease::take(&self.ctx, run_id).await.unwrap().expect("the lease is free");
        plan::plan(&self.ctx, lease, |_| ()).await.unwrap();
        lease
    }

    pub async fn seal(&self, lease: Lease) {
        seal::seal(&self.ctx, lease, |_| ()).await.unwrap();
    }

    pub async fn deliver(&self, lease: Lease) {
        deliver::deliver(&self.ctx, lease).await.unwrap();
    }

    /// Plans, seals and hands over a run.
    pub async fn run(&self) -> i64 {
        self.run_on(day()).await
    }

    pub async fn run_on(&self, date: NaiveDate) -> i64 {
        let lease = self.plan_on(date).await;
        self.seal(lease).await;
        self.deliver(lease).await;
        lease.run_id
    }

    /// Applies the bytes of a result file of bank 102.
    pub async fn reconcile(&self, name: &str, bytes: &[u8]) -> Outcome {
        let bank = self.ctx.settings.bank.bank("102").unwrap();
        reconcile::reconcile(&self.ctx, bank, name, bytes).await.unwrap()
    }

    /// Publishes everything and returns all events of this place so far, in order.
    pub async fn events(&self) -> Vec<Value> {
        relay::drain(&self.ctx).await.unwrap();
        let text = std::fs::read_to_string(self.ctx.settings.events_file()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Events as (type without prefix and version, subject, sequence).
    pub async fn told(&self) -> Vec<(String, String, i64)> {
        let short = |event: &Value| {
            let kind = event["type"].as_str().unwrap();
            let kind = kind.strip_prefix("pikou.").unwrap().strip_suffix(".v1").unwrap().to_owned();
            (kind, event["subject"].as_str().unwrap().to_owned(), event["sequence"].as_i64().unwrap())
        };
        self.events().await.iter().map(short).collect()
    }

    /// The account, in which every equation must hold.
    pub async fn account(&self) -> Account {
        let mut connection = self.ctx.pool.acquire().await.unwrap();
        let account = store::accounts::count(&mut connection).await.unwrap();
        for (name, holds) in account.equations() {
            assert!(holds, "{name}: {account:#?}");
        }
        account
    }

    /// One column of texts.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let rows: Vec<(Option<String>,)> =
            sqlx::query_as(AssertSqlSafe(sql.to_owned())).fetch_all(&self.ctx.pool).await.unwrap();
        rows.into_iter().map(|(text,)| text.unwrap_or_else(|| "null".into())).collect()
    }

    pub async fn count(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.ctx.pool).await.unwrap()
    }

    /// `order_no status` of every attempt, under the names of the rule book.
    pub async fn attempts(&self) -> Vec<String> {
        self.texts(
            "SELECT payer_id || ' ' || status || COALESCE(' ' || withdrawal, '') FROM attempt_status ORDER BY order_no",
        )
        .await
    }

    /// Where a bank's request files are handed over.
    pub fn outbox(&self, bank_code: &str) -> PathBuf {
        self.ctx.settings.outbox(self.ctx.settings.bank.bank(bank_code).unwrap())
    }

    /// Text of the request files of a bank, in the order of their names.
    pub fn request_files(&self, bank_code: &str) -> Vec<(String, Vec<u8>)> {
        let folder = self.outbox(bank_code);
        let mut files: Vec<(String, Vec<u8>)> = read_folder(&folder)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "txt"))
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    }
}

impl Place {
    /// The same place with some settings changed, as after a restart with another configuration.
    pub fn under(&self, settings: &[(&str, &str)]) -> Context {
        let settings = settings_for(self.folder.path(), &self.url, settings);
        Context { settings: Arc::new(settings), ..self.other_worker() }
    }

    /// The same place with a file of settings.
    pub fn under_file(&self, text: &str) -> Context {
        let path = self.folder.path().join("pikou.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment_for(self.folder.path(), &self.url, &[]);
        let settings = config::load(Some(&path), environment.into_iter()).unwrap();
        Context { settings: Arc::new(settings), ..self.other_worker() }
    }

    /// The same place, seen by another worker at another time.
    pub fn at(&self, time: &str) -> Context {
        Context { clock: Clock::Fixed(at(time)), ..self.other_worker() }
    }

    /// The answer in the books to each understood message: `id outcome code`.
    pub async fn answers(&self) -> Vec<String> {
        self.texts("SELECT id || ' ' || outcome || COALESCE(' ' || code, '') FROM messages ORDER BY seq").await
    }

    /// Every version of every amount: `payer amount state`.
    pub async fn amounts(&self) -> Vec<String> {
        let sql = "SELECT payer_id || ' ' || amount || ' ' || state FROM amount_settings ORDER BY payer_id, fact_time, fact_id";
        self.texts(sql).await
    }

    /// `payer number amount state` of every declaration.
    pub async fn declarations(&self) -> Vec<String> {
        let sql = "SELECT payer_id || ' ' || declaration_no || ' ' || amount || ' ' || state FROM declarations
                   ORDER BY payer_id, declaration_no";
        self.texts(sql).await
    }

    /// `payer reason` of every skip of a run.
    pub async fn skips(&self, run_id: i64) -> Vec<String> {
        let sql = format!("SELECT payer_id || ' ' || reason FROM run_skips WHERE run_id = {run_id} ORDER BY payer_id");
        self.texts(&sql).await
    }

    /// `payer amount status withdrawal` of every attempt of a run.
    pub async fn attempts_of(&self, run_id: i64) -> Vec<String> {
        let sql = format!(
            "SELECT payer_id || ' ' || amount || ' ' || status || COALESCE(' ' || withdrawal, '') FROM attempt_status
             WHERE run_id = {run_id} ORDER BY order_no"
        );
        self.texts(&sql).await
    }

    /// The data of the events of one type, in order.
    pub async fn data_of(&self, kind: &str) -> Vec<Value> {
        let kind = format!("pikou.{kind}.v1");
        self.events()
            .await
            .into_iter()
            .filter(|event| event["type"] == kind)
            .map(|event| event["data"].clone())
            .collect()
    }

    /// Types of the events about one subject, in order.
    pub async fn told_of(&self, subject: &str) -> Vec<String> {
        let told = self.told().await;
        told.into_iter().filter(|(_, about, _)| about == subject).map(|(kind, _, _)| kind).collect()
    }

    /// Bank 102 answers a run's first file: the payers named get their code, everybody else has paid.
    pub async fn answer(&self, run_id: i64, codes: &[(&str, &str)]) -> Outcome {
        let sent: Vec<(String, String, String, String)> = sqlx::query_as(
            "SELECT order_no, payer_id, amount::text, file_name FROM attempt_status
             WHERE run_id = $1 AND status = 'sent' AND file_name LIKE '102%' ORDER BY order_no",
        )
        .bind(run_id)
        .fetch_all(&self.ctx.pool)
        .await
        .unwrap();
        let rows: Vec<Row> = sent
            .iter()
            .map(|(order_no, payer, amount, _)| match codes.iter().find(|(of, _)| of == payer) {
                Some((_, code)) => Row::failed(order_no, amount, code),
                None => Row::paid(order_no, amount),
            })
            .collect();
        let request = &sent.first().expect("something was sent").3;
        self.reconcile(&format!("R_{request}"), &result_file(request, &rows)).await
    }

    /// Lets the lease of a run run out, as if its worker had been paused.
    pub async fn expire_lease(&self, run_id: i64) {
        sqlx::query("UPDATE runs SET lease_until = clock_timestamp() - interval '1 second' WHERE run_id = $1")
            .bind(run_id)
            .execute(&self.ctx.pool)
            .await
            .unwrap();
    }

    /// Tries a statement and undoes it: who refuses it is the name of a constraint, or what a trigger says.
    pub async fn refused_by(&self, sql: &str) -> String {
        let mut tx = self.ctx.pool.begin().await.unwrap();
        let tried = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await;
        tx.rollback().await.unwrap();
        match tried {
            Ok(done) => format!("nobody: {} rows", done.rows_affected()),
            Err(sqlx::Error::Database(error)) => {
                error.constraint().map_or_else(|| error.message().to_owned(), str::to_owned)
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

/// The same dice for the same seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    /// One of a few.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

pub fn read_folder(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

pub fn settings_for(folder: &Path, url: &str, more: &[(&str, &str)]) -> Settings {
    config::load(None, environment_for(folder, url, more).into_iter()).unwrap()
}

fn environment_for(folder: &Path, url: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut environment = vec![
        ("PIKOU__DATA__FOLDER".to_owned(), folder.display().to_string()),
        ("PIKOU__DATABASE__URL".to_owned(), url.to_owned()),
    ];
    environment.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    environment
}

async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new()
        .max_connections(8)
        .connect_with(
            PgConnectOptions::from_str(url).unwrap().options([("client_min_messages", "error"), ("jit", "off")]),
        )
        .await
        .unwrap()
}

pub fn deliveries(messages: &[Value]) -> Vec<Delivery> {
    messages.iter().map(|message| raw_delivery(message.to_string().as_bytes())).collect()
}

pub fn raw_delivery(raw: &[u8]) -> Delivery {
    Delivery { raw: raw.to_vec(), headers: vec![], origin: "test".into() }
}

/// An event of an upstream system.
pub fn message(kind: &str, id: &str, time: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "//test", "type": format!("pikou.in.{kind}.v1"), "time": time,
        "datacontenttype": "application/json", "data": data})
}

pub fn enrolment(payer: &str) -> Value {
    enrolment_with(payer, &format!("enrol-{payer}"), "2026-01-05T00:00:00Z", json!({}))
}

/// An enrolment in Beijing's Dongcheng district, with some fields replaced.
pub fn enrolment_with(payer: &str, id: &str, time: &str, fields: Value) -> Value {
    let mut data = json!({"payer_id": payer, "insurance_type": PENSION, "status": "active", "effective_on": "2020-01-01",
        "name": "测试人", "id_type": "other", "id_number": format!("N{payer}"), "division_code": "110101"});
    merge(&mut data, fields);
    message("enrolment.changed", id, time, data)
}

pub fn agreement(payer: &str) -> Value {
    agreement_with(payer, &format!("agree-{payer}"), "2026-01-06T00:00:00Z", json!({}))
}

pub fn agreement_with(payer: &str, id: &str, time: &str, fields: Value) -> Value {
    let mut data = json!({"agreement_no": format!("A{payer}"), "payer_id": payer, "gateway": "bank", "bank_code": "102",
        "account_no": format!("6222{payer}"), "account_name": "测试人", "status": "active", "batch_enabled": true,
        "insurance_types": [PENSION]});
    merge(&mut data, fields);
    message("agreement.changed", id, time, data)
}

pub fn amount_set(payer: &str, id: &str, time: &str, amount: &str) -> Value {
    let data =
        json!({"payer_id": payer, "insurance_type": PENSION, "valid_year": 2026, "amount": amount, "channel": "etax"});
    message("amount.set", id, time, data)
}

pub fn amount_voided(payer: &str, id: &str, time: &str) -> Value {
    let data = json!({"payer_id": payer, "insurance_type": PENSION, "valid_year": 2026, "channel": "etax"});
    message("amount.voided", id, time, data)
}

pub fn declaration(payer: &str, number: &str, fields: Value) -> Value {
    let mut data = json!({"declaration_no": number, "payer_id": payer, "insurance_type": PENSION, "kind": "normal",
        "period_from": "202601", "period_to": "202612", "amount": "2000.00", "channel": "etax", "collect_by": "batch"});
    merge(&mut data, fields);
    message("declaration.submitted", &format!("declare-{number}"), "2026-04-03T00:00:00Z", data)
}

/// An issued back payment for 2024 of 1,200 yuan, with some fields replaced.
pub fn assessment(payer: &str, number: &str, id: &str, time: &str, fields: Value) -> Value {
    let mut data = json!({"assessment_no": number, "payer_id": payer, "insurance_type": PENSION, "kind": "back_payment",
        "period_from": "202401", "period_to": "202412", "amount": "1200.00", "pay_by": "2026-06-30", "status": "issued"});
    merge(&mut data, fields);
    message("assessment.changed", id, time, data)
}

/// The declaration of what [`assessment`] says.
pub fn special(payer: &str, number: &str, assessment_no: &str) -> Value {
    let fields = json!({"kind": "special", "period_from": "202401", "period_to": "202412", "amount": "1200.00",
        "assessment_no": assessment_no, "collect_by": "online"});
    declaration(payer, number, fields)
}

pub fn void_requested(number: &str, id: &str) -> Value {
    let data = json!({"declaration_no": number, "channel": "etax"});
    message("declaration.void_requested", id, "2026-04-10T00:00:00Z", data)
}

/// An order by Alipay in the tax bureau's own channel, its message named after it.
pub fn payment_started(order_no: &str, items: &[(&str, &str)], fields: Value) -> Value {
    let items: Vec<Value> =
        items.iter().map(|(number, amount)| json!({"declaration_no": number, "amount": amount})).collect();
    let mut data = json!({"order_no": order_no, "items": items, "gateway": "alipay", "method": "alipay", "channel": "etax",
        "expires_at": "2026-04-11T00:15:00Z"});
    merge(&mut data, fields);
    message("payment.started", &format!("start-{order_no}"), "2026-04-11T00:00:00Z", data)
}

pub fn payment_reported(order_no: &str, id: &str, outcome: &str, fields: Value) -> Value {
    let mut data = json!({"order_no": order_no, "outcome": outcome});
    merge(&mut data, fields);
    message("payment.reported", id, "2026-04-11T00:05:00Z", data)
}

/// A payer who is enrolled, has signed and has set an amount: the next run deducts it.
pub fn ready(payer: &str, amount: &str) -> Vec<Value> {
    vec![enrolment(payer), agreement(payer), amount_set(payer, &format!("set-{payer}"), "2026-04-02T00:00:00Z", amount)]
}

/// A message with some fields of its data replaced.
pub fn with_data(mut message: Value, fields: Value) -> Value {
    merge(&mut message["data"], fields);
    message
}

fn merge(data: &mut Value, fields: Value) {
    for (key, value) in fields.as_object().cloned().unwrap_or_default() {
        data[key] = value;
    }
}

/// One row of a result file of the standard layout.
#[derive(Clone)]
pub struct Row {
    pub order_no: String,
    pub amount: String,
    pub code: String,
    pub txn_no: String,
    pub settled_at: String,
}

impl Row {
    pub fn paid(order_no: &str, amount: &str) -> Row {
        Row {
            order_no: order_no.into(),
            amount: amount.into(),
            code: "0000".into(),
            txn_no: format!("T{order_no}"),
            settled_at: "20260416101500".into(),
        }
    }

    pub fn failed(order_no: &str, amount: &str, code: &str) -> Row {
        Row { code: code.into(), txn_no: String::new(), settled_at: String::new(), ..Row::paid(order_no, amount) }
    }
}

/// The bytes of a result file of bank 102 that answers `request`, with totals that agree with its rows.
pub fn result_file(request: &str, rows: &[Row]) -> Vec<u8> {
    let fen = |amount: &str| (amount.parse::<f64>().unwrap_or(0.0) * 100.0).round() as i64;
    let yuan = |fen: i64| format!("{}.{:02}", fen / 100, fen % 100);
    let total: i64 = rows.iter().map(|row| fen(&row.amount)).sum();
    let good: Vec<&Row> = rows.iter().filter(|row| row.code == "0000").collect();
    let good_total: i64 = good.iter().map(|row| fen(&row.amount)).sum();
    let mut text =
        format!("H,102,20260416,{request},{},{},{},{}\r\n", rows.len(), yuan(total), good.len(), yuan(good_total));
    for (number, row) in rows.iter().enumerate() {
        text += &format!(
            "D,{},{},{},{},说明,{},{}\r\n",
            number + 1,
            row.order_no,
            row.amount,
            row.code,
            row.txn_no,
            row.settled_at
        );
    }
    text += &format!("T,{},{}\r\n", rows.len(), yuan(total));
    encoding_rs::GB18030.encode(&text).0.into_owned()
}
